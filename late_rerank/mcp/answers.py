"""A Ranking -> what an agent reads."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import NotRequired, TypedDict  # pydantic takes typing's own only from Python 3.12 on

from late_rerank.arguments.given import finite
from late_rerank.types import RankedDocument, Ranking

_SURROGATES = re.compile("[\ud800-\udfff]")

Relevance = Annotated[float | None, Field(description="from 0, not relevant, to 1; null where it wasn't scored")]
Prior = Annotated[float, Field(description="what the user's own settings added for this document, such as for its date")]
Score = Annotated[float | None, Field(description="MaxSim; says something within one answer only; null where relevance is")]


class RerankedDocument(TypedDict):
    """A document that the caller gave, with its place."""

    index: Annotated[int, Field(description="position in `documents` as given, from 0")]
    relevance: Relevance
    score: Score
    text: str


class RerankAnswer(TypedDict):
    """What `rerank` answers."""

    results: Annotated[list[RerankedDocument], Field(description="best first")]


class FoundPassage(TypedDict):
    """A passage of a folder that is served."""

    rank: Annotated[int, Field(description="from 1")]
    relevance: Relevance
    score: Score
    prior: NotRequired[Prior]
    text: Annotated[str, Field(description="empty for a scan or an image, which the model saw: open it at `path`")]
    id: Annotated[str | int | float | None, Field(description="its name in the folder")]
    path: Annotated[str | None, Field(description="its file, seen from the folder; null where it is from no text file")]
    page: NotRequired[
        Annotated[int, Field(description="the page of a PDF file, from 1, to cite with `path`; places count on it")]
    ]
    start: Annotated[int | None, Field(description="where it begins in the file, in characters from 0")]
    end: Annotated[int | None, Field(description="where it ends in the file: the character after its last one")]
    best_passage: NotRequired[Annotated[str, Field(description="the part of a long `text` that answers best: quote this")]]


class SearchAnswer(TypedDict):
    """What `search` answers."""

    results: Annotated[list[FoundPassage], Field(description="best first")]


def rerank_answer(ranking: Ranking) -> RerankAnswer:
    """Write the caller's documents in their new order."""
    return {
        "results": [
            {
                "index": document.index,
                "relevance": document.relevance,
                "score": document.score,
                "text": sendable(document.text),
            }
            for document in ranking
        ]
    }


def search_answer(ranking: Ranking) -> SearchAnswer:
    """Write passages with their places."""
    return {"results": [_passage(document) for document in ranking]}


def sendable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 can't hold: one in an answer would end the server.

    File names have them if the file system isn't UTF-8; JSON Lines have them if text was cut within an emoji.
    """
    return _SURROGATES.sub("\ufffd", text)


def _passage(document: RankedDocument) -> FoundPassage:
    found: FoundPassage = {
        "rank": document.rank,
        "relevance": document.relevance,
        "score": document.score,
        "text": sendable(document.text),
        "id": _id(document.id),
        "path": _text(document.metadata.get("path")),
        "start": _offset(document.metadata.get("start")),
        "end": _offset(document.metadata.get("end")),
    }
    if document.prior is not None:
        found["prior"] = document.prior
    if (page := _offset(document.metadata.get("page"))) is not None:
        found["page"] = page
    span = document.best_span
    if span is not None and span != (0, len(document.text)):
        found["best_passage"] = sendable(document.text[slice(*span)])
    return found


def _id(name: object) -> str | int | float | None:
    """Write a document's id as JSON: a number in a file of JSON Lines stays a number."""
    if name is None or (isinstance(name, (int, float)) and finite(name) is not None):
        return name
    return sendable(str(name))


# A user's own retriever may keep anything under these names.
def _text(value: Any) -> str | None:
    return sendable(value) if isinstance(value, str) else None


def _offset(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
