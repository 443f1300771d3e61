"""An object that takes long to make: made in the background, tried again if that fails, closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """An object that is closed when its process has no more use for it."""

    def close(self) -> None:
        """Free what it holds."""


Made = TypeVar("Made", bound=Closable)


class Loader(Generic[Made]):
    """Makes one object for a server, which answers meanwhile. Its methods are called on one event loop.

    Args:
        make: Makes the object, in a thread. It is called again after a failure.
        warm: Uses the object once, in the same thread, before anybody gets it: a model's first pass takes a hundred times as
            long as its later ones.
        tell: Is told each failure, on the event loop.

    Attributes:
        made: The object; None until it is made.
        error: The latest failure; None if there was none.
    """

    def __init__(self, make: Callable[[], Made], *, warm: Callable[[Made], object], tell: Callable[[Exception], None]) -> None:
        self.made: Made | None = None
        self.error: Exception | None = None
        self._make = make
        self._warm = warm
        self._tell = tell
        self._is_ending = asyncio.Event()
        self._loading: asyncio.Task[Made] | None = None

    def begin(self, waits_s: Iterable[float] = ()) -> None:
        """Begin to make the object.

        Args:
            waits_s: How long to wait before each further try, in seconds; may be endless. One try only if it is empty.
        """
        self._loading = asyncio.get_running_loop().create_task(self._load(waits_s))

    async def loaded(self) -> Made:
        """Wait for the object, after `begin`. A caller that is cancelled doesn't cancel the loading.

        Raises:
            Exception: If no try is left: the last failure.
        """
        if self._loading is None:
            raise RuntimeError("begin() must be called before loaded()")
        return await asyncio.shield(self._loading)

    async def close(self) -> None:
        """Try no more, wait for a try that runs, and close the object."""
        self._is_ending.set()
        if self._loading is not None:
            await asyncio.gather(self._loading, return_exceptions=True)
        if self.made is not None:
            await asyncio.to_thread(self.made.close)

    async def _load(self, waits_s: Iterable[float]) -> Made:
        for wait_s in chain((0.0,), waits_s):
            if await self._ends_within(wait_s):
                break
            made = await self._tried()
            if made is not None:
                return made
        raise self.error or RuntimeError("the loader was closed before it began")

    async def _tried(self) -> Made | None:
        try:
            self.made = await asyncio.to_thread(self._made_and_warmed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and raised if it is the last
            self.error = error
            self._tell(error)
        return self.made

    async def _ends_within(self, seconds: float) -> bool:
        with suppress(asyncio.TimeoutError):  # not TimeoutError itself before Python 3.11
            await asyncio.wait_for(self._is_ending.wait(), seconds)
        return self._is_ending.is_set()

    def _made_and_warmed(self) -> Made:
        made = self._make()
        try:
            self._warm(made)
        except BaseException:
            made.close()
            raise
        return made
