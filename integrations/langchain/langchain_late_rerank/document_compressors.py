"""Documents that were retrieved -> the best of them, as a LangChain document compressor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from pydantic import ConfigDict, Field

from langchain_late_rerank._documents import (
    ImageOf,
    Reading,
    TextOf,
    check_image,
    check_text,
    checked,
    chosen_documents,
    chosen_of,
    content_of,
    relevance,
    text_of,
)
from late_rerank.wrapping import (
    AnyReranker,
    Choice,
    Chosen,
    Codec,
    Content,
    Encoder,
    FirstStageWeight,
    FoundPrior,
    Order,
    Scoring,
    Store,
    any_reranker_from,
    asks_nothing,
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
    """Keeps the `top_n` best of retrieved documents, by late interaction.

    `LateRerankRetriever` does the same without `langchain-classic`. Use the compressor where compressors are taken: in
    `ContextualCompressionRetriever` and `DocumentCompressorPipeline`.

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

    Returned documents are copies with the given ids. Their metadata hold the scores: "relevance_score" in [0, 1] and
    "late_rerank_score" (MaxSim). If a document came with a score, it is "retrieval_score". Two copies of one document are
    equal, whatever their scores. A blank query gives no documents. In a trace, the compressor is the run "LateRerank".

    Args:
        top_n: The most documents to return. None returns 3 without a budget, and with a budget as many as fit.
        reranker: A ready late_rerank.Reranker or FusedReranker, to be shared, instead of the arguments down to
            `query_encoder`.
        model: "minilm" (built in), a hub name, a folder or an Encoder. None takes "minilm".
        revision: A branch, a tag or a commit of the model on the hub. None takes the newest.
        store: Keeps token vectors: a folder, "redis://..." or a Store. None is this process's memory.
        codec: Packs token vectors: "int8" and others, or a Codec. None takes "int8".
        scoring: How the matches of the query's words become a score. "proximity" counts words more that are matched near each
            other, and tells the best passage of a long document: "best_span". "maxsim" takes each word's best match anywhere in
            the document. None takes "proximity". A late_rerank.maxsim.Scoring is taken too.
        query_encoder: What encodes queries: "full", "fast", which comes with "minilm", or the folder of a query encoder. Stored
            documents serve all of them. None takes "full".
        min_relevance: From 0 to 1. Documents of lower relevance_score are left out, perhaps all. None keeps all.
        budget_tokens: The most tokens that the documents may take of a prompt. Documents are then chosen by what they add to
            each other. Repetitions and unscored documents are left out. Neighbouring pieces of a file become one document. If
            no document fits whole, the best is cut at a sentence. None sets no budget.
        order: The order of the documents within a budget. "relevance" puts the best first; None stands for it. "edges" puts the
            best first and last. "source" keeps the order in their files, by path, start and end in the metadata.
        count_tokens: Counts the budget's tokens: the LLM's tokenizer (Hugging Face, tiktoken), or a function from a text to its
            number of tokens. None estimates the number.
        first_stage_weight: How much the scores that documents came with count for their order. Higher scores are better. With
            0, the default, they don't count; with 1 they count as much as MaxSim. With "auto" they count a little, and the
            scores themselves decide how much. With a weight, each document must have a score in its metadata:
            "retrieval_score", "relevance_score" or "score".
        prior: What you add to the order yourself, such as recency or popularity: a function of a late_rerank.Candidate, which
            has the document's id, score and metadata; or the name of a metadata field that holds a number. 1 is one standard
            deviation of the query's scores. `late_rerank.ranking.recency("date", half_life_days=30)` is such a function. A
            document without the field gets 0. The number that was added is "late_rerank_prior". Within a budget, documents are
            chosen by their matches, and `prior` counts for their order.
        text: Which text of a document is ranked. None takes the content. A list of metadata fields, such as ["title"], puts
            these before the content, if a document has them. A function takes a Document and gives a str. The returned
            documents are the same, whichever text was ranked.
        image: A function that gives a document's image: the bytes of an image file, its path, a Pillow image or a
            `late_rerank.pictures.Picture`; None for a document without one. A model that sees images ranks the image instead of
            the text. Others don't ask for it, unless a document has no text. The function decides which files may be read.
        keep_scores: Whether to write the scores and "best_span" into the metadata. Give False for code that compares documents
            as text, such as a union of several queries' documents by `dumps(document)`.

    Raises:
        ValueError: If a number is out of its range. Also if `order` or `count_tokens` is given without a budget. Also if a
            reranker is given together with arguments for a new one.
        TypeError: If an argument has a wrong type.
        ModelError: If the model can't be found, or its checkpoint can't be what it claims to be.
        StoreError: If the store can't be opened.
    """

    top_n: int | None = 3  # None: as many as fit the budget
    reranker: AnyReranker = Field(repr=False)
    min_relevance: float | None = None
    budget_tokens: int | None = None
    order: Order | None = None
    count_tokens: Any = Field(default=None, repr=False)
    first_stage_weight: FirstStageWeight = 0.0
    prior: Any = Field(default=None, repr=False)
    text: Any = Field(default=None, repr=False)
    image: Any = Field(default=None, repr=False)
    keep_scores: bool = True

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(  # noqa: PLR0913 - a compressor's arguments
        self,
        *,
        top_n: int | None = None,
        reranker: AnyReranker | None = None,
        model: str | Encoder | None = None,
        revision: str | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | Codec | None = None,
        scoring: str | Scoring | None = None,
        query_encoder: str | os.PathLike[str] | None = None,
        min_relevance: float | None = None,
        budget_tokens: int | None = None,
        order: Order | None = None,
        count_tokens: Any = None,
        first_stage_weight: FirstStageWeight = 0.0,
        prior: FoundPrior | None = None,
        text: TextOf = None,
        image: ImageOf = None,
        keep_scores: bool = True,
    ) -> None:
        # Before a model is loaded: wrong numbers are refused here.
        choice = Choice(
            top_k=whole_number("top_n", top_n, or_none=_TOP_N_NONE),
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            prior=prior,
            budget_tokens=budget_tokens,
            order=order,
            count_tokens=count_tokens,
        ).resolved(_TOP_N)
        check_text(text)
        check_image(image)
        fields: dict[str, Any] = {  # typed as Any: the parent's own __init__ takes anything
            **choice.options(type(self).model_fields),
            "top_n": choice.top_k,
            "text": text,
            "image": image,
            "keep_scores": keep_scores,
            "reranker": any_reranker_from(
                reranker,
                model=model,
                revision=revision,
                store=store,
                codec=codec,
                scoring=scoring,
                query_encoder=query_encoder,
            ),
        }
        super().__init__(**fields)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Give the best documents, best first.

        Args:
            documents: The documents. They are never changed.
            query: The question.
            callbacks: Where the run "LateRerank" is reported.

        Returns:
            At most `top_n` new documents; with a budget, in its `order`. Empty if none is relevant enough. Also empty for no
            documents or a blank query; then the model isn't used.

        Raises:
            ValueError: If a first-stage weight is set and a document has no finite score.
            TypeError: If a document isn't a Document.
            MissingDocumentsError: If the reranker has `on_missing="raise"`, and the store lacks a document.
        """
        found = checked(documents, "documents")
        if not found or asks_nothing(query):
            return []
        return self._run().invoke({"query": query, "documents": found}, _config(callbacks))

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Do what `compress_documents` does, in a thread. The event loop is never blocked."""
        found = checked(documents, "documents")
        if not found or asks_nothing(query):
            return []
        return await self._run().ainvoke({"query": query, "documents": found}, _config(callbacks))

    def rerank(self, documents: Sequence[str | Document], query: str, *, top_n: int | None = None) -> list[RerankResult]:
        """Give places and relevances instead of documents. This call isn't traced.

        Args:
            documents: Texts or Documents, mixed.
            query: The question.
            top_n: The most results to return. None takes the compressor's own.

        Returns:
            The places of the documents that `compress_documents` gives, in its order. For neighbours that are joined, the place
            of the best ranked one. Empty for no documents or a blank query; then the model isn't used.

        Raises:
            ValueError: If `top_n` is below 1.
            TypeError: If a document is neither a str nor a Document.
        """
        whole_number("top_n", top_n, or_none="for the compressor's own")
        given = checked(documents, "documents", texts=True)
        if not given:
            return []
        found = self._chosen(given, query, top_n)
        return [{"index": each.document.index, "relevance_score": relevance(each.document)} for each in found]

    def text_of(self, document: Document) -> str:
        """Give the text of a document that is ranked. To index ahead, give this text to `reranker.index`."""
        return text_of(document, self.text)

    def content_of(self, document: Document) -> Content:
        """Give what is ranked of a document: its text, or its image. To index ahead, give this to `reranker.index`."""
        return content_of(document, self.reranker, Reading(self.text, self.image))

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        yield "top_n", self.top_n
        yield "model", self.reranker.model_name
        yield from Choice.of(self).told()

    def _chosen(self, documents: Sequence[Document], query: str, top_n: int | None = None) -> list[Chosen]:
        choice = Choice.of(self, top_k=top_n or self.top_n).resolved(_TOP_N)
        return chosen_of(documents, query, choice, self.reranker, Reading(self.text, self.image))

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
