"""The tools that an agent may call: their descriptions, their bounds, and what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from late_rerank.arguments.limits import MAX_DOCUMENT_CHARS, MAX_DOCUMENTS, MAX_QUERY_CHARS
from late_rerank.mcp.answers import RerankAnswer, SearchAnswer, rerank_answer, search_answer, sendable
from late_rerank.mcp.model import Model
from late_rerank.ranking.wanted import Wanted
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.text.words import is_blank
from late_rerank.types import Ranking

RERANK = (
    "Sort texts that you already have by how well each answers a question, best first, with a relevance from 0 to 1. Use it "
    "when you hold more candidates than you can read or quote: search results, passages, snippets, notes, issues, records. It "
    "compares meaning word by word, and needs no words in common. It reads nothing but what you give it, and changes nothing."
)
_SEARCH = (
    "Find the passages that best answer a question in folders of documents on the user's machine, best first, with the text of "
    "each, its file and its place there. Use it before you answer from the user's own documents, and instead of opening files "
    "one by one. Ask a whole question rather than keywords; ask again in other words where nothing relevant comes back. "
)

# The schema tells bounds for the agent's sake alone: `_check_*` refuse in clearer words than a validator.
Query = Annotated[
    str,
    Field(
        description="what you want to know, best as a whole question or sentence",
        json_schema_extra={"minLength": 1, "maxLength": MAX_QUERY_CHARS},
    ),
]
Documents = Annotated[
    list[str],
    Field(
        description=f"the texts to sort: 1 to {MAX_DOCUMENTS:,}, each of up to {MAX_DOCUMENT_CHARS:,} characters",
        json_schema_extra={"minItems": 1, "maxItems": MAX_DOCUMENTS},
    ),
]
Folder = Annotated[str | None, Field(description="the name of the folder to search; may be left out where only one is served")]
TopN = Annotated[int, Field(description="at most so many results, the best ones", json_schema_extra={"minimum": 1})]


@dataclass(frozen=True)
class Tools:
    """The tools of one server.

    Attributes:
        model: Ranks.
        retrievers: Name of a folder -> the folder's retriever.
        k: Candidates of a search.
        wanted: The options that the server was started with. The first stage's weight and the prior count for searches alone.
        after_search: Called after each search; None for nothing.
    """

    model: Model
    retrievers: Mapping[str, Retriever]
    k: int
    wanted: Wanted
    after_search: Callable[[], None] | None = None

    async def rerank(self, query: Query, documents: Documents, top_n: TopN = 10) -> RerankAnswer:
        """Rank the caller's documents, best first."""
        _check_query(query)
        _check_documents(documents)
        _check_top_n(top_n)

        def ranked(reranker: Reranker) -> Ranking:
            wanted = Wanted(top_k=top_n, min_relevance=self.wanted.min_relevance)  # the caller's texts have no scores
            return reranker.rank([query], [documents], wanted)[0]

        return rerank_answer(await self.model.work(ranked))

    async def search(self, query: Query, folder: Folder = None, top_n: TopN = 5) -> SearchAnswer:
        """Find a folder's passages, best first."""
        _check_query(query)
        _check_top_n(top_n)
        retriever = self._retriever(folder)

        def found(reranker: Reranker) -> Ranking:
            candidates = retriever.retrieve(query, self.k)
            return reranker.rank([query], [candidates], replace(self.wanted, top_k=top_n))[0]

        ranking = await self.model.work(found)
        if self.after_search is not None:
            self.after_search()
        return search_answer(ranking)

    def search_description(self) -> str:
        """Describe `search` for an agent, with the folders that are served."""
        names = ", ".join(self.retrievers)
        return _SEARCH + (
            f"Folders served: {names}." if names else "No folder is served at present: it will answer with an error."
        )

    def _retriever(self, folder: str | None) -> Retriever:
        names = ", ".join(self.retrievers)
        if not names:
            raise ToolError("no folder is served: start the server with --folder NAME=PATH")
        if folder:
            if folder not in self.retrievers:
                raise ToolError(f"there is no folder {sendable(folder):.100} here; served: {names}")
            return self.retrievers[folder]
        if len(self.retrievers) > 1:
            raise ToolError(f"`folder` is missing, and more than one is served: name one of {names}")
        return next(iter(self.retrievers.values()))


def _check_query(query: str) -> None:
    if is_blank(query):
        raise ToolError("the query is blank: say what you want to know")
    if len(query) > MAX_QUERY_CHARS:
        raise ToolError(f"the query has {len(query):,} characters: at most {MAX_QUERY_CHARS:,}")


def _check_documents(documents: Sequence[str]) -> None:
    if not documents:
        raise ToolError("documents is empty: give at least one text")
    if len(documents) > MAX_DOCUMENTS:
        raise ToolError(f"{len(documents):,} documents: at most {MAX_DOCUMENTS:,} in a call; make several")
    for index, document in enumerate(documents):
        if len(document) > MAX_DOCUMENT_CHARS:
            raise ToolError(
                f"documents[{index}] has {len(document):,} characters: at most {MAX_DOCUMENT_CHARS:,}; split it into passages"
            )


def _check_top_n(top_n: int) -> None:
    if top_n < 1:
        raise ToolError(f"top_n must be at least 1, got {top_n}")
