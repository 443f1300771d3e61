"""Commands as a user runs them."""

import subprocess
import sys
import time


def start(*arguments, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "late_rerank", *map(str, arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options})


def wait_until(condition, process, timeout_s=120):
    """Until the condition holds, while the process runs."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
