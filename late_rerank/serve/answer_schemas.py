"""JSON schemas of answers, for the OpenAPI description."""

from __future__ import annotations

from typing import Any

NUMBER, INTEGER, STRING, BOOLEAN = ({"type": kind} for kind in ("number", "integer", "string", "boolean"))
OBJECT: dict[str, Any] = {"type": "object"}


def reference(name: str) -> dict[str, str]:
    """Refer to a schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_DOCUMENT = {
    "anyOf": [_object(text=STRING, id={}, image_key=STRING), STRING]
}  # as it was sent; a string where the client reads one
_SPAN = {"anyOf": [{**_array(INTEGER), "minItems": 2, "maxItems": 2}, {"type": "null"}]}  # start and end, in code points
_RESULT = _object(
    ("index", "relevance_score"), index=INTEGER, relevance_score=NUMBER, prior=NUMBER, best_span=_SPAN, document=_DOCUMENT
)
_META = _object(
    degraded=BOOLEAN,
    n_unscored=INTEGER,
    n_below_min_relevance=INTEGER,
    query_truncated=BOOLEAN,
    ignored=_array(STRING),
    tokens=OBJECT,
    cache=OBJECT,
    timings_ms=OBJECT,
)
_USAGE = _object(total_tokens=INTEGER)
_HEAD = {"id": STRING, "model": STRING, "usage": _USAGE, "meta": _META}

RESULTS = _object(("id", "model", "results"), **_HEAD, results=_array(_RESULT), data=_array(_RESULT))
_SEVERAL = _object(
    ("id", "model", "data"),
    **_HEAD,
    data=_array(_object(("index", "results"), index=INTEGER, results=_array(_RESULT), usage=_USAGE, meta=_META)),
)
_SCORES = _array(_object(("index", "score"), index=INTEGER, score=NUMBER, text=STRING))
_RANKINGS = _object(("rankings",), **_HEAD, rankings=_array(_object(("index", "logit"), index=INTEGER, logit=NUMBER)))
_SCORED_DATA = _array(_object(("index", "score"), index=INTEGER, score=NUMBER, prior=NUMBER, best_span=_SPAN))
# Pinecone's with `document`, mixedbread's with `input`, vLLM's with `object`.
SCORED = _object(("model", "data"), **_HEAD, data=_SCORED_DATA)
_OUTPUT = _object(("output",), **_HEAD, output=_object(("results",), results=_array(_RESULT)), request_id=STRING)
# In the order in which the endpoint's bodies are described.
RERANKED = [RESULTS, _SEVERAL, _SCORES, _RANKINGS, SCORED, _OUTPUT]
INFERRED = _object(("scores",), scores=_array(NUMBER), input_tokens=INTEGER, request_id=STRING)
EXPLAINED = _object(("score", "unmatched", "html"), score=NUMBER, unmatched=_array(STRING), html=STRING, best_span=_SPAN)
_KEYS = _array({"type": ["string", "null"]})  # one a document, null for a text
INDEXED = _object(
    n_documents=INTEGER, n_encoded=INTEGER, n_cached=INTEGER, n_tokens=INTEGER, size_bytes=INTEGER, image_keys=_KEYS
)
MODEL = _object(
    ("id", "object"),
    id=STRING,
    object=STRING,
    created=INTEGER,
    owned_by=STRING,
    model_type=STRING,
    modalities=_array(STRING),
)
MODELS = _object(("object", "data"), object=STRING, data=_array(MODEL))
ERROR = {
    "anyOf": [
        _object(("message",), id=STRING, message=STRING, detail=STRING, error=OBJECT),
        _object(("error", "error_type")),
    ]
}
