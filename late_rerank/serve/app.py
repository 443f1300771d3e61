"""The endpoints: a Reranker as an ASGI app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, TypeVar

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from late_rerank.context import pack_context
from late_rerank.errors import IncompatibleError
from late_rerank.explanation import explain
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.serve import bodies, json_text
from late_rerank.serve.access import ApiKeys
from late_rerank.serve.dialects import (
    DOCUMENTS,
    Question,
    RequestError,
    candidates_of,
    check_documents,
    check_question,
    dialect_of,
    meta,
    parsed,
)
from late_rerank.serve.gate import Gate
from late_rerank.serve.limits import Limits
from late_rerank.serve.loading import ModelLoader
from late_rerank.serve.metrics import CONTENT_TYPE, Metrics
from late_rerank.serve.openapi import description
from late_rerank.serve.pages import page_routes
from late_rerank.serve.reading import BodyReader
from late_rerank.types import Ranking

Result = TypeVar("Result")


@dataclass(frozen=True)
class Settings:
    """How a server answers, beside what it answers with.

    Attributes:
        limits: How much it takes on, and for how long.
        keys: API keys; none for everybody who reaches it.
        hosts: Names under which it may be asked, beside this machine's own; None for any.
        cors_origins: Sites whose pages may ask.
        folders: Name -> what finds candidates there, for /v1/search.
        load_first: Whether connections are taken only when the model is loaded: right where others take them meanwhile. Else
            the server says from the start that it is alive, and not ready.
    """

    limits: Limits = field(default_factory=Limits)
    keys: ApiKeys = field(default_factory=ApiKeys)
    hosts: tuple[str, ...] | None = None
    cors_origins: tuple[str, ...] = ()
    folders: Mapping[str, Retriever] = field(default_factory=dict)
    load_first: bool = False


def create_app(make_reranker: Callable[[], Reranker], settings: Settings | None = None) -> ASGIApp:
    """A server.

    Args:
        make_reranker: Called once, in a thread, when the server has begun to listen; it is closed at the end.
        settings: None for the defaults.
    """
    settings = settings or Settings()
    server = _Server(make_reranker, settings)
    # No Starlette application around it: that one would answer errors in words of its own.
    routes = list(server.routes())
    app = Router(routes, lifespan=server.lifespan, redirect_slashes=False)
    found: ASGIApp = Gate(
        app,
        limits=settings.limits,
        keys=settings.keys,
        metrics=server.metrics,
        paths=[route.path for route in routes],
        hosts=settings.hosts,
    )
    if settings.cors_origins:
        exposed = ["x-request-id", "retry-after", "x-late-rerank-unscored"]
        found = CORSMiddleware(
            found,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=exposed,
        )
    return found


class _Server:
    """What the endpoints share."""

    def __init__(self, make_reranker: Callable[[], Reranker], settings: Settings) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._loader = ModelLoader(make_reranker, settings.limits)
        self._reader = BodyReader(settings.limits)
        self._description = description(settings.limits)
        self.metrics = Metrics()

    def routes(self) -> Iterable[Route]:
        posts = {
            "/rerank": self.rerank,
            "/v1/rerank": self.rerank,
            "/v2/rerank": self.rerank,
            "/v1/index": self.index,
            "/context": self.context,
            "/v1/explain": self.explain,
            "/v1/search": self.search,
        }
        for path, endpoint in posts.items():
            yield Route(path, self._with_body(endpoint), methods=["POST"])
        gets = {
            "/health": self.health,
            "/ready": self.ready,
            "/info": self.info,
            "/metrics": self.metrics_text,
            "/openapi.json": self.openapi,
        }
        for path, get in gets.items():
            yield Route(path, get, methods=["GET"])
        yield from page_routes()

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:  # noqa: ARG002
        """The model is loaded; what runs at the end is finished."""
        loading = asyncio.get_running_loop().create_task(self._loader.load(gives_up=self._settings.load_first))
        try:
            if self._settings.load_first:
                await loading
            yield
        finally:
            self._loader.end()
            await asyncio.gather(loading, return_exceptions=True)
            await self._loader.close()

    async def rerank(self, request: Request, body: bytes) -> Response:
        dialect = dialect_of(body)
        question, asked = dialect.question(body, self._limits)
        ranking = await self._rank(question)
        answer = _json(dialect.answer(ranking, asked, self._about(request)))
        if ranking.n_unscored:  # not every client's answer has a place for it
            answer.headers["x-late-rerank-unscored"] = str(ranking.n_unscored)
        return answer

    async def index(self, request: Request, body: bytes) -> Response:
        asked = parsed(bodies.IndexBody, body)
        documents = candidates_of(asked.documents)
        check_documents(documents, self._limits, "documents")
        report = await self._loader.ready.gatherer.index(documents, request.state.arrived)
        return _json(asdict(report))

    async def context(self, request: Request, body: bytes) -> Response:
        asked = parsed(bodies.ContextBody, body)
        documents = candidates_of(asked.documents)
        check_question(asked.query, documents, self._limits, "documents")
        ranking = await self._rank(Question(asked.query, documents))
        if asked.min_relevance is not None:
            ranking[:] = [document for document in ranking if (document.relevance or 0.0) >= asked.min_relevance]
        pack = partial(
            pack_context,
            asked.query,
            ranking,
            reranker=self._loader.ready.reranker,
            budget_tokens=asked.budget_tokens,
            top_k=asked.top_n,
            strategy=asked.strategy,
            order=asked.order,
            compress=asked.compress,
        )
        told = (await self._work(request, pack)).to_dict()
        for part in (*told["parts"], *told["dropped"]):
            part["id"] = bodies.id_of(asked.documents[part["index"]])  # a Candidate's is a str, whatever was sent
        return _json({"model": self._loader.ready.name, **told, "meta": meta(ranking)})

    async def explain(self, request: Request, body: bytes) -> Response:
        asked = parsed(bodies.ExplainBody, body)
        check_question(asked.query, [asked.text], self._limits, "documents")
        return _json(await self._work(request, partial(_explained, self._loader.ready.reranker, asked)))

    async def search(self, request: Request, body: bytes) -> Response:
        asked = parsed(bodies.SearchBody, body)
        retriever = self._settings.folders.get(asked.folder)
        if retriever is None:
            known = ", ".join(self._settings.folders) or "none"
            raise RequestError(404, f"there is no such folder here; known: {known}")
        check_question(asked.query, ["."], self._limits, "documents")
        started = time.perf_counter()
        candidates = await self._work(request, partial(retriever.retrieve, asked.query, asked.k))
        first_stage_ms = (time.perf_counter() - started) * 1000
        ranking = await self._rank(Question(asked.query, list(candidates)))
        ranking.timings_ms = {"first_stage": first_stage_ms, **ranking.timings_ms}
        ranking.timings_ms["total"] += first_stage_ms
        shown = bodies.Shown.model_validate({"top_n": asked.top_n, "return_documents": True})
        return _json(DOCUMENTS.answer(ranking, shown, self._about(request)))

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        return _json({"status": "ok"})

    async def ready(self, request: Request) -> Response:  # noqa: ARG002
        return _json({"status": "ready", "model": self._loader.ready.name})

    async def info(self, request: Request) -> Response:  # noqa: ARG002
        told = {"max_client_batch_size": self._limits.n_documents, "limits": asdict(self._limits)}
        return _json(self._loader.ready.about | told | {"folders": list(self._settings.folders)})

    async def metrics_text(self, request: Request) -> Response:  # noqa: ARG002
        return Response(await asyncio.to_thread(self.metrics.text), media_type=CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:  # noqa: ARG002
        return _json(self._description)

    def _about(self, request: Request) -> dict[str, Any]:
        version = "1" if "/v1/" in request.url.path else "2"  # of Cohere's API
        return {"request_id": request.state.request_id, "model": self._loader.ready.name, "version": version}

    async def _rank(self, question: Question) -> Ranking:
        # Counted here, not when asked: the worker that is asked knows nothing of the others' but what they wrote.
        with self.metrics.waiting.track_inprogress():
            ranking = await self._loader.ready.gatherer.rank(question)
        total_ms = (time.monotonic() - question.arrived) * 1000
        worked_ms = sum(ms for stage, ms in ranking.timings_ms.items() if stage != "total")
        ranking.timings_ms |= {"waiting": max(0.0, total_ms - worked_ms), "total": total_ms}
        self.metrics.count(ranking)
        return ranking

    async def _work(self, request: Request, call: Callable[[], Result]) -> Result:
        try:
            return await self._loader.ready.gatherer.work(request.state.arrived, call)
        except IncompatibleError as error:  # what is asked for, this server's model can't do
            raise RequestError(422, str(error)) from None

    def _with_body(self, endpoint: Callable[[Request, bytes], Any]) -> Callable[[Request], Any]:
        async def answered(request: Request) -> Response:
            self._loader.ready  # noqa: B018 - raises where there is none yet
            async with self._reader.body(request) as body:
                request.state.arrived = time.monotonic()
                found: Response = await endpoint(request, body)
                return found

        return answered


def _explained(reranker: Reranker, asked: bodies.ExplainBody) -> dict[str, Any]:
    found = explain(reranker, asked.query, asked.text)
    return {"score": found.score, "unmatched": list(found.unmatched), "html": found.to_html()}


def _json(value: Any) -> Response:
    return Response(json_text.dumps(value), media_type="application/json")
