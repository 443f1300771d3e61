"""The install must succeed on a machine without a compiler."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from late_rerank import __version__

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("compiler", ["/bin/false", "/nowhere/at/all"])
def test_without_a_compiler_the_wheel_is_pure_python_and_complete(compiler, tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(ROOT),
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(tmp_path),
    ]
    build = ["--config-settings", f"build-dir={tmp_path / 'build'}"]
    result = subprocess.run(
        [*command, *build], env={**os.environ, "CC": compiler, "CXX": compiler}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr

    wheels = list(tmp_path.glob("*.whl"))
    assert [wheel.name for wheel in wheels] == [f"late_rerank-{__version__}-py3-none-any.whl"]
    packed = {name for name in zipfile.ZipFile(wheels[0]).namelist() if name.startswith("late_rerank/")}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "late_rerank").rglob("*.py")}
    assert sources <= packed
    assert {"late_rerank/py.typed", "late_rerank/maxsim/README.md"} <= packed
