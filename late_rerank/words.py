"""What a character and a word of a text are, by Unicode's rules: every room asks here."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex

# Letters, digits and marks make a word, in any script, with the joiners that stand between them: Hindi's vowels are marks, and
# Persian writes a non-joiner within a word. Scripts that put no spaces between words have no such words: there each character
# stands on its own. Their digits make numbers, as everywhere.
_UNSPACED = r"[[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]&&[\p{L}\p{Nl}]]"
_LETTER = rf"[[\p{{L}}\p{{N}}_]--{_UNSPACED}]"
_GOES_ON = rf"[[\p{{L}}\p{{N}}\p{{M}}_\u00ad\u200c\u200d\u2060\ufeff]--{_UNSPACED}]"
_WORD = regex.compile(rf"(?V1){_LETTER}{_GOES_ON}*+|(?={_UNSPACED})\X")
_IS_UNSPACED = regex.compile(rf"(?V1){_UNSPACED}")
_CHARACTER = regex.compile(r"\X")
# White space, controls, what shows nothing by definition, half surrogates, marks on nothing, and Braille's empty cell.
_INVISIBLE = regex.compile(r"[\s\p{Cc}\p{Cf}\p{Cs}\p{M}\p{Default_Ignorable_Code_Point}\u2800]*+")
# Vowels and other signs that Arabic and Hebrew mostly leave out, so that a question rarely has them; Arabic's stretcher; and
# the dot that lowering Turkish's capital puts on an i that has one.
_LEFT_OUT = regex.compile(
    r"(?<=i)\u0307|[\p{Default_Ignorable_Code_Point}\p{Cs}\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    r"\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]+"
)
# Greek capitals have no accent, so that it can't tell a word in capitals from the same in small letters.
_UNACCENTED = str.maketrans(
    "\u03ac\u03ad\u03ae\u03af\u03cc\u03cd\u03ce\u0390\u03b0", "\u03b1\u03b5\u03b7\u03b9\u03bf\u03c5\u03c9\u03ca\u03cb"
)
_DOTTED = str.maketrans({"\u0130": "i", "\u0131": "i"})
_DOTLESS = str.maketrans({"I": "\u0131", "\u0130": "i"})
_TURKIC = ("turkish", "azerbaijani")


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


def is_unspaced(word: str) -> bool:
    """Tell whether a word of `word_spans` is one character of a script without spaces."""
    return not word.isascii() and _IS_UNSPACED.match(word) is not None


def folded(word: str, language: str | None = None) -> str:
    """Give the form in which words are looked for: one for all ways to write the word.

    These make no difference: case; composed or not (NFC, NFD); compatible forms (full width, ligatures, presentation forms);
    another script's digits; invisible characters; vowel signs that Arabic and Hebrew mostly leave out; Greek accents. All
    other marks stay: Hindi's vowels, French accents.

    Args:
        word: A word of `word_spans`, or words.
        language: "turkish" and "azerbaijani" keep the dotted and the dotless i apart; every other folds them into one.
    """
    if word.isascii():
        return word.translate(_DOTLESS).lower() if language in _TURKIC and "I" in word else word.lower()
    return _folded(word, language in _TURKIC)


@lru_cache(maxsize=2**16)
def _folded(word: str, keeps_dots: bool) -> str:  # noqa: FBT001
    word = unicodedata.normalize("NFKC", word).translate(_DOTLESS if keeps_dots else _DOTTED).casefold()
    word = _LEFT_OUT.sub("", unicodedata.normalize("NFKC", word)).translate(_UNACCENTED)
    return "".join(map(_digit, word)) if not word.isalpha() else word


def _digit(character: str) -> str:
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)
