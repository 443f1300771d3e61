"""Whether a longer text can stand for a shorter one that is a piece of it."""

from __future__ import annotations

import re
from functools import lru_cache

from late_rerank.context.comments import is_boilerplate, may_comment, may_deny
from late_rerank.context.wording import EAST, STOPS, is_same_case, wording
from late_rerank.text.words import is_unspaced, word_spans

# A few words in a row may be quoted to be denied: "It is false that". This many are a piece of the other text.
LONG = 32
# A shorter sentence beside a piece may be a comment on it: "None of it is true."
_SHORT_SENTENCE = 6
# In a script without spaces each character is a word to `word_spans`; two characters make about one word.
UNSPACED_WORD = 0.5
# How many sentences on each side are looked at.
_BESIDE = 2

# Words whose first letters are equal, this many, are mostly of one family: "bees" and "beekeeper".
_STEM = 4

_CLOSING = rf"[{STOPS}][\"')\]]*"
# A wording has ASCII's marks for those of full width, so they end sentences here beside Latin letters too.
_EAST_CLOSING = rf"(?:\u3002|[!?](?={EAST})|(?<={EAST})[!?])[\"')\]]*"  # no white space follows there
_BEGINS = re.compile(rf"(?:^|\n|{_CLOSING}\s|{_EAST_CLOSING}\s*)$")
_ENDS = re.compile(rf"$|\n|{_CLOSING}(?:\s|$)|{_EAST_CLOSING}")
_STOPPED = re.compile(rf"{_CLOSING}\s*$")
_SENTENCE = re.compile(rf"(?<=[{STOPS}])\s+|(?<=\u3002)|(?<=[!?])(?={EAST})|\n")
# Beside a piece these signs quote it, strike it out, ask about it or judge it.
_SIGNS = re.compile(r":$|^>|[~|\u2705\u274c\u2713\u2717\u26a0\u26d4\U0001f6ab]")
_CLOSERS = f"{STOPS}\u3002\"')] "
_LAST_STOP = re.compile(r"(?<=\d)\.$")
_LEFT_OUT = re.compile(r"^(?:\[\.\.\.\]|\.\.\.)\s*|\s*(?:\[\.\.\.\]|\.\.\.+)$")


def is_piece(text: str, whole: str) -> bool:
    """Tell whether a text is a piece of a longer one that says all that it says.

    A piece is long, and its words stand in a row in the longer text. It begins and ends where sentences do, or shows that it
    was cut there. Beside it stand ordinary sentences or headings, but no word, sign or short sentence that comments on it.
    """
    ours, theirs = wording(text), wording(whole)
    if ours.is_code or theirs.is_code or len(ours.plain) >= len(theirs.plain):
        return False
    plain = _trimmed(ours.plain)
    start = theirs.plain.replace("\n", " ").find(plain.replace("\n", " "))
    if start < 0 or n_words(plain) < LONG:
        return False
    end, offset = start + len(plain), ours.plain.index(plain)
    if not is_same_case(theirs.cased[start:end], ours.cased[offset : offset + len(plain)]):
        return False
    rests = _Rests(theirs.plain[:start], plain, theirs.plain[end:], ends_stopped=_STOPPED.search(whole) is not None)
    begins_cut, ends_cut = _cuts(text, ours.plain, offset, offset + len(plain), rests)
    return (
        (begins_cut or rests.ends_before)
        and (ends_cut or rests.begins_after)
        and rests.say_nothing(begins_cut=begins_cut, ends_cut=ends_cut)
    )


@lru_cache(maxsize=4096)
def _trimmed(plain: str) -> str:
    """Remove marks of omission and the last stop."""
    return _LAST_STOP.sub("", _LEFT_OUT.sub("", plain).strip())


class _Rests:
    """The sentences before and after a piece of a text."""

    def __init__(self, before: str, piece: str, after: str, *, ends_stopped: bool) -> None:
        self.ends_before = _BEGINS.search(before) is not None
        self.begins_after = _ENDS.match(after) is not None
        self.ahead = [sentence for sentence in _SENTENCE.split(before) if sentence.strip()]
        self.behind = [sentence for sentence in _SENTENCE.split(after.lstrip(_CLOSERS)) if sentence.strip()]
        if self.behind and ends_stopped:  # the wording leaves out the text's last stop
            self.behind[-1] += "."
        self._stems = _stems(piece)
        self.are_open = before.count('"') % 2 == 1 or any(before.count(a) != before.count(b) for a, b in ("()", "[]"))

    def say_nothing(self, *, begins_cut: bool, ends_cut: bool) -> bool:
        """Tell that no sentence here comments on the piece, denies it or quotes it."""
        sides = (
            (self.ahead[::-1][:_BESIDE], begins_cut and not self.ends_before),
            (self.behind[:_BESIDE], ends_cut and not self.begins_after),
        )
        doubted = any("?" in sentence and not is_boilerplate(sentence) for sentence in self.behind[:_BESIDE])
        headings = [side[:1] for side, is_cut in sides if not is_cut]
        if any(self._is_strange(line) for heading in headings for line in heading):
            return False
        return not self.are_open and not doubted and all(_says_nothing(sentences, is_cut=is_cut) for sentences, is_cut in sides)

    def _is_strange(self, line: str) -> bool:
        """Tell whether a line without a stop shares no word with the piece: a title shares one, "Plaintiff's version" none."""
        is_heading = _STOPPED.search(line) is None and not is_boilerplate(line)
        return is_heading and self._stems.isdisjoint(_stems(line))


def _says_nothing(sentences: list[str], *, is_cut: bool) -> bool:
    """Tell whether the sentences beside a piece, nearest first, leave it as it is; the first may be the rest of a cut one."""
    if sentences and (may_deny(sentences[0], of_any_length=is_cut) or (not is_cut and _is_remark(sentences[0]))):
        return False
    return not any(_comments(sentence) for sentence in sentences)


def _cuts(text: str, plain: str, start: int, end: int, rests: _Rests) -> tuple[bool, bool]:
    """Tell whether a text shows that it was cut at its beginning and at its end: by a mark, or within a sentence.

    A text without a full stop may be a title, or careless. It was cut if it begins within a sentence, or stops far from the
    end.
    """
    begins_within = text.lstrip()[:1].islower() and text.lower() != text
    is_stopped = _STOPPED.search(text) is not None
    stops_within = not is_stopped and (begins_within or (len(rests.behind) > 1 and len(_SENTENCE.split(plain)) > _BESIDE))
    return start > 0 or begins_within, end < len(plain) or stops_within


def _is_remark(sentence: str) -> bool:
    is_short = _STOPPED.search(sentence) is not None and n_words(sentence) < _SHORT_SENTENCE
    return is_short and not is_boilerplate(sentence)


def _comments(sentence: str) -> bool:
    if is_boilerplate(sentence):
        return False
    return _SIGNS.search(sentence) is not None or may_comment(sentence) or not word_spans(sentence)


def _stems(text: str) -> set[str]:
    """Give the first letters of a text's longer words, and each character of a script without spaces."""
    words = (text[start:end] for start, end in word_spans(text))
    return {word[:_STEM] for word in words if len(word) >= _STEM or is_unspaced(word)}


def n_words(text: str) -> float:
    """Count words. In scripts without spaces, count about as many as a translation has."""
    return sum(UNSPACED_WORD if is_unspaced(text[start:end]) else 1 for start, end in word_spans(text))
