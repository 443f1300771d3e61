"""A corpus -> a store, on many workers. In: files and a model's name. Out: token vectors in a store, and a BulkReport."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from late_rerank.arguments.numbers import whole_number
from late_rerank.bulk.destinations import Destination, destination_at
from late_rerank.bulk.engines import Engine, as_engine
from late_rerank.bulk.job import Job, encoder_of, seen_from_anywhere
from late_rerank.bulk.places import as_place, is_remote
from late_rerank.bulk.planning import Source, check_there, plan
from late_rerank.bulk.report import BulkReport
from late_rerank.bulk.running import Running
from late_rerank.bulk.scratch import remove_abandoned
from late_rerank.codecs import Codec, as_codec
from late_rerank.corpus.labels import python_name
from late_rerank.encode import Encoder, modalities
from late_rerank.errors import BulkError
from late_rerank.stores.record import space_json
from late_rerank.vectors.centre import binary_codec
from late_rerank.warn import warn_caller

__all__ = ["BulkError", "BulkReport", "Engine", "index"]


def index(  # noqa: PLR0913 - one call says everything
    source: Source | Sequence[Source],
    *,
    store: str | os.PathLike[str],
    model: str = "minilm",
    codec: str | Codec = "int8",
    backend: str = "auto",
    pooling: int = 1,
    engine: str | Engine = "local",
    workers: int | None = None,
    address: str | None = None,
    split_bytes: int | None = None,
    encoding: str | None = None,
    progress: bool = False,
) -> BulkReport:
    """Encode a corpus on many workers, and keep its token vectors in a store.

    Documents and keys are those of `late-rerank index`. What the store holds already isn't encoded again. A call that was
    interrupted or killed goes on from its finished splits when it is made again.

    Args:
        source: A folder, a file or a BEIR folder, as `CorpusStream` takes it; a URL of such a one in object storage; a pattern
            as "shards/*.jsonl", or "texts/**/*.md" for any depth; or several of these. Each worker reads it, so machines of a
            cluster must see it.
        store: Where token vectors go. "s3://...", "gs://...", "az://..." or "file:///folder" is a store in object storage: all
            documents become visible at once, at the end. "redis://..." and "postgresql://..." are written to directly. So is a
            folder, by the engine "local" alone.
        model: A built-in name, a hub name or a folder, which each worker loads once. "package.module:function" names a function
            that makes an Encoder.
        codec: Packs token vectors, as in Reranker.
        backend: What runs the model, as in Reranker.
        pooling: How many similar token vectors are merged into one, as in Reranker.
        engine: "local" for processes of this machine, "ray", "dask", "spark" or an Engine.
        workers: How many workers there are. None for one a core, or as many as the cluster has room for.
        address: Where the engine's cluster is; None for this machine.
        split_bytes: The size of a split of the corpus, about. Another size finds no receipts of an earlier call. None for one
            that suits the corpus, at most 16 MiB.
        encoding: Of text files that aren't UTF-8, as CorpusStream takes it.
        progress: Show a bar on stderr, if stderr is a terminal.

    Returns:
        Counts, and the files that could not be read.

    Raises:
        BulkError: If splits failed again and again, or no worker could be made. The message names them. In object storage
            nothing is visible then.
        FileNotFoundError: If there is nothing at a place.
        ValueError: If an argument is out of its range, the corpus holds nothing that is read, or the engine can't write there.
        ModelError: If the model can't be found.
        IncompatibleError: If `pooling` is above 1 and the model pools already.
        MissingDependencyError: If an optional package is needed, and isn't installed.
        StoreError: If the store can't be used.
        KeyboardInterrupt: If the user interrupts it. The message says how to go on.
    """
    workers = None if workers is None else whole_number("workers", workers)
    split_bytes = None if split_bytes is None else whole_number("split_bytes", split_bytes)
    runs_on = as_engine(engine, address)
    destination = destination_at(os.fspath(store))
    _check_reach(runs_on, destination)
    given = [as_place(each) for each in ([source] if isinstance(source, (str, os.PathLike)) else source)]
    check_there(given)
    named = None if encoding is None else python_name(encoding)
    job = replace(_job(destination, model, codec, backend=backend, pooling=pooling), encoding=named)
    planned = plan(given, images=job.images, split_bytes=split_bytes)
    if not planned.splits:
        raise ValueError(f"{', '.join(given)} holds no documents that are read")
    destination.prepare()
    running = Running(job, _name(job, given), planned, destination=destination, engine=runs_on, workers=workers)
    running.resume()
    _tell_if_small(running.left_bytes, runs_on, destination)
    try:
        return running.run(progress=progress)
    finally:
        remove_abandoned()


def _check_reach(engine: Engine, destination: Destination) -> None:
    """Refuse a folder of this machine for workers on other machines."""
    if engine.is_spread and destination.is_local:
        raise ValueError(
            f"engine={engine.name!r} may have workers on other machines, which can't write to the folder {destination.place}: "
            f'give store="s3://BUCKET/PREFIX", "file://{destination.place}" if all machines see that folder, "redis://..." or '
            '"postgresql://...", or take engine="local"'
        )


def _tell_if_small(n_bytes: int, engine: Engine, destination: Destination) -> None:
    """Warn if starting the workers takes longer than they save."""
    faster = "`late-rerank index` without --engine, or Reranker.index, is faster"
    if engine.name != "local" and not destination.is_directly_written:
        faster = 'engine="local" is faster'
    if 0 < n_bytes < engine.worth_bytes and (engine.name != "local" or destination.is_directly_written):
        warn_caller(
            f"{n_bytes:,} bytes of text are few for engine={engine.name!r}, which takes time to start: below about "
            f"{engine.worth_bytes:,} {faster}"
        )


def _job(destination: Destination, model: str, codec: str | Codec, *, backend: str, pooling: int) -> Job:
    """Load the model once here: its fingerprint names the space, and a wrong name is told at once."""
    named = seen_from_anywhere(model)
    encoder = encoder_of(named, backend, None, pooling)
    chosen = _binary(encoder, destination) if codec == "binary" else as_codec(codec)
    return Job(
        store=destination.place,
        model=named,
        space=space_json(encoder.fingerprint, chosen.spec(encoder.dim)),
        backend=backend,
        pooling=pooling,
        images="image" in modalities(encoder),
    )


def _binary(encoder: Encoder, destination: Destination) -> Codec:
    """Choose the codec that "binary" stands for, once for all workers: centres that each computes would differ in rounding."""
    destination.prepare()
    with destination.open() as store:
        return binary_codec(encoder, store)


def _name(job: Job, sources: Sequence[str]) -> str:
    """Name a job: another call for the same corpus, model and codec finds its receipts."""
    places: list[Any] = [each if is_remote(each) else str(Path(each).absolute()) for each in sources]
    what = json.dumps([job.identity(), places])
    return hashlib.blake2b(what.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
