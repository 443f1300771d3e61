"""Time encoding a query and documents under each installed backend, and by sentence-transformers itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from late_rerank.encode import TextEncoder
from late_rerank.encode.backends.names import installed_engines
from late_rerank.evaluate.bench.torch_peers import sentence_transformers_encode
from late_rerank.evaluate.bench.turns import Sampler, medians, timed

# 32 tokens with the built-in model's markers.
QUERY = (
    "how do I run a function in another thread and get its result later, without waiting for the others that are still running "
    "there right now, if any"
)
_TURNS = 9


def measure(texts: Sequence[str], *, n_turns: int = _TURNS, progress: bool = False) -> list[dict[str, Any]]:
    """Time the built-in model's encoding, in turns.

    Args:
        texts: Documents.
        n_turns: Turns of each contender.
        progress: Show a bar on stderr, if that is a terminal.

    Returns:
        One entry a backend, fastest first, torch last: its "precision"; the least cosine of its token vectors to torch's; the
        medians "query_ms" (one query of 32 tokens) and "documents_ms" (all documents); and "ratio": torch's time over the
        backend's for the query, and the time of sentence-transformers' encode_document over the backend's for the documents.
        "fast_query_ms" is the query's median with the fast query encoder, and "ratio" has "full_over_fast" beside it; torch
        has neither.
    """
    engines = installed_engines()
    encoders = {name: TextEncoder(backend=name) for name in (*engines, "torch")}
    fast = {name: TextEncoder(backend=name, query_encoder="fast") for name in engines}
    samplers: dict[tuple[str, str], Sampler] = {}
    for name, encoder in encoders.items():
        samplers[name, "query"] = timed(lambda encoder=encoder: encoder.encode_query([QUERY]))  # type: ignore[misc]
        samplers[name, "documents"] = timed(lambda encoder=encoder: encoder.encode_document(texts), warm_up=False)  # type: ignore[misc]
    for name, encoder in fast.items():
        samplers[name, "fast_query"] = timed(lambda encoder=encoder: encoder.encode_query([QUERY]))  # type: ignore[misc]
    samplers["sentence-transformers", "documents"] = timed(sentence_transformers_encode(texts), warm_up=False)
    for sample in samplers.values():
        sample()  # engines compile in the first call
    seconds = medians(samplers, n_turns=n_turns, title="encoding", progress=progress)
    reference = {"query": seconds["torch", "query"], "documents": seconds["sentence-transformers", "documents"]}
    return [
        {
            "backend": name if encoder.backend.name == name else f"{name} (torch ran it)",
            "precision": encoder.backend.precision,
            "least_cosine": round(encoder.backend.least_cosine, 5),
            "n_documents": len(texts),
            **{f"{what}_ms": round(seconds[name, what] * 1000, 2) for what in reference},
            **({"fast_query_ms": round(seconds[name, "fast_query"] * 1000, 2)} if name in fast else {}),
            "ratio": {
                **{what: round(time / seconds[name, what], 2) for what, time in reference.items()},
                **({"full_over_fast": round(seconds[name, "query"] / seconds[name, "fast_query"], 2)} if name in fast else {}),
            },
        }
        for name, encoder in encoders.items()
    ]
