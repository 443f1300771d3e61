"""Several ways of reranking one run, each against the first: models, poolings, codecs, depths, first-stage weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

from tqdm import tqdm

from late_rerank.encode import Encoder
from late_rerank.evaluate.evaluation import Evaluation, Qrels, evaluate, longest_first
from late_rerank.evaluate.identical import Run, best
from late_rerank.evaluate.significance import Difference, difference
from late_rerank.ranking.fusion import FirstStageWeight
from late_rerank.reranker import Reranker
from late_rerank.stores import MemoryStore, Store
from late_rerank.types import Candidate, TokenVectors
from late_rerank.vectors.lookup import BATCH_SIZE

COMPARED_BY = "nDCG@10"


@dataclass(frozen=True)
class Setup:
    """One way of reranking.

    Attributes:
        model: A name or a folder, as `Reranker` takes it.
        pooling: Its factor; 1 for none.
        codec: How token vectors are packed, by name.
        k: How many of the first stage's candidates are reranked.
        first_stage_weight: How much their own scores count for the order, as `Reranker.rerank` takes it.
    """

    model: str = "minilm"
    pooling: int = 1
    codec: str = "int8"
    k: int = 100
    first_stage_weight: FirstStageWeight = 0.0


AXES = ("model", "pooling", "codec", "k", "first_stage_weight")
"""What setups differ in, the slowest to change first."""


@dataclass(frozen=True)
class Judged:
    """What setups are measured on.

    Attributes:
        run: Query id -> candidates with ids, best first, as many as the deepest setup takes.
        queries: Query id -> text, for each judged query.
        qrels: Query id -> document id -> judgement.
        ignore_identical_ids: Leave out candidates that have their query's id, as `evaluate` does.
    """

    run: Run
    queries: dict[str, str]
    qrels: Qrels
    ignore_identical_ids: bool = True


@dataclass(frozen=True)
class Compared:
    """A setup and what it gave.

    Attributes:
        setup: Which.
        evaluation: Its measures beside those of the first stage, cut to its depth.
        difference: Its nDCG@10 less the first setup's, query by query; None for the first.
        bytes_per_token: What a token of a document takes: a vector's bytes, shared by the tokens that pooling merges into it.
        backend: What ran the model.
    """

    setup: Setup
    evaluation: Evaluation
    difference: Difference | None
    bytes_per_token: float
    backend: str


def crossed(**axes: Sequence[Any]) -> list[Setup]:
    """Every combination of the given values, the first of each first; what isn't given has Setup's default.

    Args:
        axes: Values of "model", "pooling", "codec", "k" and "first_stage_weight".

    Raises:
        ValueError: There is no such axis, or one has no values.
    """
    unknown = [name for name in axes if name not in AXES]
    if unknown or not all(axes.values()):
        raise ValueError(f"expected values for some of {', '.join(AXES)}, got {axes}")
    names = [name for name in AXES if name in axes]
    return [Setup(**dict(zip(names, values, strict=True))) for values in product(*(axes[name] for name in names))]


def load_encoder(model: str, pooling: int) -> Encoder:
    """A model with that pooling, run by the fastest backend."""
    from late_rerank.encode import TextEncoder  # noqa: PLC0415 - loads torch

    return TextEncoder(model, pooling=pooling)


def compare(
    setups: Sequence[Setup],
    judged: Judged,
    *,
    store: Store | None = None,
    load: Callable[[str, int], Encoder] = load_encoder,
    progress: bool = False,
) -> list[Compared]:
    """Rerank a run in each way and measure them. A model is loaded, and a document encoded, once for all codecs and depths.

    Args:
        setups: Neighbours that share model and pooling share what was loaded, as `crossed` orders them.
        judged: The run. What it has beyond a setup's depth is left out there.
        store: Where token vectors are kept, and left; None for memory, one model's at a time.
        load: Model and pooling -> what encodes.
        progress: Show bars on stderr, if that is a terminal.

    Returns:
        In the order of `setups`.

    Raises:
        ValueError: As `evaluate`, or there are no setups.
    """
    if not setups:
        raise ValueError("no setups to compare")
    found: list[Compared] = []
    for (model, pooling), alike in groupby(setups, key=lambda setup: (setup.model, setup.pooling)):
        group = list(alike)
        encoder = Remembering(load(model, pooling))
        with kept_in(store) as vectors:
            rerankers = {setup.codec: Reranker(encoder, store=vectors, codec=setup.codec) for setup in group}
            index_all(list(rerankers.values()), _cut(judged, max(setup.k for setup in group)), progress=progress)
            for setup in group:
                reranker = rerankers[setup.codec]
                more: dict[str, Any] = {"first_stage_weight": setup.first_stage_weight, "progress": progress}
                more["ignore_identical_ids"] = judged.ignore_identical_ids
                result = evaluate(reranker, _cut(judged, setup.k), judged.queries, judged.qrels, **more)
                added = difference(_by_query(found[0].evaluation), _by_query(result)) if found else None
                size, backend = bytes_per_token(reranker, setup.pooling), reranker.stats()["backend"]
                found.append(Compared(setup, result, added, size, backend))
    return found


def bytes_per_token(reranker: Reranker, pooling: int = 1) -> float:
    """What a token of a document takes in the store: a vector's bytes, shared by the tokens that pooling merges into it."""
    size = reranker.codec.spec(reranker.encoder.dim).bytes_per_token
    return size if pooling == 1 else round(size / pooling, 1)


@contextmanager
def kept_in(store: Store | None) -> Iterator[Store]:
    """A store as it is; else an unbounded memory, gone at the end."""
    if store is not None:
        yield store
        return
    with MemoryStore(max_bytes=None) as vectors:  # a bound would drop candidates before they are scored
        yield vectors


def _by_query(evaluation: Evaluation) -> dict[str, float]:
    return evaluation.by_query["reranked"][COMPARED_BY]


def _cut(judged: Judged, k: int) -> Run:
    """The judged queries' best `k`, and what of them isn't counted."""
    if not judged.ignore_identical_ids:
        return {name: judged.run.get(name, [])[:k] for name in judged.qrels}
    return {name: best(name, judged.run.get(name, []), k) for name in judged.qrels}


def index_all(rerankers: Sequence[Reranker], run: Run, *, progress: bool) -> None:
    """Give each codec its vectors, batch by batch, so that what one has encoded is remembered for the next."""
    documents: list[Candidate] = longest_first(run)
    with tqdm(total=len(documents), unit=" documents", desc="Encoding", disable=None if progress else True) as bar:
        for start in range(0, len(documents), BATCH_SIZE):
            batch = documents[start : start + BATCH_SIZE]
            for reranker in rerankers:
                reranker.index(batch)
            bar.update(len(batch))


class Remembering:
    """An encoder that gives its last documents' vectors again: several codecs pack them, one after the other."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint
        self._last: tuple[list[str], TokenVectors | None] = ([], None)

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        return self._encoder.encode_query(texts)

    def encode_document(self, texts: Sequence[str]) -> TokenVectors:
        given, (last, vectors) = list(texts), self._last
        if vectors is None or given != last:
            vectors = self._encoder.encode_document(texts)
            self._last = (given, vectors)
        return vectors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)
