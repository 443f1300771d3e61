"""Metrics for Prometheus: requests, their time by stage, hits and misses, refusals, models; summed over all workers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from late_rerank.types import Ranking

_DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@contextmanager
def counts_in_files() -> Iterator[None]:
    """Let the children of this process write their counts into files of a temporary folder, which each of them can sum up."""
    alone = values.ValueClass
    with tempfile.TemporaryDirectory(prefix="late-rerank-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[_DIRECTORY_VARIABLE] = folder  # spawned children read it when they import prometheus-client
        values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call] # forked children have it imported
        try:
            yield
        finally:
            values.ValueClass = alone
            del os.environ[_DIRECTORY_VARIABLE]


class Metrics:
    """One process's counts. Processes that serve together write files, which any of them sums up."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter("late_rerank_requests", "Answers.", ["endpoint", "status"], registry=registry)
        self.seconds = Histogram(
            "late_rerank_request_seconds",
            "From a request's arrival to its answer.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.stages = Histogram(
            "late_rerank_stage_seconds", "Of a ranking.", ["stage", "model"], buckets=_SECONDS, registry=registry
        )
        self.documents = Counter(
            "late_rerank_documents",
            "Ranked: vectors were stored, were not, or weren't there in time.",
            ["vectors", "model"],
            registry=registry,
        )
        self.rejected = Counter("late_rerank_rejected", "Requests that were refused.", ["reason"], registry=registry)
        gauge = partial(Gauge, multiprocess_mode="livesum", registry=registry)
        self.in_flight = gauge("late_rerank_requests_in_flight", "Worked on, or waiting.")
        self.waiting = gauge("late_rerank_requests_waiting", "That are being ranked, or wait for documents to be encoded.")
        # A metric of its own: a label on each counter would split its series. `livemax`: workers that share a model give 1.
        self._models = Gauge(
            "late_rerank_model_info",
            "1 for each model that was loaded: its name, and what encodes its queries.",
            ["model", "query_encoder"],
            multiprocess_mode="livemax",
            registry=registry,
        )

    def count(self, ranking: Ranking, model: str) -> None:
        """Count a ranking: its time by stage, and its hits, misses and unscored documents."""
        for stage, ms in ranking.timings_ms.items():
            if stage != "total":
                self.stages.labels(stage, model).observe(ms / 1000)
        found: Mapping[str, int] = {"hit": ranking.n_hits, "miss": ranking.n_misses, "unscored": ranking.n_unscored}
        for vectors, n in found.items():
            self.documents.labels(vectors, model).inc(n)

    def tell_model(self, model: str, query_encoder: str) -> None:
        """Tell of a loaded model. It is told to the process's end, as its counts are.

        Args:
            model: Its name, as `count` is given it.
            query_encoder: "full", "fast", or the name of a query encoder's folder.
        """
        self._models.labels(model, query_encoder).set(1)

    def text(self) -> bytes:
        """Write all metrics as Prometheus reads them."""
        directory = os.environ.get(_DIRECTORY_VARIABLE)
        if directory is None:
            return generate_latest(self._registry)
        _forget_the_dead(Path(directory))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _forget_the_dead(directory: Path) -> None:
    """Remove the gauges of workers that were killed: they work on nothing any more."""
    for file in directory.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another worker was faster
                mark_process_dead(pid)  # type: ignore[no-untyped-call]
        except PermissionError:
            continue
