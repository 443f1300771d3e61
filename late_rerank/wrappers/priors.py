"""A prior of a wrapper -> the numbers of documents; and what a file can hold of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from late_rerank.ranking.prior import FoundPrior, as_function, of_candidates, of_queries
from late_rerank.ranking.priors import FromMetadata, Recency, Sum, from_metadata, recency, sum_of
from late_rerank.types import Candidate

_KINDS = {"recency": Recency, "from_metadata": FromMetadata}
_MAKERS: Mapping[str, Callable[..., Any]] = {"recency": recency, "from_metadata": from_metadata}
_SUM = "sum_of"
_READ = 'the name of a metadata field, or a mapping such as {"recency": {"field": "date", "half_life_days": 30}}'


def prior_numbers(prior: FoundPrior | None, candidates: Sequence[Candidate], what: str = "candidates") -> list[float] | None:
    """Give the number that a prior adds for each candidate; None where there is no prior.

    Args:
        prior: A function of a Candidate, or the name of a metadata field.
        candidates: With all of their metadata.
        what: Names them in messages.

    Raises:
        ValueError: If the function fails, or gives NaN or infinity; names the candidate.
        TypeError: If the function gives no number; names the candidate.
    """
    function = as_function(prior)
    return None if function is None else of_candidates(of_queries(function, 1)[0], candidates, what).tolist()


def has_name(prior: Any) -> bool:
    """Tell whether a file can hold a prior: a metadata field's name, or what late_rerank.ranking makes of such names."""
    if isinstance(prior, Sum):
        return all(map(has_name, prior.priors))
    return prior is None or isinstance(prior, (str, *_KINDS.values()))


def written_prior(prior: Any) -> Any:
    """Write a prior down as a str, a mapping or None, which JSON and YAML can hold. `read_prior` reads it.

    Raises:
        ValueError: If it is a function that no file can name.
    """
    if not has_name(prior):
        prior = next((each for each in prior.priors if not has_name(each)), prior) if isinstance(prior, Sum) else prior
        name = getattr(prior, "__qualname__", type(prior).__name__)
        raise ValueError(
            f"the prior is a function, {name}, which no file can hold; give the name of a metadata field, or what "
            "late_rerank.ranking.recency, from_metadata and sum_of make"
        )
    if isinstance(prior, Sum):
        return {_SUM: [written_prior(each) for each in prior.priors]}
    kind = next((name for name, kind in _KINDS.items() if isinstance(prior, kind)), None)
    return prior if kind is None else {kind: asdict(prior)}


def read_prior(given: Any) -> Any:
    """Give the prior that `written_prior` wrote as a mapping; all else as it is. In a sum, a name is a metadata field's.

    Raises:
        ValueError: If the mapping holds something else, or a value that the maker of such a prior refuses.
    """
    if not isinstance(given, Mapping):
        return given
    ((kind, held), *others) = given.items() or [(None, None)]
    try:
        if not others and kind == _SUM and isinstance(held, list):
            return sum_of(*(from_metadata(each) if isinstance(each, str) else read_prior(each) for each in held))
        if not others and kind in _MAKERS and isinstance(held, Mapping):
            return _MAKERS[str(kind)](**held)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a prior that is read back must be {_READ}, got {dict(given)!r:.100}: {error}") from error
    raise ValueError(f"a prior that is read back must be {_READ}, got {dict(given)!r:.100}")
