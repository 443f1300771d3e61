"""Children that are forked, for tests: what they give, or that they hang."""

import os
import pickle
import select
import signal
import traceback

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")


def in_a_child(call, seconds=60):
    """What `call` gives in a forked child of this process. The child's error is raised here as an AssertionError."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            found = (True, call())
        except BaseException:  # noqa: BLE001 - told to the parent
            found = (False, traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(found, pipe)
        os._exit(0)
    os.close(writing)
    try:
        assert select.select([reading], [], [], seconds)[0], f"the child hangs: nothing in {seconds} s"
        with os.fdopen(reading, "rb", closefd=False) as pipe:
            fine, found = pickle.load(pipe)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
    assert fine, found
    return found
