"""Engines and models for tests of bulk encoding. Workers import this file by its name."""

import os
import signal
import time
from pathlib import Path

from late_rerank.bulk.engines import Engine, EngineError
from late_rerank.bulk.engines.base import done_by
from late_rerank.testing.fakes import FakeEncoder

FAKE = "late_rerank.testing.fakes:FakeEncoder"
SLOW = "bulk_workers:slow_encoder"
FATAL = "bulk_workers:fatal_encoder"
GATE, DEATHS = "LATE_RERANK_TESTS_GATE", "LATE_RERANK_TESTS_DEATHS"
"""Variables: a file that slow encoders wait for, and a folder in which fatal ones note their deaths."""


class Here(Engine):
    """One worker, made in this process: a test of what the driver does starts no other.

    Args:
        before: Called with each task before it is done.
        most: After so many outcomes the engine fails.
    """

    name = "here"
    is_spread = False
    worth_bytes = 0

    def __init__(self, before=lambda task: None, most=None):
        self.before, self.most = before, most
        self.n_tasks = 0

    def run(self, tasks, make_worker, workers):
        worker = make_worker() if tasks else None
        for index, task in enumerate(tasks):
            if self.n_tasks == self.most:
                raise EngineError("the power failed")
            self.before(task)
            self.n_tasks += 1
            yield done_by(worker, index, task)


class Spread(Here):
    """An engine that may have workers elsewhere."""

    name = "spread"
    is_spread = True


def slow_encoder():
    """It encodes the first documents at once, and the others when the gate's file is there."""
    gate, seen = Path(os.environ[GATE]), []

    def wait(texts):
        seen.extend(texts)
        while len(seen) > 64 and not gate.exists():
            time.sleep(0.01)

    return FakeEncoder(before_document=wait)


def fatal_encoder():
    """The first three workers that meet the word "fatal" die of it."""
    folder = Path(os.environ[DEATHS])

    def die(texts):
        if any("fatal" in text for text in texts):
            n_deaths = len(list(folder.iterdir()))
            if n_deaths < 3:
                (folder / str(os.getpid())).touch()
                os.kill(os.getpid(), signal.SIGKILL)

    return FakeEncoder(before_document=die)


def no_encoder():
    """Not an Encoder."""
    return 7
