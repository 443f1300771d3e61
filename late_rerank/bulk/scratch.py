"""Where workers make what they upload. What killed workers left is removed by the next one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from late_rerank.stores import scratch

_PREFIX = "worker-"


def home() -> Path:
    """Give the folder of all scratch folders of this user, in the system's folder for temporary files (TMPDIR)."""
    return Path(tempfile.gettempdir()) / f"late-rerank-bulk-{os.getuid()}"


def worker_scratch() -> scratch.Scratch:
    """Make a worker's folder.

    Raises:
        OSError: If it can't be made, or the folder above it isn't this user's alone.
    """
    return scratch.Scratch(scratch.private_folder(home()), _PREFIX)


def remove_abandoned() -> None:
    """Remove the folders of workers that don't live any more."""
    scratch.remove_abandoned(home(), _PREFIX, private=True)
