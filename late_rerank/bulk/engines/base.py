"""Engine: tasks -> outcomes, on many workers. The law of engines is `late_rerank.testing.EngineTests`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# How often a task is given to another worker after its worker died. A document that takes all memory kills each of them.
DEATHS = 3

Task = Mapping[str, Any]
"""What a worker is told to do. JSON values only."""


class Works(Protocol):
    """A worker: it does tasks one after the other, or in several threads at once."""

    def task(self, given: Task) -> dict[str, Any]:
        """Do a task, and give its receipt, of JSON values. It may have been done before, by this worker or by another."""


MakeWorker = Callable[[], Works]
"""Makes a worker, in the process that is to be it. It can be pickled: a function of a module, or a partial of one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: with a receipt or with an error.

    Attributes:
        index: The task's place among the given ones.
        receipt: What the worker gave; None for an error.
        error: What went wrong, in words; None for a receipt.
        is_lasting: Whether the error would come again, whoever does the task: a damaged line, say.
    """

    index: int
    receipt: dict[str, Any] | None
    error: str | None = None
    is_lasting: bool = False


class EngineError(Exception):
    """No worker can be made, or the engine itself failed. No task is to blame."""


class Engine(ABC):
    """Gives tasks to workers. Tasks and receipts are small: no document and no vector passes through an engine.

    Attributes:
        name: How users name it.
        is_spread: Whether workers may be on other machines, which can't see this machine's folders.
        worth_bytes: About how many bytes of text a job needs to be faster with this engine than in one process.
    """

    name: str
    is_spread: bool = True
    worth_bytes: int

    @abstractmethod
    def run(self, tasks: Sequence[Task], make_worker: MakeWorker, workers: int | None) -> Iterator[Outcome]:
        """Do each task at least once, in any order. At most a few tasks a worker are under way at any time.

        A worker that dies is replaced, and its task is done by another. A task whose workers die again and again ends with an
        error. When the iterator is closed, or an exception passes through it, all workers end.

        Args:
            tasks: What to do.
            make_worker: Makes each worker, in its own process.
            workers: How many there are, at least 1. None for as many as the machine or the cluster has room for.

        Returns:
            One outcome for each task, as they end.

        Raises:
            EngineError: If no worker can be made, or the engine itself fails.
            MissingDependencyError: If its library isn't installed.
        """


def done_by(worker: Works, index: int, task: Task) -> Outcome:
    """Let a worker do a task. Its exceptions become the outcome's error."""
    try:
        return Outcome(index, worker.task(task))
    except Exception as error:  # noqa: BLE001 - whatever it is, the driver tells it
        is_lasting = isinstance(error, (ValueError, TypeError, ImportError)) and not isinstance(error, OSError)
        return Outcome(index, None, f"{type(error).__name__}: {error}", is_lasting)
