"""Workers as Python processes of Spark's executors. The one module that imports pyspark."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from late_rerank.bulk.engines.base import DEATHS, Engine, EngineError, MakeWorker, Outcome, Task, Works, done_by
from late_rerank.errors import check_installed

# Spark tells of ended tasks by an accumulator, which is looked at so often.
_LOOK_S = 0.2

# Run -> the worker of this process. Spark keeps a Python process for many tasks (spark.python.worker.reuse).
_WORKERS: dict[str, Works] = {}
_MAKING = Lock()


class SparkEngine(Engine):
    """Tasks of a Spark job, one a split. Each machine of a cluster must have late-rerank installed.

    A session that this process has started already is used as it is. On a cluster, spark.task.maxFailures says how often a
    task whose worker died is done again; then Spark gives up the whole job, and its finished splits stay finished.

    Args:
        address: Of a master: "spark://HOST:7077", "yarn", "k8s://...". None for Spark on this machine alone, which ends with
            the run.
    """

    name = "spark"
    worth_bytes = 2**25  # it takes seven seconds and half a gigabyte to start

    def __init__(self, address: str | None = None) -> None:
        check_installed('engine="spark"', "spark", "pyspark")
        self._address = address

    def run(self, tasks: Sequence[Task], make_worker: MakeWorker, workers: int | None) -> Iterator[Outcome]:
        import pyspark  # noqa: PLC0415 - other engines need no Java

        if not tasks:
            return
        with self._context(pyspark, workers) as context:
            ended = context.accumulator([], _Lists())
            do = _Doing(uuid.uuid4().hex, make_worker, ended)
            each = context.parallelize([(i, dict(task)) for i, task in enumerate(tasks)], len(tasks))
            job = _Job(each, do)
            try:
                yield from _as_they_end(job, ended, len(tasks))
            finally:
                if job.is_alive():
                    context.cancelAllJobs()
                    job.join()

    @contextmanager
    def _context(self, pyspark: Any, workers: int | None) -> Iterator[Any]:
        running = pyspark.SparkContext._active_spark_context  # noqa: SLF001 - there is no other way to ask
        if running is not None:
            yield running
            return
        conf = pyspark.SparkConf().setAppName("late-rerank index").set("spark.ui.enabled", "false")
        conf = conf.set("spark.ui.showConsoleProgress", "false")
        if self._address is None:
            conf = conf.setMaster(f"local[{workers or '*'},{DEATHS + 1}]").set("spark.driver.host", "127.0.0.1")
            conf = conf.set("spark.driver.bindAddress", "127.0.0.1")
        else:
            conf = conf.setMaster(self._address)
            conf = conf if workers is None else conf.set("spark.cores.max", str(workers))
        try:
            context = pyspark.SparkContext(conf=conf)
        except Exception as error:
            raise EngineError(f"Spark can't be started: {error}") from error
        try:
            context.setLogLevel("OFF")
            if self._address is None and "PYSPARK_PYTHON" not in os.environ:
                context.pythonExec = sys.executable  # else whatever "python3" is
            yield context
        finally:
            context.stop()


class _Job(threading.Thread):
    """Spark's job, which ends when all of its tasks have."""

    def __init__(self, tasks: Any, do: _Doing) -> None:
        super().__init__(name="late-rerank spark", daemon=True)
        self._tasks, self._do = tasks, do
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._tasks.foreach(self._do)
        except Exception as error:  # noqa: BLE001 - the thread that waits raises it
            self.error = error


class _Doing:
    """What runs in Spark's Python process: a task is done, and its outcome added to the accumulator."""

    def __init__(self, token: str, make_worker: MakeWorker, ended: Any) -> None:
        self._token, self._make_worker, self._ended = token, make_worker, ended

    def __call__(self, given: tuple[int, Task]) -> None:
        with _MAKING:
            if self._token not in _WORKERS:
                _WORKERS.clear()
                try:
                    _WORKERS[self._token] = self._make_worker()
                except Exception as error:  # noqa: BLE001 - the driver tells it
                    self._ended.add([f"{type(error).__name__}: {error}"])
                    return
            worker = _WORKERS[self._token]
        self._ended.add([done_by(worker, *given)])


def _as_they_end(job: _Job, ended: Any, n_tasks: int) -> Iterator[Outcome]:
    n_seen = 0
    while n_seen < n_tasks:
        job.join(_LOOK_S)
        is_over = not job.is_alive()  # before the accumulator is read: what ends later is read in the next turn
        new = ended.value[n_seen:]
        n_seen += len(new)
        for outcome in new:
            if isinstance(outcome, str):
                raise EngineError(f"a worker can't be made: {outcome}")
            yield outcome
        if is_over and n_seen < n_tasks:
            said = str(job.error).strip().splitlines()
            raise EngineError(f"Spark gave the job up: {said[0] if said else 'not all tasks ended'}")


class _Lists:
    """An accumulator's rules for lists that grow."""

    def zero(self, value: list[Any]) -> list[Any]:  # noqa: ARG002 - as pyspark calls it
        """Give what nothing was added to yet."""
        return []

    def addInPlace(self, one: list[Any], other: list[Any]) -> list[Any]:  # noqa: N802 - as pyspark calls it
        """Join two lists."""
        one += other
        return one
