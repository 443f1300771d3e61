"""The characters and the words of a text, by Unicode's rules. Every room asks here."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import regex

# Letters, digits and marks make a word, in any script, with the joiners and invisible signs that stand between them: Hindi's
# vowels are marks, and Persian writes a non-joiner within a word. A zero-width space ends a word.
# Scripts that put no spaces between words (lb=SA: Thai, Lao, Khmer, Burmese, Tai) have no such words: there each character
# stands on its own. Their digits make numbers, as everywhere.
_SCRIPTS = r"\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{sc=Yi}\p{sc=Tangut}\p{sc=Nushu}\p{sc=Javanese}\p{sc=Balinese}"
_NO_BEGINNING = r"[\p{DI}\p{gcb=EX}\p{gcb=SM}]"  # they extend a character, and words begin and end where characters do
UNSPACED = rf"[[{_SCRIPTS}\p{{lb=SA}}]&&[\p{{L}}\p{{Nl}}]--{_NO_BEGINNING}]"
_LETTER = rf"[[\p{{L}}\p{{N}}_]--{UNSPACED}--{_NO_BEGINNING}]"
_GOES_ON = rf"[{_LETTER}||[[\p{{M}}\p{{gcb=ZWJ}}||{_NO_BEGINNING}]--[\u200b\p{{Cn}}]]]"
_BEFORE = r"[\p{gcb=PP}--\p{L}]{,3}+"  # Arabic's sign for numbers belongs to the digit after it; few, or a run costs its square
_WORD = regex.compile(rf"(?V1){_BEFORE}(?:{_LETTER}{_GOES_ON}*+|(?={UNSPACED})\X(?:(?=\p{{M}})\X)*+)")
_IS_UNSPACED = regex.compile(rf"(?V1){_BEFORE}{UNSPACED}")
# Where none of these stands, `re` finds the same words, three times as fast. It may not know the newest letters.
_NOT_PLAIN = regex.compile(rf"(?V1)[{UNSPACED}||[\p{{M}}\p{{Cf}}\p{{DI}}\p{{gcb=PP}}\u2500-\U0010ffff]]")
_PLAIN_WORD = re.compile(r"[^\W_]+")
# Flags are matched first: \X counts the letters before each, so that a run of flags costs its square.
_CHARACTER = regex.compile(r"\p{RI}{2}[\p{gcb=EX}\p{gcb=SM}\p{gcb=ZWJ}]*+|\X")
# White space, controls, ignorable characters, half surrogates, marks without a letter, and Braille's empty cell.
_INVISIBLE = regex.compile(r"[\s\p{Cc}[\p{Cf}--\p{gcb=PP}]\p{Cs}\p{M}\p{DI}\u2800]*+", regex.V1)
# In decomposed text: vowels and other signs that writers of Arabic and Hebrew mostly leave out, so that a question rarely has
# them; Arabic's stretcher; enclosing circles; the second dot that an i gets where Turkish's dotted capital is lowered.
_LEFT_OUT = regex.compile(
    r"(?<=i)\u0307|[\p{DI}\p{Cs}\p{Me}\U0001f3fb-\U0001f3ff\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    r"\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u08ca-\u08e1"
    r"\u08e3-\u08ff]+"
)
# Greek capitals have no accents. Without accents a word in capitals equals the same word in small letters.
_GREEK_ACCENTS = regex.compile(r"(?<=\p{Greek})\p{Mn}+")
_DIGIT = regex.compile(r"[\p{Nd}--[0-9]]", regex.V1)
# Letters that writers and keyboards take for one letter: Russian's e with dots, mostly written without; Romanian's comma and
# cedilla; Yiddish's pairs of letters; Persian's and Urdu's kaf, yeh and heh beside Arabic's. Hamza and madda signs that compose
# with no letter are left out.
_ALIKE = {
    **str.maketrans(
        "\u0451\u0219\u021b\u06a9\u06cc\u0649\u06c1\u06c0\u06c2", "\u0435\u015f\u0163\u0643\u064a\u064a\u0647\u0647\u0647"
    ),
    0x5F0: "\u05d5\u05d5",
    0x5F1: "\u05d5\u05d9",
    0x5F2: "\u05d9\u05d9",
    **dict.fromkeys((0x653, 0x654, 0x655)),
}
_PERSIAN = str.maketrans("\u0643\u064a", "\u06a9\u06cc")
_DOTTED = str.maketrans({"\u0130": "i", "\u0131": "i"})
_DOTLESS = str.maketrans({"I": "\u0131", "\u0130": "i"})
_TURKIC = ("turkish", "azerbaijani")
# Latin letters that Unicode doesn't take apart into a letter and a mark, and how they are typed without.
_PLAIN: dict[int, str | int | None] = {
    **str.maketrans("\u00f8\u0111\u00f0\u0142\u0127\u0131\u014b\u0167\u0138\u0253\u0257\u0199", "oddlhintkbdk"),
    0xE6: "ae",
    0x153: "oe",
    0xFE: "th",
}
_LATIN_MARKS = regex.compile(r"(?<=\p{Latin}\p{Mn}*)\p{Mn}+")
_LONGEST_WORD = 64  # code points: a word is looked for no further from a place


def is_blank(text: str) -> bool:
    """Tell whether a text shows nothing: no letter, digit, sign or emoji; white space and invisible characters at most."""
    if not text or text.isspace():
        return True
    return _INVISIBLE.fullmatch(text) is not None


def character_ends(text: str) -> list[int]:
    """Find where the characters that a reader sees end: with their marks, joiners, modifiers, and both halves of a flag.

    Returns:
        Ascending, in code points; the last is the text's length.

    Source: Unicode Standard Annex 29, extended grapheme clusters.
    """
    return [match.end() for match in _CHARACTER.finditer(text)]


def word_spans(text: str) -> list[tuple[int, int]]:
    """Find where words stand: letters, digits, marks, joiners and underscores in a row.

    Returns:
        (start, end) in code points, in order, without overlap. Where a script puts no spaces between words (Chinese, Japanese,
        Thai, Lao, Khmer, Burmese) each character that a reader sees is a span of its own.
    """
    return [match.span() for match in _WORD.finditer(text)]


def plain_words(text: str) -> list[str] | None:
    """Give the words of `word_spans`, cut at underscores, where that is simple; None where marks or scripts make it hard."""
    return None if _NOT_PLAIN.search(text) else _PLAIN_WORD.findall(text)


def in_whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span so that it begins and ends with a whole word, and within no character.

    Args:
        text: The text.
        start: In code points.
        end: In code points, above `start`.

    Returns:
        (start, end) in code points. A word of more than 64 code points may stay cut.
    """
    return _word_around(text, start)[0], _word_around(text, end)[1]


def _word_around(text: str, place: int) -> tuple[int, int]:
    """Find the word or the character (an emoji of several parts) that has a place inside; else the place itself, twice."""
    first, last = max(place - _LONGEST_WORD, 0), min(place + _LONGEST_WORD, len(text))
    word = next((word.span() for word in _WORD.finditer(text, first, last) if word.start() < place < word.end()), None)
    if word is not None or text[max(place - 1, 0) : place + 1].isascii():
        return word or (place, place)
    characters = (match.span() for match in _CHARACTER.finditer(text, first, last))
    return next((span for span in characters if span[0] < place < span[1]), (place, place))


def is_unspaced(word: str) -> bool:
    """Tell whether a word of `word_spans` is one character of a script without spaces."""
    return not word.isascii() and _IS_UNSPACED.match(word) is not None


def folded(word: str, language: str | None = None) -> str:
    """Give the form in which a word is looked for: one form for all ways to write it.

    These differences are undone: case; composition (NFC, NFD); compatible forms (full width, ligatures, presentation forms);
    another script's digits; invisible characters; vowel signs that Arabic and Hebrew mostly leave out; Greek accents; letters
    that keyboards take for one another (Persian's and Arabic's kaf). All other marks stay: Hindi's vowels, French accents.

    Args:
        word: A word of `word_spans`, or words.
        language: A Snowball stemmer's name: the stemmer then finds the form that it expects. "turkish" and "azerbaijani" keep
            the dotted and the dotless i apart; all other languages fold them into one.

    Returns:
        In NFKC; empty where the word shows nothing. Folding twice changes nothing more.
    """
    if word.isascii():
        return word.translate(_DOTLESS).lower() if language in _TURKIC and "I" in word else word.lower()
    if language == "persian":  # its stemmer tells prefixes by the non-joiner after them
        return "\u200c".join(_folded(part).translate(_PERSIAN) for part in word.split("\u200c"))
    return _folded(word, keeps_dots=language in _TURKIC)


@lru_cache(maxsize=2**16)
def _folded(word: str, *, keeps_dots: bool = False) -> str:
    word = unicodedata.normalize("NFKC", word).translate(_DOTLESS if keeps_dots else _DOTTED).casefold()
    word = _GREEK_ACCENTS.sub("", _LEFT_OUT.sub("", unicodedata.normalize("NFKD", word)))
    word = unicodedata.normalize("NFKC", word).translate(_ALIKE)
    return str(_DIGIT.sub(_digit, word))


def unaccented(word: str) -> str:
    """Give a folded word as it is typed without accents: Latin letters lose their marks, and become those of ASCII.

    Args:
        word: As `folded` gives it.

    Returns:
        The word itself where no Latin letter has a mark. Marks of other scripts stay: they tell words apart.
    """
    return word if word.isascii() else _unaccented(word)


@lru_cache(maxsize=2**16)
def _unaccented(word: str) -> str:
    plain = _LATIN_MARKS.sub("", unicodedata.normalize("NFD", word))
    return unicodedata.normalize("NFKC", plain.translate(_PLAIN))


def _digit(found: regex.Match[str]) -> str:
    """Give the ASCII digit of the same value; the digit itself where Python's Unicode is older than regex's."""
    return str(unicodedata.decimal(found.group(), found.group()))
