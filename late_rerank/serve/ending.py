"""How a server ends: proxies hear first that it isn't ready, while it still answers."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("late_rerank.serve")


class Ending:
    """Whether this process is about to end.

    Args:
        drain_s: Seconds between SIGTERM and the end of answering new requests; 0 for none.

    Attributes:
        is_near: Whether SIGTERM came: /ready says no from then on.
    """

    def __init__(self, drain_s: float) -> None:
        self.is_near = False
        self._drain_s = drain_s

    @contextmanager
    def delayed(self) -> Iterator[None]:
        """Hand on SIGTERM only after `drain_s`; a second SIGTERM at once. Enter it on the running event loop.

        A server that runs in another thread than the main one gets no signals, so nothing changes for it.
        """
        if not self._drain_s or threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before: Any = signal.getsignal(signal.SIGTERM)

        def hand_on() -> None:
            if signal.getsignal(signal.SIGTERM) is begin:
                signal.signal(signal.SIGTERM, before)
                signal.raise_signal(signal.SIGTERM)

        def begin(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what a handler is given
            delay_s = 0.0 if self.is_near else self._drain_s
            self.is_near = True
            # The handler may run in the midst of the loop's own work.
            loop.call_soon_threadsafe(loop.call_later, delay_s, hand_on)
            logger.info("ending in %g s: not ready any more, and answering until then", delay_s)

        signal.signal(signal.SIGTERM, begin)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGTERM) is begin:
                signal.signal(signal.SIGTERM, before)


class Closing:
    """An ASGI app around another that closes connections near the end, each after its answer: clients make new ones elsewhere.

    Args:
        app: What answers.
        ending: Of this process.
    """

    def __init__(self, app: ASGIApp, ending: Ending) -> None:
        self._app = app
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_closing(message: Message) -> None:
            if self._ending.is_near and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_closing if scope["type"] == "http" else send)
