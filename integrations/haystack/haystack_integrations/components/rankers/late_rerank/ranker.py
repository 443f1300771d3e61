"""Haystack documents -> the same documents in a better order."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils import ComponentDevice
from haystack_integrations.components.rankers.late_rerank.checks import (
    check_device,
    check_fields,
    check_threshold,
    device_name,
)
from haystack_integrations.components.rankers.late_rerank.documents import checked, chosen_document, unique
from haystack_integrations.components.rankers.late_rerank.images import picture_in
from haystack_integrations.components.rankers.late_rerank.vectors import candidate_of
from haystack_integrations.components.rankers.late_rerank.written import NAMED, all_written_down, read

from late_rerank import Candidate, Reranker
from late_rerank.wrapping import (
    Choice,
    Codec,
    Content,
    Encoder,
    FirstStageWeight,
    FoundPrior,
    ImageFiles,
    Order,
    Pictures,
    Scoring,
    Store,
    asks_nothing,
    check_root,
    choose,
    is_blank,
    model_at,
    reranker_from,
    whole_number,
)

_TOP_K = 10


@component
class LateRerankRanker:
    """Ranks documents by late interaction: the best match of each word of the query in the document, summed.

    A store keeps the documents' token vectors, so each document is encoded once, not once a query. Put the ranker behind one or
    more retrievers that give it 50 to 100 documents:

        pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=100))
        pipeline.add_component("ranker", LateRerankRanker(top_k=5, store="vectors"))
        pipeline.connect("retriever", "ranker")

    The returned documents are new. Their `score` is the relevance, from 0 to 1. In `meta`, "late_rerank_score" is the MaxSim.
    "retrieval_score" is the score that the document came with, if it had one. Unscored documents (`on_missing="skip"`) and
    blank ones follow, with score 0. A blank query gives no documents.

    A model that sees images ranks a document by its image, if it has one: a `blob` of an image. See `root_path` for files.

    Args:
        model: "minilm" (built in), a hub name, a folder or an Encoder. None takes "minilm".
        top_k: The most documents to return. None returns 10 without a budget, and with a budget as many as fit.
        revision: A branch, a tag or a commit of the model on the hub. None takes the newest. It becomes part of `model`:
            "owner/name@revision".
        store: Keeps token vectors: a folder, "redis://..." or a Store. None is this process's memory.
        codec: Packs token vectors: "int8" and others, or a Codec. None takes "int8".
        scoring: How the matches of the query's words become a score. "proximity" counts words more that are matched near each
            other, and tells the best passage of a long document: "best_span" in `meta`, start and end in the content. "maxsim"
            takes each word's best match anywhere in the document. None takes "proximity". A late_rerank.maxsim.Scoring is taken
            too.
        query_encoder: What encodes queries: "full", "fast", which comes with "minilm", or the folder of a query encoder. Stored
            documents serve all of them. None takes "full".
        device: The device that the model runs on. None takes the fastest one.
        meta_fields_to_embed: Fields of `meta` that are read before the content, if a document has them.
        embedding_separator: The text between these fields and the content.
        score_threshold: Documents of lower score are left out.
        reranker: A ready Reranker, to be shared, instead of model, store, codec, scoring, query_encoder and device.
        min_relevance: From 0 to 1. Documents of lower score are left out, perhaps all. None keeps all.
        budget_tokens: The most tokens that the documents may take of a prompt. Fields of `meta` that are read with them count
            too. Documents are then chosen by what they add to each other. Repetitions and unscored documents are left out.
            Neighbouring pieces of a file become one document. If no document fits whole, the best is cut at a sentence. None
            sets no budget.
        order: The order of the documents within a budget. "relevance" puts the best first; None stands for it. "edges" puts the
            best first and last. "source" keeps the order in their files, by "path", "start" and "end" in `meta`.
        count_tokens: Counts the budget's tokens: the LLM's tokenizer (Hugging Face, tiktoken), or a function from a text to its
            number of tokens. None estimates the number. The file of a pipeline can only name a function.
        first_stage_weight: How much the scores that documents came with count for their order. Higher scores are better. With
            0, the default, they don't count; with 1 they count as much as MaxSim. With "auto" they count a little, and the
            scores themselves decide how much. With a weight, each document must have a score.
        prior: What you add to the order yourself, such as recency or popularity: a function of a late_rerank.Candidate, which
            has the document's id and score, and `meta` as its metadata; or the name of a field of `meta` that holds a number. 1
            is one standard deviation of the query's scores. `late_rerank.ranking.recency("date", half_life_days=30)` is such a
            function, which a pipeline's file can hold; other functions can't be written. A document without the field gets 0.
            The number that was added is "late_rerank_prior" in `meta`. Within a budget, documents are chosen by their matches,
            and `prior` counts for their order.
        root_path: The folder of image and PDF files. A document whose `meta` names an image there, or a PDF file and its
            "page_number", from 1, is ranked by that image or page. Relative paths count from the folder, and a path that leads
            out of it is an error. None looks for no files. For models that see images.
        file_path_meta_field: The field of `meta` that holds a file's path.
        token_vectors_field: The field that holds a document's token vectors, if a document store keeps them: one row of numbers
            a token, by the ranker's model. It is a field of the document if Haystack has it, such as "multivector_embedding",
            else of `meta`. Such documents are scored by these vectors: nothing is encoded. None, the default, looks for none.

    Raises:
        ValueError: If a number is out of its range. Also if `order` or `count_tokens` is given without a budget. Also if a
            reranker is given together with a model, store, codec, scoring, query_encoder or device. Also if a revision is
            given, and the model isn't a hub name.
        TypeError: If an argument has a wrong type. For those that a Reranker takes too, `warm_up` raises it.
    """

    def __init__(  # noqa: PLR0913 - a component's arguments
        self,
        model: str | Encoder | None = None,
        top_k: int | None = None,
        *,
        revision: str | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | Codec | None = None,
        scoring: str | Scoring | None = None,
        query_encoder: str | os.PathLike[str] | None = None,
        device: ComponentDevice | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        score_threshold: float | None = None,
        reranker: Reranker | None = None,
        min_relevance: float | None = None,
        budget_tokens: int | None = None,
        order: Order | None = None,
        count_tokens: Any = None,
        first_stage_weight: FirstStageWeight = 0.0,
        prior: FoundPrior | None = None,
        root_path: str | os.PathLike[str] | None = None,
        file_path_meta_field: str = "file_path",
        token_vectors_field: str | None = None,
    ) -> None:
        choice = Choice(
            top_k=top_k,
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            prior=prior,
            budget_tokens=budget_tokens,
            order=order,
            count_tokens=count_tokens,
        )
        check_threshold(score_threshold)
        check_fields(meta_fields_to_embed, file_path_meta_field, token_vectors_field)
        check_device(device)
        if reranker is not None:
            # Refused here: what can't go together.
            parts: dict[str, Any] = {"model": model, "revision": revision, "store": store, "codec": codec, "scoring": scoring}
            reranker_from(reranker, **parts, query_encoder=query_encoder, device=device_name(device))
        self.model = model_at(model, revision)
        self.top_k = choice.top_k
        self.store = store
        self.codec = codec
        self.scoring = scoring
        self.query_encoder = query_encoder
        self.device = device
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self.score_threshold = score_threshold
        self.reranker = reranker
        self.min_relevance = choice.min_relevance
        self.budget_tokens = choice.budget_tokens
        self.order = choice.order
        self.count_tokens = choice.count_tokens
        self.first_stage_weight = choice.first_stage_weight
        self.prior = choice.prior
        self.root_path = check_root(root_path)
        self.file_path_meta_field = file_path_meta_field
        self.token_vectors_field = token_vectors_field
        self._is_ours = reranker is None
        self._loading = Lock()

    def warm_up(self) -> None:
        """Load the model and open the store. If nobody calls this, `run` does."""
        with self._loading:
            if self.reranker is None:
                parts = {name: getattr(self, name) for name in NAMED}
                self.reranker = reranker_from(None, **parts, device=device_name(self.device))

    async def warm_up_async(self) -> None:
        """Call `warm_up` in a thread. Without this method, a pipeline's `run_async` would load the model on the event loop."""
        await asyncio.to_thread(self.warm_up)

    def close(self) -> None:
        """Let go of model and store, if this component loaded them."""
        with self._loading:
            if self._is_ours and self.reranker is not None:
                self.reranker.close()
                self.reranker = None

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        score_threshold: float | None = None,
        min_relevance: float | None = None,
        budget_tokens: int | None = None,
    ) -> dict[str, list[Document]]:
        """Rank documents.

        Args:
            query: The question.
            documents: The documents. If several have one id, the best scored one counts. They are never changed.
            top_k: Replaces the component's own.
            score_threshold: Replaces the component's own.
            min_relevance: Replaces the component's own.
            budget_tokens: Replaces the component's own.

        Returns:
            "documents", best first; with a budget, in `order`. Empty if the query is blank or none is relevant enough.

        Raises:
            ValueError: If a number is out of its range. Also if a first-stage weight is set and a document has no finite score.
            TypeError: If an argument has a wrong type, or a document isn't a Document. The message names the document.
        """
        whole_number("top_k", top_k, or_none="for the component's own")
        check_threshold(score_threshold)
        threshold = self.score_threshold if score_threshold is None else score_threshold
        choice = self._choice(top_k, threshold, min_relevance, budget_tokens)
        given = unique(checked(documents or []))
        if not given or asks_nothing(query):
            return {"documents": []}
        self.warm_up()
        contents = [document.content or "" for document in given]
        found = choose(self._loaded(), query, self._candidates(given), choice, contents)
        best = [chosen_document(given[each.document.index], each) for each in found]
        return {"documents": [document for document in best if threshold is None or (document.score or 0.0) >= threshold]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        score_threshold: float | None = None,
        min_relevance: float | None = None,
        budget_tokens: int | None = None,
    ) -> dict[str, list[Document]]:
        """Do what `run` does, in a thread. The event loop is never blocked."""
        in_thread = asyncio.to_thread if self.reranker is None else self.reranker.in_thread
        return await in_thread(self.run, query, documents, top_k, score_threshold, min_relevance, budget_tokens)

    def content_of(self, document: Document) -> Content:
        """Give what is ranked of a document: its token vectors, its text or its picture. `reranker.index` takes it ahead.

        Raises:
            IncompatibleError: If the model can't encode what the document has.
            ValueError: If the document's image is a wrong one.
        """
        self.warm_up()
        return self._loaded().content_of(self._candidates([document])[0])

    def to_dict(self) -> dict[str, Any]:
        """Give the component's arguments, with those of a ready reranker. A store's address keeps its password.

        Raises:
            ValueError: If an argument is an object that a file can't hold, or `prior` is a function. Also if a ready reranker
                has an argument that the component doesn't have.
            SerializationError: If `count_tokens` is a function without a name of its own.
        """
        arguments: dict[str, Any] = default_to_dict(self, **all_written_down(self, None if self._is_ours else self.reranker))
        return arguments

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LateRerankRanker:
        """Make a component from the result of `to_dict`."""
        ranker: LateRerankRanker = default_from_dict(cls, {**data, "init_parameters": read(data.get("init_parameters", {}))})
        return ranker

    def _get_telemetry_data(self) -> dict[str, Any]:
        return {"model": self.model if isinstance(self.model, str) else None}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock, which can't be copied, and a loaded reranker: each copy loads and closes its own."""
        state = {**self.__dict__, "reranker": None if self._is_ours else self.reranker}
        del state["_loading"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._loading = Lock()

    def _candidates(self, documents: list[Document]) -> list[Candidate]:
        pictures = Pictures(self._loaded())
        files = None if self.root_path is None else ImageFiles(self.root_path)
        found = []
        for document in documents:
            content = document.content or ""
            find = partial(picture_in, document, files, self.file_path_meta_field)
            image = pictures.of(find, text=content, name=f"the document {document.id!r:.70}")
            text = "" if is_blank(content) else self._text(document)
            found.append(candidate_of(document, text, image, self.token_vectors_field))
        return found

    def _text(self, document: Document) -> str:
        fields = [str(document.meta[name]) for name in self.meta_fields_to_embed if document.meta.get(name) is not None]
        return self.embedding_separator.join([*fields, document.content or ""])

    def _choice(
        self, top_k: int | None, threshold: float | None, min_relevance: float | None, budget_tokens: int | None
    ) -> Choice:
        """What counts for one run."""
        choice = Choice.of(self, top_k=top_k, min_relevance=min_relevance, budget_tokens=budget_tokens).resolved(_TOP_K)
        if choice.budget_tokens is None or threshold is None:
            return choice
        # Documents that the threshold leaves out afterwards must not take room in the budget.
        return replace(choice, min_relevance=max(choice.min_relevance or 0.0, min(threshold, 1.0)))

    def _loaded(self) -> Reranker:
        if self.reranker is None:
            raise RuntimeError("the ranker was closed while it ran; use one until all its runs have ended")
        return self.reranker
