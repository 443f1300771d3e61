"""The endpoints: a Reranker as an ASGI app."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from late_rerank.context import pack_context
from late_rerank.explanation import explain
from late_rerank.observing import timing
from late_rerank.ranking.traced import rerank_span
from late_rerank.ranking.wanted import Wanted
from late_rerank.reranker import Reranker
from late_rerank.serve import bodies, json_text
from late_rerank.serve.answers import About, envelope, image_key, meta, result, with_id
from late_rerank.serve.clients.choosing import dialect_of
from late_rerank.serve.ending import Closing, Ending
from late_rerank.serve.errors import RequestError
from late_rerank.serve.gate import Gate
from late_rerank.serve.ignored import in_header
from late_rerank.serve.loading import LoadedModel, MakeReranker
from late_rerank.serve.logs import Ranked
from late_rerank.serve.metrics import Metrics
from late_rerank.serve.models import is_served
from late_rerank.serve.pages import page_routes
from late_rerank.serve.parsing import parsed
from late_rerank.serve.passages import SpanOf, find_spans
from late_rerank.serve.paths import INFERENCE_PATH, INFINITY_PATH, RERANK_PATHS, SCORE_PATH, Paths, Routed
from late_rerank.serve.questions import (
    Question,
    candidates_of,
    check_documents,
    check_queries,
    check_questions,
    prior_of,
    with_priors,
)
from late_rerank.serve.reading import BodyReader
from late_rerank.serve.seeing import naming_the_picture, seen, seen_documents, work
from late_rerank.serve.settings import Settings
from late_rerank.serve.several import Models
from late_rerank.serve.status import Status
from late_rerank.serve.traced import Traced
from late_rerank.types import Ranking

# What answers a request, with the request's body.
Endpoint = Callable[[Request, bytes], Awaitable[Response]]


def create_app(make_reranker: MakeReranker | Mapping[str, MakeReranker], settings: Settings | None = None) -> ASGIApp:
    """Make a server.

    Args:
        make_reranker: Makes the Reranker, in a thread, when the server has begun to listen. It is called again if it fails; the
            Reranker is closed at the end. For several models, name -> what makes the Reranker; the first is for requests that
            name no model of these.
        settings: None for the defaults.
    """
    settings = settings or Settings()
    server = _Server(make_reranker if isinstance(make_reranker, Mapping) else {"": make_reranker}, settings)
    # Without a Starlette application around it, which would answer errors in words of its own.
    routes = list(server.routes())
    router = Router(routes, lifespan=server.lifespan, redirect_slashes=False)
    paths = Paths(route.path for route in routes)
    app: ASGIApp = Gate(
        router,
        limits=settings.limits,
        keys=settings.keys,
        metrics=server.metrics,
        paths=paths,
        hosts=settings.hosts,
    )
    app = Closing(Routed(Traced(app, paths), paths), server.ending)
    if settings.cors_origins:
        exposed = ["x-request-id", "retry-after", "x-late-rerank-unscored", "x-late-rerank-ignored"]
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=exposed,
        )
    return app


class _Server:
    """The endpoints of one process."""

    def __init__(self, makers: Mapping[str, MakeReranker], settings: Settings) -> None:
        self._settings = settings
        self._limits = settings.limits
        self.metrics = Metrics()
        self._models = Models(
            makers, settings.limits, tell_loaded=lambda model: self.metrics.tell_model(model.name, model.query_encoder)
        )
        self._reader = BodyReader(settings.limits)
        self.ending = Ending(settings.drain_s)

    def routes(self) -> Iterator[Route]:
        endpoints: dict[str, Endpoint] = {
            **dict.fromkeys((*RERANK_PATHS, INFINITY_PATH, SCORE_PATH, INFERENCE_PATH), self.rerank),
            "/v1/index": self.index,
            "/context": self.context,
            "/v1/explain": self.explain,
            "/v1/search": self.search,
        }
        for path, endpoint in endpoints.items():
            yield Route(path, self._with_body(endpoint), methods=["POST"])
        yield from Status(self._models, self.metrics, self._settings, self.ending).routes()
        yield from page_routes()

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:  # noqa: ARG002 - Starlette passes it
        """Load the model; at the end, finish what runs."""
        self._models.begin(gives_up=self._settings.load_first)
        try:
            if self._settings.load_first:
                await self._models.loaded()
            with self.ending.delayed():
                yield
        finally:
            await self._models.close()

    async def rerank(self, request: Request, body: bytes) -> Response:
        dialect = dialect_of(request.scope["path"], request.headers, body)
        asked = dialect.asked(body, self._limits)
        named = request.path_params.get("name") or asked.body.model
        async with self._models.using(named) as model:
            images = asked.body.images
            ignored = asked.body.ignored + model.images.ignored(images) + ([] if is_served(named, model.name) else ["model"])
            questions = await seen(model, request, asked.questions, images, asked.body.called)
            rankings = await self._rank(model, request, questions, asked.body.called)
            await self._find_spans(model, request, asked.body.span_of, asked.questions, rankings)
            answer = json_text.response(dialect.answer(rankings, asked, _about(model, request, ignored)))
        # Not every client's answer has a place for these.
        n_unscored = sum(ranking.n_unscored for ranking in rankings)
        if n_unscored:
            answer.headers["x-late-rerank-unscored"] = str(n_unscored)
        return _ignoring(answer, ignored)

    async def index(self, request: Request, body: bytes) -> Response:
        asked = parsed(bodies.IndexBody, body)
        documents, sent = candidates_of(asked.documents, "documents"), bodies.images_of(asked.documents)
        check_documents(documents, self._limits, "documents")
        async with self._models.using(asked.model) as model:
            documents = await seen_documents(model, request, documents, sent, "documents")
            async with naming_the_picture(model, request, documents, "documents"):
                told = asdict(await model.gatherer.index(documents, request.state.arrived))
            if sent and model.images.sees_images:
                told["image_keys"] = [image_key(document) for document in documents]
            return _ignoring(json_text.response(told), model.images.ignored(sent))

    async def context(self, request: Request, body: bytes) -> Response:
        asked = parsed(bodies.ContextBody, body)
        priors, sent = asked.priors, bodies.images_of(asked.documents)
        documents = with_priors(candidates_of(asked.documents, "documents"), priors)
        check_questions([asked.query], documents, self._limits, "documents")
        wanted = Wanted(min_relevance=asked.min_relevance, prior=prior_of(priors))
        question = Question(asked.query, documents, wanted, top_k=asked.top_n)
        async with self._models.using(asked.model) as model:
            (question,) = await seen(model, request, [question], sent, "documents")
            (ranking,) = await self._rank(model, request, [question])
            pack = partial(
                pack_context,
                asked.query,
                ranking,
                reranker=model.reranker,
                budget_tokens=asked.budget_tokens,
                top_k=asked.top_n,
                strategy=asked.strategy,
                order=asked.order,
                compress=asked.compress,
            )
            packed = (await work(model, request, pack)).to_dict()
        for part in (*packed["parts"], *packed["dropped"]):
            part["id"] = bodies.id_of(asked.documents[part["index"]])  # a Candidate's is a str, whatever was sent
        ignored = asked.ignored + model.images.ignored(sent)
        told = meta(ranking, question) | ({"ignored": ignored} if ignored else {})
        return _ignoring(json_text.response({"model": model.name, **packed, "meta": told}), ignored)

    async def explain(self, request: Request, body: bytes) -> Response:
        asked = parsed(bodies.ExplainBody, body)
        check_questions([asked.query], [asked.text], self._limits, "documents")
        async with self._models.using(asked.model) as model:
            return json_text.response(await work(model, request, partial(_explained, model.reranker, asked)))

    async def search(self, request: Request, body: bytes) -> Response:
        asked = parsed(bodies.SearchBody, body)
        folders = self._settings.searched
        if asked.folder not in folders.names:
            raise RequestError(404, f"there is no such folder here; known: {', '.join(folders.names) or 'none'}")
        check_queries([asked.query], self._limits)
        async with self._models.using(asked.model) as model:
            retriever = folders.retriever(asked.folder, sees_images=model.images.sees_images)
            if retriever is None:
                raise RequestError(404, f"the folder {asked.folder} has no text, and the model {model.name} sees no images")
            started = time.perf_counter()
            candidates = await work(model, request, partial(retriever.retrieve, asked.query, asked.k))
            first_stage_ms = (time.perf_counter() - started) * 1000
            question = Question(asked.query, list(candidates), top_k=asked.top_n)
            (question,) = await seen(model, request, [question], {}, "documents")
            (ranking,) = await self._rank(model, request, [question], called=None)
            await self._find_spans(model, request, asked.span_of, [question], [ranking])
        timing.add_first_stage(ranking, first_stage_ms)
        results = (result(document, shown=with_id, span_of=asked.span_of) for document in ranking[: asked.top_n])
        return json_text.response(envelope(ranking, results, _about(model, request)))

    async def _rank(
        self, model: LoadedModel, request: Request, questions: list[Question], called: str | None = "documents"
    ) -> list[Ranking]:
        # Counted as it changes, not when /metrics is asked: the worker that is asked knows of the others only what they wrote.
        questions = [replace(question, arrived=request.state.arrived) for question in questions]  # a model may load since
        with self.metrics.waiting.track_inprogress():
            async with naming_the_picture(model, request, questions[0].candidates, called):
                rankings = await _traced(model, questions)
        for ranking in rankings:
            timing.set_total(ranking, (time.monotonic() - questions[0].arrived) * 1000)
            self.metrics.count(ranking, model.name)
        request.state.ranked = Ranked.of(rankings)
        return rankings

    async def _find_spans(
        self,
        model: LoadedModel,
        request: Request,
        span_of: SpanOf | None,
        questions: Sequence[Question],
        rankings: Sequence[Ranking],
    ) -> None:
        """Find the best passages of the results that are shown, if the request asks for them and the scoring looks for some."""
        if span_of is None or not model.reranker.scoring.window_tokens:
            return
        asked = zip(rankings, questions, strict=True)
        shown = [document for ranking, question in asked for document in list(ranking)[: question.top_k]]
        until = request.state.arrived + self._limits.timeout_s
        await work(model, request, partial(find_spans, shown, span_of, until))

    def _with_body(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            _ = self._models.ready  # before the body is read: without a model it is read for nothing
            async with self._reader.body(request) as body:
                request.state.arrived = time.monotonic()
                return await endpoint(request, body)

        return answered


async def _traced(model: LoadedModel, questions: Sequence[Question]) -> list[Ranking]:
    """Rank questions within a span of their own; the threads rank those of several requests at once."""
    began = time.time_ns()
    wanted = replace(questions[0].wanted, top_k=questions[0].top_k)  # the whole ranking is made, and the best of it shown
    with rerank_span([question.query for question in questions], wanted, model.name) as told:
        rankings = await model.gatherer.rank(questions)
        told.tell_ranked(rankings, n_candidates=sum(len(question.candidates) for question in questions))
        told.tell_stages(began, rankings)
    return rankings


def _ignoring(answer: Response, ignored: list[str]) -> Response:
    """Name what was ignored in a header: not every client's answer has a place for it."""
    if ignored:
        answer.headers["x-late-rerank-ignored"] = in_header(ignored)
    return answer


def _about(model: LoadedModel, request: Request, ignored: Sequence[str] = ()) -> About:
    version = "1" if "/v1/" in request.scope["path"] else "2"  # of Cohere's API
    return About(request.state.request_id, model.name, version, ignored)


def _explained(reranker: Reranker, asked: bodies.ExplainBody) -> dict[str, Any]:
    found = explain(reranker, asked.query, asked.text)
    told = {"score": found.score, "unmatched": list(found.unmatched), "html": found.to_html()}
    if found.windows:
        told["best_span"] = None if found.best_span is None else list(found.best_span)
    return told
