"""What a query's arguments must be, before any work is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from late_rerank.text.words import is_blank
from late_rerank.types import Candidate

Given = TypeVar("Given")


def check_top_k(top_k: int | None) -> None:
    """See to it that `top_k` is None or a whole number of at least 1."""
    if top_k is None:
        return
    if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)):
        raise TypeError(f"top_k must be an int or None, got {top_k!r}")
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, or None for all, got {top_k}")


def check_min_relevance(min_relevance: float | None) -> None:
    """See to it that `min_relevance` is None or a number in [0, 1]."""
    if min_relevance is None:
        return
    if isinstance(min_relevance, bool) or not isinstance(min_relevance, (int, float, np.integer, np.floating)):
        raise TypeError(f"min_relevance must be a number or None, got {min_relevance!r:.60}")
    if not 0 <= min_relevance <= 1:
        raise ValueError(f"min_relevance must be from 0 to 1, or None to keep all, got {min_relevance}")


def check_first_stage_weight(weight: object) -> None:
    """See to it that a weight of the first stage is "auto" or a finite number of at least 0."""
    if isinstance(weight, str) and weight == "auto":
        return
    if isinstance(weight, (bool, str)) or not isinstance(weight, (int, float, np.integer, np.floating)):
        raise TypeError(f'first_stage_weight must be a number or "auto", got {weight!r:.60}')
    if not 0 <= weight < float("inf"):
        raise ValueError(f'first_stage_weight must be 0 or more and finite, or "auto", got {weight}')


def check_deadline(deadline_s: float | None) -> None:
    """See to it that a deadline is None or a number of seconds, 0 or more."""
    if deadline_s is None:
        return
    if isinstance(deadline_s, bool) or not isinstance(deadline_s, (int, float, np.integer, np.floating)):
        raise TypeError(f"deadline_s must be a number of seconds or None, got {deadline_s!r:.60}")
    if not 0 <= deadline_s < float("inf"):
        raise ValueError(f"deadline_s must be 0 or more seconds, or None to wait for all documents, got {deadline_s}")


def check_max_tokens(max_tokens: int | None) -> None:
    """See to it that a number of tokens a document is None or a whole number of at least 1."""
    if max_tokens is None:
        return
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, (int, np.integer)):
        raise TypeError(f"max_tokens must be an int or None, got {max_tokens!r:.60}")
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, or None for whole documents, got {max_tokens}")


def check_budget(budget_tokens: object) -> None:
    """See to it that a budget is a whole number of at least 0."""
    if isinstance(budget_tokens, bool) or not isinstance(budget_tokens, (int, np.integer)):
        raise TypeError(f"budget_tokens must be an int, got {budget_tokens!r:.60}")
    if budget_tokens < 0:
        raise ValueError(f"budget_tokens must be 0 or more, got {budget_tokens}")


def as_list(given: Iterable[Given], what: str, kind: str) -> list[Given]:
    """What a user gave as one entry a query, as a list: a generator will do.

    Raises:
        TypeError: If it is one str, a mapping, or nothing to iterate over.
    """
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        instead = "; use rerank for one query" if isinstance(given, str) else ""
        raise TypeError(f"{what} must be a list of {kind}, got {_named(given)}{instead}")
    return list(given)


def _named(given: object) -> str:
    return "one str" if isinstance(given, str) else f"{type(given).__name__}: {given!r:.60}"


def check_queries(queries: Sequence[str], candidate_lists: Sequence[Iterable[str | Candidate]]) -> None:
    """See to it that there are queries, none blank, and a list of candidates for each."""
    if len(queries) != len(candidate_lists):
        raise ValueError(f"got {len(queries)} queries but {len(candidate_lists)} lists of candidates")
    for i, query in enumerate(queries):
        if not isinstance(query, str):
            raise TypeError(f"query {i} must be a str, got {type(query).__name__}: {query!r:.60}")
        if is_blank(query):
            raise ValueError(f"query {i} is {query!r}: a query needs at least one word")
