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
    """Gives the `top_n` best nodes that another retriever finds, by late interaction.

    Use it if an engine takes a retriever but no postprocessors. The other retriever gets the query bundle as it is, custom
    embedding strings included. Nodes are ranked by `query_str`. Let the other retriever give many nodes:
    `index.as_retriever(similarity_top_k=50)`. Its default is 2 nodes. A blank query gives no nodes, and the other retriever
    isn't asked.

    Args:
        retriever: Finds the candidates.
        top_n: The most nodes to return, at least 1. None returns 3 without a budget, and with a budget as many as fit.
        callback_manager: LlamaIndex's. By default, the other retriever's.
        object_map: The objects that IndexNodes stand for, by `index_id`, as every retriever takes them.
        objects: The same objects, as IndexNodes that hold them.
        verbose: Whether the framework prints which object a retrieval enters.
        arguments: All other arguments of `LateRerank`: model, store, codec, device, reranker, min_relevance, budget_tokens, ...

    Attributes:
        retriever: The retriever as given.
        postprocessor: The LateRerank that does the work.

    Raises:
        TypeError: If `retriever` isn't a LlamaIndex retriever. Also as in `LateRerank`.
        ValueError: As in `LateRerank`.
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
