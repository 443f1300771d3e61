"""A request's bytes -> one of the bodies of bodies.py, or an error that says where the body is wrong."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from late_rerank.serve import json_text
from late_rerank.serve.errors import RequestError

Body = TypeVar("Body", bound=BaseModel)

_SHOWN_ERRORS = 3


def parsed(kind: type[Body], body: bytes) -> Body:
    """Parse and check a body.

    Raises:
        RequestError: If the body is no JSON (400), or JSON that isn't of this kind (422). The message says where, and quotes
            nothing of the body.
    """
    try:
        return _validated(kind, json_text.without_mark(body))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise RequestError(400, f"the body is no JSON: {found[0]['msg']}") from None
        shown = "; ".join(f"{_place(each['loc'])}{each['msg']}" for each in found[:_SHOWN_ERRORS])
        further = f"; and {len(found) - _SHOWN_ERRORS} more" if len(found) > _SHOWN_ERRORS else ""
        raise RequestError(422, shown + further) from None


def _validated(kind: type[Body], body: bytes) -> Body:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] != "json_invalid" or not json_text.may_hold_halves(body):
            raise
    # pydantic's parser refuses lone surrogates.
    try:
        value = json_text.loads(body)
    except ValueError as error:
        raise RequestError(400, f"the body is no JSON: {error}") from None
    known = {name: inner for name, inner in value.items() if name.isascii()} if isinstance(value, dict) else value
    return kind.model_validate(known)


def _place(location: tuple[int | str, ...]) -> str:
    # pydantic names the functions of ours that it went through: "function-wrap[...]".
    parts = [part for part in location if isinstance(part, int) or not part.startswith("function-")]
    if not parts:
        return ""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".") + ": "
