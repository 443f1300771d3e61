"""The result of explaining a picture: patches, similarities and matches, joined to words for people."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from late_rerank.encode import Box
from late_rerank.explanation.matches import Token
from late_rerank.explanation.pages.matches import PageWordMatch, PatchMatch, Spot, has_no_area
from late_rerank.explanation.pages.near import PrintedWord, near_all, place_of
from late_rerank.explanation.placing import place_json
from late_rerank.explanation.words import Word, words
from late_rerank.pictures import Picture
from late_rerank.types import F32, NO_TOKENS_SCORE, RankedBy

_SHOWN_WORDS = 12


@dataclass(frozen=True, eq=False, repr=False)
class PageExplanation:
    """How a picture, such as a page, matches a query, token by token. A notebook shows it as the page with its matches.

    Attributes:
        query_tokens: The query's tokens as scored, markers and additions of the model included.
        patches: The part of the picture that each of its vectors stands for: left, top, right and bottom, in fractions of the
            picture. A marker's or a prompt's token has a box without area.
        similarity: (n_query_tokens, n_patches) float32 cosines. With scoring="maxsim", the row maxima sum to the score.
        matches: One match for each query token, in order. Empty if the picture has no vectors.
        query: The query as given.
        picture: The picture as given. It is opened again when the explanation is shown.
        model: The encoder's name.
        pooled: Whether the model pools its tokens. If so, the explanation is of the model before pooling, and its score isn't
            the ranking's.
        query_truncated: Whether the query was cut at the model's limit.
        scoring: The name of the Reranker's scoring.
        windows: The best window of each scale of the scoring: its first vector, and the vector after its last one. Empty if
            the scoring has no windows. A picture's vectors have no order of reading: a window is a band of it.
        page_words: The picture's text layer: each word with its box, in the order of reading. Empty if it has none.
        rank: The rank of the RankedDocument that is explained, if more than its score ordered it; else None.
        ranked_by: What ordered it then: its standard score, what the first stage's scores added, and the prior. Else None.
    """

    query_tokens: tuple[Token, ...]
    patches: tuple[Box, ...]
    similarity: F32
    matches: tuple[PatchMatch, ...]
    _: KW_ONLY
    query: str
    picture: Picture
    model: str
    pooled: bool = False
    query_truncated: bool = False
    scoring: str = "maxsim"
    windows: tuple[tuple[int, int], ...] = ()
    page_words: tuple[PrintedWord, ...] = ()
    rank: int | None = None
    ranked_by: RankedBy | None = None

    def __repr__(self) -> str:
        """Show the score and the first words: the matrix of a page has 100,000 numbers."""
        pairs = ", ".join(f"{match.word.text}: {match.similarity:.2f}" for match in self.words[:_SHOWN_WORDS])
        more = len(self.words) - _SHOWN_WORDS
        return f"PageExplanation(score={self.score:.4f}, words={{{pairs}{f', ... {more} more' if more > 0 else ''}}})"

    @cached_property
    def score(self) -> float:
        """The score that ranks: the sum of the contributions. A picture without vectors scores -1e9."""
        return float(self.contributions.sum()) if self.patches else NO_TOKENS_SCORE

    @cached_property
    def contributions(self) -> F32:
        """(n_query_tokens,) float32: what each query token adds to the score. All are 0 if the picture has no vectors.

        A token adds its best match in the picture. With windows it adds the mean, over the scales, of its best match in that
        scale's best window.
        """
        counted = self._counted
        if not len(counted):
            return np.zeros(len(self.query_tokens), dtype=np.float32)
        added: F32 = np.take_along_axis(self.similarity, counted.T, axis=1).mean(axis=1, dtype=np.float32)
        return added

    @cached_property
    def share_outside(self) -> float:
        """The share of the score that fell on vectors which see no part of the picture, from 0 to 1.

        These are markers and the words of the model's own prompt. The higher the share, the less the matches on the picture
        explain. Matches of a cosine below 0 count as 0.
        """
        counted = self._counted
        if not len(counted):
            return 0.0
        outside = np.array([has_no_area(box) for box in self.patches])
        added = np.maximum(np.take_along_axis(self.similarity, counted.T, axis=1), 0)
        total = float(added.sum())
        return min(float(added[outside[counted.T]].sum()) / total, 1.0) if total > 0 else 0.0

    @cached_property
    def words(self) -> list[PageWordMatch]:
        """The query's words and their best matches, in the order of the query, without punctuation and markers."""
        spoken = (word for word in words(self.query, self.query_tokens) if word.is_spoken)
        return [self._word_match(number, word) for number, word in enumerate(spoken, start=1)]

    @cached_property
    def spots(self) -> list[Spot]:
        """The patches that words of the query match best, each once: the largest first, so that small ones lie on top."""
        best: defaultdict[Box, float] = defaultdict(lambda: -1.0)
        numbers: defaultdict[Box, set[int]] = defaultdict(set)
        for word in self.words:
            for box, similarity in self._boxes(word.word).items():
                best[box] = max(best[box], similarity)
                numbers[box].add(word.number)
        found = [Spot(box, best[box], tuple(sorted(numbers[box]))) for box in best]
        return sorted(found, key=lambda spot: (-(spot.box[2] - spot.box[0]) * (spot.box[3] - spot.box[1]), spot.words))

    def to_dict(self, *, similarity: bool = True) -> dict[str, Any]:
        """Give everything but the picture as JSON values.

        Args:
            similarity: Whether to include the whole matrix, to 6 decimals, and the boxes of all vectors. For a page they take
                nearly all bytes: 1 MB of a page of 3,000 vectors.
        """
        found: dict[str, Any] = {
            "query": self.query,
            "model": self.model,
            "score": self.score,
            "share_outside": round(self.share_outside, 6),
            "pooled": self.pooled,
            "query_truncated": self.query_truncated,
            "scoring": self.scoring,
            **place_json(self.rank, self.ranked_by),
            **({"windows": [list(window) for window in self.windows]} if self.windows else {}),
            "words": [_word_json(match) for match in self.words],
            "query_tokens": [token._asdict() for token in self.query_tokens],
            "n_patches": len(self.patches),
            "matches": [match._asdict() | {"box": _box_json(match.box)} for match in self.matches],
            "contributions": [round(value, 6) for value in self.contributions.tolist()],
        }
        if similarity:
            found["patches"] = [_box_json(box) for box in self.patches]
            found["similarity"] = [[round(value, 6) for value in row] for row in self.similarity.tolist()]
        return found

    def to_html(self) -> str:
        """Give an HTML page that stands alone: the picture with the matches drawn on it. It has no script and fetches nothing.

        All text is escaped. The page is light or dark, as the reader prefers. It has at most some 600 kB.

        Raises:
            ValueError: If the picture is damaged.
            OSError: If it is in a file that can't be read any more.
        """
        from late_rerank.explanation.pages.html import page  # noqa: PLC0415 - only who shows an explanation needs it

        return page(self)

    def to_png(self) -> bytes:
        """Give the picture with the matches drawn on it, as a PNG of at most 1,400 pixels a side. Numbers are those of `words`.

        Raises:
            ValueError: If the picture is damaged.
            OSError: If it is in a file that can't be read any more.
        """
        from late_rerank.explanation.pages.overlay import png  # noqa: PLC0415 - as above

        return png(self)

    def _repr_html_(self) -> str:
        from late_rerank.explanation.pages.html import fragment  # noqa: PLC0415 - as above

        return fragment(self)

    @cached_property
    def _counted(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(n_scales, n_query_tokens): for each scale the vector that counts for each query token. Empty without vectors."""
        if not self.patches:
            return np.empty((0, len(self.query_tokens)), dtype=np.int64)
        rows = self.windows or ((0, len(self.patches)),)
        return np.stack([first + self.similarity[:, first:stop].argmax(axis=1) for first, stop in rows]).astype(np.int64)

    def _boxes(self, word: Word) -> dict[Box, float]:
        """Give the patches that a word's tokens match best, the strongest first, with their similarities."""
        found: dict[Box, float] = {}
        for match in sorted((self.matches[i] for i in word.tokens if self.matches), key=lambda match: -match.similarity):
            if not match.is_outside:
                found.setdefault(match.box, match.similarity)
        return found

    def _word_match(self, number: int, word: Word) -> PageWordMatch:
        of_tokens = [self.matches[i].similarity for i in word.tokens] if self.matches else []
        added = sum(self.contributions[list(word.tokens)].tolist())
        boxes = tuple(self._boxes(word))
        return PageWordMatch(
            number, word, sum(of_tokens) / max(len(of_tokens), 1), added, boxes, near_all(boxes, self.page_words)
        )


def _word_json(match: PageWordMatch) -> dict[str, Any]:
    return {
        "number": match.number,
        "text": match.word.text,
        "start": match.word.start,
        "end": match.word.end,
        "tokens": list(match.word.tokens),
        "similarity": match.similarity,
        "contribution": match.contribution,
        "boxes": [{"box": _box_json(box), "place": place_of(box)} for box in match.boxes],
        "near": [{"text": word.text, "box": _box_json(word.box), "is_under": word.is_under} for word in match.near],
    }


def _box_json(box: Box) -> list[float]:
    return [round(at, 6) for at in box]
