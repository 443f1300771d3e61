"""Every script in benchmarks/ still imports what it measures: nobody runs them often."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# One process for all: most of the time goes into libraries that they share.
IMPORTS = """
import json, runpy, sys
failed = {}
for script in sys.argv[1:]:
    try:
        runpy.run_path(script, run_name="imported")
    except Exception as error:
        failed[script] = [type(error).__name__, str(error), getattr(error, "name", None) or ""]
print(json.dumps(failed))
"""


def failures(scripts):
    """Script -> the error's class, its message and the module that it names, of those that can't be imported."""
    command = [sys.executable, "-c", IMPORTS, *map(str, scripts)]
    folders = f"{BENCHMARKS}:{BENCHMARKS.parent}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": folders})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_script_can_be_imported_and_does_nothing_by_that():
    """What it printed would not be JSON."""
    scripts = sorted(BENCHMARKS.glob("*.py"))
    failed = failures(scripts)
    absent = {error[2] for error in failed.values() if error[0] == "ModuleNotFoundError"}
    if absent and not any(name.startswith("late_rerank") for name in absent) and len(absent) == len(failed):
        pytest.skip(f'needs {", ".join(sorted(absent))}: pip install "late-rerank[bench,dev]"')
    assert failed == {}


def test_a_script_that_lost_a_name_is_found(tmp_path):
    (tmp_path / "lost.py").write_text("from late_rerank.stores.record import size_of_nothing\n")
    assert [error[0] for error in failures([tmp_path / "lost.py"]).values()] == ["ImportError"]
