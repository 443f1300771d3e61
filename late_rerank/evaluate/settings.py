"""The settings of a reranker that are tried, and grids of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from late_rerank.maxsim import DEFAULT_SCORING, as_scoring
from late_rerank.ranking.wanted import Wanted
from late_rerank.types import FirstStageWeight

N_TOP = 10
"""How many of the best documents the measure looks at."""


Packing = tuple[int, str, str]
"""Pooling, codec and scoring."""


@dataclass(frozen=True)
class Setting:
    """A way of reranking; without arguments the default one.

    Attributes:
        k: How many of the first stage's candidates are reranked.
        first_stage_weight: How much their own scores count, as `Reranker.rerank` takes it.
        codec: How token vectors are packed, by name.
        pooling: One of so many token vectors of a document is kept.
        scoring: How matches become a score, by name.

    Raises:
        ValueError: If no scoring has that name.
    """

    k: int = 100
    first_stage_weight: FirstStageWeight = 0.0
    codec: str = "int8"
    pooling: int = 1
    scoring: str = DEFAULT_SCORING.name

    def __post_init__(self) -> None:
        as_scoring(self.scoring)

    @property
    def packing(self) -> Packing:
        """Give pooling, codec and scoring: what the scores depend on."""
        return self.pooling, self.codec, self.scoring

    @property
    def wanted(self) -> Wanted:
        """Give the options of its reranks."""
        return Wanted.of(self)


@dataclass(frozen=True)
class Grid:
    """The settings that are tried: every combination of these values, and the first stage alone.

    Raises:
        ValueError: If an axis has no values, a depth or a weight is out of its range, or no scoring has that name.
    """

    k: Sequence[int] = (20, 50, 100)
    first_stage_weight: Sequence[FirstStageWeight] = (0.0, "auto", 0.1, 0.2, 0.5, 1.0)
    codec: Sequence[str] = ("binary", "int4", "int8")
    pooling: Sequence[int] = (1, 2)
    scoring: Sequence[str] = ("proximity", "maxsim")

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if not values:
                raise ValueError(f"{name} has no values to try")
        if min(self.k) < N_TOP:
            raise ValueError(f"k must be at least {N_TOP}, which the measure looks at, got {min(self.k)}")
        for setting in self.settings():
            Wanted.of(setting)  # checks itself

    def settings(self) -> list[Setting]:
        """Give every combination, each once."""
        crossed = (dict(zip(vars(self), values, strict=True)) for values in dict.fromkeys(product(*vars(self).values())))
        return [Setting(**values) for values in crossed]

    @property
    def packings(self) -> list[Packing]:
        """Give the packings of all settings, and of the default setting, which is measured too."""
        return sorted({setting.packing for setting in (*self.settings(), Setting())})
