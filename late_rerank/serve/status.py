"""Endpoints that tell of the server itself: whether it is alive and ready, its models, its counts, its description."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from late_rerank.serve import json_text, models
from late_rerank.serve.ending import Ending
from late_rerank.serve.errors import RequestError
from late_rerank.serve.metrics import CONTENT_TYPE, Metrics
from late_rerank.serve.openapi import description
from late_rerank.serve.paths import CLUSTER_PATH, MODEL_PATH, MODELS_PATH
from late_rerank.serve.settings import Settings
from late_rerank.serve.several import Models


class Status:
    """The endpoints of one process that need no body.

    Args:
        served: The server's models.
        metrics: Its counts.
        settings: Its settings.
        ending: Whether it is about to end.
    """

    def __init__(self, served: Models, metrics: Metrics, settings: Settings, ending: Ending) -> None:
        self._served = served
        self._metrics = metrics
        self._settings = settings
        self._ending = ending
        self._created = int(time.time())

    def routes(self) -> Iterator[Route]:
        """Give the endpoints with their paths."""
        endpoints = {
            "/health": self._health,
            "/ready": self._ready,
            "/info": self._info,
            MODELS_PATH: self._models,
            MODEL_PATH: self._model,
            CLUSTER_PATH: self._cluster,
            "/metrics": self._metrics_text,
            "/openapi.json": self._openapi,
        }
        for path, endpoint in endpoints.items():
            yield Route(path, endpoint, methods=["GET"])

    async def _health(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        return json_text.response({"status": "ok"})

    async def _ready(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        if self._ending.is_near:
            raise RequestError(503, "this server is about to end; ask another")
        _ = self._served.ready  # raises 503 while it isn't loaded. Its name isn't told: any site's page may ask for this path
        return json_text.response({"status": "ready"})

    async def _info(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        limits = self._settings.limits
        told = self._served.ready.about | {"max_client_batch_size": limits.n_documents, "limits": asdict(limits)}
        told |= {"models": self._served.names, "models_loaded": self._served.loaded_names}
        return json_text.response(told | {"folders": self._settings.searched.names})

    async def _models(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        return json_text.response(models.listed(self._served.modalities, self._created))

    async def _model(self, request: Request) -> Response:
        asked = request.path_params["name"]
        modalities = self._served.modalities
        for name in sorted(modalities, key=lambda name: name != asked):  # one of just this name first
            if models.is_served(asked, name):
                return json_text.response(models.described(name, self._created, modalities[name]))
        raise RequestError(404, f"there is no such model here; known: {', '.join(self._served.names)}")

    async def _cluster(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        return json_text.response({"auth": bool(self._settings.keys)})  # Xinference's clients ask before they send their key

    async def _metrics_text(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        return Response(await asyncio.to_thread(self._metrics.text), media_type=CONTENT_TYPE)

    async def _openapi(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        # Made anew, since few ask, and pydantic keeps 4 MB once it has made one.
        return json_text.response(description(self._settings.limits))
