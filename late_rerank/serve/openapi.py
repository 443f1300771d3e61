"""The OpenAPI description of the endpoints."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from late_rerank import __version__
from late_rerank.serve import bodies
from late_rerank.serve.limits import Limits

_BODIES = (
    bodies.RerankBody,
    bodies.TextsBody,
    bodies.IndexBody,
    bodies.ContextBody,
    bodies.ExplainBody,
    bodies.SearchBody,
)
_NUMBER, _INTEGER, _STRING, _BOOLEAN = ({"type": kind} for kind in ("number", "integer", "string", "boolean"))
_ERRORS = {
    "400": "No JSON, a blank query, or no documents.",
    "401": "No valid API key.",
    "408": "The body didn't arrive in time.",
    "413": "The body, the number of documents, or a document is too large.",
    "415": "The body isn't said to be JSON.",
    "421": "The server isn't asked under this name.",
    "422": "JSON that isn't what it should be; says where.",
    "429": "Too many requests at once: try again after Retry-After seconds.",
    "503": "The model is being loaded, or the time was up: try again.",
}


def description(limits: Limits) -> dict[str, Any]:
    """Write the OpenAPI document of a server with these limits."""
    _, schemas = models_json_schema([(body, "validation") for body in _BODIES], ref_template="#/components/schemas/{model}")
    rerank = {"oneOf": [_reference("RerankBody"), _reference("TextsBody")]}
    answer = {"oneOf": [_RESULTS, _SCORES]}
    paths = {
        path: _post("Rank documents", f"For {client}. A body with `texts` is answered as TEI does.", rerank, answer)
        for path, client in (
            ("/rerank", "clients of vLLM, Infinity, Jina and TEI"),
            ("/v1/rerank", "clients of Cohere's v1 and of Jina"),
            ("/v2/rerank", "clients of Cohere's v2"),
        )
    }
    paths |= {
        "/v1/index": _post("Encode documents ahead", "So that queries find them stored.", _reference("IndexBody"), _INDEXED),
        "/context": _post(
            "Pack a context", "Passages within a budget of tokens, cited [1], [2].", _reference("ContextBody"), _OBJECT
        ),
        "/v1/explain": _post(
            "Explain a match", "Which words of a document the query matches.", _reference("ExplainBody"), _OBJECT
        ),
        "/v1/search": _post(
            "Search a folder", "One of those that the server was started with.", _reference("SearchBody"), _RESULTS, "404"
        ),
        "/health": _get("Alive", _OBJECT),
        "/ready": _get("The model is loaded", _OBJECT, "503"),
        "/info": _get("What runs here", _OBJECT, "401", "429", "503"),
        "/metrics": _get("For Prometheus", None, "401"),
    }
    told = (
        f"At most {limits.n_documents} documents of {limits.document_chars:,} characters and {limits.body_bytes:,} bytes a "
        f"request; {limits.in_flight} requests at once."
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "late-rerank", "version": __version__, "description": told},
        "paths": paths,
        "components": {
            "schemas": {**schemas["$defs"], "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_OBJECT = {"type": "object"}
_DOCUMENT = _object(text=_STRING, id={})  # as it was sent
_RESULT = _object(("index", "relevance_score"), index=_INTEGER, relevance_score=_NUMBER, document=_DOCUMENT)
_META = _object(degraded=_BOOLEAN, n_unscored=_INTEGER, query_truncated=_BOOLEAN, cache=_OBJECT, timings_ms=_OBJECT)
_RESULTS = _object(
    ("id", "model", "results"),
    id=_STRING,
    model=_STRING,
    results=_array(_RESULT),
    usage=_object(total_tokens=_INTEGER),
    meta=_META,
)
_SCORES = _array(_object(("index", "score"), index=_INTEGER, score=_NUMBER, text=_STRING))
_INDEXED = _object(n_documents=_INTEGER, n_encoded=_INTEGER, n_cached=_INTEGER, n_tokens=_INTEGER, size_bytes=_INTEGER)
_ERROR = {
    "anyOf": [
        _object(("message",), id=_STRING, message=_STRING, detail=_STRING, error=_OBJECT),
        _object(("error", "error_type")),
    ]
}


def _answered(schema: dict[str, Any] | None) -> dict[str, Any]:
    content = {"text/plain": {"schema": _STRING}} if schema is None else {"application/json": {"schema": schema}}
    return {"description": "Done.", "content": content}


def _refused(*codes: str) -> dict[str, Any]:
    error = {"application/json": {"schema": _reference("Error")}}
    return {code: {"description": _ERRORS.get(code, "There is none."), "content": error} for code in codes}


def _post(summary: str, told: str, body: dict[str, Any], answer: dict[str, Any], *further: str) -> dict[str, Any]:
    request = {"required": True, "content": {"application/json": {"schema": body}}}
    responses = {"200": _answered(answer), **_refused(*_ERRORS, *further)}
    return {"post": {"summary": summary, "description": told, "requestBody": request, "responses": responses}}


def _get(summary: str, answer: dict[str, Any] | None, *codes: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {"200": _answered(answer), **_refused("421", *codes)}}}
