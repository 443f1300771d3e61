"""Commands as a user runs them."""

import subprocess
import sys
import time


def start(*arguments, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "late_rerank", *map(str, arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options})


def n_stored(store):
    """How many documents the store in a folder holds; 0 while there is none."""
    from late_rerank.stores import disk

    if not disk.is_store(store):
        return 0
    with disk.DiskStore(store) as opened:
        return opened.stats()["n_documents"]


def wait_until(condition, process, timeout_s=600):
    """Until the condition holds, while the process runs."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
