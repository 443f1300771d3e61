"""Time MaxSim alone: our kernel on each codec, and its peers, on the same vectors in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank import maxsim
from late_rerank.codecs import Codec
from late_rerank.evaluate.bench.base import Build, Peer, PeerError, Scores
from late_rerank.evaluate.bench.peers import PEERS
from late_rerank.evaluate.bench.turns import Sampler, medians, timed
from late_rerank.evaluate.bench.workload import Workload, exact_scores, random_workload, top10_overlap
from late_rerank.stores import MemoryStore
from late_rerank.types import F32, PackedVectors

# The largest allowed error of a score, a query token. A float32 sum of 384 products stays far below the first. The second is
# the error of rounding the query to 64 steps, as the kernel does for integer codecs.
_EXACT_ERROR = 1e-5
_ROUNDED_ERROR = 2e-3

# A turn of the peak is the median of ten measurements of 0.2 ms. On a busy machine longer ones would mostly be interrupted by
# another process, and show half of the peak.
_PEAKS = 10
_PEAK_S = 0.0002


@dataclass(frozen=True)
class Compared:
    """Figures of one size.

    Attributes:
        kernel: A row a codec.
        peers: A row a peer: its time, or the reason why it has none.
    """

    kernel: list[dict[str, Any]]
    peers: list[dict[str, Any]]


@dataclass(frozen=True)
class _Field:
    """The contenders of one size, prepared and checked."""

    work: Workload
    exact: NDArray[np.float64]
    level: str
    scores: dict[str, F32] = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    # By kind ("ours", "scattered", "peak", "peer") and name of the codec or peer.
    samplers: dict[tuple[str, str], Sampler] = field(default_factory=dict)


def compare(
    k: int, dim: int, codecs: Sequence[Codec], *, n_turns: int, peers: Mapping[str, Build] = PEERS, progress: bool = False
) -> Compared:
    """Time one query against k documents.

    Args:
        k: Documents.
        dim: Components of a token vector.
        codecs: How our documents are packed.
        n_turns: Turns of each contender.
        peers: By name, how to prepare them.
        progress: Show a bar on stderr, if that is a terminal.

    Raises:
        ValueError: If our kernel gives a wrong score.
    """
    kernel, work = maxsim.kernel(), random_workload(k, dim)
    level = getattr(kernel, "level", None)
    with ExitStack() as stack:
        entered = _Field(work, exact_scores(work.query, work.documents), level or kernel.name)
        for codec in codecs:
            _enter_ours(entered, kernel, codec)
            if level is not None:
                entered.samplers["peak", codec.name] = _peak(level, codec.name)
        for name, build in peers.items():
            _enter_peer(entered, name, build, stack)
        measured = medians(entered.samplers, n_turns=n_turns, title=f"k={k} dim={dim}", progress=progress)
    rows = [_row(entered, codec.name, measured) for codec in codecs]
    return Compared(rows, [_peer_row(entered, name, measured) for name in peers])


def _enter_ours(entered: _Field, kernel: maxsim.Kernel, codec: Codec) -> None:
    query, packed = entered.work.query, codec.encode(entered.work.documents)
    scores = entered.scores[codec.name] = kernel.score(query, packed)
    # Compare with the decoded vectors: the codec's loss is no mistake of the kernel's, and shows in the overlap.
    expected = exact_scores(query, codec.decode(packed))
    allowed = _EXACT_ERROR if codec.name.startswith("float") else _ROUNDED_ERROR
    if wrong := _wrong(scores, expected, allowed * len(query.values)):
        raise ValueError(f"kernel {kernel.name!r} is wrong on {codec.name}, so its time means nothing: {wrong}")
    scattered = _as_stored(packed)
    entered.samplers["ours", codec.name] = timed(lambda: kernel.score(query, packed))
    entered.samplers["scattered", codec.name] = timed(lambda: kernel.score(query, scattered))


def _enter_peer(entered: _Field, name: str, build: Build, stack: ExitStack) -> None:
    try:
        peer = build(entered.work, stack)
    except PeerError as error:
        entered.refused[name] = str(error)
        return
    wrong = _wrong(peer.scores, entered.exact, _EXACT_ERROR * len(entered.work.query.values))
    if wrong and peer.exact:
        entered.refused[name] = wrong
        return
    entered.peers[name] = peer
    entered.samplers["peer", name] = peer.sample


def _wrong(scores: Scores, expected: NDArray[np.float64], allowed: float) -> str | None:
    """Say what is wrong with scores; None if they are right."""
    if np.shape(scores) != expected.shape:
        return f"scores of shape {np.shape(scores)} for {len(expected)} documents"
    error = float(np.abs(scores - expected).max())
    # Not `error > allowed`: NaN must be wrong too.
    return None if error <= allowed else f"off by up to {error:.2g} from float64, where {allowed:.2g} is allowed"


def _as_stored(packed: PackedVectors) -> PackedVectors:
    """Give the same documents as a memory store returns them: each in a buffer of its own."""
    with MemoryStore(max_bytes=None) as store:
        space = store.space("bench", packed.codec)
        keys = [i.to_bytes(16, "little") for i in range(len(packed))]
        space.put(keys, packed)
        return space.get(keys).found


def _peak(level: str, codec: str) -> Sampler:
    """Sample the multiply-adds a second of the instruction that scores this codec."""
    from late_rerank.maxsim import _native  # noqa: PLC0415 - a build may lack it

    seconds = timed(lambda: _native.peak(level, codec, 1000))()
    n = max(1000, int(1000 * _PEAK_S / seconds))
    return lambda: statistics.median(_native.peak(level, codec, n) for _ in range(_PEAKS))


def _row(entered: _Field, codec: str, measured: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    work, seconds = entered.work, measured["ours", codec]
    row: dict[str, Any] = {
        "k": len(work.documents),
        "dim": work.documents.dim,
        "codec": codec,
        "level": entered.level,
        "median_ms": _rounded(seconds * 1000, 4),
    }
    if ("peak", codec) in measured:
        row["peak_percent"] = round(100 * work.multiply_adds / seconds / measured["peak", codec], 1)
    row["scattered_ms"] = _rounded(measured["scattered", codec] * 1000, 4)
    row["top10_overlap"] = top10_overlap(entered.scores[codec], entered.exact)
    row["ratio"] = {name: _rounded(measured["peer", name] / seconds, 3) for name in entered.peers}
    return row


def _peer_row(entered: _Field, name: str, measured: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    row = {"k": len(entered.work.documents), "dim": entered.work.documents.dim, "name": name}
    if name in entered.refused:
        return {**row, "refused": entered.refused[name]}
    overlap = top10_overlap(entered.peers[name].scores, entered.exact)
    return {**row, "median_ms": _rounded(measured["peer", name] * 1000, 4), "top10_overlap": overlap}


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
