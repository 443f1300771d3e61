r"""JSON off the wire and onto it, where pydantic and `json.dumps` are too strict: half an emoji, NaN.

JavaScript cuts text by UTF-16 units, so a text may end in half an emoji. `JSON.stringify` writes that half as `\ud83d`: valid
JSON, but UTF-8 can't hold it. It goes out as it came in, as an escape.
"""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.responses import Response

from late_rerank.arguments.given import finite_within

# As deep as pydantic reads: an answer that holds a document must be no deeper than `json.dumps` goes.
_DEEPEST = 200
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def without_mark(body: bytes) -> bytes:
    """Give the body without the byte order mark that Windows programs put before UTF-8."""
    return body.removeprefix(_BYTE_ORDER_MARK)


def may_hold_halves(body: bytes) -> bool:
    """Tell whether there is an escape of a surrogate, lone or in a pair."""
    return _HALF.search(body) is not None


def loads(body: bytes) -> Any:
    """Parse JSON in which lone surrogates may be.

    Raises:
        ValueError: If it is no JSON, no UTF-8, or nested more than 200 deep.
    """
    try:
        value = json.loads(body.decode())
    except RecursionError:
        raise ValueError("recursion limit exceeded") from None
    if _is_deep(value):
        raise ValueError("recursion limit exceeded")
    return value


def dumps(value: Any) -> str:
    """Write JSON in ASCII: lone surrogates as escapes; numbers that JSON doesn't have, NaN and infinity, as null."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(finite_within(value), allow_nan=False, separators=(",", ":"))


def response(value: Any) -> Response:
    """Make the answer of a request, as `dumps` writes it."""
    return Response(dumps(value), media_type="application/json")


def _is_deep(value: Any) -> bool:
    layer = [value]
    for _ in range(_DEEPEST):
        layer = [inner for each in layer for inner in _inside(each) if isinstance(inner, (dict, list))]
        if not layer:
            return False
    return True


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
