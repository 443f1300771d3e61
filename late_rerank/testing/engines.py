"""The law of engines: each task is done, whoever dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from late_rerank.bulk.engines import Engine, EngineError, Outcome
from late_rerank.bulk.engines.base import DEATHS

_LONGEST_S = 60.0
N_ECHOES = 12


class Puppet:
    """A worker that does what its task says: "echo", "refuse", "fail", "die once" or "die".

    Args:
        folder: Where it notes that it lives, and that it died.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        (self._folder / f"pid-{os.getpid()}").touch()

    def task(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Do a task."""
        what = given["what"]
        if what == "refuse":
            raise ValueError("line 7 is damaged")
        if what == "fail":
            raise OSError("the disk is full")
        if what == "die" or (what == "die once" and self._is_first("died")):
            (self._folder / f"death-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"number": given["number"], "pid": os.getpid()}

    def _is_first(self, name: str) -> bool:
        try:
            (self._folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def unmakeable() -> Puppet:
    """Fail to make a worker."""
    raise FileNotFoundError("there is no model 'nowhere'")


class EngineTests:
    """Tests of an engine. Inherit and override `make_engine`; workers must run in processes of this machine."""

    def make_engine(self) -> Engine:
        """Make the engine under test."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def done(cls, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Outcome]]:
        """Each outcome of one run, with what its task said. One worker is killed on the way."""
        folder = tmp_path_factory.mktemp("engine")
        says = ["echo"] * N_ECHOES + ["refuse", "fail", "die once"]
        tasks = [{"number": i, "what": what} for i, what in enumerate(says)]
        outcomes = list(cls().make_engine().run(tasks, partial(Puppet, str(folder)), 2))
        return [(says[outcome.index], outcome) for outcome in outcomes]

    def test_each_task_ends_with_one_outcome(self, done: Sequence[tuple[str, Outcome]]) -> None:
        assert sorted(outcome.index for _, outcome in done) == list(range(N_ECHOES + 3))

    def test_receipts_belong_to_their_tasks(self, done: Sequence[tuple[str, Outcome]]) -> None:
        receipts = [(outcome.index, outcome.receipt) for what, outcome in done if what == "echo"]
        assert [receipt["number"] for _, receipt in receipts if receipt] == [index for index, _ in receipts]

    def test_workers_are_other_processes(self, done: Sequence[tuple[str, Outcome]]) -> None:
        pids = {outcome.receipt["pid"] for _, outcome in done if outcome.receipt}
        assert os.getpid() not in pids
        assert pids

    def test_an_error_is_the_outcome_of_its_task_alone(self, done: Sequence[tuple[str, Outcome]]) -> None:
        errors = {what: outcome for what, outcome in done if outcome.receipt is None}
        assert errors.keys() == {"refuse", "fail"}
        assert "OSError: the disk is full" in (errors["fail"].error or "")
        assert "ValueError: line 7 is damaged" in (errors["refuse"].error or "")
        assert (errors["refuse"].is_lasting, errors["fail"].is_lasting) == (True, False)

    def test_the_task_of_a_killed_worker_is_done_by_another(self, done: Sequence[tuple[str, Outcome]]) -> None:
        assert [outcome.receipt is not None for what, outcome in done if what == "die once"] == [True]

    def test_a_task_that_kills_every_worker_ends_with_an_error(self, tmp_path: Path) -> None:
        tasks = [{"number": 0, "what": "die"}, *({"number": i, "what": "echo"} for i in range(1, 5))]
        outcomes: list[Outcome] = []
        with suppress(EngineError):  # of an engine that gives the whole job up
            outcomes += self.make_engine().run(tasks, partial(Puppet, str(tmp_path)), 2)
            assert sorted(outcome.index for outcome in outcomes) == list(range(5))
        assert all((outcome.receipt is None) == (outcome.index == 0) for outcome in outcomes)
        assert all("died" in (outcome.error or "") for outcome in outcomes if outcome.index == 0)
        assert len(list(tmp_path.glob("death-*"))) <= DEATHS + 1

    def test_a_worker_that_cannot_be_made_is_told(self) -> None:
        with pytest.raises(EngineError, match="FileNotFoundError: there is no model 'nowhere'"):
            list(self.make_engine().run([{"number": 0, "what": "echo"}], unmakeable, 1))

    def test_workers_end_when_nobody_wants_more(self, tmp_path: Path) -> None:
        tasks = [{"number": i, "what": "echo"} for i in range(50)]
        outcomes = cast("Any", self.make_engine().run(tasks, partial(Puppet, str(tmp_path)), 2))
        with closing(outcomes):
            next(outcomes)
        pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
        assert pids
        for pid in pids:
            _wait_for_end(pid)

    def test_no_tasks_start_nothing(self) -> None:
        outcomes: Iterator[Outcome] = self.make_engine().run([], unmakeable, 2)
        assert list(outcomes) == []


def _wait_for_end(pid: int) -> None:
    until = time.monotonic() + _LONGEST_S
    while _lives(pid):
        assert time.monotonic() < until, f"the worker {pid} still runs"
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    """Tell whether a process runs. One that ended, and that its parent hasn't heard of, doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        if Path("/proc/self").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
