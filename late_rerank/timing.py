"""Where a call's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timer:
    """Milliseconds by stage; a stage entered again adds up.

    Attributes:
        ms: Stage -> milliseconds; stages that weren't entered are 0.
    """

    def __init__(self) -> None:
        self.ms = dict.fromkeys(("encode_query", "fetch", "encode_missing", "maxsim", "total"), 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] += (time.perf_counter() - started) * 1000
