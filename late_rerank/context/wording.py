"""A text -> the form in which texts that say the same are equal: edits that never change what a text says are undone.

Every edit here is on a list of harmless ones. All else counts: words and their order, numbers, signs, emoji, commas, brackets,
quotation marks, question marks, line breaks after short lines, and each character of code.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

# In code any character may count: a space at the beginning of a line, a capital, a quotation mark.
_CODE = re.compile(
    r"```|^\s*(?:def|class|import|return|elif|else:|try:|#include|SELECT|INSERT|UPDATE|DELETE|const|let|var|function)\b"
    r"|[{};][ \t]*\n.*[{};][ \t]*$|^\s*[\w.\[\]]+ [-+*/]?= |[=!<>+*/%&|^-]=|=>|->|::|&&|\|\||\(\)|<!--|/\*"
    r"|</?[a-z][\w-]*(?: [^<>\n]*)?/?>|:[ \t]*\n(?:[ \t]|.*\n[ \t])",
    re.MULTILINE,
)
_ENTITY = re.compile(
    r"&(?:nbsp|quot|apos|shy|hellip|bull|[lr]aquo|[lrsb]+[sd]?quo|[mn]dash|#160|#34|#39|#x27|#x22|#8211|#8212|#821[6-9]|#822[01]);"
)
# Characters that only look different: quotation marks, hyphens, ligatures, full width.
_SAME = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2039\u203a\u2032\u02bc", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
        **{chr(0xFF01 + i): chr(0x21 + i) for i in range(94)},
        **{chr(i): unicodedata.normalize("NFKC", chr(i)) for i in range(0xFB00, 0xFB07)},
        "\u2026": "...",
    }
)
_LONG_DASH = re.compile(r"\s*[\u2014\u2015]\s*")
_BULLET = re.compile(r"^\s*[-*\u2022\u2023\u25e6\u25aa\u00b7]\s+(?=[^\W\d_])")
_BOLD = re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*\n]+)(?<=[^\s*])\1(?![\w*])")
# A line of so many characters was broken since it was full; after a shorter one the break counts, as in a list.
_FULL_LINE = 40
STOPS = ".!?\u2026\u0964\u061f\u06d4"
_SENTENCE_END = re.compile(rf"[{STOPS}\u3002][\"')\]]*$")
_SHOUTED_WORDS = 3
_WORD = re.compile(r"[^\W\d_]\w*")
_BEGINNING = re.compile(r"(?:^|\n|[.?!:]['\")\]]*\s)[\s'\"(\[-]*$")
# Behind a number these are units: Mg is no mg.
_UNIT = re.compile(r"\d\s?$")
_LONGEST_UNIT = 3
# A style changes the case of many words; where one or two differ, they may decide: "polish" and "Polish", "sie" and "Sie".
_STYLE = 3

_BEFORE_MARK = re.compile(r"\s+([,;?!])(?=\s|$)")
_STOP = re.compile(r"(?:(?<=[^\W\d_])|(?<=[\"')\]]))(?:;+(?=\s|$)|!+(?=\s+[^a-z]|$))")
_AND = re.compile(r"(?<=[^\W\d_]), and\b")
_CONTRACTED = re.compile(
    r"\b(wo|ca|do|does|did|is|are|was|were|have|has|had|would|could|should|must|need)n't\b|\b(i|you|we|they)'(re|ve|m)\b"
    r"|\b(i|you|we|they|he|she|it)'(ll)\b|\b(can)not\b",
    re.IGNORECASE,
)
_IN_FULL = {"re": " are", "ve": " have", "m": " am", "ll": " will", "wo": "will", "ca": "can"}
# Words that are no other word in their other spelling; each group is what follows from the British to the American one.
_SPELLINGS = (
    (r"col|fav|flav|harb|hon|hum|lab|neighb|behavi|od|rum|vap|tum|vig|endeav|arm", r"our(?=[a-z]*\b)", "or"),
    (r"cent|theat|fib|lit|calib", r"re(?=s?\b)", "er"),
    (
        r"organ|real|recogn|summar|minim|maxim|optim|special|general|normal|author|categor|character|emphas|priorit|standard|util"
        r"|visual|steril|hospital|immun|modern|apolog",
        r"is(?=(?:e|es|ed|ing|ation|ations)\b)",
        "iz",
    ),
    (r"travel|cancel|label|model|fuel|signal", r"l(?=(?:ed|ing|er|ers)\b)", ""),
    (r"program", r"me(?=s?\b)", ""),
    (r"defen|offen|licen", r"ce(?=s?\b)", "se"),
    (r"gr", r"ey(?=s?\b)", "ay"),
    (r"catalog", r"ue(?=s?\b)", ""),
    (r"an|leuk", r"aem(?=i[ac]\b)", "em"),
    (r"h", r"aemo(?=[a-z])", "emo"),
    (r"p", r"aed(?=iatric)", "ed"),
)
_BRITISH = re.compile("|".join(rf"(?<![^\W_])({word})({ending})" for word, ending, _ in _SPELLINGS), re.IGNORECASE)
_FINAL_STOP = re.compile(r"(?<![.])[.\u3002\u0964\u06d4]$")


class Wording(NamedTuple):
    """A text without what makes no difference.

    Attributes:
        plain: In small letters but for words with capitals inside; line ends that count, all other white space as one space.
        cased: The same with capitals where no sentence begins; of the same length.
        is_code: Whether every character counts, as in code: then both are the text.
    """

    plain: str
    cased: str
    is_code: bool


@lru_cache(maxsize=4096)
def wording(text: str) -> Wording:
    """Undo the edits that never change what a text says."""
    text = unicodedata.normalize("NFC", text)
    if _CODE.search(text):
        kept = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
        return Wording(kept, kept, is_code=True)
    text = _LONG_DASH.sub(" - ", _ENTITY.sub(lambda match: html.unescape(match.group()), text)).translate(_SAME)
    text = _BOLD.sub(r"\2", _in_lines(_BOLD.sub(r"\2", text)))
    text = _AND.sub(" and", _STOP.sub(".", _BEFORE_MARK.sub(r"\1", text)))
    text = _FINAL_STOP.sub("", _BRITISH.sub(_american, _CONTRACTED.sub(_in_full, text)))
    cased = _small(text, only_beginnings=True)
    plain = _small(cased, only_beginnings=False)
    return Wording(plain, cased, is_code=False) if len(plain) == len(cased) else Wording(cased, cased, is_code=False)


def are_equal(one: Wording, other: Wording) -> bool:
    """Tell whether two texts are the same but for edits that never change what a text says."""
    return one.plain == other.plain and is_same_case(one.cased, other.cased)


def is_same_case(one: str, other: str) -> bool:
    """Tell whether two texts that differ at most in the case of words differ in none, or in so many that it is a style."""
    if one == other:
        return True
    apart = [(a, b) for a, b in zip(one.split(), other.split(), strict=False) if a != b]
    small = [[word.lower() == word for word in side] for side in zip(*apart, strict=True)]
    return len(apart) >= _STYLE and any(map(all, small))


def _in_lines(text: str) -> str:
    """Lines that were broken since they were full as one; each other one with its line end."""
    found = ""
    was_full = was_blank = False
    for line in text.splitlines():
        words = " ".join(line.split())
        if not words:
            was_blank = True
            continue
        if len(_WORD.findall(words)) >= _SHOUTED_WORDS and words.upper() == words:
            words = words.lower()
        bullet = _BULLET.match(words)
        words = "- " + words[bullet.end() :] if bullet else words
        goes_on = bool(_SENTENCE_END.search(found)) or (was_full and not was_blank)
        if found:
            found += " " if goes_on and not bullet else "\n"
        found += words
        was_full, was_blank = len(line.strip()) >= _FULL_LINE, False
    return found


def _small(text: str, *, only_beginnings: bool) -> str:
    """Words that begin with their only capital in small letters."""

    def fold(match: re.Match[str]) -> str:
        word = match.group()
        if not word[0].isupper() or word[1:].lower() != word[1:]:
            return word
        before = text[max(match.start() - _LONGEST_UNIT * 2, 0) : match.start()]
        if len(word) <= _LONGEST_UNIT and _UNIT.search(before):
            return word
        begins = not text[: match.start()] or _BEGINNING.search(before if len(before) == match.start() else "x" + before)
        return word.lower() if begins or not only_beginnings else word

    return _WORD.sub(fold, text)


def _in_full(match: re.Match[str]) -> str:
    negated, *others = match.groups()
    if negated is not None:
        return f"{_like(negated, _IN_FULL.get(negated.lower(), negated))} not"
    word, ending = others[0] or others[2], others[1] or others[3]
    return f"{others[4]} not" if word is None else word + _IN_FULL[ending.lower()]


def _like(word: str, other: str) -> str:
    """Another word, beginning with a capital if the word does."""
    return other.capitalize() if word[:1].isupper() else other


def _american(match: re.Match[str]) -> str:
    group = next(i for i in range(len(_SPELLINGS)) if match[2 * i + 1] is not None)
    return match[2 * group + 1] + _SPELLINGS[group][2]
