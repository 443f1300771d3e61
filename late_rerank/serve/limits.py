"""How much a server takes on, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Bounds of one process.

    Attributes:
        body_bytes: Of a request's body; above it 413.
        n_documents: Of one request; above it 413.
        document_chars: Of one document; above it 413.
        query_chars: Of a query; above it 413.
        in_flight: Requests that are worked on or wait; above it 429.
        in_flight_bytes: Of all their bodies together; above it 429.
        waiting_encoders: Requests at a time that wait for documents to be encoded; above it 429. Requests whose documents are
            all stored don't count.
        working: Requests at a time that pack, explain or search, or wait for it; above it 429.
        timeout_s: A request's time since its body was there; then 503. What it asked for is encoded all the same, and there
            when it asks again.
        deadline_s: Then it is answered with what is scored by then; None for no other bound than `timeout_s`. A request may ask
            for a shorter one.
        body_timeout_s: For a body to arrive; then 408.
    """

    body_bytes: int = 32 * 2**20
    n_documents: int = 1000
    document_chars: int = 200_000
    query_chars: int = 20_000
    in_flight: int = 256
    in_flight_bytes: int = 256 * 2**20
    waiting_encoders: int = 64
    working: int = 64
    timeout_s: float = 60.0
    deadline_s: float | None = None
    body_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{field.name} must be above 0, got {value!r}")
