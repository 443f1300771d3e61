"""Workers as processes of Dask: of a cluster, or of this machine. The one module that imports distributed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

from late_rerank.bulk.engines.base import DEATHS, Engine, EngineError, MakeWorker, Outcome, Task, Works, done_by
from late_rerank.errors import check_installed

# Run -> the worker of this process. A Dask worker stays for many runs.
_WORKERS: dict[str, Works] = {}
_MAKING = Lock()


class DaskEngine(Engine):
    """Workers of Dask. Each machine of a cluster must have late-rerank installed.

    Args:
        address: Of a scheduler: "tcp://HOST:8786". None for Dask on this machine alone, which ends with the run.
    """

    name = "dask"
    worth_bytes = 2**21  # it takes a second and a half to start

    def __init__(self, address: str | None = None) -> None:
        check_installed('engine="dask"', "dask", "distributed")
        self._address = address

    def run(self, tasks: Sequence[Task], make_worker: MakeWorker, workers: int | None) -> Iterator[Outcome]:
        import distributed  # noqa: PLC0415 - half a second that other engines need not pay

        if not tasks:
            return
        with self._connected(distributed, min(workers or len(tasks), len(tasks))) as client:
            most = workers or max(1, sum(client.nthreads().values()))
            token = uuid.uuid4().hex
            waiting = iter(enumerate(tasks))
            running: dict[Any, int] = {}

            def give() -> list[Any]:
                with suppress(StopIteration):
                    index, task = next(waiting)
                    future = client.submit(_done, token, make_worker, index, dict(task), pure=False, retries=0)
                    running[future] = index
                    return [future]
                return []

            # One task a thread: Dask blames a worker's death on the tasks that wait there too.
            ended = distributed.as_completed([future for _ in range(most) for future in give()], loop=client.loop)
            try:
                for future in ended:
                    outcome = _outcome(future, running.pop(future))
                    for more in give():
                        ended.add(more)
                    yield outcome
            finally:
                client.cancel(list(running), force=True)

    @contextmanager
    def _connected(self, distributed: Any, workers: int) -> Iterator[Any]:
        if self._address is not None:
            try:
                client = distributed.Client(self._address, set_as_default=False)
            except (OSError, ValueError) as error:
                raise EngineError(f"no Dask scheduler at {self._address}: {error}") from error
            with client:
                yield client
            return
        import dask.config  # noqa: PLC0415 - as distributed

        with (
            dask.config.set({"distributed.scheduler.allowed-failures": DEATHS}),
            _cluster(distributed, workers) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client


def _cluster(distributed: Any, workers: int) -> Any:
    """Start Dask on this machine alone."""
    try:
        return distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs="CRITICAL"
        )
    except (OSError, RuntimeError) as error:
        raise EngineError(
            f"Dask can't be started: {error}. Its workers import the script that starts them: it needs "
            "`if __name__ == '__main__':`"
        ) from error


def _done(token: str, make_worker: MakeWorker, index: int, task: Task) -> Outcome | str:
    """Do a task in Dask's process, with the worker that this process has for the run."""
    with _MAKING:
        if token not in _WORKERS:
            _WORKERS.clear()  # the model of an earlier run
            try:
                _WORKERS[token] = make_worker()
            except Exception as error:  # noqa: BLE001 - the driver tells it
                return f"{type(error).__name__}: {error}"
        worker = _WORKERS[token]
    return done_by(worker, index, task)


def _outcome(future: Any, index: int) -> Outcome:
    error = future.exception()
    if error is not None:
        return Outcome(index, None, f"its worker died {DEATHS + 1} times ({type(error).__name__})")
    outcome: Outcome | str = future.result()
    if isinstance(outcome, str):
        raise EngineError(f"a worker can't be made: {outcome}")
    return outcome
