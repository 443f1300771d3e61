"""Which of the found documents a wrapper gives back: the options, checked once."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from late_rerank.arguments.numbers import whole_number
from late_rerank.context.counting import counter
from late_rerank.context.layout import ORDERS, Order
from late_rerank.ranking.prior import checked_found_prior
from late_rerank.ranking.wanted import Wanted


@dataclass(frozen=True, kw_only=True)
class Choice(Wanted):
    """Which of the found documents a wrapper gives back: what a rerank is asked for, and a budget.

    `top_k` is None for all, or for as many as fit the budget. `prior` is a function of a Candidate, or the name of a metadata
    field that holds a number: which documents are found isn't known beforehand. Within a budget it counts for the order alone.

    Attributes:
        budget_tokens: Of the whole context that `pack_context` makes of them; None for no budget: then the best ranked.
        order: How they are read: "relevance", "edges" or "source"; None for "relevance".
        count_tokens: As `pack_context` takes it; None for an estimate.

    Raises:
        ValueError: If a number is out of its range, the order isn't known, or order or count_tokens are given without a budget.
        TypeError: If one is of the wrong type.
    """

    budget_tokens: int | None = None
    order: Order | None = None
    count_tokens: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget_tokens is not None:
            whole_number("budget_tokens", self.budget_tokens, 0)
        if self.order is not None and self.order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, or None, got {self.order!r:.60}")
        counter(self.count_tokens)
        given = [name for name in ("order", "count_tokens") if getattr(self, name) is not None]
        if self.budget_tokens is None and given:
            raise ValueError(f"{' and '.join(given)} only count with a budget: give budget_tokens too, or leave them out")

    def _checked_prior(self) -> Any:
        return checked_found_prior(self.prior)

    def resolved(self, default: int) -> Choice:
        """Set `top_k` where it is None and there is no budget, which would bound it."""
        return replace(self, top_k=default) if self.top_k is None and self.budget_tokens is None else self

    def options(self, names: Container[str]) -> dict[str, Any]:
        """Give the options that a wrapper has fields for, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in names}

    def told(self) -> Iterator[tuple[str, Any]]:
        """Give the options that differ from their defaults, for a wrapper's repr; `top_k` and `count_tokens` aside."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("top_k", "count_tokens") and value != field.default:
                yield field.name, getattr(value, "__qualname__", value) if field.name == "prior" else value
