"""Documents that were retrieved -> the best of them, as a LangChain document compressor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from pydantic import ConfigDict, Field

from langchain_late_rerank._documents import TextOf, check_text, checked, chosen_documents, chosen_of, relevance, text_of
from late_rerank import Reranker
from late_rerank.wrapping import (
    Choice,
    Chosen,
    Codec,
    Encoder,
    FirstStageWeight,
    Order,
    Store,
    asks_nothing,
    reranker_from,
    whole_number,
)

_TOP_N = 3
_TOP_N_NONE = f"for {_TOP_N}, or for as many as fit a budget"


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
    "late_rerank_score" (MaxSim), and "retrieval_score" where they came with a score. Two copies of one document are equal,
    whatever their scores. A blank query gives no documents. In a trace it is the run "LateRerank".

    Args:
        top_n: How many documents to return at most; None for 3 without a budget, for as many as fit with one.
        reranker: A ready late_rerank.Reranker, to be shared, instead of model, store and codec.
        model: "minilm" (built in), a hub name, a folder, or an Encoder; None for "minilm".
        store: Where token vectors are kept: a folder, "redis://...", a Store; None for this process's memory.
        codec: How they are packed: "int8" and others, or a Codec; None for "int8".
        min_relevance: From 0 to 1: documents of lower relevance_score are left out, perhaps all; None for none.
        budget_tokens: All that the documents may take of a prompt, in tokens. They are then chosen by what they add to each
            other, without repetitions and without unscored ones; neighbouring pieces of a file become one document; where
            not even one fits, the best is cut at a sentence. None for no budget.
        order: Given a budget, how documents are ordered: "relevance", best first, which None stands for; "edges", the best
            first and last; "source", as in their files, by metadata path, start and end.
        count_tokens: Given a budget, the reader's tokenizer (Hugging Face, tiktoken), or a function from a text to its number
            of tokens; None for an estimate.
        first_stage_weight: How much the scores that documents came with count for their order, higher ones being better: 0, the
            default, not at all; "auto" a little, as those scores themselves ask for; 1 as much as MaxSim. Then each document
            must have one, in its metadata as "retrieval_score", "relevance_score" or "score".
        text: Which text of a document is ranked: a list of names of metadata fields, ["title"] say, which are put before the
            content, where a document has them; or a function from a Document to a str. None for the content. The returned
            documents are the same whichever text was ranked.
        keep_scores: Whether metadata says the scores. False for code that compares documents as text, such as unions of
            several queries' documents by `dumps(document)`.

    Raises:
        ValueError: A number is out of its range, order or count_tokens are given without a budget, or both a reranker and a
            model, store or codec.
        TypeError: An argument is of the wrong type.
        ModelError: The model can't be found, or can't be what it says.
        StoreError: The store can't be opened.
    """

    top_n: int | None = 3  # None: as many as fit the budget
    reranker: Reranker = Field(repr=False)
    min_relevance: float | None = None
    budget_tokens: int | None = None
    order: Order | None = None
    count_tokens: Any = Field(default=None, repr=False)
    first_stage_weight: FirstStageWeight = 0.0
    text: Any = Field(default=None, repr=False)
    keep_scores: bool = True

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(  # noqa: PLR0913 - a compressor's arguments
        self,
        *,
        top_n: int | None = None,
        reranker: Reranker | None = None,
        model: str | Encoder | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | Codec | None = None,
        min_relevance: float | None = None,
        budget_tokens: int | None = None,
        order: Order | None = None,
        count_tokens: Any = None,
        first_stage_weight: FirstStageWeight = 0.0,
        text: TextOf = None,
        keep_scores: bool = True,
    ) -> None:
        # Before a model is loaded: wrong numbers are refused here.
        choice = Choice(
            top_k=whole_number("top_n", top_n, or_none=_TOP_N_NONE),
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            budget_tokens=budget_tokens,
            order=order,
            count_tokens=count_tokens,
        ).resolved(_TOP_N)
        check_text(text)
        fields: dict[str, Any] = {  # typed as Any: the parent's own __init__ takes anything
            **choice.options(type(self).model_fields),
            "top_n": choice.top_k,
            "text": text,
            "keep_scores": keep_scores,
            "reranker": reranker_from(reranker, model=model, store=store, codec=codec),
        }
        super().__init__(**fields)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The best documents, best first.

        Args:
            documents: Never changed.
            query: What was asked.
            callbacks: Where the run "LateRerank" is reported.

        Returns:
            At most `top_n` new documents; empty for no documents or a blank query, without touching the model, and where none
            is relevant enough. With a budget in its `order`.

        Raises:
            TypeError: A document isn't a Document.
            MissingDocumentsError: The reranker has `on_missing="raise"`.
        """
        found = checked(documents, "documents")
        if not found or asks_nothing(query):
            return []
        return self._run().invoke({"query": query, "documents": found}, _config(callbacks))

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """`compress_documents`, scored in a thread, so that the event loop is never blocked."""
        found = checked(documents, "documents")
        if not found or asks_nothing(query):
            return []
        return await self._run().ainvoke({"query": query, "documents": found}, _config(callbacks))

    def rerank(self, documents: Sequence[str | Document], query: str, *, top_n: int | None = None) -> list[RerankResult]:
        """Places and relevances instead of documents; not traced.

        Args:
            documents: Texts or Documents, mixed.
            query: What was asked.
            top_n: At most so many results; None for the compressor's own.

        Returns:
            Those of the documents that `compress_documents` gives, in its order; of neighbours that it joins the best ranked
            one's place. Empty for no documents or a blank query, without touching the model.

        Raises:
            ValueError: `top_n` is below 1.
            TypeError: A document is neither a str nor a Document.
        """
        whole_number("top_n", top_n, or_none="for the compressor's own")
        given = checked(documents, "documents", texts=True)
        if not given:
            return []
        found = self._chosen(given, query, top_n)
        return [{"index": each.document.index, "relevance_score": relevance(each.document)} for each in found]

    def text_of(self, document: Document) -> str:
        """Give the text of a document that is ranked: what to index ahead, with `reranker.index`."""
        return text_of(document, self.text)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        yield "top_n", self.top_n
        yield "model", self.reranker.model_name
        yield from Choice.of(self).told()

    def _chosen(self, documents: Sequence[Document], query: str, top_n: int | None = None) -> list[Chosen]:
        choice = Choice.of(self, top_k=top_n or self.top_n).resolved(_TOP_N)
        return chosen_of(documents, query, choice, self.reranker, self.text)

    def _run(self) -> Runnable[_Call, list[Document]]:
        """What is traced. Callbacks that a compressor is given are nobody's unless a Runnable gets them."""
        return RunnableLambda(self._compress, self._acompress)

    def _compress(self, call: _Call) -> list[Document]:
        documents = call["documents"]
        return chosen_documents(documents, self._chosen(documents, call["query"]), scores=self.keep_scores)

    async def _acompress(self, call: _Call) -> list[Document]:
        return await self.reranker.in_thread(self._compress, call)


def _config(callbacks: Callbacks | None) -> RunnableConfig:
    return {"callbacks": callbacks, "run_name": "LateRerank"}
