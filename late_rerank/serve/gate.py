"""The gate that each request passes first: host, API key, number of requests. It counts, logs, and answers errors."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from late_rerank.serve.access import ApiKeys, host_of, is_loopback, request_id
from late_rerank.serve.clients.choosing import dialect_of
from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.logs import Answered, log_answer, log_failure
from late_rerank.serve.metrics import Metrics
from late_rerank.serve.paths import CLUSTER_PATH, Paths, path_asked

# Open under any name: a proxy's check has no Host, and Kubernetes' probes have the pod's address. So they tell the state alone,
# which a page in another site's name may read.
_PROBES = ("/health", "/ready")
# Open without a key: a browser and a watchdog ask for them, and they tell nothing of documents.
_OPEN = (*_PROBES, "/", "/docs", "/openapi.json", CLUSTER_PATH)
_OPEN_FOLDER = "/page/"
# How long to wait for the beginning of a body, which tells the client's language.
_BEGINNING_S = 1.0


class Gate:
    """An ASGI app around another.

    Args:
        app: Answers the requests that may pass; their paths are known ones.
        limits: How many requests at once.
        keys: If there are any, a request must bring one.
        metrics: Counts the requests.
        paths: What is known. These are counted one by one; all other paths together, since there is no end of them.
        hosts: Names under which the server may be asked; None for any. A page in a browser on this machine can make another
            site's name point to this machine, but the browser still sends that name. Probes are answered under any name.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        keys: ApiKeys,
        metrics: Metrics,
        paths: Paths,
        hosts: Iterable[str] | None = None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._keys = keys
        self._metrics = metrics
        self._paths = paths
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._n = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # With an "app" the router raises a 404 to us, instead of answering it.
        scope = {"app": self, **scope}
        request = _Request(scope, receive, send)
        started = time.perf_counter()
        reason = ""
        try:
            self._check(scope, request)
            with self._admitted():
                await self._app(scope, request.receive, request.send)
        except ClientDisconnect:
            request.status, reason = 499, "the client went away"
        except RequestError as error:
            reason = error.message
            await self._refuse(request, error)
        except HTTPException as error:
            reason = f"{error.detail}: see /docs for what there is"
            await self._refuse(request, RequestError(error.status_code, reason), error.headers)
        except Exception as error:  # noqa: BLE001 - the client is told no more; the log names the place, no text
            log_failure(error, request.id)
            reason = type(error).__name__
            await request.refuse(RequestError(500, f"the server failed; its log has more under {request.id}"))
        finally:
            endpoint = self._paths.label(scope["path"])
            seconds = time.perf_counter() - started
            self._metrics.requests.labels(endpoint, request.status).inc()
            self._metrics.seconds.labels(endpoint).observe(seconds)
            log_answer(Answered(scope, path_asked(scope), request.status, seconds, reason, request.id))

    async def _refuse(self, request: _Request, error: RequestError, headers: Mapping[str, str] | None = None) -> None:
        self._metrics.rejected.labels(str(error.status)).inc()
        await request.refuse(error, headers)

    def _check(self, scope: Scope, request: _Request) -> None:
        path = scope["path"]
        host = host_of(request.headers.get("host", "")).lower()
        if path not in _PROBES and self._hosts is not None and host not in self._hosts and not is_loopback(host):
            raise RequestError(421, f"unknown Host {host[:80]!r}; allow it with --allowed-host {_shown_host(host)}")
        if path in _OPEN or path.startswith(_OPEN_FOLDER):
            return
        if not self._keys.admits(request.headers):
            raise RequestError(401, "no valid API key: send it as `Authorization: Bearer KEY`")
        if self._n >= self._limits.in_flight and path != "/metrics":
            raise RequestError(429, "too many requests at once; try again", retry_after_s=1)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        # A refused request doesn't count: clients without a key could keep out those with one.
        self._n += 1
        self._metrics.in_flight.inc()
        try:
            yield
        finally:
            self._n -= 1
            self._metrics.in_flight.dec()


class _Request:
    """One request on its way: its id goes into the answer, and the answer's status is noted."""

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
        """Answer with the error in the client's language; do nothing if an answer has begun."""
        if self._has_answered:
            return
        if self._begun is None and self._scope["method"] == "POST":
            with suppress(asyncio.TimeoutError):  # the beginning of the body tells the language; no more of it is read
                await asyncio.wait_for(self.receive(), _BEGINNING_S)
        dialect = dialect_of(self._scope["path"], self.headers, self._begun or b"")
        answer: dict[str, Any] = dialect.error(error, self.id)
        headers = dict(more_headers or {})
        if error.retry_after_s is not None:
            headers["retry-after"] = str(error.retry_after_s)
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        if error.status in (401, 408, 413, 429):
            headers["connection"] = "close"  # the rest of the body isn't read
        response = Response(json.dumps(answer), error.status, headers, "application/json")
        await response(self._scope, self._receive, self.send)


def _shown_host(host: str) -> str:
    """Give the name for the option that allows it; NAME for what is no name."""
    return host[:80] if host and all(character.isalnum() or character in ".-_:" for character in host) else "NAME"
