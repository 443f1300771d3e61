"""Which language a request is in, by its path, its headers and its body. Errors are told in the same language."""

from __future__ import annotations

import re
from collections.abc import Mapping

from late_rerank.serve.clients.dashscope import DashScopeDialect
from late_rerank.serve.clients.dialect import Dialect
from late_rerank.serve.clients.documents import DocumentsDialect, InfinityDialect, PineconeDialect
from late_rerank.serve.clients.mixedbread import MixedbreadDialect
from late_rerank.serve.clients.nvidia import NvidiaDialect
from late_rerank.serve.clients.scores import DeepInfraDialect, ScoresDialect
from late_rerank.serve.clients.texts import TextsDialect
from late_rerank.serve.paths import INFERENCE_PATH, INFINITY_PATH, SCORE_PATH

DOCUMENTS = DocumentsDialect()
_TEXTS, _PASSAGES, _INPUT, _DASHSCOPE = TextsDialect(), NvidiaDialect(), MixedbreadDialect(), DashScopeDialect()
_INFINITY, _PINECONE, _SCORES, _DEEPINFRA = InfinityDialect(), PineconeDialect(), ScoresDialect(), DeepInfraDialect()

_PINECONE_HEADER = "x-pinecone-api-version"
# Searching is cheaper than parsing twice. A text may hold these words, but not as a name: in a text its quotes are escaped.
_NAMED = re.compile(rb'"(documents|texts|passages|input)"\s*:\s*(\{)?')
_DOCUMENTS = re.compile(rb'"documents"\s*:')
_BY_NAME: dict[bytes, Dialect] = {b"texts": _TEXTS, b"passages": _PASSAGES, b"input": _INPUT}


def dialect_of(path: str, headers: Mapping[str, str], body: bytes) -> Dialect:
    """Tell the client's language.

    Args:
        path: The canonical one.
        headers: Of the request.
        body: Its whole body or the beginning; one that names nothing that is ranked counts as `documents`.
    """
    if path == SCORE_PATH:
        return _SCORES
    if path.startswith(INFERENCE_PATH.partition("{")[0]):
        return _DEEPINFRA
    found = _NAMED.search(body)
    if found is not None and found[1] != b"documents":
        if found[1] == b"input" and found[2]:
            return _DASHSCOPE
        if _DOCUMENTS.search(body, found.end()) is None:
            return _BY_NAME[found[1]]
    if path == INFINITY_PATH:
        return _INFINITY
    return _PINECONE if _PINECONE_HEADER in headers else DOCUMENTS
