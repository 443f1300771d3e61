"""The vectors that are scored: one query and ragged documents of random unit vectors; their scores in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from late_rerank.maxsim import reference
from late_rerank.types import F32, TokenVectors

N_QUERY_TOKENS = 32
_SHORTEST, _USUAL, _LONGEST = 40, 200, 300
_TOP = 10


@dataclass(frozen=True)
class Workload:
    """One query and k documents.

    Attributes:
        query: One query of N_QUERY_TOKENS tokens.
        documents: k documents of 40 to 300 tokens, end to end in one matrix.
    """

    query: TokenVectors
    documents: TokenVectors

    @property
    def starts(self) -> NDArray[np.int64]:
        """Give the row at which each document begins: (k,) int64."""
        return self.documents.offsets[:-1]

    @property
    def multiply_adds(self) -> int:
        """Count the multiply-adds of MaxSim, however it is computed."""
        return len(self.query.values) * self.documents.values.size

    def rows(self) -> list[F32]:
        """Give a view of each document's vectors: (n_tokens, dim)."""
        return [self.documents.rows(i) for i in range(len(self.documents))]


def random_workload(k: int, dim: int, seed: int = 0) -> Workload:
    """Make vectors, the same for the same arguments in every process."""
    rng = np.random.default_rng([seed, k, dim])
    lengths = rng.triangular(_SHORTEST, _USUAL, _LONGEST, k).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    query = np.array([0, N_QUERY_TOKENS], dtype=np.int64)
    return Workload(
        TokenVectors(_unit_vectors(rng, N_QUERY_TOKENS, dim), query),
        TokenVectors(_unit_vectors(rng, int(lengths.sum()), dim), offsets),
    )


def exact_scores(query: TokenVectors, documents: TokenVectors) -> NDArray[np.float64]:
    """Compute MaxSim in float64 throughout: (n_documents,)."""
    return reference.score(query.values, [documents.rows(i) for i in range(len(documents))])


def top10_overlap(scores: NDArray[np.floating], exact: NDArray[np.float64]) -> float:
    """Give the share of the ten best documents (or of all, if fewer) that both scores agree on."""
    best, expected = (set(np.argsort(-values, kind="stable")[:_TOP].tolist()) for values in (scores, exact))
    return len(best & expected) / len(expected)


def _unit_vectors(rng: np.random.Generator, n: int, dim: int) -> F32:
    values: F32 = rng.standard_normal((n, dim), dtype=np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values
