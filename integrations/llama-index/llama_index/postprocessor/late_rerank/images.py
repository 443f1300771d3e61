"""LlamaIndex nodes -> their pictures. Nothing is opened here, and what a URL names never is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import BaseNode, ImageNode
from llama_index.postprocessor.late_rerank.nodes import text_in

from late_rerank.wrapping import ImageFiles, Picture, base64_picture, is_blank


def picture_in(node: BaseNode, files: ImageFiles, *, page_images: bool) -> Picture | None:
    """Find a node's picture: bytes, else a file; with `page_images`, else the page that the node was read from.

    LlamaIndex's own `resolve_image` isn't used: it fetches URLs, without a bound.

    Args:
        node: Any node.
        files: Where files may lie.
        page_images: Whether a node's text stands for the page of a PDF file, or for the image file, that its metadata name.

    Raises:
        ValueError: If a node without text has a URL alone, or lost its image. Also if base64, a path or a page is wrong.
        TypeError: If a path is no path.
    """
    is_image, held, path, url = _image(node)
    if held:
        return base64_picture(held)
    if path:
        return files.image(path)
    found = _page(node.metadata, files) if page_images else None
    if found is None and is_image and is_blank(text_in(node)):
        raise ValueError(_URL_ALONE.format(str(url)) if url else _NOTHING)
    return found


_URL_ALONE = (
    "it has no text, and an image by the URL {0!r:.80} alone, which is never fetched: give the bytes as `image`, or the path "
    "of a file as `image_path`"
)
_NOTHING = (
    "it has neither text nor an image: give the bytes as `image`, or a path. LlamaIndex leaves the data of an image_resource "
    "out when it writes a node, but keeps the path"
)


def _image(node: BaseNode) -> tuple[bool, str | bytes | None, object, object]:
    """Whether a node is one for an image, and the image: as base64, as a path, as a URL."""
    if isinstance(node, ImageNode):
        return True, node.image, node.image_path, node.image_url
    resource = getattr(node, "image_resource", None)
    if resource is None:
        return False, None, None, None
    return True, resource.data, resource.path, resource.url


def _page(metadata: Mapping[str, Any], files: ImageFiles) -> Picture | None:
    """The page that metadata name. A label, as LlamaIndex's PDF reader gives it, is no number: "iv", "1" behind a preface."""
    path = metadata.get("file_path")
    return files.page(path, number=metadata.get("page_number"), label=metadata.get("page_label")) if path else None
