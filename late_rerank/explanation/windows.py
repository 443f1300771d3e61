"""A scoring and one document's token vectors -> the best window of each scale, as the ranking finds it."""

from __future__ import annotations

from collections.abc import Sequence

from late_rerank.codecs import Float32Codec
from late_rerank.explanation.matches import Token, Window
from late_rerank.maxsim import NumpyKernel, Scoring
from late_rerank.maxsim.windows import window_scores
from late_rerank.types import TokenVectors


def best_windows(
    scoring: Scoring, query: TokenVectors, document: TokenVectors, tokens: Sequence[Token], n_characters: int
) -> tuple[Window, ...]:
    """Find the best window of each scale.

    Args:
        scoring: The rule.
        query: One query.
        document: One document, in float32.
        tokens: The document's tokens, row for row with its vectors.
        n_characters: The length of its text.

    Returns:
        In the order of the scales. Empty if the scoring has no windows, or the document has no tokens.
    """
    rows = best_rows(scoring, query, document)
    return tuple(Window(first, stop, *_span(tokens, first, stop, n_characters)) for first, stop in rows)


def best_rows(scoring: Scoring, query: TokenVectors, document: TokenVectors) -> tuple[tuple[int, int], ...]:
    """Find the vectors of the best window of each scale.

    Args:
        scoring: The rule.
        query: One query.
        document: One document, in float32.

    Returns:
        (the first vector, the vector after the last one), in the order of the scales. Empty if the scoring has no windows, or
        the document has no vectors.
    """
    n = len(document.values)
    if not scoring.window_tokens or not n:
        return ()
    found = window_scores(NumpyKernel(), query, Float32Codec().encode(document), scoring.strides)
    firsts: list[int] = found.first[:, 0].tolist()
    return tuple((first, min(first + length, n)) for first, length in zip(firsts, scoring.window_tokens, strict=True))


def _span(tokens: Sequence[Token], first: int, stop: int, n_characters: int) -> tuple[int, int]:
    """Find where a window stands: the rule of `late_rerank.encode.places.span_of`, for tokens that are known already."""
    if stop - first == len(tokens):
        return 0, n_characters
    inside = [token for token in tokens[first:stop] if not token.is_marker]
    return (inside[0].start, inside[-1].end) if inside else (tokens[first].start, tokens[first].start)
