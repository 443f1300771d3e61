"""Queries and documents that clients send as objects of parts -> their text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_NO_IMAGES = "has an image, or another part that isn't text: this server ranks text"


def text_in(sent: Mapping[str, Any]) -> str | None:
    """Give the text of an object of parts, a line each: vLLM's and Dify's {"content": [{"type": "text", "text": ...}]}.

    Returns:
        None if the object has no parts.

    Raises:
        ValueError: If one part is no text.
    """
    parts = sent.get("content")
    if not isinstance(parts, list):
        if "image" in sent or "image_url" in sent:
            raise ValueError(_NO_IMAGES)
        return None
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(_NO_IMAGES)
    return "\n".join(str(text) for text in texts)


def _query(sent: Any) -> Any:
    if not isinstance(sent, dict):
        return sent
    if isinstance(sent.get("text"), str):  # Jina's
        return sent["text"]
    try:
        text = text_in(sent)
    except ValueError as error:
        raise ValueError(f"it {error}") from None
    if text is None:
        raise ValueError('an object must have "text", or "content" with parts of text')
    return text


Query = Annotated[
    str,
    BeforeValidator(_query),
    Field(description='Not blank. A text, {"text"}, or {"content": [{"type": "text", "text"}]}.'),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}]}),
]
