"""Rows that LanceDB found -> the same rows in a better order."""

from __future__ import annotations

import os

import pyarrow as pa
from lancedb.rerankers import Reranker as LanceReranker

from late_rerank import Reranker
from late_rerank.wrapping import Codec, Encoder, Store, asks_nothing, reranker_from

_RELEVANCE, _OTHERS = "_relevance_score", ("_distance", "_score")


class LateRerankReranker(LanceReranker):
    """Orders the rows of a vector, full-text or hybrid search by late interaction.

    Rows' token vectors are kept in a store, so that a text is encoded once, not once a query. All rows come back, best first;
    "_relevance_score" says the relevance, from 0 to 1. Rows without text come last, with 0. Only a blank query gives no rows.

    Args:
        column: The column that is ranked.
        return_score: "relevance", or "all" to keep "_distance" and "_score" too, with what LanceDB gives there.
        reranker: A ready late_rerank.Reranker, to be shared, instead of model, store and codec.
        model: "minilm" (built in), a hub name, a folder, or an Encoder; None for "minilm".
        store: Where token vectors are kept: a folder, "redis://...", a Store; None for this process's memory.
        codec: How they are packed: "int8" and others, or a Codec; None for "int8".

    Raises:
        ValueError: `return_score` isn't known, or both a reranker and a model, store or codec are given.
        ModelError: The model can't be found, or can't be what it says.
    """

    def __init__(
        self,
        column: str = "text",
        return_score: str = "relevance",
        *,
        reranker: Reranker | None = None,
        model: str | Encoder | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | Codec | None = None,
    ) -> None:
        super().__init__(return_score)
        self.column = column
        self.reranker = reranker_from(reranker, model=model, store=store, codec=codec)

    def rerank_vector(self, query: str, vector_results: pa.Table) -> pa.Table:
        """Order what a vector search found. Such a search has no text: give it as `rerank(..., query_string=...)`."""
        return self._ranked(query, vector_results)

    def rerank_fts(self, query: str, fts_results: pa.Table) -> pa.Table:
        """Order what a full-text search found."""
        return self._ranked(query, fts_results)

    def rerank_hybrid(self, query: str, vector_results: pa.Table, fts_results: pa.Table) -> pa.Table:
        """Order what both searches found, each row once."""
        return self._ranked(query, self.merge_results(vector_results, fts_results))

    def _ranked(self, query: str, rows: pa.Table) -> pa.Table:
        if self.column not in rows.column_names:
            names = ", ".join(name for name in rows.column_names if not name.startswith("_"))
            raise ValueError(f"no column {self.column!r} to rank; there are {names}: name another, or select it in the search")
        texts = ["" if text is None else str(text) for text in rows[self.column].to_pylist()]
        ranking = [] if asks_nothing(query) else self.reranker.rerank(query, texts)
        ranked = rows.take(pa.array([document.index for document in ranking], pa.int64()))
        relevance = pa.array([document.relevance or 0.0 for document in ranking], pa.float32())
        if _RELEVANCE in ranked.column_names:  # of an earlier reranking
            ranked = ranked.drop_columns([_RELEVANCE])
        if self.score == "relevance":
            ranked = ranked.drop_columns([name for name in _OTHERS if name in ranked.column_names])
        return ranked.append_column(_RELEVANCE, relevance)
