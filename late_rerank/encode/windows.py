"""Long token sequences -> overlapping windows; each token is kept from exactly one window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Window:
    """One piece of a token sequence: encode tokens [start, stop), keep the vectors of [keep_start, keep_stop)."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One window of one document, ready for the model: its ids, and which of their vectors to keep."""

    ids: list[int]
    keep: slice


def in_windows(opening: list[int], ids: list[int], closing: list[int], window_tokens: int, overlap: int) -> Iterator[Piece]:
    """Cut a document into windows with markers. Opening markers are kept from the first window, closing ones from the last.

    Args:
        opening: The ids before the text in every window.
        ids: The text's own tokens; a text without tokens has no pieces.
        closing: The ids after the text in every window.
        window_tokens: Tokens of a whole window, markers included.
        overlap: Tokens that neighbouring windows share.
    """
    if not ids:
        return
    for window in windows(len(ids), window_tokens - len(opening) - len(closing), overlap):
        first, last = window.start == 0, window.stop == len(ids)
        piece = opening + ids[window.start : window.stop] + closing
        keep_start = 0 if first else len(opening) + window.keep_start - window.start
        keep_stop = len(piece) if last else len(opening) + window.keep_stop - window.start
        yield Piece(piece, slice(keep_start, keep_stop))


def windows(n_tokens: int, size: int, overlap: int) -> list[Window]:
    """Cover a sequence by windows of `size` tokens, each overlapping its neighbour by at least `overlap`.

    The last window is moved back so that it is full: its tokens then see as much context as all others. The first half of
    an overlap is kept from the earlier window, the second half from the later: each token comes from the window in which
    it stands further from the edge. Without overlap no token is in two windows, and all windows are of about one length.

    Args:
        n_tokens: At least 0.
        size: At least 1.
        overlap: From 0 to size - 1.

    Returns:
        In order; the kept ranges join without gaps to [0, n_tokens). One window where `n_tokens` <= `size`.
    """
    if overlap == 0:
        n = max(1, -(-n_tokens // size))
        edges = [i * n_tokens // n for i in range(n + 1)]
        return [Window(start, stop, start, stop) for start, stop in pairwise(edges)]
    starts = [0]
    while starts[-1] + size < n_tokens:
        starts.append(min(starts[-1] + size - overlap, n_tokens - size))
    stops = [min(start + size, n_tokens) for start in starts]
    seams = [(start + stop) // 2 for start, stop in zip(starts[1:], stops[:-1], strict=True)]
    keeps = [0, *seams, n_tokens]
    return [
        Window(start, stop, keep_start, keep_stop)
        for start, stop, keep_start, keep_stop in zip(starts, stops, keeps[:-1], keeps[1:], strict=True)
    ]
