"""The OpenAPI description of the endpoints."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from late_rerank import __version__
from late_rerank.serve import answer_schemas as schemas
from late_rerank.serve import bodies
from late_rerank.serve.answer_schemas import INTEGER, OBJECT, STRING, reference
from late_rerank.serve.clients.dashscope import DashScopeBody
from late_rerank.serve.clients.documents import RerankBody
from late_rerank.serve.clients.mixedbread import InputBody
from late_rerank.serve.clients.nvidia import PassagesBody
from late_rerank.serve.clients.scores import ScoreBody
from late_rerank.serve.clients.texts import TextsBody
from late_rerank.serve.limits import Limits
from late_rerank.serve.paths import CLUSTER_PATH, INFINITY_PATH, MODELS_PATH, SCORE_PATH

_RERANKS = (RerankBody, TextsBody, PassagesBody, InputBody, DashScopeBody)
_BODIES = (*_RERANKS, ScoreBody, bodies.IndexBody, bodies.ContextBody, bodies.ExplainBody, bodies.SearchBody)
_ERRORS = {
    "400": "No JSON, a blank query, or no documents.",
    "401": "No valid API key.",
    "408": "The body didn't arrive in time.",
    "413": "The body, the number of documents, images or queries, a document or an image is too large.",
    "415": "The body isn't said to be JSON.",
    "421": "The server isn't asked under this name.",
    "422": "JSON that isn't what it should be; says where.",
    "429": "Too many requests at once: try again after Retry-After seconds.",
    "503": "The model is being loaded or can't be, the store can't keep documents, or the server ends: try again.",
    "504": "The time was up: ask for less at once, or again, since what was encoded is stored.",
}
_LANGUAGES = (
    "The body tells the client's language. `documents` (Cohere, Jina, vLLM, Voyage) is answered with `results`, and with "
    "`data` unless the request has `top_n`, `rank_fields`, `max_tokens_per_doc` or `use_activation`. `queries` instead of "
    "`query` is answered with a list. `texts` is answered as TEI does, `passages` as NVIDIA, `input` as mixedbread or, with "
    "query and documents inside, as DashScope. Pinecone's clients are known by their header `X-Pinecone-API-Version`. Numbers "
    "and booleans may be written as strings. Fields that this server doesn't know, and that would have changed the answer, are "
    "named in `meta.ignored` and in the header `x-late-rerank-ignored`. A document may be an image too, for a model whose "
    "`modalities` in /info hold it: its bytes as a data URI or base64, or the `image_key` of one that was indexed. A URL is "
    "refused, and none is ever fetched."
)


def description(limits: Limits) -> dict[str, Any]:
    """Write the OpenAPI document of a server with these limits."""
    _, found = models_json_schema([(body, "validation") for body in _BODIES], ref_template="#/components/schemas/{model}")
    told = (
        f"At most {limits.n_documents} documents of {limits.document_chars:,} characters, {limits.n_images} images of "
        f"{limits.image_bytes:,} bytes and {limits.image_pixels:,} pixels, {limits.n_queries} queries and "
        f"{limits.body_bytes:,} bytes a request; {limits.in_flight} requests at once. What stands before a path, doubled and "
        "trailing slashes don't matter: /v1/v2/rerank is /v2/rerank. Other names of a rerank: reranking, reranks, ranking, "
        "text-rerank."
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "late-rerank", "version": __version__, "description": told},
        "paths": _paths(),
        "components": {
            "schemas": {**found["$defs"], "Error": schemas.ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _paths() -> dict[str, Any]:
    rerank = {"oneOf": [reference(body.__name__) for body in _RERANKS]}
    answer = {"anyOf": schemas.RERANKED}
    paths = {
        path: _post("Rerank documents", f"{client} {_LANGUAGES}", rerank, answer)
        for path, client in (
            ("/rerank", "For clients of vLLM, Infinity, Jina, TEI and Pinecone."),
            ("/v1/rerank", "For clients of Cohere's v1, of Jina, Voyage, Xinference, NVIDIA and mixedbread."),
            ("/v2/rerank", "For clients of Cohere's v2."),
            (INFINITY_PATH, "As /rerank, but a document that is given back is a string, as Infinity's clients read it."),
        )
    }
    inference = _post("Score pairs, for clients of DeepInfra", "As /score.", reference("ScoreBody"), schemas.INFERRED)
    return paths | {
        SCORE_PATH: _post("Score pairs", "For clients of vLLM; in their order.", reference("ScoreBody"), schemas.SCORED),
        "/inference/{name}": _named(inference),
        "/v1/index": _post(
            "Encode documents ahead",
            "So that queries find them stored. Tells the keys of images, for `image_key`.",
            reference("IndexBody"),
            schemas.INDEXED,
        ),
        "/context": _post(
            "Pack a context", "Passages within a budget of tokens, cited [1], [2].", reference("ContextBody"), OBJECT
        ),
        "/v1/explain": _post(
            "Explain a match", "Which words of a document the query matches.", reference("ExplainBody"), schemas.EXPLAINED
        ),
        "/v1/search": _post(
            "Search a folder", "One of those that the server was started with.", reference("SearchBody"), schemas.RESULTS, "404"
        ),
        "/health": _get("Alive", OBJECT),
        "/ready": _get("The model is loaded", OBJECT, "503"),
        "/info": _get("What runs here", OBJECT, "401", "429", "503"),
        MODELS_PATH: _get("The model, as OpenAI lists models", schemas.MODELS, "401", "429", "503"),
        f"{MODELS_PATH}/{{name}}": _named(_get("One model", schemas.MODEL, "401", "404", "429", "503")),
        CLUSTER_PATH: _get("Whether a key is needed, for Xinference's clients", OBJECT),
        "/metrics": _get("For Prometheus", None, "401"),
    }


def _named(operations: dict[str, Any]) -> dict[str, Any]:
    """Describe operations of a path that ends in a model's name."""
    parameters = [{"name": "name", "in": "path", "required": True, "description": "A model's.", "schema": STRING}]
    return {method: {**described, "parameters": parameters} for method, described in operations.items()}


def _answered(schema: dict[str, Any] | None) -> dict[str, Any]:
    content = {"text/plain": {"schema": STRING}} if schema is None else {"application/json": {"schema": schema}}
    ignored = {"description": "Fields of the request that would have changed the answer.", "schema": STRING}
    unscored = {"description": "Documents that weren't scored in time.", "schema": INTEGER}
    headers = {"x-late-rerank-ignored": ignored, "x-late-rerank-unscored": unscored}
    return {"description": "Done.", "content": content, "headers": headers}


def _refused(*codes: str) -> dict[str, Any]:
    error = {"application/json": {"schema": reference("Error")}}
    return {code: {"description": _ERRORS.get(code, "There is none."), "content": error} for code in codes}


def _post(summary: str, told: str, body: dict[str, Any], answer: dict[str, Any], *further: str) -> dict[str, Any]:
    request = {"required": True, "content": {"application/json": {"schema": body}}}
    responses = {"200": _answered(answer), **_refused(*_ERRORS, *further)}
    return {"post": {"summary": summary, "description": told, "requestBody": request, "responses": responses}}


def _get(summary: str, answer: dict[str, Any] | None, *codes: str) -> dict[str, Any]:
    answered = {key: value for key, value in _answered(answer).items() if key != "headers"}
    return {"get": {"summary": summary, "responses": {"200": answered, **_refused("421", *codes)}}}
