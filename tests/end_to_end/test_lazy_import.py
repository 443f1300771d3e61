"""What costs seconds is loaded when it is used."""

import subprocess
import sys

import pytest

HEAVY = ["torch", "transformers", "sentence_transformers", "numpy", "rich", "redis", "fastapi", "ir_measures"]


def loaded(code):
    script = f"{code}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()[-1]


def test_the_probe_notices_torch():
    assert "torch" in loaded("import torch")


def test_import_loads_nothing_heavy():
    assert loaded("import late_rerank") == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["search", "--help"],
        ["index", "--help"],
        ["store", "--help"],
        ["store", "drop", "--help"],
        ["eval", "--help"],
        ["explain", "--help"],
        ["bench", "--help"],
        ["--version"],
    ],
)
def test_help_loads_nothing_heavy(arguments):
    code = f"from late_rerank.cli import main\ntry: main({arguments})\nexcept SystemExit: pass"

    assert loaded(code) == "[]"


def test_a_users_own_encoder_needs_no_torch():
    imports = "from late_rerank import Reranker; from late_rerank.testing.fakes import FakeEncoder"
    code = f"{imports}; Reranker(FakeEncoder()).rerank('a', ['b'])"

    assert loaded(code) == "['numpy']"
