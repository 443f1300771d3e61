"""Tests of an installation without torch, which `make light` makes: library, commands, servers and wrappers."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub.constants
import pytest

# Beside torch these tests prove nothing: the other runs leave them out.
collect_ignore_glob = ["test_*.py"] if find_spec("torch") else []


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory):
    """No hub, no telemetry, and an empty cache, here and in the processes that tests start."""
    home = str(tmp_path_factory.mktemp("hf_home"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("HF_HUB_OFFLINE", "1"), ("HF_HOME", home), ("HAYSTACK_TELEMETRY_ENABLED", "False")):
            patch.setenv(name, value)
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        patch.setattr(huggingface_hub.constants, "HF_HOME", home)
        yield


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The working folder is empty, so that the installed package is imported, not the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command():
    """`late-rerank` as pip installed it."""
    return Path(sys.executable).with_name("late-rerank")


@pytest.fixture
def run(command):
    """Runs `late-rerank` as it is installed, to its end; gives what it printed."""

    def run(*arguments, code=0, **options):
        done = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def notes(tmp_path):
    """A folder of text files; the answer to "how do seas get their water" shares no word with the question but "water"."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "cats.md").write_text("Cats sleep most of the day.\n")
    (folder / "rivers.txt").write_text("Rivers run downhill until they reach the coast.\n")
    (folder / "threads.txt").write_text("A barrier makes threads wait until all of them have arrived.\n")
    return folder
