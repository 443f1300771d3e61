"""How much a server takes on, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, fields

from late_rerank.arguments.limits import MAX_DOCUMENT_CHARS, MAX_DOCUMENTS, MAX_QUERY_CHARS


@dataclass(frozen=True)
class Limits:
    """Bounds of one process.

    Attributes:
        body_bytes: Of one request's body; a larger one is 413.
        n_documents: Of one request; more are 413.
        document_chars: Of one document; a longer one is 413.
        n_images: Of one request; more are 413. Keys of pictures that were indexed don't count.
        image_bytes: Of one image, before base64; a larger one is 413.
        image_pixels: Of one image, as its header tells before it is decoded; a larger one is 413. 25 million are a page of A4
            at 500 dpi.
        query_chars: Of a query; a longer one is 413.
        n_queries: Of one request; more are 413.
        n_pairs: Of one request with several queries, queries times documents; more are 413.
        in_flight: Requests that are worked on or wait; a further one is 429.
        in_flight_bytes: Of all bodies together; a further one is 429.
        waiting_encoders: Requests at a time that wait for documents to be encoded; a further one is 429. Requests whose
            documents are all stored don't count.
        working: Requests at a time that pack, explain or search, or wait for it; a further one is 429.
        models: That are loaded at a time, of a server with several; the least recently used go.
        timeout_s: Of a request, from when its body is there; then 504. Its documents are encoded all the same, and are stored
            when the client asks again.
        deadline_s: After so many seconds a request is answered with the documents scored until then; None for `timeout_s`
            alone. A request may ask for a shorter one.
        body_timeout_s: For a body to arrive; then 408.

    Raises:
        ValueError: If a bound isn't above 0 and finite.
    """

    body_bytes: int = 32 * 2**20
    n_documents: int = MAX_DOCUMENTS
    document_chars: int = MAX_DOCUMENT_CHARS
    n_images: int = 100
    image_bytes: int = 10 * 2**20
    image_pixels: int = 25_000_000
    query_chars: int = MAX_QUERY_CHARS
    n_queries: int = 64
    n_pairs: int = 10_000
    in_flight: int = 256
    in_flight_bytes: int = 256 * 2**20
    waiting_encoders: int = 64
    working: int = 64
    models: int = 4
    timeout_s: float = 60.0
    deadline_s: float | None = None
    body_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{field.name} must be above 0, got {value!r}")
