"""Workers as actors of Ray: of a cluster, or of this machine. The one module that imports ray."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from late_rerank.bulk.engines.base import DEATHS, Engine, EngineError, MakeWorker, Outcome, Task, Works, done_by
from late_rerank.errors import check_installed

# Receipts take some kilobytes. Ray's own default is 30 % of the memory.
_OBJECT_STORE_BYTES = 100 * 2**20


class RayEngine(Engine):
    """Actors of Ray. One that dies is made again on any machine of the cluster, which must have late-rerank installed.

    Args:
        address: Of a cluster: "auto", "ray://HOST:10001", "HOST:6379". None for RAY_ADDRESS, or Ray on this machine alone,
            which ends with the run. A Ray that this process has started already is used as it is.
        cpus: Processors that one worker takes, and threads that its model runs on.
        gpus: Graphics processors that one worker takes.
    """

    name = "ray"
    worth_bytes = 2**25  # it takes five seconds and 1.4 GB to start, and as much again to load the models

    def __init__(self, address: str | None = None, *, cpus: float = 1, gpus: float = 0) -> None:
        check_installed('engine="ray"', "ray", "ray")
        self._address = address
        self._cpus, self._gpus = cpus, gpus

    def run(self, tasks: Sequence[Task], make_worker: MakeWorker, workers: int | None) -> Iterator[Outcome]:
        import ray  # noqa: PLC0415 - half a second that other engines need not pay

        if not tasks:
            return
        with self._connected(ray, workers):
            most = workers or max(1, int(ray.cluster_resources().get("CPU", 1) // max(self._cpus, 0.001)))
            actor = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=-1, max_task_retries=0)(_Actor)
            actors = [actor.remote(make_worker) for _ in range(min(most, len(tasks)))]
            try:
                yield from _Sharing(ray, actors, tasks).outcomes()
            finally:
                for each in actors:
                    ray.kill(each)

    @contextmanager
    def _connected(self, ray: Any, workers: int | None) -> Iterator[None]:
        if ray.is_initialized():
            yield
            return
        address = self._address or os.environ.get("RAY_ADDRESS") or "local"
        alone: dict[str, Any] = {
            "num_cpus": None if workers is None else max(1, round(workers * self._cpus)),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR", **(alone if address == "local" else {}))
        except Exception as error:  # Ray raises a bare one if it takes more than 30 s to start
            raise EngineError(f"no Ray at {address}: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()


class _Actor:
    """What runs in Ray's process: the worker, made there."""

    def __init__(self, make_worker: MakeWorker) -> None:
        self._worker: Works | None = None
        self._error = ""
        try:
            self._worker = make_worker()
        except Exception as error:  # noqa: BLE001 - the driver tells it; an actor that fails would be made again and again
            self._error = f"{type(error).__name__}: {error}"

    def begun(self) -> str:
        """Give the error in words if there is no worker; "" if there is one."""
        return self._error

    def task(self, index: int, task: Task) -> Outcome:
        """Do a task."""
        if self._worker is None:
            return Outcome(index, None, f"a worker can't be made: {self._error}")
        return done_by(self._worker, index, task)


class _Sharing:
    """Gives one task to each actor, and the next one when it is done: a death costs one task.

    Ray gives no task again by itself. An actor that died gets no task before it is made again, so each death is its task's.
    """

    def __init__(self, ray: Any, actors: Sequence[Any], tasks: Sequence[Task]) -> None:
        self._ray, self._tasks = ray, tasks
        self._waiting = deque(range(len(tasks)))
        self._deaths: Counter[int] = Counter()
        self._running: dict[Any, tuple[int | None, Any]] = {}
        self._idle: deque[Any] = deque()
        for actor in actors:
            self._begin(actor)

    def outcomes(self) -> Iterator[Outcome]:
        """Give each task's outcome as it ends.

        Raises:
            EngineError: If a worker can't be made.
        """
        n_left = len(self._tasks)
        while n_left:
            (done,), _ = self._ray.wait(list(self._running), num_returns=1)
            index, actor = self._running.pop(done)
            outcome = None
            if index is None:
                self._check_begun(done)
                self._idle.append(actor)
            else:
                outcome = self._ended(done, index, actor)
            while self._idle and self._waiting:
                self._give(self._idle.popleft())
            if outcome is not None:
                n_left -= 1
                yield outcome

    def _begin(self, actor: Any) -> None:
        """Wait for an actor that is being made, however often that has to be tried."""
        self._running[actor.begun.options(max_task_retries=-1).remote()] = (None, actor)

    def _give(self, actor: Any) -> None:
        index = self._waiting.popleft()
        self._running[actor.task.remote(index, dict(self._tasks[index]))] = (index, actor)

    def _check_begun(self, done: Any) -> None:
        try:
            error = self._ray.get(done)
        except self._ray.exceptions.RayError as gone:  # for good: Ray itself ends, or somebody removed the actor
            raise EngineError(f"a worker ended for good: {_first_line(gone)}") from gone
        if error:
            raise EngineError(f"a worker can't be made: {error}")

    def _ended(self, done: Any, index: int, actor: Any) -> Outcome | None:
        """Read a task's outcome. If its worker died, let it wait again, behind the others; None then."""
        try:
            outcome: Outcome = self._ray.get(done)
        except self._ray.exceptions.RayError as error:
            self._begin(actor)
            self._deaths[index] += 1
            if self._deaths[index] <= DEATHS:
                self._waiting.append(index)
                return None
            return Outcome(index, None, f"its worker died {self._deaths[index]} times ({_first_line(error)})")
        self._idle.append(actor)
        return outcome


def _first_line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return said[0] if said else type(error).__name__
