"""One query's best matches in documents. The query's vectors are obtained here, once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from late_rerank.context.result import Coverage
from late_rerank.encode.base import TellsTokens, Token
from late_rerank.encode.describe import query_fingerprint
from late_rerank.encode.places import Span
from late_rerank.errors import IncompatibleError
from late_rerank.fused import FusedReranker
from late_rerank.pictures import Picture, PictureError
from late_rerank.ranking.fused_ranking import FusedRanking
from late_rerank.reranker import Reranker
from late_rerank.text.words import in_whole_words
from late_rerank.types import F32, NO_TOKENS_SCORE, Candidate, Content, RankedDocument, Ranking

# Below it is the score of a document without tokens only.
_NO_MATCH = NO_TOKENS_SCORE / 2


class QueryMatches:
    """Finds one query's best matches in documents and in their sentences, and how much documents are alike.

    Args:
        query: Not blank.
        reranker: Knows the token vectors of documents, or encodes them. Of a FusedReranker one model is asked: the first that
            can encode all documents that may be shown, or else the one that can encode most.
        ranked: A Ranking of this query carries the query's vectors; for any other list the query is encoded, once.
        documents: Those that may be shown.

    Attributes:
        n_tokens: The number of the query's tokens.

    Raises:
        ValueError: If the query is blank.
    """

    def __init__(
        self,
        query: str,
        reranker: Reranker | FusedReranker,
        ranked: Sequence[RankedDocument] = (),
        documents: Collection[RankedDocument] = (),
    ) -> None:
        self._query = query
        self._is_fused = isinstance(reranker, FusedReranker)
        self._reranker = reranker.matching(documents) if isinstance(reranker, FusedReranker) else reranker
        self._vectors = self._reranker.query_vectors(query, _with_vectors_of(self._reranker, ranked))
        self.n_tokens = len(self._vectors.vectors.values)

    def content(self, document: Candidate | RankedDocument) -> Content:
        """Give what is encoded of a document: its picture or its text.

        Of several models, the asked one may be unable to encode a document that another one ranked. Then the content is blank,
        which matches nothing.

        Raises:
            IncompatibleError: If the only model can't encode it.
        """
        try:
            return self._reranker.content_of(document)
        except IncompatibleError:
            if self._is_fused:
                return ""
            raise

    def of_documents(self, documents: Collection[RankedDocument]) -> tuple[list[Content], F32]:
        """Give what is encoded of each document, and the query's best matches in it.

        A page may be shown by its text though its image can't be read any more. Then its text is matched instead. If the model
        takes images alone, the page matches nothing, and is taken by its rank alone.

        Returns:
            The contents, in order; (n_documents, n_query_tokens) float32.

        Raises:
            IncompatibleError: If the only model can't encode a document.
        """
        shown = list(documents)
        contents = [self.content(document) for document in shown]
        contents = [each if _has_key(each) else self._text(shown[i]) for i, each in enumerate(contents)]
        while isinstance(found := self._matched(contents), PictureError):  # a picture isn't stored, and can't be encoded
            damaged = found.picture.key()
            blamed = [i for i, each in enumerate(contents) if isinstance(each, Picture) and each.key() == damaged]
            if not blamed:
                raise found
            for i in blamed:
                contents[i] = self._text(shown[i])
        return contents, found

    def _matched(self, contents: Sequence[Content]) -> F32 | PictureError:
        try:
            return self.in_contents(contents)
        except PictureError as error:
            return error

    def _text(self, document: RankedDocument) -> str:
        """Give a document's text instead of its picture; "" where the model reads no texts."""
        try:
            self._reranker.content_of(Candidate(document.text))
        except IncompatibleError:
            return ""
        return document.text

    def in_contents(self, contents: Sequence[Content]) -> F32:
        """(n_contents, n_query_tokens) float32: each query token's best match in each text or picture."""
        return self._reranker.token_maxima(self._query, contents, query_vectors=self._vectors)

    def relevance(self, documents: Collection[RankedDocument], maxima: F32) -> F32:
        """(n_documents,) float32: how relevant each document is, on the scale of `likeness`.

        Args:
            documents: Scored ones.
            maxima: What `in_contents` gave of them.
        """
        if self._is_fused:  # its scores are no MaxSim
            return np.array([document.relevance for document in documents], dtype=np.float32)
        given = np.array([document.score for document in documents], dtype=np.float32)
        # Only the ranking knows the best windows.
        scores: F32 = given if self._reranker.scoring.window_tokens else maxima.sum(axis=1)
        for i in np.flatnonzero(scores < _NO_MATCH).tolist():  # pages whose images can't be read
            scores[i] = given[i]
        mean: F32 = np.divide(scores, max(self.n_tokens, 1), dtype=np.float32)
        return mean

    def in_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[F32]:
        """For each text (n_spans, n_query_tokens) float32: each query token's best match in each span.

        Raises:
            IncompatibleError: If the encoder can't tell its tokens' places, or pools them.
        """
        return self._reranker.span_maxima(self._query, texts, spans, query_vectors=self._vectors)

    def likeness(self, content: Content, others: Sequence[Content]) -> F32:
        """(n_others,) float32: how much of a text or a picture each of the others repeats."""
        return self._reranker.similarity(content, others)

    def coverage(self, best: F32) -> Coverage:
        """Name the query's tokens and words beside their best matches, where the encoder tells as many tokens as vectors."""
        encoder = self._reranker.encoder
        tokens = encoder.tokens(self._query, "query") if isinstance(encoder, TellsTokens) else ()
        if len(tokens) != self.n_tokens:
            return Coverage(best)
        return Coverage(best, tuple(token for token, _, _ in tokens), _words(self._query, tokens))


def _words(query: str, tokens: Sequence[Token]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Join tokens to the words that a reader sees, each with the positions of its tokens; punctuation is none."""
    joined: list[tuple[int, int, list[int]]] = []
    for i, (_, start, end) in enumerate(tokens):
        if start >= end:  # the model added it
            continue
        first, last = in_whole_words(query, start, end)
        if joined and first < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]), [*joined[-1][2], i])
        else:
            joined.append((first, last, [i]))
    words = ((query[first:last].strip(), tuple(rows)) for first, last, rows in joined)
    return tuple((word, rows) for word, rows in words if any(map(str.isalnum, word)))


def _with_vectors_of(reranker: Reranker, ranked: Sequence[RankedDocument]) -> Sequence[RankedDocument]:
    """Give a ranking that carries the query's vectors by this Reranker, if a FusedRanking has them."""
    if not isinstance(ranked, FusedRanking):
        return ranked
    own = (vectors for vectors in ranked.vectors if vectors.fingerprint == query_fingerprint(reranker.encoder))
    return Ranking(ranked, query_vectors=next(own, None))


def _has_key(content: Content) -> bool:
    """Tell whether a store can be asked for a content: a picture's file may be gone."""
    if isinstance(content, str):
        return True
    try:
        content.key()
    except (OSError, ValueError):
        return False
    return True
