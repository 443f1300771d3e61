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
    if not scoring.window_tokens or not tokens:
        return ()
    found = window_scores(NumpyKernel(), query, Float32Codec().encode(document), scoring.strides)
    stops = (min(first + n, len(tokens)) for first, n in zip(found.first[:, 0].tolist(), scoring.window_tokens, strict=True))
    rows = zip(found.first[:, 0].tolist(), stops, strict=True)
    return tuple(Window(first, stop, *_span(tokens, first, stop, n_characters)) for first, stop in rows)


def _span(tokens: Sequence[Token], first: int, stop: int, n_characters: int) -> tuple[int, int]:
    """Find where a window stands: the rule of `late_rerank.encode.places.span_of`, for tokens that are known already."""
    if stop - first == len(tokens):
        return 0, n_characters
    inside = [token for token in tokens[first:stop] if not token.is_marker]
    return (inside[0].start, inside[-1].end) if inside else (tokens[first].start, tokens[first].start)
