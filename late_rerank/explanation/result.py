"""The result of explaining: tokens, similarities and matches, joined to words for people."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import KW_ONLY, asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from late_rerank.explanation.matches import Match, Span, Token, Window, WordMatch, matched
from late_rerank.explanation.placing import place_json
from late_rerank.explanation.words import Word, words
from late_rerank.ranking.relevance import MATCHED_WEAKLY
from late_rerank.types import F32, NO_TOKENS_SCORE, RankedBy

_SHOWN_WORDS = 12


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """How a text matches a query, token by token. A notebook shows it as a heat map.

    Attributes:
        query_tokens: The query's tokens as scored, markers included.
        document_tokens: The text's tokens. Empty for a blank text.
        similarity: (n_query_tokens, n_document_tokens) float32 cosines. With scoring="maxsim", the row maxima sum to the score.
        matches: One match for each query token, in order. Empty if the document has no tokens.
        query: The query as given.
        text: The text as given.
        model: The encoder's name.
        pooled: Whether the model pools its tokens. If so, the explanation is of the model before pooling, and its score isn't
            the ranking's.
        query_truncated: Whether the query was cut at the model's limit.
        document_truncated: Whether the text was cut at the model's limit.
        scoring: The name of the Reranker's scoring.
        windows: The best window of each scale of the scoring, in the scales' order. Empty if the scoring has no windows, or the
            text has no tokens.
        best_span: Where the best passage stands, as in `RankedDocument.best_span`. None without windows.
        rank: The rank of the RankedDocument that is explained, if more than its score ordered it; else None.
        ranked_by: What ordered it then: its standard score, what the first stage's scores added, and the prior. Else None.
    """

    query_tokens: tuple[Token, ...]
    document_tokens: tuple[Token, ...]
    similarity: F32
    matches: tuple[Match, ...]
    _: KW_ONLY
    query: str
    text: str
    model: str
    pooled: bool = False
    query_truncated: bool = False
    document_truncated: bool = False
    scoring: str = "maxsim"
    windows: tuple[Window, ...] = ()
    best_span: tuple[int, int] | None = None
    rank: int | None = None
    ranked_by: RankedBy | None = None

    def __repr__(self) -> str:
        """Show the score and the first words: the matrix of a long document has thousands of numbers."""
        pairs = ", ".join(f"{match.word.text}: {match.similarity:.2f}" for match in self.words[:_SHOWN_WORDS])
        more = len(self.words) - _SHOWN_WORDS
        return f"Explanation(score={self.score:.4f}, words={{{pairs}{f', ... {more} more' if more > 0 else ''}}})"

    @cached_property
    def score(self) -> float:
        """The score that ranks: the sum of the contributions. A document without tokens scores -1e9."""
        return float(self.contributions.sum()) if self.document_tokens else NO_TOKENS_SCORE

    @cached_property
    def contributions(self) -> F32:
        """(n_query_tokens,) float32: what each query token adds to the score. All are 0 if the document has no tokens.

        A token adds its best match in the text. With windows it adds the mean, over the scales, of its best match in that
        scale's best window.
        """
        if not self.document_tokens:
            return np.zeros(len(self.query_tokens), dtype=np.float32)
        places = [(window.first_token, window.stop_token) for window in self.windows] or [(0, len(self.document_tokens))]
        best: F32 = np.mean([self.similarity[:, first:stop].max(axis=1) for first, stop in places], axis=0, dtype=np.float32)
        return best

    @cached_property
    def document_words(self) -> list[Word]:
        """The words of the text, as far as it was encoded."""
        return words(self.text, self.document_tokens)

    @cached_property
    def words(self) -> list[WordMatch]:
        """The query's words and their best matches, in the order of the query, without punctuation and markers."""
        spoken = (word for word in words(self.query, self.query_tokens) if word.is_spoken)
        return [self._word_match(number, word) for number, word in enumerate(spoken, start=1)]

    @cached_property
    def unmatched(self) -> list[str]:
        """The query's words without a match in the text, in the order of the query."""
        return [match.word.text for match in self.words if match.matched == "not at all"]

    @cached_property
    def spans(self) -> list[Span]:
        """The text's words that match, in the order of the text, without overlap.

        MaxSim counts only the best match of each query token. So a word that the text repeats is here once or twice. Matches of
        the query's punctuation are left out.
        """
        numbers: defaultdict[int, set[int]] = defaultdict(set)
        best: defaultdict[int, float] = defaultdict(float)
        for match in self.words:
            if match.matched == "not at all":
                continue
            for similarity, place in self._places(match.word):
                if place is not None and similarity >= MATCHED_WEAKLY:
                    numbers[place].add(match.number)
                    best[place] = max(best[place], similarity)
        placed = ((self.document_words[i], best[i], tuple(sorted(numbers[i]))) for i in sorted(numbers))
        return [Span(word.start, word.end, similarity, found) for word, similarity, found in placed]

    def to_dict(self, *, similarity: bool = True) -> dict[str, Any]:
        """Give everything as JSON values.

        Args:
            similarity: Whether to include the whole matrix, to 6 decimals. For a long document, the matrix takes most of the
                bytes.
        """
        found: dict[str, Any] = {
            "query": self.query,
            "text": self.text,
            "model": self.model,
            "score": self.score,
            "pooled": self.pooled,
            "query_truncated": self.query_truncated,
            "document_truncated": self.document_truncated,
            "scoring": self.scoring,
            **self._windows_json(),
            **place_json(self.rank, self.ranked_by),
            "words": [_word_json(match) for match in self.words],
            "unmatched": list(self.unmatched),
            "spans": [{**asdict(span), "words": list(span.words)} for span in self.spans],
            "query_tokens": [token._asdict() for token in self.query_tokens],
            "document_tokens": [token._asdict() for token in self.document_tokens],
            "matches": [match._asdict() for match in self.matches],
        }
        if similarity:
            found["similarity"] = [[round(value, 6) for value in row] for row in self.similarity.tolist()]
        return found

    def to_html(self) -> str:
        """Give an HTML page that stands alone. It has no script and fetches nothing.

        All text is escaped. The page is light or dark, as the reader prefers.
        """
        from late_rerank.explanation.page import page  # noqa: PLC0415 - only who shows an Explanation needs the page

        return page(self)

    def _repr_html_(self) -> str:
        from late_rerank.explanation.page import fragment  # noqa: PLC0415 - as above

        return fragment(self)

    def _windows_json(self) -> dict[str, Any]:
        if not self.windows:
            return {}
        return {
            "windows": [window._asdict() for window in self.windows],
            "best_span": None if self.best_span is None else list(self.best_span),
            "contributions": [round(value, 6) for value in self.contributions.tolist()],
        }

    @cached_property
    def _word_of_token(self) -> dict[int, int]:
        """Position of a document's token -> position of its word. Markers are left out."""
        return {token: i for i, word in enumerate(self.document_words) for token in word.tokens}

    def _places(self, word: Word) -> list[tuple[float, int | None]]:
        """Give, for each token of a query's word, its similarity and the position of the document's word that it matches."""
        if not self.matches:
            return []
        found = (self.matches[i] for i in word.tokens)
        return [(match.similarity, self._word_of_token.get(match.document_token)) for match in found]

    def _word_match(self, number: int, word: Word) -> WordMatch:
        places = self._places(word)
        mean = sum(similarity for similarity, _ in places) / max(len(places), 1)
        added = sum(self.contributions[list(word.tokens)].tolist()) if places else 0
        votes: defaultdict[int | None, float] = defaultdict(float)
        for similarity, place in places:
            votes[place] += similarity
        most = max(votes, key=lambda place: votes[place], default=None)
        return WordMatch(number, word, mean, added, matched(mean), None if most is None else self.document_words[most])


def _word_json(match: WordMatch) -> dict[str, Any]:
    place = match.place
    return {
        "number": match.number,
        "text": match.word.text,
        "start": match.word.start,
        "end": match.word.end,
        "tokens": list(match.word.tokens),
        "similarity": match.similarity,
        "contribution": match.contribution,
        "matched": match.matched,
        "document_word": None if place is None else {"text": place.text, "start": place.start, "end": place.end},
    }
