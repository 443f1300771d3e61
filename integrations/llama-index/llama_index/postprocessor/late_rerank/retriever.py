"""A retriever that reranks what another retriever finds."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle
from llama_index.postprocessor.late_rerank.base import LateRerank

from late_rerank.wrapping import asks_nothing


class LateRerankRetriever(BaseRetriever):
    """Gives the `top_n` best of the nodes that another retriever finds, by late interaction.

    For whatever takes a retriever but no postprocessors. The other retriever gets the query bundle as it is, custom embedding
    strings included; nodes are ranked by `query_str`. Give it depth, `index.as_retriever(similarity_top_k=50)`: its default is
    2 nodes. A blank query gives no nodes, and the other retriever isn't asked.

    Args:
        retriever: Finds the candidates.
        top_n: At most so many nodes, at least 1; None for 3 without a budget, for as many as fit with one.
        callback_manager: LlamaIndex's; by default the other retriever's.
        object_map: What IndexNodes stand for, by `index_id`, as every retriever takes it.
        objects: The same, as IndexNodes that hold their objects.
        verbose: Whether the framework prints which object a retrieval enters.
        arguments: All others of `LateRerank`: model, store, codec, device, reranker, min_relevance, budget_tokens, ...

    Attributes:
        retriever: As given.
        postprocessor: The LateRerank that does the work.

    Raises:
        TypeError: `retriever` is no LlamaIndex retriever, or as `LateRerank`.
        ValueError: As `LateRerank`.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        top_n: int | None = None,
        *,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
        **arguments: Any,
    ) -> None:
        _check_retriever(retriever)
        self.retriever = retriever
        self.postprocessor = LateRerank(top_n, **arguments)
        super().__init__(callback_manager or getattr(retriever, "callback_manager", None), object_map, objects, verbose)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if asks_nothing(query_bundle.query_str):
            return []
        nodes = self.retriever.retrieve(query_bundle)
        return self._reranking().postprocess_nodes(nodes, query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # The framework's default would call _retrieve on the event loop.
        if asks_nothing(query_bundle.query_str):
            return []
        nodes = await self.retriever.aretrieve(query_bundle)
        return await self._reranking().apostprocess_nodes(nodes, query_bundle)

    def _reranking(self) -> LateRerank:
        self.postprocessor.callback_manager = self.callback_manager  # which the framework may have replaced
        return self.postprocessor

    def _get_prompt_modules(self) -> PromptMixinType:
        return {"retriever": self.retriever}


def _check_retriever(retriever: object) -> None:
    if not isinstance(retriever, BaseRetriever):
        given = f"{type(retriever).__name__}: {retriever!r:.60}"
        raise TypeError(f"retriever must be a LlamaIndex retriever, such as index.as_retriever() gives, got {given}")
