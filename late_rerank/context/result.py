"""What packing gives: the context, its parts, what it covers, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.places import Span
from late_rerank.ranking.relevance import MATCHED_WEAKLY, MATCHED_WELL
from late_rerank.types import F32, RankedDocument


class Dropped(NamedTuple):
    """A document that isn't in the context, and why, in words."""

    document: RankedDocument
    reason: str


@dataclass(frozen=True, slots=True)
class ContextPart:
    """One numbered passage of the context; part i is cited as [i + 1].

    Attributes:
        text: As it stands in the context, without its number.
        id: The document's, or of several merged pieces the best ranked one's.
        rank: Its place in the ranking, from 1.
        index: Its place among the candidates, from 0.
        path: The file it comes from, if its metadata says so.
        start: Where it begins there, in characters; None where unknown. White space between joined pieces may differ.
        end: Where it ends there. Of a shortened document, from its first sentence here to its last, if places count its text.
        spans: (start, end) of what is here of the document's own text, where that is not all of it; else None.
        n_tokens: By `count_tokens`, its number and what separates it included.
        covers: Positions of the query's tokens that it matches best of all parts, well or not; of equals the best ranked.
        merged: Indexes of further candidates whose text is in this part too: neighbours in the file.
    """

    id: str | None
    text: str
    rank: int
    index: int
    path: str | None
    start: int | None
    end: int | None
    n_tokens: int
    covers: tuple[int, ...]
    merged: tuple[int, ...] = ()
    spans: tuple[Span, ...] | None = None


@dataclass(frozen=True)
class Coverage:
    """How well the context matches each token of the query.

    Attributes:
        matches: (n_query_tokens,) float32, the best match of each in the context; 0 for an empty context.
        tokens: The query's tokens, where the encoder can name them.
    """

    matches: F32
    tokens: tuple[str, ...] | None = None

    @property
    def well(self) -> list[int]:
        """Positions of tokens that are matched well."""
        return _positions(self.matches >= MATCHED_WELL)

    @property
    def weakly(self) -> list[int]:
        """Positions of tokens that are matched, but not well."""
        return _positions((self.matches >= MATCHED_WEAKLY) & (self.matches < MATCHED_WELL))

    @property
    def missing(self) -> list[int]:
        """Positions of tokens that are not matched at all: what the question asks for and the context may not answer."""
        return _positions(self.matches < MATCHED_WEAKLY)

    def words(self, positions: Sequence[int]) -> list[str]:
        """Tokens by their positions; the positions as text where the encoder can't name them."""
        return [str(position) if self.tokens is None else self.tokens[position] for position in positions]


@dataclass(frozen=True)
class Context:
    """What to put before the LLM.

    Attributes:
        text: The parts, each with its number in brackets; empty where nothing fits or nothing was ranked.
        parts: In the order of the text.
        n_tokens: Of the whole text, by `count_tokens`; never above the budget.
        dropped: What was ranked and isn't here, in the order of the ranking, with the reason.
        coverage: How well it matches the query.
        is_estimate: Whether n_tokens was estimated, since no tokenizer was given.
    """

    text: str
    parts: list[ContextPart]
    n_tokens: int
    dropped: list[Dropped]
    coverage: Coverage
    is_estimate: bool = field(default=False)

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values; parts with their numbers."""
        parts = []
        for number, part in enumerate(self.parts, start=1):
            told = {name: getattr(part, name) for name in _PART}
            parts.append(
                {"number": number, **told, "covers": list(part.covers), "merged": list(part.merged), "text": part.text}
            )
        return {
            "n_tokens": self.n_tokens,
            "is_estimate": self.is_estimate,
            "text": self.text,
            "parts": parts,
            "coverage": {
                "matches": [round(float(match), 4) for match in self.coverage.matches],
                "tokens": self.coverage.tokens,
                "well": self.coverage.well,
                "weakly": self.coverage.weakly,
                "missing": self.coverage.missing,
            },
            "dropped": [
                {"id": left.document.id, "rank": left.document.rank, "index": left.document.index, "reason": left.reason}
                for left in self.dropped
            ],
        }


_PART = ("id", "rank", "index", "path", "start", "end", "n_tokens", "covers", "merged", "spans")


def _positions(where: NDArray[np.bool_]) -> list[int]:
    return [int(position) for position in np.flatnonzero(where)]
