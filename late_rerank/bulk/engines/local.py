"""Workers as processes of this machine. They are started anew, never forked: an engine of a model doesn't survive a fork."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from late_rerank.bulk.engines.base import DEATHS, Engine, EngineError, MakeWorker, Outcome, Task
from late_rerank.encode.backends.threads import n_cores

# How long a worker may take to end when its input ends. It ends at once, unless the machine is very busy.
_END_S = 5.0


class LocalEngine(Engine):
    """Processes of this machine, one task at a time each.

    A worker ends as soon as the driver does, however that ends: its input is closed then.
    """

    name = "local"
    is_spread = False
    worth_bytes = 2**19  # two workers load the model in a second, in which one process encodes some dozen documents

    def run(self, tasks: Sequence[Task], make_worker: MakeWorker, workers: int | None) -> Iterator[Outcome]:
        most = n_cores() if workers is None else workers
        n_workers = min(most, len(tasks))
        if n_workers:
            with _Running(make_worker, max(1, n_cores() // n_workers)) as running:
                yield from running.outcomes(tasks, n_workers)


@dataclass(frozen=True, slots=True)
class _Message:
    """What a worker said; None when it ended."""

    worker: _Process
    said: dict[str, Any] | None


class _Running:
    """The workers of one run, and who does what."""

    def __init__(self, make_worker: MakeWorker, threads: int) -> None:
        self._start = base64.b64encode(pickle.dumps(make_worker)).decode()
        self._environment = _environment(threads)
        self._messages: SimpleQueue[_Message] = SimpleQueue()
        self._workers: set[_Process] = set()
        self._n_stillborn = 0

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.wait()

    def outcomes(self, tasks: Sequence[Task], n_workers: int) -> Iterator[Outcome]:
        """Give each task's outcome as it ends."""
        waiting = deque(range(len(tasks)))
        deaths: Counter[int] = Counter()
        for _ in range(n_workers):
            self._add()
        n_left = len(tasks)
        while n_left:
            message = self._messages.get()
            worker = message.worker
            if message.said is None:
                outcome = self._after_death(worker, tasks, waiting, deaths)
            else:
                outcome = worker.outcome(message.said)
                worker.next(tasks, waiting)
            if outcome is not None:
                n_left -= 1
                yield outcome

    def _after_death(
        self, worker: _Process, tasks: Sequence[Task], waiting: deque[int], deaths: Counter[int]
    ) -> Outcome | None:
        """Start another worker, and let the dead one's task wait again. Give an error if too many died of it."""
        lost = self._replaced(worker)
        if lost is None:
            return None
        deaths[lost] += 1
        if deaths[lost] > DEATHS:
            return Outcome(lost, None, f"its worker died {deaths[lost]} times ({worker.how_it_ended()})")
        waiting.append(lost)  # at the end: others are done first, if it is the task that kills
        for other in self._workers:
            if other.has_begun and other.doing is None:
                other.next(tasks, waiting)
        return None

    def _add(self) -> None:
        self._workers.add(_Process(self._start, self._environment, self._messages))

    def _replaced(self, worker: _Process) -> int | None:
        """Start a worker in the place of one that ended. Give the task that it had, if it had one.

        Raises:
            EngineError: If workers end before they begin: the next one would too.
        """
        self._workers.discard(worker)
        worker.wait()
        self._n_stillborn = 0 if worker.has_begun else self._n_stillborn + 1
        if self._n_stillborn and (not worker.was_killed or self._n_stillborn > DEATHS):
            raise EngineError(f"a worker can't be made: {worker.how_it_ended()}")
        self._add()
        return worker.doing


class _Process:
    """One worker's process, as the driver sees it.

    Attributes:
        has_begun: Whether the worker was made.
        doing: The index of the task that it does; None if it does none.
    """

    def __init__(self, start: str, environment: Mapping[str, str], messages: SimpleQueue[_Message]) -> None:
        self.has_begun = False
        self.doing: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "late_rerank.bulk.engines.local_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # Ctrl-C is the driver's alone: it ends its workers.
            start_new_session=True,
        )
        self._say(start)
        threading.Thread(target=self._listen, args=[messages], name="late-rerank worker", daemon=True).start()

    def next(self, tasks: Sequence[Task], waiting: deque[int]) -> None:
        """Give it the first task that waits, if there is one."""
        if waiting:
            self.doing = waiting.popleft()
            self._say(json.dumps([self.doing, dict(tasks[self.doing])]))

    def outcome(self, said: Mapping[str, Any]) -> Outcome | None:
        """Read what it said: that it has begun, or the outcome of its task.

        Raises:
            EngineError: If it couldn't be made.
        """
        if "failed" in said:
            raise EngineError(f"a worker can't be made: {said['failed']}")
        self.has_begun, self.doing = True, None
        return None if said.get("begun") else Outcome(**said)

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended the process."""
        return (self._process.returncode or 0) < 0

    def how_it_ended(self) -> str:
        """Say how the process ended, in words."""
        code = self._process.returncode
        return f"killed by signal {-code}; is memory short?" if self.was_killed else f"exit code {code}"

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def wait(self) -> None:
        """Wait until it has ended."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _say(self, line: str) -> None:
        # An error means that it died; its end is told by the thread that listens.
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()

    def _listen(self, messages: SimpleQueue[_Message]) -> None:
        if self._process.stdout is not None:
            with self._process.stdout as lines:
                for line in lines:
                    if line.endswith(b"\n"):  # else it was killed while it wrote
                        messages.put(_Message(self, json.loads(line)))
        messages.put(_Message(self, None))


def _environment(threads: int) -> dict[str, str]:
    """Give a worker's environment: as many threads as it may use, and the modules that this process finds."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
    path = os.pathsep.join([place for place in sys.path if place] or [os.getcwd()])  # noqa: PTH109 - text
    return {**os.environ, **limits, "PYTHONPATH": path}
