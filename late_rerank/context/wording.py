"""A text -> its wording: a form in which near-duplicates are equal, since harmless edits are undone.

This file lists every harmless edit. All else counts: words and their order, numbers, signs, emoji, commas, brackets, quotation
marks, question marks, line breaks after short lines, and each character of code.
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
    r"|</?[a-z][\w-]*(?: [^<>\n]*)?/?>|:[ \t]*\n(?:[ \t]|.*\n[ \t])|\n\t",
    re.MULTILINE,
)
# Gaps in several lines are a table's columns, where a cell may be empty.
_GAP = re.compile(r"\t|\S {3,}\S")
_ENTITY = re.compile(
    r"&(?:nbsp|quot|apos|shy|hellip|bull|[lr]aquo|[lrsb]+[sd]?quo|[mn]dash|#160|#34|#39|#x27|#x22|#8211|#8212|#821[6-9]|#822[01]);"
)
# Characters that differ only in looks: quotation marks, hyphens, ligatures, full width.
_SAME = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013", "-"),
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
        **{chr(0xFF01 + i): chr(0x21 + i) for i in range(94)},
        **{chr(i): unicodedata.normalize("NFKC", chr(i)) for i in range(0xFB00, 0xFB07)},
        "\u2026": "...",
        **dict(zip("\uff61\uff64\uff62\uff63\u300c\u300d\u300e\u300f", '\u3002\u3001""""\'\'', strict=True)),
    }
)
# Between a Chinese or Japanese character and a word in Latin letters, a space is a matter of style, and a line end none.
EAST = "[\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff]"
_STYLE_SPACE = re.compile(rf"(?<={EAST}) +(?=[A-Za-z0-9])|(?<=[A-Za-z0-9]) +(?={EAST})")
_EAST_END, _EAST_BEGINNING = re.compile(rf"{EAST}[,;:!?\"']*$"), re.compile(rf"[\"']?{EAST}")
# Angles are quotation marks in pairs; alone they are arrows.
_ANGLES = (
    (re.compile(r"\u00ab([^\u00ab\u00bb]*)\u00bb|\u00bb(?=\S)([^\u00ab\u00bb\n]*)(?<=\S)\u00ab"), '"'),
    (re.compile(r"\u2039([^\u2039\u203a]*)\u203a|\u203a(?=\S)([^\u2039\u203a\n]*)(?<=\S)\u2039"), "'"),
)
# Before a number a long dash isn't taken for a minus, nor a minus between numbers for a range.
_LONG_DASH = re.compile(r"\s*[\u2014\u2015](?!\s*[^\w\s]?\d)\s*")
_MINUS = re.compile(r"(?<!\d)(?<!\d\s)\u2212")
_BULLET = re.compile(r"^\s*[-*\u2022\u2023\u25e6\u25aa\u00b7]\s+(?=[^\W\d_])")
# A single word between single stars may be a pattern of file names: "rm *log*".
_BOLD = re.compile(r"(?<![\w*])(\*(?=[^*\n]* )|\*{2,3})(?=[^\s*])([^*\n]+)(?<=[^\s*])\1(?![\w*])")
# A line of so many characters was full, so its break is harmless. After a shorter line the break counts, as in a list.
_FULL_LINE = 40
# But one word may be an answer: "Is it free? No".
_ANSWER = re.compile(r"[?:][\"')\]]*\s\S+$")
STOPS = ".!?\u2026\u0964\u061f\u06d4"
_SENTENCE_END = re.compile(rf"[{STOPS}\u3002][\"')\]]*$")
_SHOUTED_WORDS = 3
# `word_spans` of late_rerank.text would do: with it the wordings of 1,478 test texts are the same, but take twice the time.
_WORD = re.compile(r"[^\W\d_]\w*")
# After a single letter the stop belongs to an abbreviation: "z.B. Sie".
_BEGINNING = re.compile(r"(?:^|\n|(?:[?!]|(?<![\W_]\w)\.)['\")\]]*\s)[\s'\"(\[-]*$")
# Short words behind a number are units: Mg isn't mg.
_UNIT = re.compile(r"\d\s?$")
_LONGEST_UNIT = 3
# These words are units, variables or options anywhere.
_SYMBOL = re.compile(r"(?![AIO])[^\W\d_]|(?!(?i:[a-z]*[aeiouy]))[A-Za-z]{2,3}")
_OPTION = re.compile(r"(?:^|\s)-$")
# A style changes the case of many words. One or two may be decisive: "polish" and "Polish", "sie" and "Sie".
_STYLE = 3
_LONG_WORD = 5

_BEFORE_MARK = re.compile(r"\s+([,;?!])(?=\s|$)")
# After one letter or a bracket "!" is a factorial.
_SHOUT = re.compile(r"(?:(?<=[^\W\d_]{2})|(?<=\u00b0[^\W\d_])|(?<=[\"']))!+(?=\s+[^a-z]|$)")
_SEMICOLON = re.compile(r"(?:(?<=[^\W\d_])|(?<=[\"')\]]));+(?=\s|$)")
_GREEK = re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]")  # there ";" asks
_AND = re.compile(r"(?<=[^\W\d_]), and\b")
# After one of these words the comma bounds what they deny: "no cats, and dogs on a leash".
_DENIED = re.compile(
    r"\b(?:no|not|cannot|nobody|none|nothing|never|neither|nor|without|except|unless|if)\b|n't\b", re.IGNORECASE
)
_PARTS = re.compile(rf"(?<=[{STOPS}\u3002])(?=\s)|(?<=[{STOPS}\u3002][\"')\]])(?=\s)|(?<=\n)")
_CONTRACTED = re.compile(
    r"\b(wo|ca|do|does|did|is|are|was|were|have|has|had|would|could|should|must|need)n't\b|\b(i|you|we|they)'(re|ve|m)\b"
    r"|\b(i|you|we|they|he|she|it)'(ll)\b|\b(can)not\b",
    re.IGNORECASE,
)
_IN_FULL = {"re": " are", "ve": " have", "m": " am", "ll": " will", "wo": "will", "ca": "can"}
# Words whose other spelling is no other word: how they begin, the British ending, the American ending.
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
_NAMES = ("Gr", "Lab", "Harb", "Arm", "Hon", "Cent")  # Mr Grey is not Mr Gray
_BRITISH = re.compile("|".join(rf"(?<![^\W_])({word})({ending})" for word, ending, _ in _SPELLINGS), re.IGNORECASE)
# After a number the stop may be an ordinal's.
_FINAL_STOP = re.compile(r"(?<![.\d])[.\u3002\u0964\u06d4]$")


class Wording(NamedTuple):
    """A text after all harmless edits are undone.

    Attributes:
        plain: In small letters but for words with capitals inside. Line ends that count stay; other white space is one space.
        cased: The same with capitals where no sentence begins; of the same length.
        is_code: Whether every character counts, as in code: then `plain` and `cased` are the text.
    """

    plain: str
    cased: str
    is_code: bool


@lru_cache(maxsize=4096)
def wording(text: str) -> Wording:
    """Undo harmless edits, which never change what a text says."""
    text = unicodedata.normalize("NFC", text)
    if _CODE.search(text) or _is_table(text):
        kept = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
        return Wording(kept, kept, is_code=True)
    text = _LONG_DASH.sub(" - ", _ENTITY.sub(lambda match: html.unescape(match.group()), text))
    for angles, quotes in _ANGLES:
        text = angles.sub(rf"{quotes}\g<1>\g<2>{quotes}", text)
    text = _MINUS.sub("-", text).translate(_SAME)
    text = _BOLD.sub(r"\2", _in_lines(_BOLD.sub(r"\2", text)))
    text = text if text.isascii() else _STYLE_SPACE.sub("", text)
    text = _SHOUT.sub(".", _BEFORE_MARK.sub(r"\1", text))
    text = _without_comma(text if _GREEK.search(text) else _SEMICOLON.sub(".", text))
    text = _FINAL_STOP.sub("", _BRITISH.sub(_american, _CONTRACTED.sub(_in_full, text)))
    cased = _small(text, only_beginnings=True)
    plain = _small(cased, only_beginnings=False)
    return Wording(plain, cased, is_code=False) if len(plain) == len(cased) else Wording(cased, cased, is_code=False)


def are_equal(one: Wording, other: Wording) -> bool:
    """Tell whether two texts are the same but for harmless edits."""
    return one.plain == other.plain and is_same_case(one.cased, other.cased)


def _is_table(text: str) -> bool:
    return sum(_GAP.search(line.strip(" ")) is not None for line in text.splitlines()) > 1


def is_same_case(one: str, other: str) -> bool:
    """Tell whether two texts, equal but for the case of words, differ in no word, or in so many that it is a style."""
    if one == other:
        return True
    words = list(zip(one.split(), other.split(), strict=False))
    n_apart = sum(ours != theirs for ours, theirs in words)
    return n_apart >= _STYLE and (_is_style(words) or _is_style([pair[::-1] for pair in words]))


def _is_style(words: list[tuple[str, str]]) -> bool:
    """Tell whether the first of two texts is in small letters where they differ, as a matter of style.

    All of it is in small letters, or each long word of the other begins with a capital. German "sie" and "Sie" are no style.
    """
    if any(one != one.lower() for one, other in words if one != other):
        return False
    # A word with capitals inside is an abbreviation in any style.
    return all(one[1:] != one[1:].lower() or one == one.lower() for one, _ in words) or all(
        other[:1] != other[:1].lower() for _, other in words if len(other) >= _LONG_WORD and other[:1].isalpha()
    )


def _in_lines(text: str) -> str:
    """Join lines that were broken because they were full; keep the line end of each other line."""
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
        goes_on = bool(_SENTENCE_END.search(found[-_FULL_LINE:])) or (
            was_full and not was_blank and not _ANSWER.search(found[-_FULL_LINE:])
        )
        if found:
            found += _joint(found, words) if goes_on and not bullet else "\n"
        found += words
        was_full, was_blank = len(line.strip()) >= _FULL_LINE, False
    return found


def _joint(before: str, after: str) -> str:
    """Give what stands between two lines that are one."""
    return "" if not after.isascii() and _EAST_END.search(before[-_FULL_LINE:]) and _EAST_BEGINNING.match(after) else " "


def _small(text: str, *, only_beginnings: bool) -> str:
    """Put words into small letters whose only capital is the first letter."""

    def fold(match: re.Match[str]) -> str:
        word = match.group()
        if not word[0].isupper() or word[1:].lower() != word[1:]:
            return word
        before = text[max(match.start() - _LONGEST_UNIT * 2, 0) : match.start()]
        if before.endswith("\u00b0") or (len(word) == 1 and text[match.end() : match.end() + 1] == "'"):
            return word.lower()  # a degree, or French's and Italian's "L'"
        is_unit = len(word) <= _LONGEST_UNIT and _UNIT.search(before)
        if is_unit or (len(word) == 1 and _OPTION.search(before)):
            return word
        begins = match.start() == 0 or _BEGINNING.search(before if len(before) == match.start() else "x" + before)
        if begins:
            return word if _SYMBOL.fullmatch(word) else word.lower()
        return word if only_beginnings else word.lower()

    return _WORD.sub(fold, text)


def _in_full(match: re.Match[str]) -> str:
    negated, *others = match.groups()
    if negated is not None:
        return f"{_like(negated, _IN_FULL.get(negated.lower(), negated))} not"
    word, ending = others[0] or others[2], others[1] or others[3]
    return f"{others[4]} not" if word is None else word + _IN_FULL[ending.lower()]


def _like(word: str, other: str) -> str:
    """Give another word, with a first capital if the word has one."""
    return other.capitalize() if word[:1].isupper() else other


def _without_comma(text: str) -> str:
    """Remove the comma before "and" where no word of the sentence before it denies or limits."""
    found = []
    for sentence in _PARTS.split(text):
        denied = _DENIED.search(sentence)
        end = len(sentence) if denied is None else denied.start()
        found.append(_AND.sub(" and", sentence[:end]) + sentence[end:])
    return "".join(found)


def _american(match: re.Match[str]) -> str:
    group = next(i for i in range(len(_SPELLINGS)) if match[2 * i + 1] is not None)
    if match[2 * group + 1] in _NAMES:
        return match.group()
    return match[2 * group + 1] + _SPELLINGS[group][2]
