"""The sum of the fields' priors that options ask for. Loads NumPy."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence

from late_rerank.ranking.dates import is_missing
from late_rerank.ranking.priors import AtOneMoment, held
from late_rerank.types import Candidate

_READ = 'Fields of JSON Lines are read from "metadata": {...}'


class FieldPrior(AtOneMoment):
    """The sum of several fields' priors, which counts the documents that lack a field.

    Args:
        priors: (field, prior) pairs.
        missing: Field -> documents without it, so far.
        seen: Counts all documents under "".
    """

    def __init__(
        self,
        priors: Sequence[tuple[str, Callable[[Candidate], float]]],
        missing: Counter[str] | None = None,
        seen: Counter[str] | None = None,
    ) -> None:
        self._priors = list(priors)
        self._missing: Counter[str] = Counter() if missing is None else missing
        self._told: set[str] = set()
        self._seen: Counter[str] = Counter() if seen is None else seen

    def __call__(self, candidate: Candidate) -> float:
        """Give what a document adds."""
        self._seen[""] += 1
        for field in dict.fromkeys(field for field, _ in self._priors):
            value = candidate.metadata.get(field)
            self._missing[field] += is_missing(value) or (isinstance(value, str) and not value.strip())
        return sum(prior(candidate) for _, prior in self._priors)

    def held(self) -> FieldPrior:
        """Give the same at one moment, with the same counts."""
        return FieldPrior([(field, held(prior)) for field, prior in self._priors], self._missing, self._seen)

    def tell_missing(self) -> None:
        """Say on stderr how many documents lack a field: a misspelt one would change nothing without a word."""
        for field, n in self._missing.items():
            if n and n == self._seen[""]:
                print(f"no candidate has {field!r} in its metadata: it changed nothing. {_READ}", file=sys.stderr)
            elif n:
                print(
                    f"{n} of {self._seen['']} candidates have no {field!r} in their metadata: it counts as 0", file=sys.stderr
                )

    def tell_absent(self) -> None:
        """Say on stderr, once for each field, that no document so far has had it: for a process that answers many searches."""
        for field, n in list(self._missing.items()):
            if n and n == self._seen[""] and field not in self._told:
                self._told.add(field)
                print(f"no candidate has {field!r} in its metadata: it changed nothing. {_READ}", file=sys.stderr)
