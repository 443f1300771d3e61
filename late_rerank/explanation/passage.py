"""The best passage on the page of an explanation: its place in whole words, its tags, and the windows in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from late_rerank.explanation.matches import Window
from late_rerank.explanation.words import Word

SAMPLE = '<span><span class="lr-passage">text</span> the best passage</span>'


def in_words(span: tuple[int, int] | None, text: str, words: Iterable[Word]) -> tuple[int, int] | None:
    """Widen a passage to whole words, since a window may begin within one. Give None for no passage, and for the whole text."""
    if span is None or span == (0, len(text)):
        return None
    start, end = span
    for word in words:
        if word.start < start < word.end:
            start = word.start
        if word.start < end < word.end:
            end = word.end
    return start, end


def link_to(passage: tuple[int, int], scope: str) -> str:
    """Make a line that says where the passage is, and leads there."""
    start, end = passage
    return f'<p><a class="lr-to-passage" href="#{scope}-passage">The best passage</a> is at characters {start}&ndash;{end}.</p>'


def opening_tag(scope: str) -> str:
    """Make the tag before the passage."""
    return f'<span class="lr-passage" id="{scope}-passage" role="group" aria-label="the best passage">'


def within_windows(windows: Sequence[Window], n_tokens: int) -> str:
    """Say within which windows matches count; "" if each window holds all of the text's tokens."""
    sizes = [str(size) for size in dict.fromkeys(window.stop_token - window.first_token for window in windows)]
    if all(size == str(n_tokens) for size in sizes):
        return ""
    *first, last = sizes
    listed = f"{', '.join(first)} and {last}" if first else last
    return f" within the best {listed} tokens in a row"
