"""Several ways of reranking one run, each against the first: models, query encoders, codecs, scorings, depths and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any, Protocol, cast

from late_rerank.encode import Encoder
from late_rerank.encode.describe import described, modalities, query_encoder_name, query_fingerprint
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
    """One way of reranking: a setting, a model and what encodes its queries.

    Attributes:
        model: A name or a folder, as `Reranker` takes it.
        query_encoder: "full", "fast" or a folder, as `Reranker` takes it.
    """

    model: str = "minilm"
    query_encoder: str = "full"


AXES = ("model", "pooling", "query_encoder", "codec", "scoring", "k", "first_stage_weight")
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


class LoadsEncoder(Protocol):
    """A function that loads a model with a pooling. `query_encoder` is given if it isn't "full"."""

    def __call__(self, model: str, pooling: int, /, *, query_encoder: str = ...) -> Encoder: ...


def load_encoder(model: str, pooling: int, *, query_encoder: str = "full") -> Encoder:
    """Load a model with a pooling and a query encoder, run by the fastest backend."""
    from late_rerank.encode import TextEncoder  # noqa: PLC0415 - loads tokenizers

    return TextEncoder(model, pooling=pooling, query_encoder=query_encoder)


def compare(
    setups: Sequence[Setup],
    judged: Judged,
    *,
    store: Store | None = None,
    load: LoadsEncoder = load_encoder,
    progress: bool = False,
) -> list[Compared]:
    """Rerank a run with each setup, and measure each.

    For all query encoders, codecs, scorings and depths together, a document is encoded once.

    Args:
        setups: The setups. Neighbours with the same model and pooling share their documents' vectors, and those with the same
            query encoder too share the loaded model. `crossed` orders setups so.
        judged: The run. Each setup takes the candidates down to its own depth.
        store: Keeps token vectors, also after the call. None keeps them in memory, one model's at a time.
        load: Takes a model and a pooling, and gives an Encoder. For a setup with another query encoder than "full", it takes
            `query_encoder` too.
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
        encoders = _by_query_encoder([setup.query_encoder for setup in group], load, model, pooling)
        with kept_in(store) as vectors:
            rerankers = {
                (setup.query_encoder, setup.codec, setup.scoring): Reranker(
                    encoders[setup.query_encoder], store=vectors, codec=setup.codec, scoring=setup.scoring
                )
                for setup in group
            }
            # All query encoders and scorings read the same vectors.
            packing = {codec: reranker for (_, codec, _), reranker in rerankers.items()}
            index_all(list(packing.values()), judged.cut(max(setup.k for setup in group)).run, progress=progress)
            for setup in group:
                reranker = rerankers[setup.query_encoder, setup.codec, setup.scoring]
                result = evaluate_judged(reranker, judged.cut(setup.k), setup.wanted, progress=progress)
                added = difference(_by_query(found[0].evaluation), _by_query(result)) if found else None
                size, backend = bytes_per_token(reranker, setup.pooling), reranker.stats()["backend"]
                found.append(Compared(setup, result, added, size, backend))
    return found


def _by_query_encoder(names: Sequence[str], load: LoadsEncoder, model: str, pooling: int) -> dict[str, Remembering]:
    """Load a model once for each query encoder. The first of them encodes the documents for all."""
    found: dict[str, Remembering] = {}
    for name in dict.fromkeys(names):
        loaded = load(model, pooling) if name == "full" else load(model, pooling, query_encoder=name)
        found[name] = Remembering(loaded, documents=next(iter(found.values()), None))
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
        documents: Encodes the documents in the encoder's place: one of the same model, with another query encoder.
    """

    def __init__(self, encoder: Encoder, *, documents: Remembering | None = None) -> None:
        self._encoder = encoder
        self._documents = documents
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint
        told = described(encoder)
        self.name, self.backend, self.pooling, self.query_tokens = told.name, told.backend, told.pooling, told.query_tokens
        self.query_encoder = query_encoder_name(encoder)
        self.query_fingerprint = query_fingerprint(encoder)
        self.modalities, self.batch_pictures = modalities(encoder), getattr(encoder, "batch_pictures", 1)
        self._last: tuple[list[Encodable], TokenVectors | None] = ([], None)

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        return self._encoder.encode_query(texts)

    def encode_document(self, texts: Sequence[Encodable]) -> TokenVectors:
        if self._documents is not None:
            return self._documents.encode_document(texts)
        given, (last, vectors) = list(texts), self._last
        if vectors is None or given != last:
            vectors = self._encoder.encode_document(cast("Sequence[str]", given))
            self._last = (given, vectors)
        return vectors
