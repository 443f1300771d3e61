"""A LangChain retriever that reranks what another one found."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterable
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.vectorstores import VectorStoreRetriever
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
    text_of,
)
from late_rerank.wrapping import (
    AnyReranker,
    Choice,
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

_K = 3
_K_NONE = f"for {_K}, or for as many as fit a budget"


class LateRerankRetriever(BaseRetriever):
    """Gives the `k` best documents that another retriever finds, by late interaction.

    For each word of the query, the best match in a document counts, and these matches are summed. A store keeps the documents'
    token vectors, so each document is encoded once, not once a query. Then reranking 100 documents takes milliseconds.

    Setup:
        `pip install langchain-late-rerank "late-rerank[offline]"`. No key, no server.

    Instantiate:
        Let the base retriever give 50 to 100 documents: `as_retriever()` alone gives 4, too few to gain anything.

        ```python
        from langchain_late_rerank import LateRerankRetriever

        retriever = LateRerankRetriever(
            base_retriever=vectorstore.as_retriever(search_kwargs={"k": 50}),  # or fetch_k=50 below
            k=3,
            store="vectors",  # a folder: token vectors survive this process
        )
        ```

    Usage:
        ```python
        retriever.invoke("how do threads wait for each other?")
        retriever.invoke("how do threads wait for each other?", k=5)
        ```

    Use within a chain:
        ```python
        chain = {"context": retriever | format_documents, "question": RunnablePassthrough()} | prompt | llm | StrOutputParser()
        chain.invoke("how do threads wait for each other?")
        ```

    Returned documents are copies with the given ids. Their metadata hold the scores: "relevance_score" in [0, 1] and
    "late_rerank_score" (MaxSim). If the base retriever left a score, it is "retrieval_score". Unscored documents
    (`on_missing="skip"`) and blank ones follow, with relevance_score 0 and without late_rerank_score. Two copies of one
    document are equal, whatever their scores. So `MultiQueryRetriever` returns each document once. A blank query gives no
    documents, and the base retriever isn't asked.

    Args:
        base_retriever: Finds the documents: any retriever, or another Runnable from a str to a list of Documents.
        k: The most documents to return. None returns 3 without a budget, and with a budget as many as fit. `invoke(query,
            k=...)` sets it for one call.
        fetch_k: How many documents to ask of the base retriever. Its `invoke` is given `k=fetch_k`, which retrievers of vector
            stores take. None leaves the number to the base retriever. Leave it None if the base retriever takes no `k` (a
            RunnableLambda).
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
        name: LangChain's: the name in traces.
        tags: LangChain's.
        metadata: LangChain's. "late_rerank_model" is added.

    Raises:
        ValueError: If a number is out of its range, or `fetch_k` is below `k`. Also if `order` or `count_tokens` is given
            without a budget. Also if a reranker is given together with arguments for a new one.
        TypeError: If an argument has a wrong type.
        ModelError: If the model can't be found, or its checkpoint can't be what it claims to be.
        StoreError: If the store can't be opened.
    """

    base_retriever: RetrieverLike
    k: int | None = 3  # None: as many as fit the budget
    fetch_k: int | None = None
    min_relevance: float | None = None
    budget_tokens: int | None = None
    order: Order | None = None
    count_tokens: Any = Field(default=None, repr=False)
    first_stage_weight: FirstStageWeight = 0.0
    prior: Any = Field(default=None, repr=False)
    text: Any = Field(default=None, repr=False)
    image: Any = Field(default=None, repr=False)
    keep_scores: bool = True
    # A field, not a private attribute: configurable_fields makes the retriever anew from its fields for every configured call.
    reranker: AnyReranker = Field(repr=False)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(  # noqa: PLR0913 - its own eighteen, and LangChain's three
        self,
        *,
        base_retriever: RetrieverLike,
        k: int | None = None,
        fetch_k: int | None = None,
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
        name: str | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        # Before a model is loaded: wrong numbers are refused here.
        choice = Choice(
            top_k=whole_number("k", k, or_none=_K_NONE),
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            prior=prior,
            budget_tokens=budget_tokens,
            order=order,
            count_tokens=count_tokens,
        ).resolved(_K)
        fetch_k = whole_number("fetch_k", fetch_k, or_none="for the base retriever's own number")
        _check_enough(choice.top_k, fetch_k)
        check_text(text)
        check_image(image)
        _warn_of_few(base_retriever, fetch_k)
        reranker = any_reranker_from(
            reranker, model=model, revision=revision, store=store, codec=codec, scoring=scoring, query_encoder=query_encoder
        )
        # In the retriever's own metadata: `_get_ls_params` would give the model to the base retriever's run too.
        metadata = {**(metadata or {}), "late_rerank_model": reranker.model_name}
        fields: dict[str, Any] = {
            **choice.options(type(self).model_fields),
            "base_retriever": base_retriever,
            "k": choice.top_k,
            "fetch_k": fetch_k,
            "text": text,
            "image": image,
            "keep_scores": keep_scores,
            "reranker": reranker,
        }
        super().__init__(**fields, name=name, tags=tags, metadata=metadata)

    def text_of(self, document: Document) -> str:
        """Give the text of a document that is ranked. To index ahead, give this text to `reranker.index`."""
        return text_of(document, self.text)

    def content_of(self, document: Document) -> Content:
        """Give what is ranked of a document: its text, or its image. To index ahead, give this to `reranker.index`."""
        return content_of(document, self.reranker, Reading(self.text, self.image))

    # A named k and no **kwargs: LangChain drops arguments silently where the signature has none, and a wrong name must raise.
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        _check_query(query)
        choice = self._choice(k)
        if asks_nothing(query):
            return []
        found = self.base_retriever.invoke(query, {"callbacks": run_manager.get_child()}, **self._asked())
        return self._best(found, query, choice)

    # LangChain's own async method takes no k.
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        _check_query(query)
        choice = self._choice(k)
        if asks_nothing(query):
            return []
        found = await self.base_retriever.ainvoke(query, {"callbacks": run_manager.get_child()}, **self._asked())
        return await self.reranker.in_thread(self._best, found, query, choice)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # It goes into every trace: no base retriever's documents, no reranker.
        yield "base_retriever", self.base_retriever.get_name()
        yield "k", self.k
        if self.fetch_k is not None:
            yield "fetch_k", self.fetch_k
        yield "model", self.reranker.model_name
        yield from Choice.of(self).told()

    def _choice(self, k: int | None) -> Choice:
        k = whole_number("k", k, or_none="for the retriever's own")
        choice = Choice.of(self, top_k=k or self.k).resolved(_K)
        _check_enough(choice.top_k, self.fetch_k)
        return choice

    def _best(self, found: object, query: str, choice: Choice) -> list[Document]:
        documents = checked(found, "the base retriever's result")
        if not documents:
            return []
        chosen = chosen_of(documents, query, choice, self.reranker, Reading(self.text, self.image))
        return chosen_documents(documents, chosen, scores=self.keep_scores)

    def _asked(self) -> dict[str, int]:
        return {} if self.fetch_k is None else {"k": self.fetch_k}


def _check_query(query: object) -> None:
    # A chain's whole input, a dict, is the usual mistake; the base would fail somewhere inside.
    if not isinstance(query, str):
        got = f"{type(query).__name__}: {query!r:.60}"
        raise TypeError(f'query must be a str, got {got}; within a chain pick it out first: itemgetter("question") | retriever')


def _check_enough(k: int | None, fetch_k: int | None) -> None:
    if k is not None and fetch_k is not None and fetch_k < k:
        raise ValueError(f"fetch_k must be at least k, got fetch_k={fetch_k} and k={k}; 50 to 100 are usual")


def _warn_of_few(base_retriever: object, fetch_k: int | None) -> None:
    """Warn of the two ways in which there is next to nothing to rerank, without a sign of it."""
    if not isinstance(base_retriever, BaseRetriever):
        return
    name = base_retriever.get_name()
    if fetch_k is None:
        if isinstance(base_retriever, VectorStoreRetriever) and "k" not in base_retriever.search_kwargs:
            _warn(
                f"{name} gives its default number of documents, in most vector stores 4: too few for reranking to gain "
                'anything. Use fetch_k=50, or as_retriever(search_kwargs={"k": 50})'
            )
    elif not _takes_k(base_retriever):
        _warn(
            f"{name} takes no k when it is called, so that fetch_k={fetch_k} has no effect: set its number of documents there"
        )


def _takes_k(retriever: BaseRetriever) -> bool:
    parameters = inspect.signature(retriever._get_relevant_documents).parameters  # noqa: SLF001 - what every retriever must define
    return "k" in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)  # _warn, _warn_of_few, __init__, and the caller's line
