"""Spans of requests, in servers that trace: `opentelemetry-instrument late-rerank serve`, or an app of your own around ours."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from late_rerank.observing.tracing import fail, request_span, traces
from late_rerank.serve.paths import Paths, path_asked

# Watchdogs ask for them every few seconds.
_UNTRACED = ("/health", "/ready", "/metrics")


class Traced:
    """An ASGI app around another: each request has a span, below the client's own if `traceparent` names it.

    Args:
        app: Answers the requests, whose paths are known ones.
        paths: Of the server. There is no end of unknown paths, so that a span is called by the one that is meant.
    """

    def __init__(self, app: ASGIApp, paths: Paths) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._paths.label(scope["path"]) if scope["type"] == "http" and traces() else ""
        if not route or route in _UNTRACED:
            await self._app(scope, receive, send)
            return
        attributes = {"http.request.method": scope["method"], "http.route": route, "url.path": path_asked(scope)}
        with request_span(f"{scope['method']} {route}", Headers(scope=scope), attributes) as opened:

            async def sent(message: Message) -> None:
                if opened is not None and message["type"] == "http.response.start":
                    opened.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        fail(opened, str(message["status"]))
                await send(message)

            await self._app(scope, receive, sent)
