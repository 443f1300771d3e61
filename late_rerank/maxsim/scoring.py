"""How a document's token maxima become the score that ranks: MaxSim of the whole document, or of its best windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from late_rerank.codecs import Codec
from late_rerank.maxsim.base import Kernel
from late_rerank.maxsim.packed import scorable
from late_rerank.maxsim.windows import window_scores
from late_rerank.types import F32, I64, PackedVectors, TokenVectors

_MOST_SCALES = 8
_LONGEST_WINDOW = 1_000_000


@dataclass(frozen=True)
class Scoring:
    """The rule that makes one score of a query and a document. README.md beside this file defines both built-in rules.

    Attributes:
        name: Shown by `doctor` and `Reranker.stats()`, and kept in calibrations.
        window_tokens: Lengths of windows, in tokens, one for each scale. They are even and ascending, and each is a multiple of
            the one before. The score is the mean over the scales of the best window's MaxSim. Empty for MaxSim of the whole
            document. At most 8 lengths of at most 1,000,000 tokens.

    Raises:
        ValueError: If the lengths aren't as described.
        TypeError: If the name isn't a str, or a length isn't an int.
    """

    name: str
    window_tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"a Scoring's name must be a str that isn't empty, got {self.name!r:.60}")
        lengths = self.window_tokens
        if not isinstance(lengths, tuple) or any(isinstance(each, bool) or not isinstance(each, int) for each in lengths):
            raise TypeError(f"window_tokens must be a tuple of ints, got {lengths!r:.60}")
        if len(lengths) > _MOST_SCALES or max(lengths, default=2) > _LONGEST_WINDOW:
            raise ValueError(f"window_tokens must be at most {_MOST_SCALES} lengths of at most {_LONGEST_WINDOW:,} tokens")
        if any(each < 2 or each % 2 for each in lengths) or any(b <= a or b % a for a, b in pairwise(lengths)):
            raise ValueError(
                f"window_tokens must be even, ascending, and each a multiple of the one before, as (24, 144), got {lengths}"
            )

    @cached_property
    def strides(self) -> I64:
        """(n_scales,) int64: how many tokens each scale's windows are apart."""
        return np.array(self.window_tokens, dtype=np.int64) // 2

    def over(self, pooling: float) -> Scoring:
        """Give this rule for documents that keep one of `pooling` token vectors: windows of as much text hold fewer vectors.

        The shortest window has at least 2 vectors. The longer ones keep their ratio to it.
        """
        if pooling <= 1 or not self.window_tokens:
            return self
        shortest = 2 * max(round(self.window_tokens[0] / 2 / pooling), 1)
        return Scoring(self.name, tuple(shortest * (each // self.window_tokens[0]) for each in self.window_tokens))

    @property
    def passage_scale(self) -> int:
        """The scale whose best window is quoted as the best passage: the middle one, and the longer one of two."""
        return len(self.window_tokens) // 2


MAXSIM = Scoring("maxsim")
"""MaxSim of the whole document, as ColBERT defines it."""

PROXIMITY = Scoring("proximity", (24, 144, 288))
"""The mean MaxSim of the best 24, 144 and 288 consecutive tokens: words that are matched near each other count more."""

DEFAULT_SCORING = PROXIMITY
"""The scoring where none is named."""

SCORINGS = {scoring.name: scoring for scoring in (MAXSIM, PROXIMITY)}


class Scores(NamedTuple):
    """The scores of one query's documents.

    Attributes:
        scores: (n_documents,) float32. -1e9 for a document without tokens.
        first: (n_documents,) int64, the first token of each document's best passage; None without windows.
    """

    scores: F32
    first: I64 | None = None


def as_scoring(given: str | Scoring | None) -> Scoring:
    """Find a scoring by its name; a Scoring as it is; the default one for None.

    Raises:
        ValueError: If no scoring has that name, or a Scoring has the name of another built-in one.
        TypeError: If it is neither.
    """
    if given is None:
        return DEFAULT_SCORING
    if isinstance(given, Scoring):
        if SCORINGS.get(given.name, given) != given:
            raise ValueError(
                f"a Scoring of your own can't be called {given.name!r}, as a built-in one is: calibrations go by names"
            )
        return given
    if not isinstance(given, str):
        raise TypeError(f"scoring must be a name or a Scoring, got {type(given).__name__}: {given!r:.60}")
    if given not in SCORINGS:
        raise ValueError(f"scoring={given!r:.60} is not known; choose {' or '.join(map(repr, SCORINGS))}, or pass a Scoring")
    return SCORINGS[given]


def scored(kernel: Kernel, codec: Codec, scoring: Scoring, query: TokenVectors, documents: PackedVectors) -> Scores:
    """Score documents by a kernel. Decode them first if the kernel can't read this packing.

    Args:
        kernel: Computes token maxima.
        codec: Packed the documents.
        scoring: The rule.
        query: One query; values (n_query_tokens, dim) float32.
        documents: In any order.

    Returns:
        In the order of `documents`.

    Raises:
        IncompatibleError: As in `Kernel.score`.
        ValueError: As in `Kernel.score`.
    """
    readable = scorable(kernel, codec, documents)
    if not scoring.window_tokens:
        return Scores(kernel.score(query, readable))
    found = window_scores(kernel, query, readable, scoring.strides)
    return Scores(found.mean, found.first[scoring.passage_scale])
