"""LlamaIndex nodes -> the best of them by late interaction, best first."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import llama_index.core.instrumentation as instrument
from llama_index.core.bridge.pydantic import Field, PlainSerializer, WithJsonSchema
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle
from llama_index.postprocessor.late_rerank.images import picture_in
from llama_index.postprocessor.late_rerank.nodes import candidate, mode_of, text_in, with_content, with_scores
from llama_index.postprocessor.late_rerank.pickling import as_text, check_picklable

from late_rerank import Candidate, Reranker
from late_rerank.wrapping import (
    Calibration,
    Choice,
    Chosen,
    Codec,
    Content,
    Encoder,
    FirstStageWeight,
    FoundPrior,
    ImageFiles,
    Kernel,
    Order,
    Pictures,
    Scoring,
    Store,
    asks_nothing,
    check_root,
    choose,
    finite,
    has_name,
    maxsim_of,
    read_prior,
    read_scoring,
    reranker_from,
    whole_number,
    written_prior,
)

dispatcher = instrument.get_dispatcher(__name__)  # type: ignore[attr-defined]

_TOP_N = 3

# Fields that say what the reranker was made with. pydantic neither checks nor changes them: Reranker does.
_Model = Annotated[str | Encoder, WithJsonSchema({"type": "string"})]
_Place = Annotated[str | Store | None, WithJsonSchema({"type": "string"})]
_Codec = Annotated[str | Codec, WithJsonSchema({"type": "string"})]
_Kernel = Annotated[str | Kernel, WithJsonSchema({"type": "string"})]
_Calibration = Annotated[str | Calibration | None, WithJsonSchema({"type": "string"})]
_Scoring = Annotated[str | Scoring | None, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}]})]
_Counter = Annotated[Any, WithJsonSchema({})]
_Prior = Annotated[
    Any,
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "null"}]}),
    # Else a Recency would be written as its fields alone. A function stays itself, as `count_tokens` does.
    PlainSerializer(lambda prior: written_prior(prior) if has_name(prior) else prior),
]


class LateRerank(BaseNodePostprocessor):
    """Keeps the `top_n` best nodes by late interaction. A store keeps their token vectors, so each node is encoded once.

    The ranked text of a node is the text that an embedding model would read: its content, and the metadata that the node
    doesn't exclude. `metadata_mode` changes this. A model that sees images ranks a node by its image, if it has one: `image`,
    `image_path` or `image_resource`. A URL is never fetched.

    The given `NodeWithScore` objects are never changed; the result holds new ones. Only a budget changes a node's content, in
    a copy. A blank query gives no nodes.

    `score` is the relevance, in [0, 1], as cutoffs (`SimilarityPostprocessor`) and evaluators expect. It isn't the MaxSim,
    which is a sum over the query's tokens. Nodes that the reranker left unscored (`on_missing="skip"`) follow with 0.0.

    Safe to share between threads. Async calls run in a thread, so the event loop is never blocked. The model is loaded when the
    postprocessor is made.

    Args:
        top_n: The most nodes to keep, at least 1. None keeps 3 without a budget, and with a budget as many as fit.
        model: "minilm" (built in), a hub name, a folder or an Encoder, as `late_rerank.Reranker` takes it. None takes the
            Reranker's default. This holds for the next ten arguments too.
        revision: A branch, a tag or a commit of the model on the hub. None takes the newest. It becomes part of `model`:
            "owner/name@revision".
        store: Keeps token vectors: a folder, a Redis server or a Store. By default, this process's memory.
        codec: Packs token vectors.
        device: The device that the model runs on.
        backend: The engine that runs the model.
        kernel: Computes MaxSim.
        on_missing: What to do with nodes that the store doesn't hold: "encode", "skip" or "raise".
        calibration: Turns scores into relevance.
        pooling: How many token vectors of a document are merged into one. 1 keeps all.
        query_encoder: What encodes queries: "full", "fast", which comes with "minilm", or the folder of a query encoder. Stored
            documents serve all of them.
        scoring: How the matches of the query's words become a score. "proximity", the default, counts words more that are
            matched near each other, and tells the best passage of a long node: its metadata then say "best_span", start and end
            in the node's content. "maxsim" takes each word's best match anywhere in the node. A late_rerank.maxsim.Scoring is
            taken too.
        reranker: A ready Reranker, to be shared. Then none of the eleven arguments above may be given.
        keep_retrieval_score: Write the score that a node came with into its metadata, as "retrieval_score".
        keep_late_rerank_score: Write the MaxSim into its metadata, as "late_rerank_score", and what `prior` added, as
            "late_rerank_prior". These, the other score and "best_span" go into a copy of the node, and replace entries of these
            names. Embedding models and LLMs don't read them.
        min_relevance: From 0 to 1. Nodes of lower score are left out, perhaps all. None keeps all.
        budget_tokens: The most tokens that the nodes' texts may take of a prompt. Nodes are then chosen by what they add to
            each other. Repetitions and unscored nodes are left out. Neighbouring pieces of a document become one node. If no
            node fits whole, the best is cut at a sentence. None sets no budget.
        order: The order of the nodes within a budget. "relevance" puts the best first; None stands for it. "edges" puts the
            best first and last. "source" keeps the order in their documents.
        count_tokens: Counts the budget's tokens: the LLM's tokenizer (Hugging Face, tiktoken), or a function from a text to its
            number of tokens. None estimates the number.
        first_stage_weight: How much the scores that nodes came with count for their order. Higher scores are better. With 0,
            the default, they don't count; with 1 they count as much as MaxSim. With "auto" they count a little, and the scores
            themselves decide how much. With a weight, each node must have a score.
        prior: What you add to the order yourself, such as recency or popularity: a function of a late_rerank.Candidate, which
            has the node's id, score and metadata; or the name of a metadata field that holds a number. 1 is one standard
            deviation of the query's scores. `late_rerank.ranking.recency("date", half_life_days=30)` is such a function. A node
            without the field gets 0. Within a budget, nodes are chosen by their matches, and `prior` counts for their order.
        metadata_mode: Which metadata are ranked with a node's content, by LlamaIndex's rules. "embed" is what an embedding
            model reads, "llm" what an LLM reads. "all" is all metadata, "none" is none.
        page_images: Rank a node by the image of the page that it was read from: `file_path` of its metadata, and `page_number`
            or `page_label` for a PDF file. For models that see images. All nodes of one page then have one score.
        root_path: The folder that image files must lie in, where others may have written paths into nodes. Relative paths count
            from it. None allows any file.
        callback_manager: LlamaIndex's. Engines put theirs in its place.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If a number is out of its range, or a name is unknown. Also if `order` or `count_tokens` is given without a
            budget. Also if a ready reranker is given together with arguments for a new one.
        ModelError: If the model can't be found, or its checkpoint can't be what it claims to be.
        StoreError: If the store can't be opened.
    """

    top_n: int | None = Field(description="At most so many nodes are kept; None for as many as fit the budget.")
    keep_retrieval_score: bool = Field(description="Whether metadata says the score that a node came with.")
    keep_late_rerank_score: bool = Field(description="Whether metadata says the MaxSim.")
    min_relevance: float | None = Field(description="Nodes of lower score are left out.")
    budget_tokens: int | None = Field(description="What the nodes' texts may take of a prompt, in tokens.")
    order: Order | None = Field(description="How nodes are ordered within a budget.")
    count_tokens: _Counter = Field(repr=False, description="What counts the budget's tokens; None for an estimate.")
    first_stage_weight: FirstStageWeight = Field(description="How much the scores that nodes came with count for their order.")
    prior: _Prior = Field(repr=False, description="What is added to the order: a metadata field with a number, or a function.")
    metadata_mode: MetadataMode = Field(description="Which metadata are ranked with a node's content.")
    page_images: bool = Field(description="Whether nodes are ranked by the images of the pages that they were read from.")
    root_path: str | None = Field(description="The folder that image files must lie in; None for any.")
    # Frozen: the reranker is made from them once. They always say what runs, whichever way it was given.
    model: _Model = Field(frozen=True, description="A name, a folder, or an Encoder.")
    # Not shown: a Redis URL may hold a password, and reprs end up in logs.
    store: _Place = Field(frozen=True, repr=False, description="A folder, a Redis URL, or a Store; None for memory.")
    codec: _Codec = Field(frozen=True, description="How token vectors are packed.")
    device: str | None = Field(frozen=True, description="What the model runs on; None for the fastest there is.")
    backend: str = Field(frozen=True, description="What runs the model.")
    kernel: _Kernel = Field(frozen=True, description="What computes MaxSim.")
    on_missing: str = Field(frozen=True, description="What is done with nodes that the store doesn't hold.")
    calibration: _Calibration = Field(frozen=True, description="What makes relevance of scores: a file, or a Calibration.")
    pooling: int = Field(frozen=True, description="How many token vectors of a document become one.")
    query_encoder: str = Field(frozen=True, description="What encodes queries: full, fast or a folder.")
    scoring: _Scoring = Field(frozen=True, description="How the matches of the query's words become a score.")
    reranker: Annotated[Reranker, WithJsonSchema({})] = Field(frozen=True, exclude=True, repr=False)

    # BaseComponent unpickles and reads back through __init__: so every field is an argument of it, however many there are.
    def __init__(  # noqa: PLR0913
        self,
        top_n: int | None = None,
        *,
        model: str | Encoder | None = None,
        revision: str | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | Codec | None = None,
        device: str | None = None,
        backend: str | None = None,
        kernel: str | Kernel | None = None,
        on_missing: str | None = None,
        calibration: str | os.PathLike[str] | Calibration | None = None,
        pooling: int | None = None,
        query_encoder: str | os.PathLike[str] | None = None,
        scoring: str | Scoring | Mapping[str, Any] | None = None,
        reranker: Reranker | None = None,
        keep_retrieval_score: bool = False,
        keep_late_rerank_score: bool = False,
        min_relevance: float | None = None,
        budget_tokens: int | None = None,
        order: Order | None = None,
        count_tokens: Any = None,
        first_stage_weight: FirstStageWeight = 0.0,
        prior: FoundPrior | Mapping[str, Any] | None = None,
        metadata_mode: MetadataMode | str = MetadataMode.EMBED,
        page_images: bool = False,
        root_path: str | os.PathLike[str] | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        # Before a model is loaded: wrong numbers are refused here.
        choice = Choice(
            top_k=whole_number("top_n", top_n, or_none=f"for {_TOP_N}, or for as many as fit a budget"),
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            prior=read_prior(prior),
            budget_tokens=budget_tokens,
            order=order,
            count_tokens=count_tokens,
        ).resolved(_TOP_N)
        mode, root = mode_of(metadata_mode), check_root(root_path)
        ready = reranker_from(
            reranker,
            model=model,
            revision=revision,
            store=store,
            codec=codec,
            device=device,
            backend=backend,
            kernel=kernel,
            on_missing=on_missing,
            calibration=calibration,
            pooling=pooling,
            query_encoder=query_encoder,
            scoring=read_scoring(scoring),
        )
        fields: dict[str, Any] = {
            **ready.arguments,
            "store": as_text(ready.arguments["store"]),
            "calibration": as_text(ready.arguments["calibration"]),
            "query_encoder": as_text(ready.arguments["query_encoder"]),
            **choice.options(type(self).model_fields),
            "top_n": choice.top_k,
            "metadata_mode": mode,
            "page_images": page_images,
            "root_path": root,
            "keep_retrieval_score": keep_retrieval_score,
            "keep_late_rerank_score": keep_late_rerank_score,
            "reranker": ready,
            "callback_manager": callback_manager or CallbackManager(),
        }
        super().__init__(**fields)

    @classmethod
    def class_name(cls) -> str:
        return "LateRerank"

    def content_of(self, node: BaseNode) -> Content:
        """Give what is ranked of a node: its text, or its picture. To index ahead, give this to `reranker.index`.

        Raises:
            IncompatibleError: If the model can't encode what the node has.
            ValueError: If the node has an image by a URL alone, or a wrong one.
        """
        return self.reranker.content_of(self._candidates([NodeWithScore(node=node)])[0])

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("Missing query bundle in extra info.")
        nodes = list(nodes or [])  # a generator would be read up by the start event
        if not nodes or asks_nothing(query_bundle.query_str):
            return []
        choice = Choice.of(self, top_k=self.top_n).resolved(_TOP_N)
        name = self.reranker.model_name
        at_most = len(nodes) if choice.top_k is None else choice.top_k  # the event takes no None
        # After the checks, so that each start has its end.
        dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=at_most, model_name=name))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: at_most,
        }
        # Asked for on each call: an engine replaces the callback manager after this was made.
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            reranked = self._rerank(nodes, query_bundle.query_str, choice)
            event.on_end(payload={EventPayload.NODES: reranked})
        dispatcher.event(ReRankEndEvent(nodes=reranked))
        return reranked

    def _rerank(self, nodes: list[NodeWithScore], query: str, choice: Choice) -> list[NodeWithScore]:
        candidates = self._candidates(nodes)
        # A candidate's own metadata say the node's place alone.
        described = [replace(each, metadata=given.node.metadata) for each, given in zip(candidates, nodes, strict=True)]
        contents = [text_in(given.node) for given in nodes]
        found = choose(self.reranker, query, candidates, choice, contents, described=described)
        return [self._ranked(nodes[each.document.index], each) for each in found]

    def _candidates(self, nodes: list[NodeWithScore]) -> list[Candidate]:
        pictures, files = Pictures(self.reranker), ImageFiles(self.root_path)
        return [
            candidate(
                given,
                self.metadata_mode,
                pictures.of(
                    partial(picture_in, given.node, files, page_images=self.page_images),
                    text=text_in(given.node),
                    name=f"the node {given.node.node_id!r:.60}",
                ),
            )
            for given in nodes
        ]

    def _ranked(self, given: NodeWithScore, found: Chosen) -> NodeWithScore:
        document = found.document
        # Most nodes are one passage, of which a place would say nothing: these stay the given ones.
        is_one_passage = document.best_span == (0, len(document.text))
        said: dict[str, Any] = {"best_span": None if is_one_passage else found.best_span}
        retrieved = finite(given.score)  # no JSON takes NumPy's numbers, which some retrievers assign, or NaN
        if self.keep_retrieval_score and retrieved is not None:
            said["retrieval_score"] = retrieved
        if self.keep_late_rerank_score:
            said |= {"late_rerank_score": maxsim_of(document), "late_rerank_prior": document.prior}
        return NodeWithScore(node=with_scores(with_content(given.node, found), said), score=float(document.relevance or 0.0))

    def __getstate__(self) -> dict[str, Any]:
        """Give the reranker, which is pickled as its arguments, and the fields that don't come from it.

        Raises:
            TypeError: If a part can't be pickled. The framework would leave it out, and go on with another one.
        """
        for name, part in self.reranker.arguments.items():
            check_picklable(name, part, "it as a name or a path")
        check_picklable("count_tokens", self.count_tokens, "a function of a module, or a tokenizer that can be")
        check_picklable("prior", self.prior, "a function of a module, or the name of a metadata field")
        state = super().__getstate__()
        state["__dict__"] = {name: value for name, value in state["__dict__"].items() if name not in self.reranker.arguments}
        return state

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> LateRerank:
        """Make a copy that shares the reranker. Models and stores may hold locks, which can't be copied."""
        return self.model_copy()
