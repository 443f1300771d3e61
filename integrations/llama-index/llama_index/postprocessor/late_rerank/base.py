"""LlamaIndex nodes -> the best of them by late interaction, best first."""

from __future__ import annotations

import os
import pickle
from typing import Annotated, Any

import llama_index.core.instrumentation as instrument
from llama_index.core.bridge.pydantic import Field, WithJsonSchema
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle

from late_rerank import Candidate, RankedDocument, Reranker
from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.maxsim import Kernel
from late_rerank.relevance import Calibration
from late_rerank.stores import Store
from late_rerank.wrapping import check_count, reranker_from

dispatcher = instrument.get_dispatcher(__name__)  # type: ignore[attr-defined]

# Fields that say what the reranker was made with. pydantic neither checks nor changes them: Reranker does.
_Model = Annotated[str | Encoder, WithJsonSchema({"type": "string"})]
_Place = Annotated[str | Store | None, WithJsonSchema({"type": "string"})]
_Codec = Annotated[str | Codec, WithJsonSchema({"type": "string"})]
_Kernel = Annotated[str | Kernel, WithJsonSchema({"type": "string"})]
_Calibration = Annotated[str | Calibration | None, WithJsonSchema({"type": "string"})]


class LateRerank(BaseNodePostprocessor):
    """Keeps the `top_n` best nodes by late interaction; nodes' token vectors are kept in a store, so each is encoded once.

    A node's text is what an embedding model would read: its content, and the metadata that it doesn't exclude. It gives new
    `NodeWithScore` objects; those that it was given are never changed.

    `score` is the relevance, in [0, 1], as cutoffs (`SimilarityPostprocessor`) and evaluators expect it; the MaxSim, a sum over
    the query's tokens, is none of their business. Nodes that the reranker left unscored (`on_missing="skip"`) follow with 0.0.

    Safe to share between threads. Async calls run in a thread, so the event loop is never blocked. The model is loaded when the
    postprocessor is made.

    Args:
        top_n: At most so many nodes, at least 1.
        model: "minilm" (built in), a hub name, a folder, or an Encoder, as `late_rerank.Reranker` takes it; None for its
            default, as with the seven that follow.
        store: Where token vectors are kept: a folder, a Redis server, a Store; by default this process's memory.
        codec: How they are packed.
        device: What the model runs on.
        backend: What runs it.
        kernel: What computes MaxSim.
        on_missing: "encode" nodes that the store doesn't hold, "skip" them, or "raise".
        calibration: What makes relevance of scores.
        reranker: A ready Reranker, to be shared; then none of the eight above may be given.
        keep_retrieval_score: Write the score that a node came with into its metadata, as "retrieval_score".
        keep_late_rerank_score: Write the MaxSim into its metadata, as "late_rerank_score". Both are written into a copy of the
            node, in place of an entry of that name, and excluded from the texts that embedding models and LLMs read.
        callback_manager: LlamaIndex's; engines put theirs in its place.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `top_n` is below 1, a name isn't known, or both a ready reranker and arguments for a new one are given.
        ModelError: The model can't be found, or can't be what it says.
        StoreError: The store can't be opened.
    """

    top_n: int = Field(description="At most so many nodes are kept.")
    keep_retrieval_score: bool = Field(description="Whether metadata says the score that a node came with.")
    keep_late_rerank_score: bool = Field(description="Whether metadata says the MaxSim.")
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
    reranker: Annotated[Reranker, WithJsonSchema({})] = Field(frozen=True, exclude=True, repr=False)

    # BaseComponent unpickles and reads back through __init__: so every field is an argument of it, however many there are.
    def __init__(  # noqa: PLR0913
        self,
        top_n: int = 3,
        *,
        model: str | Encoder | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | Codec | None = None,
        device: str | None = None,
        backend: str | None = None,
        kernel: str | Kernel | None = None,
        on_missing: str | None = None,
        calibration: str | os.PathLike[str] | Calibration | None = None,
        reranker: Reranker | None = None,
        keep_retrieval_score: bool = False,
        keep_late_rerank_score: bool = False,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        check_count("top_n", top_n)  # before a model is loaded
        ready = reranker_from(
            reranker,
            model=model,
            store=store,
            codec=codec,
            device=device,
            backend=backend,
            kernel=kernel,
            on_missing=on_missing,
            calibration=calibration,
        )
        fields: dict[str, Any] = {
            **ready.arguments,
            "store": _as_text(ready.arguments["store"]),
            "calibration": _as_text(ready.arguments["calibration"]),
            "top_n": top_n,
            "keep_retrieval_score": keep_retrieval_score,
            "keep_late_rerank_score": keep_late_rerank_score,
            "reranker": ready,
            "callback_manager": callback_manager or CallbackManager(),
        }
        super().__init__(**fields)

    @classmethod
    def class_name(cls) -> str:
        return "LateRerank"

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("Missing query bundle in extra info.")
        nodes = list(nodes or [])  # a generator would be read up by the start event
        if not nodes:
            return []
        name = self.reranker.model_name
        # After the checks, so that each start has its end.
        dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=name))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        # Asked for on each call: an engine replaces the callback manager after this was made.
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            reranked = self._rerank(nodes, query_bundle.query_str)
            event.on_end(payload={EventPayload.NODES: reranked})
        dispatcher.event(ReRankEndEvent(nodes=reranked))
        return reranked

    def _rerank(self, nodes: list[NodeWithScore], query: str) -> list[NodeWithScore]:
        candidates = [
            Candidate(given.node.get_content(metadata_mode=MetadataMode.EMBED), given.node.node_id, given.score)
            for given in nodes
        ]
        ranking = self.reranker.rerank(query, candidates, top_k=self.top_n)
        return [self._ranked(nodes[document.index], document) for document in ranking]

    def _ranked(self, given: NodeWithScore, document: RankedDocument) -> NodeWithScore:
        scores: dict[str, float | None] = {}
        if self.keep_retrieval_score and given.score is not None:
            scores["retrieval_score"] = float(given.score)  # NumPy's, where a retriever assigned it: no JSON takes that
        if self.keep_late_rerank_score:
            scores["late_rerank_score"] = None if document.score is None else float(document.score)
        return NodeWithScore(node=_with_scores(given.node, scores), score=float(document.relevance or 0.0))

    def __getstate__(self) -> dict[str, Any]:
        """The reranker, which is pickled as its arguments, and what doesn't come from it.

        Raises:
            TypeError: A part of the reranker can't be pickled. The framework would leave it out, and go on with another model.
        """
        for name, part in self.reranker.arguments.items():
            _check_picklable(name, part)
        state = super().__getstate__()
        state["__dict__"] = {name: value for name, value in state["__dict__"].items() if name not in self.reranker.arguments}
        return state

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> LateRerank:
        """A copy that shares the reranker: models and stores may hold locks, which can't be copied."""
        return self.model_copy()


def _with_scores(node: BaseNode, scores: dict[str, float | None]) -> BaseNode:
    """The node itself, or a copy whose metadata says `scores`, hidden from the texts that models read; None: says none."""
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


def _check_picklable(name: str, part: object) -> None:
    try:
        pickle.dumps(part)
    except Exception as error:  # whatever a part's own __reduce__ raises
        why = f"its {name}, {type(part).__name__}, can't: {error}"
        raise TypeError(f"LateRerank can't be pickled, since {why}. Give it as a name or a path.") from error


def _as_text(place: Any) -> Any:
    """A path as text, which JSON takes too."""
    return os.fspath(place) if isinstance(place, os.PathLike) else place
