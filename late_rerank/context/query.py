"""One query's best matches in texts. The query's vectors are obtained here, once."""

from __future__ import annotations

from collections.abc import Sequence

from late_rerank.encode.base import TellsTokens
from late_rerank.encode.places import Span
from late_rerank.reranker import Reranker
from late_rerank.types import F32, RankedDocument


class QueryMatches:
    """Finds one query's best matches in texts and in their sentences, and how much texts are alike.

    Args:
        query: Not blank.
        reranker: Knows the token vectors of texts, or encodes them.
        ranked: A Ranking of this query carries the query's vectors; for any other list the query is encoded, once.

    Attributes:
        n_tokens: The number of the query's tokens.
        has_windows: Whether the Reranker's scores are those of windows. If so, best matches don't sum to scores.

    Raises:
        ValueError: If the query is blank.
    """

    def __init__(self, query: str, reranker: Reranker, ranked: Sequence[RankedDocument] = ()) -> None:
        self._query = query
        self._reranker = reranker
        self._vectors = reranker.query_vectors(query, ranked)
        self.n_tokens = len(self._vectors.vectors.values)
        self.has_windows = bool(reranker.scoring.window_tokens)

    def in_texts(self, texts: Sequence[str]) -> F32:
        """(n_texts, n_query_tokens) float32: each query token's best match in each text."""
        return self._reranker.token_maxima(self._query, texts, query_vectors=self._vectors)

    def in_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[F32]:
        """For each text (n_spans, n_query_tokens) float32: each query token's best match in each span.

        Raises:
            IncompatibleError: If the encoder can't tell its tokens' places, or pools them.
        """
        return self._reranker.span_maxima(self._query, texts, spans, query_vectors=self._vectors)

    def likeness(self, text: str, others: Sequence[str]) -> F32:
        """(n_others,) float32: how much of a text each of the others says too."""
        return self._reranker.similarity(text, others)

    def token_names(self) -> tuple[str, ...] | None:
        """Name the query's tokens; None where the encoder can't, or names another number of them."""
        encoder = self._reranker.encoder
        tokens = encoder.tokens(self._query, "query") if isinstance(encoder, TellsTokens) else ()
        return tuple(token for token, _, _ in tokens) if len(tokens) == self.n_tokens else None
