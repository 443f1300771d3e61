"""Time a whole rerank of stored passages, stage by stage; with the fast query encoder; without the store; a cross-encoder."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from late_rerank.corpus.standard_library import read_standard_library
from late_rerank.evaluate.bench.torch_peers import cross_encoder
from late_rerank.evaluate.bench.turns import Sampler, medians, timed
from late_rerank.reranker import Reranker
from late_rerank.stores import MemoryStore
from late_rerank.types import Candidate

QUERY = "how do I run a function in another thread and get its result later"
K = 100
_MODEL = "minilm"
_TURNS = 3

# Cached reranks a turn: a cached rerank takes milliseconds, the other ways take seconds.
_CACHED_RERANKS = 20
_WARM_UP = 2

# Docstrings of so many characters have about 180 tokens, as passages in RAG do.
_SHORTEST, _LONGEST = 500, 1000


def passages(k: int) -> list[Candidate]:
    """Give `k` docstrings of Python's standard library, from all over it."""
    fitting = [document for document in read_standard_library() if _SHORTEST <= len(document.text) <= _LONGEST]
    return fitting[:: max(1, len(fitting) // k)][:k]


def measure(*, k: int = K, n_turns: int = _TURNS, progress: bool = False) -> dict[str, Any]:
    """Time the four ways in turns.

    Returns:
        Medians in milliseconds. "other_ms" is "cached_ms" without encoding the query and MaxSim: keys, fetching, sorting.
        "fast" has the same of reranks with the fast query encoder. The cross-encoder has the model's size.
    """
    candidates = passages(k)
    # A store of 0 bytes keeps nothing, so every rerank encodes all passages.
    with (
        Reranker(_MODEL) as reranker,
        MemoryStore(max_bytes=0) as nothing,
        Reranker(_MODEL, store=reranker.store, query_encoder="fast") as fast,
    ):
        report = reranker.index(candidates, progress=progress)
        uncached = Reranker(reranker.encoder, store=nothing)
        cross_encode = cross_encoder(QUERY, [candidate.text for candidate in candidates])
        runs: list[Mapping[str, float]] = []
        fast_runs: list[Mapping[str, float]] = []
        samplers: dict[str, Sampler] = {
            "cached": lambda: _cached_turn(reranker, candidates, runs),
            "cached_fast": lambda: _cached_turn(fast, candidates, fast_runs),
            "uncached": timed(lambda: uncached.rerank(QUERY, candidates), warm_up=False),
            "cross_encoder": timed(cross_encode, warm_up=False),
        }
        seconds = medians(samplers, n_turns=n_turns, title="end to end", progress=progress)
        parts = {"dim": reranker.encoder.dim, "codec": reranker.codec.name, "kernel": reranker.kernel.name}
        parts["backend"] = reranker.stats()["backend"]
    others = {f"{name}_ms": round(seconds[name] * 1000, 1) for name in ("uncached", "cross_encoder")}
    told = {"k": len(candidates), "n_tokens": report.n_tokens, "model": _MODEL, **parts}
    return {**told, **_stages(runs), "fast": _stages(fast_runs), **others}


def _cached_turn(reranker: Reranker, candidates: Sequence[Candidate], runs: list[Mapping[str, float]]) -> float:
    """Rerank stored candidates, note the times of each rerank, and give the seconds of the last."""
    for i in range(_WARM_UP + _CACHED_RERANKS):
        timings = reranker.rerank(QUERY, candidates).timings_ms
        if i >= _WARM_UP:
            runs.append(timings)
    return timings["total"] / 1000


def _stages(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Give the median of each stage by itself: the medians needn't add up to the last digit."""
    other = [run["total"] - run["encode_query"] - run["maxsim"] for run in runs]
    stages = {"encode_query_ms": [run["encode_query"] for run in runs], "maxsim_ms": [run["maxsim"] for run in runs]}
    stages |= {"other_ms": other, "cached_ms": [run["total"] for run in runs]}
    return {name: round(statistics.median(values), 3) for name, values in stages.items()}
