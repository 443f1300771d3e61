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

        with self._connected(ray, workers):
            most = workers or max(1, int(ray.cluster_resources().get("CPU", 1) // max(self._cpus, 0.001)))
            actor = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=-1, max_task_retries=DEATHS)(_Actor)
            actors = [actor.remote(make_worker) for _ in range(min(most, len(tasks)))]
            try:
                yield from _outcomes(ray, actors, tasks)
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
        except (ConnectionError, RuntimeError, ValueError) as error:
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

    def task(self, index: int, task: Task) -> Outcome | str:
        """Do a task; give the error in words if there is no worker."""
        return self._error if self._worker is None else done_by(self._worker, index, task)


def _outcomes(ray: Any, actors: Sequence[Any], tasks: Sequence[Task]) -> Iterator[Outcome]:
    """Give one task to each actor, and the next one when it is done: a death costs one task."""
    waiting = deque(range(len(tasks)))
    running: dict[Any, tuple[int, Any]] = {}
    not_reached: Counter[int] = Counter()

    def give(actor: Any) -> None:
        if waiting:
            index = waiting.popleft()
            running[actor.task.remote(index, dict(tasks[index]))] = (index, actor)

    for actor in actors:
        give(actor)
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        index, actor = running.pop(done)
        try:
            outcome: Outcome | str = ray.get(done)
        except ray.exceptions.RayError as error:
            not_reached[index] += 1
            # The actor is being made again; its next task isn't to blame.
            if isinstance(error, ray.exceptions.ActorUnavailableError) and not_reached[index] <= DEATHS:
                waiting.append(index)
                give(actor)
                continue
            said = str(error).strip().splitlines()
            outcome = Outcome(index, None, f"its worker died {DEATHS + 1} times ({said[0] if said else type(error).__name__})")
        if isinstance(outcome, str):
            raise EngineError(f"a worker can't be made: {outcome}")
        give(actor)
        yield outcome
