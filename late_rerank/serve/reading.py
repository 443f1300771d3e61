"""Bodies off the wire: declared as JSON, within their size and their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits


class BodyReader:
    """Reads the bodies of one process's requests. Used on one event loop.

    Args:
        limits: The size of one body and of all held at a time, and the time that one may take.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._n_bytes = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Read the whole body; it counts as held until the block ends.

        Raises:
            RequestError: If the body isn't declared as JSON (415), takes too long (408), is too large (413), or if all bodies
                together are too large (429).
        """
        _check_json(request)
        body = bytearray()
        try:
            await self._read_in_time(request, body)
            yield bytes(body)
        finally:
            self._n_bytes -= len(body)

    async def _read_in_time(self, request: Request, body: bytearray) -> None:
        try:
            await asyncio.wait_for(self._read(request, body), self._limits.body_timeout_s)
        except asyncio.TimeoutError:  # not TimeoutError itself before Python 3.11
            raise RequestError(408, f"the body didn't arrive within {self._limits.body_timeout_s:g} s") from None

    async def _read(self, request: Request, body: bytearray) -> None:
        said = request.headers.get("content-length", "")
        if said.isdigit() and int(said) > self._limits.body_bytes:
            raise RequestError(413, self._too_large(int(said)))
        async for chunk in request.stream():
            body += chunk
            self._n_bytes += len(chunk)
            if len(body) > self._limits.body_bytes:
                raise RequestError(413, self._too_large(len(body)))
            if self._n_bytes > self._limits.in_flight_bytes:
                raise RequestError(429, "too much is being read at once; try again", retry_after_s=1)

    def _too_large(self, n: int) -> str:
        return f"the body has {n:,} bytes or more: at most {self._limits.body_bytes:,} are taken; send fewer documents"


def _check_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        # A page of another site may send any other type without a preflight request.
        raise RequestError(415, f"send JSON with Content-Type: application/json, not {kind[:80] or 'none'!r}")
