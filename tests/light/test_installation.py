"""What is installed, and that nothing reaches for torch even where it could."""

import json
import os
import queue
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from commands import start
from serving import serving

import late_rerank
from late_rerank import maxsim

ABSENT = ("torch", "transformers", "sentence_transformers", "scipy", "pandas")
QUERY = "where does a stream go"
QUESTION = {"query": QUERY, "documents": ["Cats sleep.", "Rivers run to the sea."]}
# Python then tells each import on stderr, one that fails as well.
TELLING = {"PYTHONPROFILEIMPORTTIME": "1"}


@pytest.fixture
def environment():
    return {**os.environ, **TELLING}


def imported(log):
    """Top-level names of the modules that a process imported, or tried to."""
    lines = [line for line in log.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def unwanted(log):
    """Those that need no torch, but were asked for; the engine must have been loaded."""
    names = imported(log)
    assert {"late_rerank", "numpy", "onnxruntime"} <= names
    return sorted(names & set(ABSENT))


def test_the_installed_package_is_tested_and_its_kernel_is_compiled():
    assert Path(late_rerank.__file__).is_relative_to(sys.prefix)
    assert maxsim.kernel().name.startswith("native:")


@pytest.mark.parametrize("package", ABSENT)
def test_neither_the_package_nor_a_wrapper_brings(package):
    assert find_spec(package) is None


def test_an_import_that_fails_is_seen(environment):
    code = "import contextlib\nwith contextlib.suppress(ImportError): import torch.nn"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "torch" in imported(done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "notes", QUERY, "--first-stage", "hybrid", "--store", "store"),
        ("index", "notes", "--store", "store"),
        ("context", "notes", QUERY),
        ("explain", QUERY, "--text", "Rivers run to the sea."),
        ("rerank", QUERY, "candidates.jsonl"),
        ("rerank", QUERY, "candidates.jsonl", "--model", "minilm-late"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_a_command_does_not_ask_for_torch(arguments, run, notes, tmp_path, environment):
    rows = [json.dumps({"text": text}) for text in QUESTION["documents"]]
    (tmp_path / "candidates.jsonl").write_text("\n".join(rows))
    assert unwanted(run(*arguments, env=environment).stderr) == []


def test_a_server_does_not_ask_for_torch(tmp_path):
    with serving(env=TELLING, cwd=tmp_path) as (url, _, log):
        assert httpx.post(f"{url}/rerank", json=QUESTION, timeout=60).json()["results"][0]["index"] == 1
    assert unwanted("".join(log)) == []


def test_a_server_of_agents_does_not_ask_for_torch(notes, tmp_path, environment):
    with (tmp_path / "log").open("w") as log:  # a pipe would fill up
        given = {"stdin": subprocess.PIPE, "stderr": log, "env": environment}
        process = start("mcp", "--folder", f"notes={notes}", "--first-stage", "dense", **given)
    answers = queue.Queue()
    threading.Thread(target=lambda: [answers.put(json.loads(line)) for line in process.stdout], daemon=True).start()
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    call = {"name": "search", "arguments": {"query": QUERY}}
    with process:
        for line in (
            {"id": 0, "method": "initialize", "params": client},
            {"method": "notifications/initialized", "params": {}},
            {"id": 1, "method": "tools/call", "params": call},
        ):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **line}) + "\n")
        process.stdin.flush()
        answer = [answers.get(timeout=60) for _ in range(2)][1]
        process.stdin.close()
        assert process.wait(60) == 0
    assert answer["result"]["structuredContent"]["results"][0]["path"] == "rivers.txt"
    assert unwanted((tmp_path / "log").read_text()) == []
