"""Documents that were retrieved -> the best of them, as a LangChain document compressor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from pydantic import ConfigDict, Field

from langchain_late_rerank._documents import candidates, checked, ranked_documents, relevance
from late_rerank import Reranker
from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.stores import Store
from late_rerank.wrapping import check_count, reranker_from


class RerankResult(TypedDict):
    """One document's place in the input, from 0, and its relevance in [0, 1]."""

    index: int
    relevance_score: float


class _Call(TypedDict):
    """What a trace shows as the run's input."""

    query: str
    documents: list[Document]


class LateRerankCompressor(BaseDocumentCompressor):
    """The `top_n` best of retrieved documents, by late interaction.

    `LateRerankRetriever` does the same without `langchain-classic`; this is for what takes compressors:
    `ContextualCompressionRetriever`, `DocumentCompressorPipeline`.

    Setup:
        `pip install langchain-late-rerank "late-rerank[offline]"`. No key, no server.

    Instantiate:
        ```python
        from langchain_late_rerank import LateRerankCompressor

        compressor = LateRerankCompressor(top_n=3)
        ```

    Usage:
        ```python
        from langchain_classic.retrievers import ContextualCompressionRetriever

        retriever = ContextualCompressionRetriever(
            base_compressor=compressor,
            base_retriever=vectorstore.as_retriever(search_kwargs={"k": 50}),
        )
        retriever.invoke("how do threads wait for each other?")
        ```

    Returned documents are copies with the given ids, and with scores in their metadata: "relevance_score" in [0, 1],
    "late_rerank_score" (MaxSim), and "retrieval_score" where they came with a score. In a trace it is the run "LateRerank".

    Args:
        top_n: How many documents to return at most.
        reranker: A ready late_rerank.Reranker, to be shared, instead of model, store and codec.
        model: "minilm" (built in), a hub name, a folder, or an Encoder; None for "minilm".
        store: Where token vectors are kept: a folder, "redis://...", a Store; None for this process's memory.
        codec: How they are packed: "int8" and others, or a Codec; None for "int8".

    Raises:
        ValueError: `top_n` is below 1, or both a reranker and a model, store or codec are given.
        TypeError: An argument is of the wrong type.
        ModelError: The model can't be found, or can't be what it says.
        StoreError: The store can't be opened.
    """

    top_n: int = 3
    reranker: Reranker = Field(repr=False)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(
        self,
        *,
        top_n: int = 3,
        reranker: Reranker | None = None,
        model: str | Encoder | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | Codec | None = None,
    ) -> None:
        check_count("top_n", top_n)
        reranker = reranker_from(reranker, model=model, store=store, codec=codec)
        fields: dict[str, Any] = {
            "top_n": top_n,
            "reranker": reranker,
        }  # typed as Any: the parent's own __init__ takes anything
        super().__init__(**fields)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The best documents, best first.

        Args:
            documents: Never changed.
            query: Not blank, unless there are no documents.
            callbacks: Where the run "LateRerank" is reported.

        Returns:
            At most `top_n` new documents; empty for no documents, without touching the model.

        Raises:
            ValueError: The query is blank.
            TypeError: A document isn't a Document.
            MissingDocumentsError: The reranker has `on_missing="raise"`.
        """
        found = checked(documents, "documents")
        return self._run().invoke({"query": query, "documents": found}, _config(callbacks)) if found else []

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """`compress_documents`, scored in a thread, so that the event loop is never blocked."""
        found = checked(documents, "documents")
        return await self._run().ainvoke({"query": query, "documents": found}, _config(callbacks)) if found else []

    def rerank(self, documents: Sequence[str | Document], query: str, *, top_n: int | None = None) -> list[RerankResult]:
        """Places and relevances instead of documents; not traced.

        Args:
            documents: Texts or Documents, mixed.
            query: Not blank, unless there are no documents.
            top_n: At most so many results; None for the compressor's own.

        Returns:
            Best first; empty for no documents, without touching the model.

        Raises:
            ValueError: The query is blank, or `top_n` below 1.
            TypeError: A document is neither a str nor a Document.
        """
        check_count("top_n", top_n, or_none=True)
        given = checked(documents, "documents", texts=True)
        if not given:
            return []
        ranking = self.reranker.rerank(query, candidates(given), top_k=top_n or self.top_n)
        return [{"index": result.index, "relevance_score": relevance(result)} for result in ranking]

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        yield "top_n", self.top_n
        yield "model", self.reranker.model_name

    def _run(self) -> Runnable[_Call, list[Document]]:
        """What is traced. Callbacks that a compressor is given are nobody's unless a Runnable gets them."""
        return RunnableLambda(self._compress, self._acompress)

    def _compress(self, call: _Call) -> list[Document]:
        documents = call["documents"]
        return ranked_documents(documents, self.reranker.rerank(call["query"], candidates(documents), top_k=self.top_n))

    async def _acompress(self, call: _Call) -> list[Document]:
        documents = call["documents"]
        ranking = await self.reranker.arerank(call["query"], candidates(documents), top_k=self.top_n)
        return ranked_documents(documents, ranking)


def _config(callbacks: Callbacks | None) -> RunnableConfig:
    return {"callbacks": callbacks, "run_name": "LateRerank"}
