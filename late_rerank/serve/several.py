"""The models of a server: the first is loaded at once, each other when it is asked for first; those not asked for go again."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.loading import LoadedModel, MakeReranker, ModelLoader, TellLoaded
from late_rerank.serve.models import is_served

# How long a model that couldn't be loaded is left alone. A try takes seconds, and keeps other models from being loaded.
_LEFT_ALONE_S = 30.0


@dataclass(frozen=True)
class _Failure:
    """A failed try to load a model.

    Attributes:
        kind: The error's class. The error itself isn't kept: it holds what its frames held, half a model for one.
        again_at: From when the model may be tried again, by the server's clock.
    """

    kind: str
    again_at: float


class _Slot:
    """A model that is loaded, being loaded, or waiting for that, and how many requests use it."""

    def __init__(self, loader: ModelLoader) -> None:
        self.loader = loader
        self.n_users = 0
        self.loading: asyncio.Task[None] | None = None  # the first model loads by itself
        self.failure: _Failure | None = None  # of that task


class Models:
    """A server's models. Its methods are called on one event loop.

    Args:
        makers: Name -> what makes its Reranker, in a thread. The first is the one for requests that name no model of these.
            One without a name is called as the model calls itself.
        limits: Of the server. `models` are kept loaded, the first among them and at least one more; further ones only while
            requests use them. They are loaded one after the other.
        tell_loaded: Is told each model that was loaded, in another thread.
        clock: Gives seconds.
    """

    def __init__(
        self,
        makers: Mapping[str, MakeReranker],
        limits: Limits,
        *,
        tell_loaded: TellLoaded | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = tuple(makers)
        self._makers = makers
        self._limits = limits
        self._tell_loaded = tell_loaded
        self._clock = clock
        self._failures: dict[str, _Failure] = {}
        self._most = max(limits.models, 2)
        self._loads = asyncio.Lock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()  # the least recently used first
        self._closing: set[asyncio.Task[None]] = set()

    def begin(self, *, gives_up: bool) -> None:
        """Begin to load the first model: see `ModelLoader.begin`."""
        self._first = self._opened(self._keys[0])
        self._first.loader.begin(gives_up=gives_up)

    @property
    def ready(self) -> LoadedModel:
        """The first model.

        Raises:
            RequestError: If it isn't loaded yet (503).
        """
        return self._first.loader.ready

    @property
    def names(self) -> list[str]:
        """The names of all models, the first one first.

        Raises:
            RequestError: If the first model, which has no other name than its own, isn't loaded yet (503).
        """
        return [key or self.ready.name for key in self._keys]

    @property
    def loaded_names(self) -> list[str]:
        """The names of the models that are loaded now."""
        slots = ((key, self._slots.get(key)) for key in self._keys)
        return [key or slot.loader.ready.name for key, slot in slots if slot is not None and slot.loader.is_ready]

    @property
    def modalities(self) -> dict[str, list[str] | None]:
        """Name -> what a document of this model may be; None for a model that isn't loaded now.

        Raises:
            RequestError: As `names` does.
        """
        slots = (self._slots.get(key) for key in self._keys)
        loaded = (slot is not None and slot.loader.is_ready and slot.loader.ready.images.modalities for slot in slots)
        return {name: kinds or None for name, kinds in zip(self.names, loaded, strict=True)}

    async def loaded(self) -> None:
        """Wait for the first model.

        Raises:
            RuntimeError: If no try is left.
        """
        await self._first.loader.loaded()

    def named(self, asked: str | None) -> str:
        """Give the key of the model that a request means: the first where it names none of these."""
        if asked in self._keys:
            return str(asked)
        return next((key for key in self._keys if key and is_served(asked, key)), self._keys[0])

    @asynccontextmanager
    async def using(self, asked: str | None) -> AsyncIterator[LoadedModel]:
        """Give the model that a request means. It is loaded if it isn't, and stays as long as it is used.

        Args:
            asked: The request's `model`.

        Raises:
            RequestError: If it can't be loaded or couldn't be a short while ago (503), or isn't within `timeout_s` (504).
        """
        name = self.named(asked)
        slot = self._slots.get(name)
        if slot is None:
            self._check_may_be_tried(name)
            slot = self._opened(name)
            slot.loading = asyncio.get_running_loop().create_task(self._load(name, slot))
        self._slots.move_to_end(name)
        slot.n_users += 1
        try:
            yield slot.loader.ready if slot is self._first else await self._waited(name, slot)
        finally:
            slot.n_users -= 1
            self._make_room(self._most)

    async def close(self) -> None:
        """Try no more, finish what runs, then close all models."""
        slots, self._slots = list(self._slots.values()), OrderedDict()
        for slot in slots:
            self._close(slot)
        await asyncio.gather(*self._closing)

    def _opened(self, name: str) -> _Slot:
        loader = ModelLoader(self._makers[name], self._limits, name, tell_loaded=self._tell_loaded)
        slot = self._slots[name] = _Slot(loader)
        return slot

    async def _load(self, name: str, slot: _Slot) -> None:
        async with self._loads:
            self._make_room(self._most - 1)
            await asyncio.gather(*self._closing)  # its memory is needed
            slot.loader.begin_once()
            try:
                await slot.loader.loaded()
            except RuntimeError as error:
                slot.failure = _Failure(type(error.__cause__ or error).__name__, self._clock() + _LEFT_ALONE_S)
                self._failures[name] = slot.failure
                if self._slots.get(name) is slot:  # else the server ends
                    del self._slots[name]

    async def _waited(self, name: str, slot: _Slot) -> LoadedModel:
        if slot.loading is None:
            raise RuntimeError(f"nothing loads the model {name}")
        try:
            await asyncio.wait_for(asyncio.shield(slot.loading), self._limits.timeout_s)
        except asyncio.TimeoutError:  # not TimeoutError itself before Python 3.11
            raise RequestError(504, f"the model {name} is being loaded; try again", retry_after_s=2) from None
        if slot.failure is not None:
            raise self._refused(name, slot.failure)
        return slot.loader.ready

    def _check_may_be_tried(self, name: str) -> None:
        failure = self._failures.get(name)
        if failure is not None and self._clock() < failure.again_at:
            raise self._refused(name, failure)

    def _refused(self, name: str, failure: _Failure) -> RequestError:
        # The error's own message may name a folder of this machine: that is for the log.
        wait_s = max(1, math.ceil(failure.again_at - self._clock()))
        told = f"the model {name} can't be loaded ({failure.kind}: see the server's log); it is tried again in {wait_s} s"
        return RequestError(503, told, retry_after_s=wait_s)

    def _make_room(self, most: int) -> None:
        """Close the least recently used models that nobody uses, until so many are loaded; never the first."""
        loaded = [name for name, slot in self._slots.items() if slot.loader.is_ready]
        idle = [name for name in loaded if not self._slots[name].n_users and self._slots[name] is not self._first]
        for name in idle[: max(0, len(loaded) - most)]:
            self._close(self._slots.pop(name))

    def _close(self, slot: _Slot) -> None:
        task = asyncio.get_running_loop().create_task(_closed(slot))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _closed(slot: _Slot) -> None:
    await slot.loader.close()
    if slot.loading is not None:
        slot.loading.cancel()  # where it still waits to begin
        await asyncio.gather(slot.loading, return_exceptions=True)
