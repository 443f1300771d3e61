"""Spans of requests, in servers that trace: `opentelemetry-instrument late-rerank serve`, or an app of your own around ours."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from late_rerank.observing.tracing import fail, request_span, traces

# Watchdogs ask for them every few seconds.
_UNTRACED = ("/health", "/ready", "/metrics")


class Traced:
    """An ASGI app around another: each request has a span, below the client's own if `traceparent` names it.

    Args:
        app: Answers the requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED or not traces():
            await self._app(scope, receive, send)
            return
        attributes = {"http.request.method": scope["method"], "url.path": scope["path"]}
        with request_span(f"{scope['method']} {scope['path']}", Headers(scope=scope), attributes) as opened:

            async def sent(message: Message) -> None:
                if opened is not None and message["type"] == "http.response.start":
                    opened.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        fail(opened, str(message["status"]))
                await send(message)

            await self._app(scope, receive, sent)
