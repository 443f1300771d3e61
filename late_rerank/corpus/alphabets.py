"""Which characters a language writes: a reading of bytes in a wrong encoding has letters that no language has together."""
# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache, cached_property
from typing import NamedTuple

import regex

_WESTERN = ("cp1252", "iso8859-15", "cp850", "mac-roman")
_CENTRAL = ("cp1250", "iso8859-2", "cp852")
_CYRILLIC = ("cp1251", "koi8-r", "cp866", "mac-cyrillic")
# Of DOS and old Macs: another encoding of the same language is meant, unless it fits less.
RARE = frozenset(("cp850", "cp852", "cp866", "mac-roman", "mac-cyrillic"))
_ARABIC_MARKS = "\u0640\u064b-\u0652\u0670\u200c"
_HAN = r"\p{Han}\uff21-\uff3a\uff41-\uff5a"
_THAI_FREQUENT = "\u0e32\u0e19\u0e23\u0e01\u0e2d\u0e40\u0e07\u0e21\u0e22\u0e48\u0e25\u0e27\u0e49\u0e15"
# Of the letters of a text those that are frequent in its language, as found in manuals.
_ALPHABET, _CHINESE, _JAPANESE, _KOREAN = 0.66, 0.2, 0.6, 0.33


class Language(NamedTuple):
    """What a language's text has.

    Attributes:
        letters: Its small letters beyond ASCII, as a character class of `regex`.
        encodings: Python's names of the encodings that it is written in, the most used first.
        words: Frequent words with ASCII letters only, for languages with Latin letters.
        frequent: Its most frequent letters, for the others.
        typical: The share of its letters that are `frequent`.
        is_alphabet: Whether it is written in letters.
    """

    letters: str
    encodings: tuple[str, ...]
    words: str = ""
    frequent: str = ""
    typical: float = 1.0
    is_alphabet: bool = True


_HANGUL = "이다의는을에를하고가지은사기로어한도인해그리서나시아일니자대라수정"
_SIMPLIFIED = "的一是不了在人有我他这中大来上个国到说们为子和你地出时要下以生会定用文件行方前"
_TRADITIONAL = "的一是不了在人有我他這中大來上個國到說們為子和你地出時要下以生會定用文件行方前"
_KANA = "".join(map(chr, [*range(0x3041, 0x3094), *range(0x30A1, 0x30F5), 0x30FC]))
LANGUAGES: tuple[Language, ...] = (
    Language("äöüßé", _WESTERN, "der die das und ist nicht mit von den ein eine zu im auf dem werden wird sie oder"),
    Language("àâæçéèêëîïôœùûüÿ", _WESTERN, "le la les des est et une un que pour dans du sur pas par vous qui en au"),
    Language("áéíñóúü", _WESTERN, "el la los las que de en un una para por con se del es al como su"),
    Language("ãáàâçéêíõóôúü", _WESTERN, "os que de do da em um uma para com se as na no por ou dos como"),
    Language("àèéìíîòóùú", _WESTERN, "il di che la per un una del della non con sono si le da gli come alla"),
    Language("áäéëíïóöúüè", _WESTERN, "de het een van en is dat in op te voor met niet zijn worden als of deze"),
    Language("åäöé", _WESTERN, "och att som en det av den med till inte kan om ett eller har du"),
    Language("æøåéüö", _WESTERN, "og at en det af til er ikke kan med som den eller har du"),
    Language("æøåéèêóòôà", _WESTERN, "og at som en det av til er ikke kan med den eller har du"),
    Language("äöåéšž", (*_WESTERN, "cp1257"), "ja on ei se joka tai jos sen ovat kun voi jotka"),
    Language("áæðéíóöþúý", _WESTERN, "og er sem um til ekki hann af fyrir eru"),
    Language("àçèéíïòóúü", _WESTERN, "el la els les que de en un una per amb del es al com"),
    Language("áéíóú", _WESTERN, "an na agus ar le go is don sa"),
    Language("áéíñóúüï", _WESTERN, "os que de do da en un unha para con se non por como"),
    Language(
        "éèêëïöçàñôâüä",
        _WESTERN,
        "the of and to is in that for it with you this are be as on or not all by from at your was he she",
    ),
    Language("äöõüšž", ("cp1257", *_WESTERN), "ja on ei see kui et ka või seda"),
    Language("ąćęłńóśźż", _CENTRAL, "na nie do jest lub dla od przez po jako oraz za"),
    Language("áčďéěíňóřšťúůýž", _CENTRAL, "se na je pro do nebo jako ve po ze lze"),
    Language("áäčďéíĺľňóôŕšťúýž", _CENTRAL, "na sa je pre do alebo ako po zo nie"),
    Language("áéíóöőúüű", _CENTRAL, "az egy nem hogy vagy is ez meg ha"),
    Language("ăâîşţ", _CENTRAL, "de la cu nu pe din pentru un este sau care se"),
    Language("čćđšž", _CENTRAL, "na se za je od ne ili su da"),
    Language("čšž", _CENTRAL, "na se za je ne ki ali da ni"),
    Language("âçğıîöşüûİ", ("cp1254",), "ve bir bu ile olarak veya da de olan"),
    Language("ąčęėįšųūž", ("cp1257",), "ir yra kad su arba jei bet kaip ar"),
    Language("āčēģīķļņšūžō", ("cp1257",), "un ir no uz ar vai par ja lai kas"),
    Language("а-яё", _CYRILLIC, frequent="оеаинтсрвл", typical=_ALPHABET),
    Language("а-щьюяґєії", ("cp1251", "koi8-u"), frequent="оаинвіертс", typical=_ALPHABET),
    Language("а-зй-шыьэюяёіў", ("cp1251",), frequent="анірыеслоц", typical=_ALPHABET),
    Language("а-ъьюя", ("cp1251",), frequent="аиоетнрсвд", typical=_ALPHABET),
    Language("а-ик-шђјљњћџ", ("cp1251",), frequent="аиоенрстју", typical=_ALPHABET),
    Language("а-ик-шѓѕјљњќџ", ("cp1251",), frequent="аоиетнрсвк", typical=_ALPHABET),
    Language("ΐά-ώ", ("cp1253", "iso8859-7"), frequent="αοιετσνηρπ", typical=_ALPHABET),
    Language(f"\u0621-\u064a{_ARABIC_MARKS}", ("cp1256", "iso8859-6"), frequent="الينمرتوبه", typical=_ALPHABET),
    Language(f"\u0621-\u064aپچژکگیۀ{_ARABIC_MARKS}", ("cp1256",), frequent="اینيردمهتوس", typical=_ALPHABET),
    Language("א-ת\u05b0-\u05c2", ("cp1255",), frequent="יוהלאתרמבש", typical=_ALPHABET),
    Language("\u0e01-\u0e3a\u0e40-\u0e5b", ("cp874",), "", _THAI_FREQUENT, _ALPHABET),
    Language(f"ぁ-ゖゝゞァ-ヺー々〆{_HAN}", ("cp932", "euc_jp"), "", _KANA, _JAPANESE, is_alphabet=False),
    Language(f"가-힣{_HAN}", ("cp949",), "", _HANGUL, _KOREAN, is_alphabet=False),
    Language(_HAN, ("gb18030",), "", _SIMPLIFIED, _CHINESE, is_alphabet=False),
    Language(_HAN, ("big5hkscs",), "", _TRADITIONAL, _CHINESE, is_alphabet=False),
)
ENCODINGS = tuple(dict.fromkeys(encoding for language in LANGUAGES for encoding in language.encodings))

# A sign between two letters, a capital behind a small letter, or Latin beside another alphabet: in no language's words.
_ODD = regex.compile(
    r"(?V1)(?<=\p{L})[^\p{L}\p{M}\p{Nd}\s\x00-\x7f’·ªº\xad\u200b-\u200f‐-―…•]++(?=\p{L})|(?<=\p{Ll})[\p{Lu}--[A-Z]]|(?<=[\p{Ll}--[a-z]])\p{Lu}"
    r"|(?<!\p{L})[\p{No}±](?=\p{L})|(?<=\p{L})[¿¡]|(?<=[A-Za-z])\p{Thai}{1,3}(?=[A-Za-z])"
    r"|(?<=[A-Za-z])[\p{Cyrillic}\p{Greek}\p{Hebrew}\p{Arabic}]|[\p{Cyrillic}\p{Greek}\p{Hebrew}\p{Arabic}](?=[A-Za-z])"
)
# Signs that texts use. Box drawings and lone accents are what letters become in a wrong encoding.
_SIGNS = frozenset(
    "“”‘’„‚–—―‐…•«»‹›·§©®™°€£¥¡¿½¼¾¹²³±×÷µªº†‡‰№\xa0\xad\u200b-\u200f،؛؟\u3000、。「」『』〈〉《》【】〔〕・〜〒※→←↑↓⇒"
    "○●◎◇◆□■△▲▽▼☆★฿"
)
# A share of fewer letters says little.
_LEAST_LETTERS = 10
_LEAST_LETTERS_OF_RARE = 12
# Of the usual share of frequent letters. What has less isn't even compared.
_LEAST_EVIDENCE = 0.35
_CAPITALS = 0.1
# Backspaces, escape sequences and DOS's mark of the end are in texts.
_CONTROL = regex.compile(r"[\x00-\x06\x0e-\x19\x1c-\x1f]")
_EAST_ASIAN = regex.compile(r"[\p{Han}\p{Hangul}\u3041-\u30ff]++")
# Shift-JIS has its most usual ideographs where Windows-1252 has quotation marks: 猫 becomes ”L.
_OPENS = regex.compile(r"(?<![\p{L}\p{N}])[“„”](?=\p{L})")
_CLOSES = regex.compile(r"(?<=[\p{L}\p{N}\p{P}])[“”](?!\p{L})")
_WORD = regex.compile(r"(?<![\p{L}\p{M}])[a-z]{2,}+(?![\p{L}\p{M}])")


class Fit(NamedTuple):
    """How well a reading is a text of a language.

    Attributes:
        share: Of its characters beyond ASCII, those that the language's texts have.
        evidence: Its frequent words by number, or its frequent letters, where 1 is the usual share.
        n_letters: Letters beyond ASCII.
        text: The reading.
        encoding: Python's name of the encoding that gives it.
        language: The language.
    """

    share: float
    evidence: float
    n_letters: int
    text: str
    encoding: str
    language: Language

    @property
    def rank(self) -> int:
        """0 for the language's usual encoding."""
        return self.language.encodings.index(self.encoding)


class Reading:
    """A text as an encoding gives it.

    Args:
        text: The text.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._beyond = {each: n for each, n in Counter(text).items() if each > "\x7f"}
        self._n = max(sum(self._beyond.values()), 1)
        self._letters = {each: n for each, n in self._beyond.items() if unicodedata.category(each)[0] in "LM"}
        self._n_letters = sum(self._letters.values())

    @property
    def is_text(self) -> bool:
        """Whether all its characters have a meaning in texts."""
        beyond = any(unicodedata.category(each) in ("Cc", "Cn", "Co", "Cs") for each in self._beyond)
        return not beyond and not _CONTROL.search(self._text)

    def fits(self, encoding: str) -> Iterator[Fit]:
        """Give how well it fits each language that is written in an encoding. Few letters say nothing of most."""
        if encoding in RARE and self._n_letters < _LEAST_LETTERS_OF_RARE:
            return
        for language in LANGUAGES:
            if encoding in language.encodings and (language.words or not self.is_short):
                evidence = self._n_words(language) if language.words else self._share_frequent(language) / language.typical
                share = self._share(language) if language.words or evidence >= _LEAST_EVIDENCE else 0.0
                yield Fit(share, evidence, self._n_letters, self._text, encoding, language)

    @property
    def is_short(self) -> bool:
        """Whether it has so few letters beyond ASCII that their frequencies say nothing."""
        return self._n_letters < _LEAST_LETTERS

    @property
    def has_lone_quotes(self) -> bool:
        """Whether more quotations begin than end."""
        return len(_OPENS.findall(self._text)) > len(_CLOSES.findall(self._text))

    def may_be_east_asian(self, *, least: int) -> bool:
        """Tell whether its letters are Chinese, Japanese or Korean ones, in words of at least so many."""
        words = [len(word) for word in _EAST_ASIAN.findall(self._text)]
        return 0 < self._n_letters == sum(length for length in words if length >= least)

    def _share(self, language: Language) -> float:
        is_letter = _letter(language.letters).match
        n_own = sum(n for each, n in self._letters.items() if is_letter(each) or is_letter(each.lower()))
        return (n_own + self._n_signs - (self._n_odd if language.is_alphabet else 0)) / self._n

    def _share_frequent(self, language: Language) -> float:
        """Give the share of frequent letters. Mostly capitals are what small Cyrillic letters become in its other encoding."""
        share = sum(n for each, n in self._letters.items() if each.lower() in language.frequent) / self._n_letters
        return share - (_CAPITALS if self._n_capitals > self._n_letters / 2 else 0.0)

    def _n_words(self, language: Language) -> int:
        return sum(map(self._words.__getitem__, language.words.split()))

    @cached_property
    def _words(self) -> Counter[str]:
        return Counter(_WORD.findall(self._text.lower()))

    @cached_property
    def _n_signs(self) -> int:
        signs = (n for each, n in self._beyond.items() if each in _SIGNS or "\uff01" <= each <= "\uff20")
        return sum(signs)

    @cached_property
    def _n_capitals(self) -> int:
        return sum(n for each, n in self._letters.items() if each.isupper())

    @cached_property
    def _n_odd(self) -> int:
        return sum(1 for _ in _ODD.finditer(self._text))


@cache
def _letter(letters: str) -> regex.Pattern[str]:
    return regex.compile(f"[{letters}]")
