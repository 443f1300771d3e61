"""Rows that LanceDB found -> the same rows in a better order."""

from __future__ import annotations

import os
from dataclasses import replace

import pyarrow as pa
from lancedb.rerankers import Reranker as LanceReranker

from late_rerank import Candidate
from late_rerank.wrapping import (
    AnyReranker,
    Choice,
    Codec,
    Encoder,
    FoundPrior,
    Pictures,
    Scoring,
    Store,
    any_reranker_from,
    asks_nothing,
    prior_numbers,
)

_RELEVANCE, _PRIOR, _OTHERS = "_relevance_score", "late_rerank_prior", ("_distance", "_score")


class LateRerankReranker(LanceReranker):
    """Orders the rows of a vector, full-text or hybrid search by late interaction.

    A store keeps the rows' token vectors, so each text is encoded once, not once a query. All rows come back, best first.
    "_relevance_score" holds the relevance, from 0 to 1. Rows without text or image come last, with 0. Only a blank query gives
    no rows.

    Args:
        column: The column to rank.
        return_score: "relevance", or "all" to keep "_distance" and "_score" too, as LanceDB gives them.
        reranker: A ready late_rerank.Reranker or FusedReranker, to be shared, instead of the arguments down to
            `query_encoder`.
        model: "minilm" (built in), a hub name, a folder or an Encoder. None takes "minilm".
        revision: A branch, a tag or a commit of the model on the hub. None takes the newest.
        store: Keeps token vectors: a folder, "redis://..." or a Store. None is this process's memory.
        codec: Packs token vectors: "int8" and others, or a Codec. None takes "int8".
        scoring: How the matches of the query's words become a score. "proximity" counts words more that are matched near each
            other. "maxsim" takes each word's best match anywhere in the text. None takes "proximity". A
            late_rerank.maxsim.Scoring is taken too.
        query_encoder: What encodes queries: "full", "fast", which comes with "minilm", or the folder of a query encoder. Stored
            documents serve all of them. None takes "full".
        image_column: The column with the bytes of image files, for models that see images: these rank a row by its image, where
            it isn't null. The column to rank may then be absent. None looks for no images.
        prior: What you add to the order yourself, such as recency or popularity: the name of a column that holds numbers, or a
            function of a late_rerank.Candidate, whose metadata are the row's columns but the image. 1 is one standard deviation
            of the query's scores. `late_rerank.ranking.recency("date", half_life_days=30)` is such a function. A null adds 0.
            The number that was added is in the column "late_rerank_prior".

    Raises:
        ValueError: If `return_score` is unknown. Also if a reranker is given together with arguments for a new one.
        ModelError: If the model can't be found, or its checkpoint can't be what it claims to be.
    """

    def __init__(  # noqa: PLR0913 - a reranker's arguments
        self,
        column: str = "text",
        return_score: str = "relevance",
        *,
        reranker: AnyReranker | None = None,
        model: str | Encoder | None = None,
        revision: str | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | Codec | None = None,
        scoring: str | Scoring | None = None,
        query_encoder: str | os.PathLike[str] | None = None,
        image_column: str | None = None,
        prior: FoundPrior | None = None,
    ) -> None:
        super().__init__(return_score)
        self.column = column
        self.image_column = image_column
        self.prior = Choice(prior=prior).prior
        self.reranker = any_reranker_from(
            reranker, model=model, revision=revision, store=store, codec=codec, scoring=scoring, query_encoder=query_encoder
        )

    def rerank_vector(self, query: str, vector_results: pa.Table) -> pa.Table:
        """Order the rows of a vector search. Such a search has no text: give one as `rerank(..., query_string=...)`."""
        return self._ranked(query, vector_results)

    def rerank_fts(self, query: str, fts_results: pa.Table) -> pa.Table:
        """Order the rows of a full-text search."""
        return self._ranked(query, fts_results)

    def rerank_hybrid(self, query: str, vector_results: pa.Table, fts_results: pa.Table) -> pa.Table:
        """Order the rows of both searches, each row once."""
        return self._ranked(query, self.merge_results(vector_results, fts_results))

    def _ranked(self, query: str, rows: pa.Table) -> pa.Table:
        candidates = self._candidates(rows)
        ranking = [] if asks_nothing(query) else self.reranker.rerank(query, candidates, prior=self._prior(rows, candidates))
        ranked = rows.take(pa.array([document.index for document in ranking], pa.int64()))
        relevance = pa.array([document.relevance or 0.0 for document in ranking], pa.float32())
        if _RELEVANCE in ranked.column_names:  # of an earlier reranking
            ranked = ranked.drop_columns([_RELEVANCE])
        if self.score == "relevance":
            ranked = ranked.drop_columns([name for name in _OTHERS if name in ranked.column_names])
        if _PRIOR in ranked.column_names:  # of an earlier reranking: a prior that names it has read it by now
            ranked = ranked.drop_columns([_PRIOR])
        if self.prior is not None:
            ranked = ranked.append_column(_PRIOR, pa.array([document.prior for document in ranking], pa.float64()))
        return ranked.append_column(_RELEVANCE, relevance)

    def _prior(self, rows: pa.Table, candidates: list[Candidate]) -> list[float] | None:
        """Give the number that is added for each row."""
        if self.prior is None:
            return None
        if isinstance(self.prior, str):
            _check_column(self.prior, rows)
            held = [self.prior]
        else:
            held = [name for name in rows.column_names if name != self.image_column]
        described = zip(candidates, rows.select(held).to_pylist(), strict=True)
        return prior_numbers(self.prior, [replace(candidate, metadata=row) for candidate, row in described], "rows")

    def _candidates(self, rows: pa.Table) -> list[Candidate]:
        if self.image_column is None:
            return [Candidate(text) for text in self._texts(rows)]
        _check_column(self.image_column, rows)
        images = rows[self.image_column]
        if not (pa.types.is_binary(images.type) or pa.types.is_large_binary(images.type) or pa.types.is_null(images.type)):
            raise TypeError(f"the column {self.image_column!r} must hold the bytes of image files, got {images.type}")
        texts = self._texts(rows) if self.column in rows.column_names else [""] * len(rows)
        pictures = Pictures(self.reranker)
        # `as_py` copies the bytes: not for a model of texts.
        return [
            Candidate(text, image=pictures.of(image.as_py, text=text, name=f"the row {i}"))
            for i, (text, image) in enumerate(zip(texts, images, strict=True))
        ]

    def _texts(self, rows: pa.Table) -> list[str]:
        _check_column(self.column, rows)
        return ["" if text is None else str(text) for text in rows[self.column].to_pylist()]


def _check_column(column: str, rows: pa.Table) -> None:
    if column not in rows.column_names:
        names = ", ".join(name for name in rows.column_names if not name.startswith("_"))
        raise ValueError(f"no column {column!r} to rank; there are {names}: name another, or select it in the search")
