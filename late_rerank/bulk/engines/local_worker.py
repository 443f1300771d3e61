"""A worker's process: a function that makes the worker comes on the first line of stdin, then one task a line.

What it says goes to stdout, one JSON object a line. Whatever else is printed here goes to stderr.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import threading
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any, BinaryIO

from late_rerank.bulk.engines.base import Works, done_by


def serve(lines: BinaryIO, answers: BinaryIO) -> None:
    """Make a worker, and do its tasks until there are no more."""

    def say(what: dict[str, Any]) -> None:
        answers.write(json.dumps(what).encode() + b"\n")
        answers.flush()

    made = lines.readline()
    tasks: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=[lines, tasks], name="late-rerank tasks", daemon=True).start()
    try:
        worker: Works = pickle.loads(base64.b64decode(made))()
    except Exception as error:  # noqa: BLE001 - the driver tells it
        say({"failed": f"{type(error).__name__}: {error}"})
        return
    say({"begun": True})
    while True:
        say(asdict(done_by(worker, *tasks.get())))


def _read(lines: BinaryIO, tasks: SimpleQueue[Any]) -> None:
    for line in lines:
        tasks.put(json.loads(line))
    # The driver ended, or wants no more. A task under way is nobody's any more: another worker does it again.
    os._exit(0)


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for the driver: what libraries print goes to stderr, and they read nothing."""
    ours_in, ours_out = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb")


if __name__ == "__main__":
    sys.stdout = sys.stderr
    serve(*_own_streams())
