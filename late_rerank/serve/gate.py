"""What every request passes first: who asks, how much is on already, what is counted; and where errors are answered."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from late_rerank.errors import raised_at
from late_rerank.serve.access import ApiKeys, host_of, is_loopback, request_id
from late_rerank.serve.dialects import dialect_of
from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.metrics import Metrics

logger = logging.getLogger("late_rerank.serve")

# What a person's browser or a watchdog asks for; tells nothing of documents.
_OPEN = ("/health", "/ready", "/", "/docs", "/openapi.json")
_OPEN_FOLDER = "/page/"
# Of a body that comes, it is there by then.
_BEGINNING_S = 1.0


class Gate:
    """An ASGI app around another.

    Args:
        app: What answers.
        limits: How many requests at once.
        keys: Of which one must be brought, where there are any.
        metrics: What is counted.
        paths: Counted each by itself; all else together, since there is no end of it.
        hosts: Names under which the server may be asked; None for any. A page in a browser on this machine can make another
            site's name mean this machine, but not the name that it then sends.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        keys: ApiKeys,
        metrics: Metrics,
        paths: Iterable[str],
        hosts: Iterable[str] | None = None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._keys = keys
        self._metrics = metrics
        self._paths = frozenset(paths)
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._n = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("app", self)  # then what isn't there is raised to us, not answered by the router
        request = _Request(scope, receive, send)
        started = time.perf_counter()
        try:
            self._check(scope, request)
            with self._admitted():
                await self._app(scope, request.receive, request.send)
        except ClientDisconnect:
            request.status = 499
        except RequestError as error:
            self._metrics.rejected.labels(str(error.status)).inc()
            await request.refuse(error)
        except HTTPException as error:
            refused = RequestError(error.status_code, f"{error.detail}: see /docs for what there is")
            await request.refuse(refused, error.headers)
        except Exception as error:  # noqa: BLE001 - the client is told no more than that; the log where it was, not what
            _log(error, request.id)
            await request.refuse(RequestError(500, f"the server failed; its log has more under {request.id}"))
        finally:
            endpoint = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.labels(endpoint, request.status).inc()
            self._metrics.seconds.labels(endpoint).observe(time.perf_counter() - started)

    def _check(self, scope: Scope, request: _Request) -> None:
        host = host_of(request.headers.get("host", "")).lower()
        if self._hosts is not None and host not in self._hosts and not is_loopback(host):
            raise RequestError(421, f"this server isn't asked as {host[:80]!r}: see --allowed-host")
        path = scope["path"]
        if path in _OPEN or path.startswith(_OPEN_FOLDER):
            return
        if not self._keys.admits(request.headers):
            raise RequestError(401, "no valid API key: send it as `Authorization: Bearer KEY`")
        if self._n >= self._limits.in_flight and path != "/metrics":
            raise RequestError(429, "too many requests at once; try again", retry_after_s=1)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        # What is refused doesn't count: who has no key could else keep out those who have one.
        self._n += 1
        self._metrics.in_flight.inc()
        try:
            yield
        finally:
            self._n -= 1
            self._metrics.in_flight.dec()


class _Request:
    """One request on its way: its id goes into the answer, and what came of it is noted."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = Headers(scope=scope)
        self.id = scope.setdefault("state", {})["request_id"] = request_id(self.headers)
        self.status = 500
        self._scope, self._receive, self._send = scope, receive, send
        self._begun: bytes | None = None
        self._has_answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        if self._begun is None:
            self._begun = message.get("body", b"")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_answered = True
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.id
        await self._send(message)

    async def refuse(self, error: RequestError, more_headers: Mapping[str, str] | None = None) -> None:
        """The error in the client's dialect; nothing where an answer has begun."""
        if self._has_answered:
            return
        if self._begun is None and self._scope["method"] == "POST":
            with suppress(asyncio.TimeoutError):  # the beginning of the body says who asks; no more of it is read
                await asyncio.wait_for(self.receive(), _BEGINNING_S)
        told: dict[str, Any] = dialect_of(self._begun or b"").error(error, self.id)
        headers = dict(more_headers or {})
        if error.retry_after_s is not None:
            headers["retry-after"] = str(error.retry_after_s)
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        if error.status in (401, 408, 413, 429):
            headers["connection"] = "close"  # what is left of the body isn't read
        response = Response(json.dumps(told), error.status, headers, "application/json")
        await response(self._scope, self._receive, self.send)


def _log(error: Exception, request_id: str) -> None:
    # Messages may quote documents, so none is logged.
    logger.error("request %s: %s at %s", request_id, type(error).__name__, raised_at(error))
