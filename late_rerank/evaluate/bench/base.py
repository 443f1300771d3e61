"""The contenders of the benchmark: what each must give to take its turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from late_rerank.evaluate.bench.turns import Sampler
from late_rerank.evaluate.bench.workload import Workload

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class Peer:
    """One contender, ready to take turns.

    Attributes:
        scores: (n_documents,), the scores that it computes.
        sample: Takes a turn, in seconds a call.
        exact: Whether it claims MaxSim up to rounding. A peer that doesn't is timed too, with its top-10 overlap beside it.
    """

    scores: Scores
    sample: Sampler
    exact: bool = True


Build = Callable[[Workload, ExitStack], Peer]
"""Prepares a peer for a workload, and puts on the stack whatever must be closed afterwards. Raises PeerError."""


class PeerError(ValueError):
    """A peer can't take part; the message says why."""
