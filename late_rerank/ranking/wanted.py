"""What a rerank is asked for, checked once and passed unchanged by every door: Python, wrappers, HTTP, MCP, command line."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from late_rerank.arguments.numbers import number, whole_number
from late_rerank.ranking.prior import checked_prior
from late_rerank.types import F32, I64, FirstStageWeight

_Options = TypeVar("_Options", bound="Wanted")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Options of a rerank. `Reranker.rerank` says what each does.

    A new option is a field here, its check, and its use in this room. Whatever passes a Wanted on passes the new field too.

    Attributes:
        top_k: At most so many results, at least 1; None for all.
        min_relevance: From 0 to 1; None to keep all.
        first_stage_weight: 0 or more, or "auto".
        deadline_s: Seconds, 0 or more; None to wait for all documents.
        max_tokens: Token vectors of each document that count, at least 1; None for whole documents.
        prior: What is added to the standard scores: a function of a Candidate, or one number for each candidate. For several
            queries a function, or one list of numbers for each. Numbers are kept as tuples of floats.

    Raises:
        ValueError: If a number is out of its range.
        TypeError: If one is of the wrong type.
    """

    top_k: int | None = None
    min_relevance: float | None = None
    first_stage_weight: FirstStageWeight = 0.0
    deadline_s: float | None = None
    max_tokens: int | None = None
    prior: Any = None

    def __post_init__(self) -> None:
        whole_number("top_k", self.top_k, or_none="for all")
        if self.min_relevance is not None:
            number("min_relevance", self.min_relevance, high=1, or_else="None to keep all")
        if not (isinstance(self.first_stage_weight, str) and self.first_stage_weight == "auto"):
            number("first_stage_weight", self.first_stage_weight, or_else='"auto"')
        if self.deadline_s is not None:
            number("deadline_s", self.deadline_s, or_else="None to wait for all documents")
        whole_number("max_tokens", self.max_tokens, or_none="for whole documents")
        object.__setattr__(self, "prior", self._checked_prior())

    def _checked_prior(self) -> Any:
        return checked_prior(self.prior)

    @classmethod
    def of(cls: type[_Options], holder: object, **instead: Any) -> _Options:
        """Read the options that an object has as attributes of the same names: a wrapper, a command's arguments, a setting.

        Args:
            holder: Any object.
            instead: Options by name, which count before the object's; None for the object's own.
        """
        names = [field.name for field in fields(cls)]
        own = {name: getattr(holder, name) for name in names if hasattr(holder, name)}
        return cls(**own | {name: value for name, value in instead.items() if value is not None})

    def kept(self, relevances: F32) -> I64 | slice:
        """Choose the results to give.

        Args:
            relevances: (n_documents,) float32, best ranked first. Where a first stage counts too, they don't fall from rank to
                rank. Unscored documents are 0.

        Returns:
            Their positions, at most `top_k`.
        """
        if self.min_relevance is None:
            return slice(self.top_k)
        # As float64, since a caller reads it as a Python float.
        return np.flatnonzero(relevances.astype(np.float64) >= self.min_relevance)[: self.top_k]
