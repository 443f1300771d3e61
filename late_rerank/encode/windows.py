"""Long token sequences -> overlapping windows, each token kept from exactly one of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """One piece of a token sequence: encode tokens [start, stop), keep the vectors of [keep_start, keep_stop)."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def windows(n_tokens: int, size: int, overlap: int) -> list[Window]:
    """Cover a sequence by windows of `size` tokens, each overlapping its neighbour by at least `overlap`.

    The last window is moved back so that it is full: its tokens then see as much context as the others'. Of an
    overlap, the first half is kept from the earlier window and the second from the later: each token comes from
    the window in which it stands further from the edge.

    Args:
        n_tokens: At least 0.
        size: At least 1.
        overlap: From 0 to size - 1.

    Returns:
        In order; the kept ranges join without gaps to [0, n_tokens). One window where `n_tokens` <= `size`.
    """
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
