"""Other libraries' MaxSim, each in its best form: vectors are converted and packed before the clock starts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from late_rerank.evaluate.bench.base import Build, Peer, PeerError, Scores
from late_rerank.evaluate.bench.turns import fastest, timed
from late_rerank.evaluate.bench.workload import N_QUERY_TOKENS, Workload, random_workload


def numpy_peer(work: Workload, stack: ExitStack) -> Peer:  # noqa: ARG001 - every Build has this shape
    """Time plain NumPy: one product over all documents in one float32 matrix; the faster of two layouts."""
    query, documents, starts = work.query.values, work.documents.values, work.starts

    def by_query_token() -> Scores:
        return _summed(np.maximum.reduceat(query @ documents.T, starts, axis=1), 0)

    def by_document_token() -> Scores:
        return _summed(np.maximum.reduceat(documents @ query.T, starts, axis=0), 1)

    score = fastest(by_query_token, by_document_token)
    return Peer(score(), timed(score))


def numkong_peer(work: Workload, stack: ExitStack) -> Peer:  # noqa: ARG001
    """Time numkong's bfloat16 form, its fastest. It screens by int8 and recomputes one token a query token: not exact."""
    _require("numkong")
    import numkong  # noqa: PLC0415 - an extra

    def packed(rows: Any) -> Any:
        return numkong.maxsim_pack(numkong.Tensor(rows).astype("bf16"))

    documents = [packed(rows) for rows in work.rows()]

    def score() -> list[float]:
        query = packed(work.query.values)
        return [numkong.maxsim_packed(query, document) for document in documents]

    # It returns the sum of 1 - cosine over the query's tokens.
    return Peer(len(work.query.values) - np.array(score()), timed(score), exact=False)


def maxsim_cpu_peer(work: Workload, stack: ExitStack) -> Peer:
    """Time maxsim-cpu's ragged form, in a process of its own."""
    _require("maxsim_cpu")
    # Version 0.1.0 hands larger products to a BLAS that its wheel isn't linked with: a crash at dim 144, garbage at others.
    if work.documents.dim > _MAXSIM_CPU_DIM:
        raise PeerError(f"crashes with {N_QUERY_TOKENS} query tokens beyond dim {_MAXSIM_CPU_DIM}")
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_maxsim_cpu, args=(theirs, len(work.documents), work.documents.dim))
    process.start()
    stack.callback(_end, process)
    stack.enter_context(ours)
    theirs.close()  # else the end of the process isn't noticed here
    return Peer(_received(ours), lambda: _turn(ours))


_MAXSIM_CPU_DIM = 128


def _summed(maxima: Scores, axis: int) -> Scores:
    scores: Scores = maxima.sum(axis=axis)
    return scores


def _serve_maxsim_cpu(connection: Connection, k: int, dim: int) -> None:
    """Score once, then take a turn whenever asked to. Runs in the process."""
    import maxsim_cpu  # noqa: PLC0415 - an extra

    work = random_workload(k, dim)  # made again here: cheaper than sending the vectors
    query, documents = work.query.values, work.rows()

    def score() -> Scores:
        scores: Scores = maxsim_cpu.maxsim_scores_variable(query, documents)
        return scores

    sample = timed(score)
    connection.send(score())
    try:
        while True:
            connection.recv()
            connection.send(sample())
    except EOFError:
        return  # nobody asks any more


def _turn(connection: Connection) -> float:
    connection.send(None)
    return float(_received(connection))


def _received(connection: Connection) -> Any:
    try:
        return connection.recv()
    except EOFError:
        raise PeerError("its process crashed") from None


def _end(process: Any) -> None:
    process.terminate()
    process.join()


def _require(module: str) -> None:
    if find_spec(module) is None:
        raise PeerError('not installed: pip install "late-rerank[bench]"')


def _torch(work: Workload, stack: ExitStack) -> Peer:
    from late_rerank.evaluate.bench import torch_peers  # noqa: PLC0415 - loads torch

    return torch_peers.torch_peer(work, stack)


def _sentence_transformers(work: Workload, stack: ExitStack) -> Peer:
    from late_rerank.evaluate.bench import torch_peers  # noqa: PLC0415 - loads torch

    return torch_peers.sentence_transformers_peer(work, stack)


PEERS: Mapping[str, Build] = {
    "numpy": numpy_peer,
    "torch": _torch,
    "sentence-transformers": _sentence_transformers,
    "numkong": numkong_peer,
    "maxsim-cpu": maxsim_cpu_peer,
}
