"""Queries and documents that clients send as objects of parts -> their text, and their images as they were sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, WithJsonSchema

from late_rerank.pictures.uris import is_url
from late_rerank.serve.ignored import is_unset

# Jina's and vLLM's, and ours for pictures that were indexed. Elasticsearch writes a type and a value.
_IMAGE_FIELDS = ("image", "image_url", "image_key")
_VALUE = "value"


class SentImage(NamedTuple):
    """An image of a document, as a client sent it: not decoded.

    Attributes:
        name: The field that it stands in.
        value: What stands there.
    """

    name: str
    value: Any

    @property
    def is_key(self) -> bool:
        """Whether it is the key of a picture that was indexed."""
        return self.name == "image_key"

    @property
    def is_url(self) -> bool:
        """Whether it is a URL, that of a file among them. A data URI holds its bytes."""
        text = self._written
        return isinstance(text, str) and is_url(text)

    @property
    def text(self) -> str:
        """The data URI, the base64 or the key.

        Raises:
            ValueError: If it is none of these, or a URL: nothing is ever fetched, and no file opened.
        """
        text = self._written
        if not isinstance(text, str):
            raise ValueError(f"{self.name} must be a text: a data URI or base64, or the key of a picture that was indexed")
        if is_url(text):
            raise ValueError(f"{self.name} is a URL, and this server fetches none: send the bytes, as a data URI or base64")
        return text

    @property
    def _written(self) -> Any:
        return self.value.get("url") if isinstance(self.value, Mapping) else self.value


def text_in(sent: Mapping[str, Any]) -> str | None:
    """Give the text of an object's parts, a line each.

    The parts are vLLM's and Dify's {"content": [{"type": "text", "text": ...}]}, or Elasticsearch's {"type": "text",
    "value": ...}.

    Returns:
        None if no part is a text.

    Raises:
        ValueError: If a part is neither a text nor an image.
    """
    texts = []
    for part in _parts(sent):
        text = _part_text(part)
        if text is not None:
            texts.append(text)
        elif not isinstance(part, Mapping) or not any(_own_images(part)):
            raise ValueError("has a part that is neither a text nor an image")
    return "\n".join(texts) if texts else None


def images_in(sent: Mapping[str, Any]) -> list[SentImage]:
    """Find the images of an object: in fields of its own, and in its parts."""
    found = list(_own_images(sent))
    for part in _content(sent):
        if isinstance(part, Mapping):
            found += _own_images(part)
    return found


def without_images(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Give an object's fields as they were sent, without the bytes of images. URLs stay."""
    left_out = {image.name for image in _own_images(sent) if not image.is_key and not image.is_url}
    kept = {name: value for name, value in sent.items() if name not in left_out}
    content = _content(sent)
    if any(isinstance(part, Mapping) and any(_own_images(part)) for part in content):
        kept["content"] = [without_images(part) for part in content if _part_text(part) is not None]
    return kept


def _content(sent: Mapping[str, Any]) -> list[Any]:
    content = sent.get("content")
    if isinstance(content, list):
        return content
    return [content] if isinstance(content, Mapping) else []


def _parts(sent: Mapping[str, Any]) -> list[Any]:
    """Give an object's parts; the object itself if it is one, as in Elasticsearch's requests."""
    return [sent] if sent.get("type") in ("text", "image") and _VALUE in sent else _content(sent)


def _part_text(part: Any) -> str | None:
    if not isinstance(part, Mapping):
        return None
    text = part.get("text", part.get(_VALUE) if part.get("type") == "text" else None)
    return text if isinstance(text, str) else None


def _own_images(fields: Mapping[str, Any]) -> Iterator[SentImage]:
    for name in _IMAGE_FIELDS:
        if not is_unset(fields.get(name)):
            yield SentImage(name, fields[name])
    if fields.get("type") == "image" and not is_unset(fields.get(_VALUE)):
        yield SentImage(_VALUE, fields[_VALUE])


def _query(sent: Any) -> Any:
    if not isinstance(sent, dict):
        return sent
    if isinstance(sent.get("text"), str):  # Jina's
        return sent["text"]
    try:
        text = text_in(sent)
    except ValueError as error:
        raise ValueError(f"it {error}") from None
    if images_in(sent):
        raise ValueError("it has an image: this server takes images as documents alone")
    if text is None:
        raise ValueError('an object must have "text", or "content" with parts of text')
    return text


Query = Annotated[
    str,
    BeforeValidator(_query),
    Field(description='Not blank. A text, {"text"}, or {"content": [{"type": "text", "text"}]}.'),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}]}),
]
