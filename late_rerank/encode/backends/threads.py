"""The number of threads that run a model. No torch here."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from late_rerank.processes.forks import lost_threads


def n_threads() -> int:
    """Count the threads for an engine: one a core, as OMP_NUM_THREADS says where it is set; one in a forked child.

    Several threads on one core would wait for each other.
    """
    if lost_threads():
        return 1
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return max(1, int(asked)) if asked.isdigit() else n_cores()


def n_cores() -> int:
    """Count the cores that this process may use, whatever OMP_NUM_THREADS says."""
    return min(_n_cores(), _n_processors())


def _n_processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _n_cores() -> int:
    """Count the machine's cores; two processors of one core are one. Linux alone tells."""
    siblings = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    try:
        cores = {file.read_text() for file in siblings}
    except OSError:
        cores = set()
    return len(cores) or _n_processors()
