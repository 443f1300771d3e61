"""A text in any script -> the same as the splitter knows texts: ASCII's stops, spaces behind them, a sign for each token."""

from __future__ import annotations

import re
from bisect import bisect_left

import regex

from late_rerank.text.stops import ASCII_STOP, CLAUSE_STOP, CLOSING, GOES_ON, UNSPACED_STOP

# Scripts that need no change lie outside: Latin, Greek, Cyrillic. `re` finds this out in a tenth of `regex`'s time.
_OTHER_SCRIPT = re.compile("[\u0530-\u1cff\u2d30-\ud7ff\uf900-\ufdff\ufe30-\uffef\U00010000-\U0003ffff]")
# Khmer and Burmese texts may have zero-width spaces between words, and Tibetan has a mark between syllables.
_WORD_ENDS = "\u200b\u0f0b"
# Two ellipses are Chinese's one.
_STOP = regex.compile(
    rf"(?V1)(?:(?P<sentence>{UNSPACED_STOP}++|{ASCII_STOP})|(?P<clause>[{CLAUSE_STOP}\u060c\u061b\u1363-\u1366]++|\u2026{{2,}}+)"
    rf"|[{_WORD_ENDS}]++(?!\p{{M}})){CLOSING}*+(?!{GOES_ON})"
)
_ASCII = {"sentence": ".", "clause": ","}
# A Chinese character and a Japanese syllable are a token to most models, as are about three characters of Thai, Lao, Khmer,
# Burmese and Tibetan. The splitter counts a sign as one token, and letters in a row as one.
_SYLLABIC = regex.compile(
    r"(?V1)[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{sc=Yi}\p{sc=Tangut}\p{sc=Nushu}&&[\p{L}\p{Nl}]]"
)
_RUNNING = regex.compile(r"(?V1)[\p{lb=SA}\p{sc=Tibt}\p{sc=Javanese}\p{sc=Balinese}&&[\p{L}\p{M}]]")
_SIGN, _LETTER = "\ue000", "\u16a0"
_SIX = _LETTER * 6
_TWO_TOKENS = _LETTER * 5 + _SIGN


class Spaced:
    """A text as the splitter knows texts, and the way back to its places.

    Args:
        text: Any.

    Attributes:
        text: With one space more behind each stop that has no white space behind it. A stop and the quotation marks behind it
            are full stops or commas. Letters of scripts without spaces are signs and letters that count as many tokens.
    """

    def __init__(self, text: str) -> None:
        self._added: list[int] = []
        self.text = text
        if text.isascii() or _OTHER_SCRIPT.search(text) is None:
            return
        kept, last, length = [], 0, 0
        for match in _STOP.finditer(text):
            start, end = match.span()
            mark = _ASCII.get(match.lastgroup or "", "")
            kept += [text[last:start], mark * (end - start) or text[start:end]]
            length += end - last
            last = end
            if end < len(text) and not text[end].isspace():
                kept.append(" ")
                self._added.append(length)
                length += 1
        self.text = "".join([*kept, text[last:]]).translate(_COUNTED).replace(_SIX, _TWO_TOKENS)

    def place(self, at: int) -> int:
        """Find a place of the spaced text in the text that was given."""
        return at - bisect_left(self._added, at)


class _Counted(dict[int, int]):
    """Code point -> the code point that counts as its tokens; filled as texts need it."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        if _SYLLABIC.match(character):
            counted = ord(_SIGN)
        elif _RUNNING.match(character):
            counted = ord(_LETTER)
        else:
            counted = ord(_LETTER) if character in _WORD_ENDS else code
        self[code] = counted
        return counted


_COUNTED = _Counted()
