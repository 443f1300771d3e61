"""Spans of OpenTelemetry, for programs that trace. Nothing is imported here: such a program has imported the package itself."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_NAME = "late_rerank"
# OpenTelemetry's own variable for the texts of generative AI.
CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_SHOWING = ("true", "1", "span_only", "span_and_event")

_is_silent: ContextVar[bool] = ContextVar("late_rerank_is_silent", default=False)


def shows_content() -> bool:
    """Tell whether spans may hold queries and documents, which OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT asks for."""
    return os.environ.get(CONTENT_VARIABLE, "").lower() in _SHOWING


@contextmanager
def span(name: str, attributes: Mapping[str, Any] | None = None, **options: Any) -> Iterator[Any | None]:
    """Open a span, the parent of the spans inside.

    Args:
        name: The span's name.
        attributes: Known from the start.
        **options: As `Tracer.start_as_current_span` takes them.

    Yields:
        The span; None where the program doesn't trace, or samples this one out.
    """
    if not traces():
        yield None
        return
    trace = sys.modules["opentelemetry.trace"]
    # An error's message may quote a document: only its kind is told.
    with trace.get_tracer(_NAME).start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False, **options
    ) as opened:
        try:
            yield opened if opened.is_recording() else None
        except BaseException as error:
            fail(opened, type(error).__name__)
            raise


def traces() -> bool:
    """Tell whether the program has loaded OpenTelemetry."""
    return "opentelemetry.trace" in sys.modules and not _is_silent.get()


@contextmanager
def request_span(name: str, headers: Mapping[str, str], attributes: Mapping[str, Any]) -> Iterator[Any | None]:
    """Open the span of a request that a server answers, below the client's span if its headers name one.

    Args:
        name: The method and the route.
        headers: The request's, in lower case; `traceparent` names the client's span.
        attributes: Known from the start.

    Yields:
        As `span`.
    """
    if not traces():
        yield None
        return
    client = importlib.import_module("opentelemetry.propagate").extract(headers)
    with span(name, attributes, context=client, kind=sys.modules["opentelemetry.trace"].SpanKind.SERVER) as opened:
        yield opened


def fail(opened: Any, reason: str) -> None:
    """Mark a span as failed."""
    trace = sys.modules["opentelemetry.trace"]
    opened.set_status(trace.Status(trace.StatusCode.ERROR, reason))


@contextmanager
def silent() -> Iterator[None]:
    """Open no spans inside: for work that several traces share, of which each tells its own part by `tell_stages`."""
    token = _is_silent.set(True)
    try:
        yield
    finally:
        _is_silent.reset(token)


def tell_stages(parent: Any, started_ns: int, stages: Mapping[str, float]) -> None:
    """Add finished spans below another, one after the other.

    Args:
        parent: A span.
        started_ns: When the first stage began, of `time.time_ns()`.
        stages: Name -> milliseconds, in their order. Stages that took no time have no span.
    """
    trace = sys.modules["opentelemetry.trace"]
    tracer, context = trace.get_tracer(_NAME), trace.set_span_in_context(parent)
    for name, ms in stages.items():
        if ms > 0:
            opened = tracer.start_span(name, context=context, start_time=started_ns)
            started_ns += round(ms * 1e6)
            opened.end(end_time=started_ns)


def numbered(prefix: str, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Name documents' values as OpenInference does: `prefix.0.document.id` and so on. Values that are None are left out."""
    return {
        f"{prefix}.{i}.document.{name}": value
        for i, document in enumerate(documents)
        for name, value in document.items()
        if value is not None
    }
