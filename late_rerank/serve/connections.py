"""uvicorn's HTTP protocol, with bounds for the time and size of a request's head, which uvicorn lacks."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S = 20.0
HEAD_BYTES = 64 * 2**10


class TimedHttp(HttpToolsProtocol):
    """Ends a connection whose head is late or too large. uvicorn would keep it for ever, and headers of any size in memory."""

    _head_due: asyncio.TimerHandle | None = None
    _n_head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_due is not None:
            self._n_head_bytes += len(data)
            if self._n_head_bytes > HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_due is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._has_head()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._n_head_bytes = 0
        self._head_due = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _has_head(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
