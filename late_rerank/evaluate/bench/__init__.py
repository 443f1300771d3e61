"""What scoring and a whole rerank cost on this machine, beside other libraries that do the same work in the same run.

In: how much to measure. Out: the JSON of `late-rerank bench`. Turns of all contenders are interleaved. Every score is compared
with float64 before anything is timed.
"""

from __future__ import annotations

from typing import Any

from late_rerank.codecs import codec
from late_rerank.errors import check_installed
from late_rerank.evaluate.bench.kernel import compare
from late_rerank.evaluate.bench.provenance import commit, machine, versions

__all__ = ["benchmark"]

CODECS = ("int8", "int4", "binary", "float16", "float32")
_SIZES = (10, 100, 1000)
_DIMS = (48, 128, 384)
_TURNS = 15


def benchmark(*, quick: bool, end_to_end: bool, progress: bool) -> dict[str, Any]:
    """Run the benchmark.

    BLAS and OpenMP read their number of threads when they are loaded. For one thread everywhere, set OMP_NUM_THREADS and
    similar variables before anything is imported, as the command does.

    Args:
        quick: 100 documents of 128 components only.
        end_to_end: Time encoding and whole reranks with the built-in model too; otherwise "encoding" and "end_to_end" are None.
        progress: Show bars on stderr, if that is a terminal.

    Returns:
        JSON values, as the README names them.

    Raises:
        ValueError: If our own kernel gives a wrong score: its time then says nothing.
        MissingDependencyError: If torch or sentence-transformers isn't installed.
    """
    check_installed("the benchmark", "bench", "torch", "sentence_transformers")
    from late_rerank.evaluate.bench import torch_peers  # noqa: PLC0415 - loads torch

    torch_peers.one_thread()
    codecs = [codec(name) for name in CODECS]
    rows: list[dict[str, Any]] = []
    peers: list[dict[str, Any]] = []
    for k, dim in [(100, 128)] if quick else [(k, dim) for k in _SIZES for dim in _DIMS]:
        compared = compare(k, dim, codecs, n_turns=_TURNS, progress=progress)
        rows += compared.kernel
        peers += compared.peers
    report = {"machine": machine(), "commit": commit(), "versions": versions(), "kernel": rows, "peers": peers}
    return {**report, **(_with_model(progress=progress) if end_to_end else {"encoding": None, "end_to_end": None})}


def _with_model(*, progress: bool) -> dict[str, Any]:
    from late_rerank.evaluate.bench import encoding, end_to_end  # noqa: PLC0415 - they load torch and the model

    texts = [candidate.text for candidate in end_to_end.passages(end_to_end.K)]
    return {"encoding": encoding.measure(texts, progress=progress), "end_to_end": end_to_end.measure(progress=progress)}
