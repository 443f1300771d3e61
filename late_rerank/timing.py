"""Where a call's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_OF_A_RERANK = ("encode_query", "fetch", "encode_missing", "maxsim", "total")


class Timer:
    """Milliseconds by stage; a stage entered again adds up.

    Args:
        stages: Their names; those of a rerank unless given.

    Attributes:
        ms: Stage -> milliseconds; stages that weren't entered are 0.
    """

    def __init__(self, stages: Sequence[str] = _OF_A_RERANK) -> None:
        self.ms = dict.fromkeys(stages, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] += (time.perf_counter() - started) * 1000
