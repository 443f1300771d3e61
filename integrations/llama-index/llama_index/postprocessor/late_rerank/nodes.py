"""LlamaIndex nodes -> candidates, and what was chosen -> copies of nodes."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import BaseNode, IndexNode, MetadataMode, NodeWithScore

from late_rerank import Candidate
from late_rerank.wrapping import Chosen, Picture, is_blank

_PLACE = ("path", "start", "end")


def mode_of(given: MetadataMode | str) -> MetadataMode:
    """Give the metadata mode of that name.

    Raises:
        ValueError: If LlamaIndex has none of that name.
    """
    try:
        return MetadataMode(given)
    except ValueError:
        names = ", ".join(mode.value for mode in MetadataMode)
        raise ValueError(f"metadata_mode must be one of {names}, got {given!r:.60}") from None


def candidate(given: NodeWithScore, mode: MetadataMode, picture: Picture | None = None) -> Candidate:
    """A node as the reranker takes it: its content with the metadata that `mode` adds, its picture, its place in its document.

    Metadata without content are no text: a title alone must not outrank passages.
    """
    node = given.node
    if mode is MetadataMode.ALL and "best_span" in node.metadata:  # an earlier reranking's is no part of what a node says
        node = node.model_copy(update={"metadata": {name: each for name, each in node.metadata.items() if name != "best_span"}})
    text = "" if is_blank(text_in(node)) else node.get_content(metadata_mode=mode)
    # Joined with a neighbour, a node would lose its picture.
    place = {} if picture is not None else _place(node)
    return Candidate(text, node.node_id, given.score, place, picture)


def text_in(node: BaseNode) -> str:
    """A node's text without its metadata."""
    return node.get_content(metadata_mode=MetadataMode.NONE)


def with_content(node: BaseNode, chosen: Chosen) -> BaseNode:
    """The node itself, or a copy with the content and the place that a budget gave it."""
    if chosen.content is None:
        return node
    update: dict[str, Any] = {}
    if chosen.start is not None:
        if _says_place(node):
            update = {"metadata": {**node.metadata, "start": chosen.start, "end": chosen.end}}
        else:
            update = {"start_char_idx": chosen.start, "end_char_idx": chosen.end}
    copy = node.model_copy(update=update)
    copy.set_content(chosen.content)
    return copy


def with_scores(node: BaseNode, scores: dict[str, Any]) -> BaseNode:
    """The node itself, or a copy whose metadata says `scores`, and the span, hidden from what models read; None: no entry."""
    scores = {name: score for name, score in scores.items() if score is not None or name in node.metadata}
    if not scores:
        return node
    hidden = {
        kind: [*keys, *(name for name in scores if name not in keys)]
        for kind in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")
        for keys in [getattr(node, kind)]
    }
    others = {name: value for name, value in node.metadata.items() if name not in scores}
    said = {name: score for name, score in scores.items() if score is not None}
    return node.model_copy(update={"metadata": {**others, **said}, **hidden})


def _place(node: BaseNode) -> dict[str, Any]:
    """The file or document that a node is a piece of, and from where to where, in characters."""
    if isinstance(node, IndexNode):
        return {}  # it stands for something else: joined with a neighbour it would be lost
    if _says_place(node):
        return {name: node.metadata[name] for name in _PLACE}
    source = node.source_node
    start, end = getattr(node, "start_char_idx", None), getattr(node, "end_char_idx", None)
    if source is None or start is None or end is None:
        return {}
    return {"path": source.node_id, "start": start, "end": end}


def _says_place(node: BaseNode) -> bool:
    """Whether a node's metadata says its place; else the framework's own fields may."""
    return all(name in node.metadata for name in _PLACE)
