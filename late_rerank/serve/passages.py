"""Best passages of results: where they stand in the text that the client sent. A thread finds them: that takes a tokenizer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from late_rerank.encode.places import Span
from late_rerank.types import RankedDocument

SpanOf = Callable[[RankedDocument], Span | None]
"""Tells where a result's best passage stands, in code points of the text that the client sent; None if that isn't known."""


def find_spans(documents: Iterable[RankedDocument], span_of: SpanOf, until: float) -> None:
    """Find the best passage of each document, so that it is known when the answer is written.

    Args:
        documents: Those that the answer shows.
        span_of: Finds one.
        until: Nobody waits any longer, of `time.monotonic()`.
    """
    for document in documents:
        if time.monotonic() > until:
            return
        span_of(document)


def span_json(document: RankedDocument, span_of: SpanOf) -> list[int] | None:
    """Write where a document's best passage stands: its start and its end."""
    span = span_of(document)
    return None if span is None else list(span)
