"""The full model, an untrained and the trained student on held-out texts and queries: nearness, ranking, time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from late_rerank.encode.text import TextEncoder
from late_rerank.evaluate import difference
from late_rerank.evaluate.evaluation import Evaluation
from late_rerank.evaluate.runs import Run
from late_rerank.observing.progress import progress_bar
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.stores import Store
from late_rerank.train.held_out import HeldOut

FULL, UNTRAINED, TRAINED = "full", "untrained", "trained"
_MEASURE = "nDCG@10"
_AT_ONCE = 256
_TIMED, _ROUNDS = 100, 3


class Development(NamedTuple):
    """Judged queries that query encoders are measured on, and never trained on.

    Attributes:
        retriever: The first stage over their corpus, with ids.
        held_out: The queries and their judgements.
    """

    retriever: Retriever
    held_out: HeldOut


@dataclass(frozen=True)
class Nearness:
    """How near query vectors are to the full model's.

    Attributes:
        n_texts: Texts.
        untrained: The mean cosine of a token's vector to the full model's, before training.
        trained: After training.
    """

    n_texts: int
    untrained: float
    trained: float


@dataclass(frozen=True)
class Measured:
    """Everything that was measured.

    Attributes:
        cosines: Kind of held-out texts, or name of development queries -> nearness.
        evaluations: Name of development queries -> "full", "untrained", "trained" -> evaluation.
        query_ms: "full", "trained" -> the median time of encoding one query, on this machine.
    """

    cosines: Mapping[str, Nearness]
    evaluations: Mapping[str, Mapping[str, Evaluation]]
    query_ms: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Give all figures as JSON values."""
        return {
            "token_cosine": {name: asdict(nearness) for name, nearness in self.cosines.items()},
            "ndcg": {name: _ndcg(found) for name, found in self.evaluations.items()},
            "query_ms": dict(self.query_ms),
        }


def measured(
    encoders: Mapping[str, TextEncoder],
    texts: Mapping[str, Sequence[str]],
    runs: Sequence[tuple[HeldOut, Run]],
    store: Store,
    *,
    progress: bool = False,
) -> Measured:
    """Measure.

    Args:
        encoders: "full", "untrained" and "trained" -> the model with that query encoder.
        texts: Kind -> held-out texts.
        runs: Judged queries, each with its candidates.
        store: Takes the candidates' token vectors, the same for all three.
        progress: Show bars on stderr, if that is a terminal.
    """
    asked = {**texts, **{held_out.name: held_out.texts() for held_out, _ in runs}}
    with progress_bar(total=sum(map(len, asked.values())), unit=" texts", desc="Comparing", progress=progress) as bar:
        cosines = {}
        for name, found in asked.items():
            if found:
                cosines[name] = nearness(encoders, found)
            bar.update(len(found))
    evaluations = {held_out.name: _evaluations(encoders, held_out, run, store, progress=progress) for held_out, run in runs}
    some = [text for found in asked.values() for text in found[: _TIMED // len(asked) + 1]][:_TIMED]
    return Measured(cosines, evaluations, query_times({name: encoders[name] for name in (FULL, TRAINED)}, some))


def nearness(encoders: Mapping[str, TextEncoder], texts: Sequence[str]) -> Nearness:
    """Measure the mean cosine of the students' token vectors to the full model's.

    Args:
        encoders: "full", "untrained" and "trained".
        texts: Queries, at least one.
    """
    ordered, sums, n = sorted(texts, key=len), {UNTRAINED: 0.0, TRAINED: 0.0}, 0
    for start in range(0, len(ordered), _AT_ONCE):
        part = ordered[start : start + _AT_ONCE]
        full = encoders[FULL].encode_query(part).values
        n += len(full)
        for name in sums:
            sums[name] += float((encoders[name].encode_query(part).values * full).sum(dtype=np.float64))
    means = {name: round(total / max(n, 1), 4) for name, total in sums.items()}
    return Nearness(len(texts), means[UNTRAINED], means[TRAINED])


def query_times(encoders: Mapping[str, TextEncoder], texts: Sequence[str]) -> dict[str, float]:
    """Give the median time of encoding one query by each encoder, in ms; they take turns.

    Args:
        encoders: Name -> encoder.
        texts: Queries, at least one.
    """
    times: dict[str, list[float]] = {name: [] for name in encoders}
    for encoder in encoders.values():  # the first call may make the engine ready
        encoder.encode_query(texts[:1])
    for _ in range(_ROUNDS):
        for text in texts:
            for name, encoder in encoders.items():
                began = time.perf_counter()
                encoder.encode_query([text])
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: round(float(np.median(found)), 3) for name, found in times.items()}


def _evaluations(
    encoders: Mapping[str, TextEncoder], held_out: HeldOut, run: Run, store: Store, *, progress: bool
) -> dict[str, Evaluation]:
    found = {}
    for name, encoder in encoders.items():
        with Reranker(encoder, store=store) as reranker:
            found[name] = held_out.evaluate(reranker, run, progress=progress)
    return found


def _ndcg(found: Mapping[str, Evaluation]) -> dict[str, Any]:
    full, trained = found[FULL].by_query["reranked"][_MEASURE], found[TRAINED].by_query["reranked"][_MEASURE]
    return {
        "n_queries": found[FULL].n_queries,
        "first_stage": found[FULL].measures["first_stage"][_MEASURE],
        **{name: evaluation.measures["reranked"][_MEASURE] for name, evaluation in found.items()},
        "change": difference(full, trained).to_dict(),
    }
