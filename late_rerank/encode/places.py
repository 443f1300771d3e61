"""Where in a text its token vectors come from: the encoder's tokens, and the runs of them that make a span of characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from late_rerank.encode import Encoder
from late_rerank.errors import IncompatibleError
from late_rerank.types import I64

Span = tuple[int, int]
"""Where a piece of a text starts and ends, in code points."""

_NEEDED = "tokens(text, kind), which gives (token, start, end) row for row with the vectors of a text"


def check_places(encoder: Encoder, what: str) -> None:
    """See to it that an encoder can tell its tokens' places.

    Args:
        encoder: Any.
        what: Which can't be done without, for the error.

    Raises:
        IncompatibleError: It has no `tokens`.
    """
    if not hasattr(encoder, "tokens"):
        raise IncompatibleError(
            f"the encoder {type(encoder).__name__} can't be {what}: it has no method {_NEEDED}. Add it "
            "(late_rerank.testing.EncoderTests is its law), or use an encoder that has it, TextEncoder for one"
        )


def tokens_of(encoder: Any, text: str, kind: Literal["query", "document"], n_vectors: int) -> list[tuple[str, int, int]]:
    """An encoder's tokens of a text, of which it has so many vectors.

    Raises:
        IncompatibleError: It names more of them, or fewer; or it pools them.
    """
    tokens: list[tuple[str, int, int]] = encoder.tokens(text, kind) if n_vectors else []
    if len(tokens) != n_vectors:
        raise IncompatibleError(
            f"{type(encoder).__name__}.tokens names {len(tokens)} tokens of a {kind} that has {n_vectors} vectors; "
            f"it must be {_NEEDED}"
        )
    return tokens


def runs(tokens: Sequence[tuple[str, int, int]], spans: Sequence[Span]) -> tuple[I64, I64]:
    """Which of a text's tokens make each of its spans.

    Args:
        tokens: As `tokens_of` gives them. What isn't in the text (markers, expansion) has start == end and is in no span.
        spans: In their order in the text, without overlap. A token belongs to the span that it starts in.

    Returns:
        The first token of each span and how many there are, (n_spans,) int64 each; none (beyond where the text was cut) is 0.
    """
    rows = np.array([i for i, (_, start, end) in enumerate(tokens) if end > start], dtype=np.int64)
    places = np.array([tokens[i][1] for i in rows], dtype=np.int64)
    bounds = np.array(spans, dtype=np.int64).reshape(-1, 2)
    first, last = np.searchsorted(places, bounds[:, 0]), np.searchsorted(places, bounds[:, 1])
    lengths = last - first
    # In a row: what isn't in the text stands before or after all that is.
    starts = np.where(lengths > 0, np.append(rows, 0)[first], 0)
    return starts, lengths
