"""One load of a model for a whole test session, however many Rerankers its tests make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from threading import Lock
from unittest.mock import patch

from late_rerank.encode import Encoder, as_encoder
from late_rerank.encode.builtin import BUILT_IN


@contextmanager
def loaded_once() -> Iterator[None]:
    """Give Rerankers that are asked for the same model, with equal arguments, one and the same encoder.

    Loading "minilm" takes half a second with an engine, 6 s with torch. Folders are loaded each time, since a test may change
    their files.

        @pytest.fixture(scope="session", autouse=True)
        def each_model_is_loaded_once():
            with loaded_once():
                yield
    """
    encoders: dict[tuple[object, ...], Encoder] = {}
    lock = Lock()

    def load(
        given: str | PathLike[str] | Encoder,
        backend: str,
        device: str | None,
        pooling: int = 1,
        query_encoder: str | PathLike[str] = "full",
    ) -> Encoder:
        if not (isinstance(given, str) and given in BUILT_IN):
            return as_encoder(given, backend, device, pooling, query_encoder)
        asked = (given, backend, device, pooling, query_encoder)
        with lock:
            if asked not in encoders:
                encoders[asked] = as_encoder(given, backend, device, pooling, query_encoder)
            return encoders[asked]

    with patch("late_rerank.reranker.as_encoder", load):
        yield
