"""How many threads run a model."""

from __future__ import annotations

from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> Any:
    """Let torch compute on the calling thread alone, in a `with`; other threads keep theirs.

    A query is too little work for several, which then wait for each other: where other programs run, twenty times as long as
    one thread takes. torch.set_num_threads would also decide for every thread that begins meanwhile; and what a program has set
    by it, stays.
    """
    return _controller().limit(limits=1, user_api="openmp")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks at every library that is loaded: a millisecond
