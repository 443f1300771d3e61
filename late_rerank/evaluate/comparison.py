"""Several ways of reranking one run, each against the first: models, poolings, codecs, scorings, depths, weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any, cast

from late_rerank.encode import Encoder
from late_rerank.encode.describe import described, modalities
from late_rerank.evaluate.evaluation import Evaluation, check_measures, evaluate_judged, longest_first
from late_rerank.evaluate.identical import Run
from late_rerank.evaluate.judged import Judged
from late_rerank.evaluate.settings import Setting
from late_rerank.evaluate.significance import Difference, difference
from late_rerank.observing.progress import progress_bar
from late_rerank.reranker import Reranker
from late_rerank.stores import MemoryStore, Store
from late_rerank.stores.tiered import near_is_enough
from late_rerank.types import Candidate, Encodable, TokenVectors
from late_rerank.vectors.lookup import BATCH_SIZE

COMPARED_BY = "nDCG@10"


@dataclass(frozen=True)
class Setup(Setting):
    """One way of reranking: a setting and a model.

    Attributes:
        model: A name or a folder, as `Reranker` takes it.
    """

    model: str = "minilm"


AXES = ("model", "pooling", "codec", "scoring", "k", "first_stage_weight")
"""What setups differ in, the slowest to change first."""


@dataclass(frozen=True)
class Compared:
    """A setup with its figures.

    Attributes:
        setup: The setup.
        evaluation: The setup's measures beside those of the first stage, cut to the setup's depth.
        difference: The setup's nDCG@10 less that of the first setup, query by query. None for the first setup.
        bytes_per_token: Bytes of a document's token in the store. With pooling, the merged tokens share the bytes of one
            vector.
        backend: The backend that ran the model.
    """

    setup: Setup
    evaluation: Evaluation
    difference: Difference | None
    bytes_per_token: float
    backend: str

    def to_dict(self) -> dict[str, Any]:
        """Give JSON values: the setup's fields, then its figures."""
        return {
            **{axis: getattr(self.setup, axis) for axis in AXES},
            "first_stage": self.evaluation.measures["first_stage"],
            "measures": self.evaluation.measures["reranked"],
            "difference": None if self.difference is None else self.difference.to_dict(),
            "bytes_per_token": self.bytes_per_token,
            "latency_ms": self.evaluation.latency_ms,
            "backend": self.backend,
            "n_own_documents_left_out": self.evaluation.n_own_documents_left_out,
        }


def crossed(**axes: Sequence[Any]) -> list[Setup]:
    """Combine the given values in every way. The first value of each axis comes first.

    An axis that isn't given has Setup's default.

    Args:
        axes: Values, by the name of a field of Setup.

    Raises:
        ValueError: If Setup has no such field, or an axis has no values.
    """
    unknown = [name for name in axes if name not in AXES]
    if unknown or not all(axes.values()):
        raise ValueError(f"expected values for some of {', '.join(AXES)}, got {axes}")
    names = [name for name in AXES if name in axes]
    combined = [dict(zip(names, values, strict=True)) for values in product(*(axes[name] for name in names))]
    return [Setup(**each) for each in combined]


def load_encoder(model: str, pooling: int) -> Encoder:
    """Load a model with a pooling, run by the fastest backend."""
    from late_rerank.encode import TextEncoder  # noqa: PLC0415 - loads tokenizers

    return TextEncoder(model, pooling=pooling)


def compare(
    setups: Sequence[Setup],
    judged: Judged,
    *,
    store: Store | None = None,
    load: Callable[[str, int], Encoder] = load_encoder,
    progress: bool = False,
) -> list[Compared]:
    """Rerank a run with each setup, and measure each.

    For all codecs, scorings and depths together, a model is loaded once, and a document is encoded once.

    Args:
        setups: The setups. Neighbours with the same model and pooling share the loaded model; `crossed` orders setups so.
        judged: The run. Each setup takes the candidates down to its own depth.
        store: Keeps token vectors, also after the call. None keeps them in memory, one model's at a time.
        load: Takes a model and a pooling, and gives an Encoder.
        progress: Show bars on stderr, if stderr is a terminal.

    Returns:
        One result for each setup, in the order of `setups`.

    Raises:
        ValueError: As in `evaluate`. Also if there are no setups.
        MissingDependencyError: As in `check_measures`.
    """
    check_measures()
    if not setups:
        raise ValueError("no setups to compare")
    found: list[Compared] = []
    for (model, pooling), alike in groupby(setups, key=lambda setup: (setup.model, setup.pooling)):
        group = list(alike)
        encoder = Remembering(load(model, pooling))
        with kept_in(store) as vectors:
            rerankers = {
                (setup.codec, setup.scoring): Reranker(encoder, store=vectors, codec=setup.codec, scoring=setup.scoring)
                for setup in group
            }
            packing = {codec: reranker for (codec, _), reranker in rerankers.items()}  # all scorings read the same vectors
            index_all(list(packing.values()), judged.cut(max(setup.k for setup in group)).run, progress=progress)
            for setup in group:
                reranker = rerankers[setup.codec, setup.scoring]
                result = evaluate_judged(reranker, judged.cut(setup.k), setup.wanted, progress=progress)
                added = difference(_by_query(found[0].evaluation), _by_query(result)) if found else None
                size, backend = bytes_per_token(reranker, setup.pooling), reranker.stats()["backend"]
                found.append(Compared(setup, result, added, size, backend))
    return found


def bytes_per_token(reranker: Reranker, pooling: int = 1) -> float:
    """Give a document token's bytes in the store: a vector's bytes, shared by the tokens that pooling merges into it."""
    size = reranker.codec.spec(reranker.encoder.dim).bytes_per_token
    return size if pooling == 1 else round(size / pooling, 1)


@contextmanager
def kept_in(store: Store | None) -> Iterator[Store]:
    """Give the store as it is; for None an unbounded memory store, closed at the end."""
    if store is not None:
        yield store
        return
    with MemoryStore(max_bytes=None) as vectors:  # a bound would evict candidates before they are scored
        yield vectors


def _by_query(evaluation: Evaluation) -> dict[str, float]:
    return evaluation.by_query["reranked"][COMPARED_BY]


def index_all(rerankers: Sequence[Reranker], run: Run, *, progress: bool) -> None:
    """Index documents with each codec, batch by batch, so that each codec packs a batch that was encoded once."""
    documents: list[Candidate] = longest_first(run)
    with progress_bar(total=len(documents), unit=" documents", desc="Encoding", progress=progress) as bar:
        for start in range(0, len(documents), BATCH_SIZE):
            batch = documents[start : start + BATCH_SIZE]
            for reranker in rerankers:
                with near_is_enough():
                    reranker.index(batch)
            bar.update(len(batch))


class Remembering:
    """An encoder that gives its last batch of documents again: several codecs pack it, one after the other.

    Args:
        encoder: Encodes everything else. The description (DescribesItself) is this encoder's.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint
        told = described(encoder)
        self.name, self.backend, self.pooling, self.query_tokens = told.name, told.backend, told.pooling, told.query_tokens
        self.modalities, self.batch_pictures = modalities(encoder), getattr(encoder, "batch_pictures", 1)
        self._last: tuple[list[Encodable], TokenVectors | None] = ([], None)

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        return self._encoder.encode_query(texts)

    def encode_document(self, texts: Sequence[Encodable]) -> TokenVectors:
        given, (last, vectors) = list(texts), self._last
        if vectors is None or given != last:
            vectors = self._encoder.encode_document(cast("Sequence[str]", given))
            self._last = (given, vectors)
        return vectors
