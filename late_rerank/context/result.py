"""The result of packing: the context, its parts, what it covers, and the documents that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from late_rerank.context.images import LONGEST
from late_rerank.context.layout import SEPARATOR, block
from late_rerank.encode.places import Span
from late_rerank.pictures import Picture
from late_rerank.pictures.sending import data_uri
from late_rerank.ranking.relevance import MATCHED_WEAKLY, MATCHED_WELL
from late_rerank.types import F32, RankedDocument


class Dropped(NamedTuple):
    """A document that was left out of the context, and the reason in words."""

    document: RankedDocument
    reason: str


@dataclass(frozen=True, slots=True)
class ContextPart:
    """One numbered part of the context. Part i is cited as [i + 1].

    Attributes:
        id: The document's id. For joined pieces, it is the id of the best ranked one.
        text: The text in the context, without its number. "(image)" for an image.
        rank: The document's rank, from 1.
        index: The document's position among the candidates, from 0.
        path: The document's file, if the metadata tell it.
        start: Where the part begins in the file, in characters. None if unknown. White space between joined pieces may differ
            from the file's.
        end: Where the part ends in the file, in characters. None if unknown. A shortened document goes from its first shown
            sentence to its last, if the metadata count its characters.
        n_tokens: The tokens of the part by `count_tokens`, its number and separator included; those of an image too.
        covers: Positions of the query tokens that this part matches best of all parts, well or not. Of equal parts, the best
            ranked one covers the token.
        merged: Indexes of further candidates whose text is in this part. They are neighbours in the file.
        spans: (start, end) of each shown piece of the document's text. None if all of the text is shown.
        page: The page of the file, if the metadata tell it. In a PDF file that late-rerank read, pages count from 1; `start`
            and `end` count the characters of the page's text.
        image: The page's Picture, if it is shown as an image; `Context.blocks` holds it.
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
    page: int | None = None
    image: Picture | None = None


@dataclass(frozen=True)
class Coverage:
    """How well the context matches each token of the query.

    Attributes:
        matches: (n_query_tokens,) float32: each token's best match in the context. All are 0 for an empty context.
        tokens: The query's tokens. None if the encoder can't name them.
        query_words: The query's words, each with the positions of its tokens. None if the encoder can't tell their places.
    """

    matches: F32
    tokens: tuple[str, ...] | None = None
    query_words: tuple[tuple[str, tuple[int, ...]], ...] | None = None

    @property
    def well(self) -> list[int]:
        """Positions of the query tokens that are matched well."""
        return _positions(self.matches >= MATCHED_WELL)

    @property
    def weakly(self) -> list[int]:
        """Positions of the query tokens that are matched, but not well."""
        return _positions((self.matches >= MATCHED_WEAKLY) & (self.matches < MATCHED_WELL))

    @property
    def missing(self) -> list[int]:
        """Positions of the query tokens that aren't matched. The context may not answer this part of the question."""
        return _positions(self.matches < MATCHED_WEAKLY)

    @property
    def missing_words(self) -> list[str] | None:
        """The query's words of which no token is matched, in the order of the query; None without `query_words`."""
        missing = set(self.missing)
        return None if self.query_words is None else [word for word, rows in self.query_words if missing.issuperset(rows)]

    def words(self, positions: Sequence[int]) -> list[str]:
        """Name tokens by their positions. If the encoder can't name tokens, give the positions as text."""
        return [str(position) if self.tokens is None else self.tokens[position] for position in positions]


@dataclass(frozen=True)
class Context:
    """The text that goes before the LLM, and the documents that it comes from.

    Attributes:
        text: The parts, each with its number in brackets. Empty if nothing fits or nothing was ranked.
        parts: The parts, in the order of the text.
        n_tokens: The tokens of the whole text by `count_tokens`, and those of the images. Never above the budget.
        dropped: The ranked documents that were left out, in the order of the ranking, each with the reason.
        coverage: How well the context matches the query.
        is_estimate: Whether `n_tokens` is an estimate, because no tokenizer was given, or no `count_image` for images.
    """

    text: str
    parts: list[ContextPart]
    n_tokens: int
    dropped: list[Dropped]
    coverage: Coverage
    is_estimate: bool = field(default=False)

    def __str__(self) -> str:
        return self.text

    def blocks(self) -> list[dict[str, Any]]:
        """Give the context for a model that reads images: a message's content, in the form of OpenAI's chat API.

        Texts and images stand in the order of the parts. The text before an image ends with its number. Joined by empty lines,
        the texts are `text`. Images are at most 1,568 pixels long, as `n_tokens` counts them.

        Returns:
            `{"type": "text", "text": ...}` and `{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}`. The
            list is empty for an empty context. Without images, it holds one text.

        Raises:
            ValueError: If an image is damaged.
            OSError: If an image's file can't be read.
        """
        found: list[dict[str, Any]] = []
        texts: list[str] = []
        for number, part in enumerate(self.parts, start=1):
            texts.append(block(number, part.text))
            if part.image is not None:
                found += [_text_block(texts), {"type": "image_url", "image_url": {"url": data_uri(part.image, LONGEST)}}]
                texts = []
        return [*found, _text_block(texts)] if texts else found

    def to_dict(self) -> dict[str, Any]:
        """Give the context as JSON values. Each part has its number. An image is named by its key, 32 hexadecimal digits."""
        parts = []
        for number, part in enumerate(self.parts, start=1):
            columns = {name: getattr(part, name) for name in _PART}
            if part.image is not None:
                columns["image_key"] = part.image.key().hex()
            parts.append(
                {"number": number, **columns, "covers": list(part.covers), "merged": list(part.merged), "text": part.text}
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
                "missing_words": self.coverage.missing_words,
            },
            "dropped": [
                {"id": left.document.id, "rank": left.document.rank, "index": left.document.index, "reason": left.reason}
                for left in self.dropped
            ],
        }


_PART = ("id", "rank", "index", "path", "page", "start", "end", "n_tokens", "covers", "merged", "spans")


def _text_block(texts: Sequence[str]) -> dict[str, Any]:
    return {"type": "text", "text": SEPARATOR.join(texts)}


def _positions(where: NDArray[np.bool_]) -> list[int]:
    return [int(position) for position in np.flatnonzero(where)]
