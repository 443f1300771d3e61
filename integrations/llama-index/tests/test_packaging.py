"""The distribution: what is in it, what importing it asks for."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None

NO_LLAMA_INDEX = """
import sys
from importlib.abc import MetaPathFinder

class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Without())
from late_rerank.errors import MissingDependencyError
try:
    import llama_index.postprocessor.late_rerank
except MissingDependencyError as error:
    print("missing:", error)
except ModuleNotFoundError as error:
    print("other:", error)
"""


def run(program):
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_without_the_framework_the_error_ends_in_the_pip_line():
    assert run(NO_LLAMA_INDEX.format(name="llama_index.core")) == (
        "missing: llama_index.postprocessor.late_rerank needs the package 'llama-index-core'. "
        'Install it: pip install "late-rerank[llama-index]"'
    )


def test_a_framework_that_lacks_something_itself_is_not_said_to_be_absent():
    assert run(NO_LLAMA_INDEX.format(name="filetype")) == "other: No module named 'filetype'"


def test_the_namespace_has_no_init_of_ours():
    inits = [path.relative_to(HERE).as_posix() for path in HERE.rglob("__init__.py")]

    assert inits == ["llama_index/postprocessor/late_rerank/__init__.py"]


def test_the_public_names():
    import llama_index.postprocessor.late_rerank as module

    assert module.__all__ == ["LateRerank", "LateRerankRetriever", "__version__"]
    assert module.__version__ == metadata.version("llama-index-postprocessor-late-rerank")


def test_an_sdist_holds_the_tests_too(tmp_path):
    pytest.importorskip("hatchling")
    import tarfile

    program = (
        f"import os; os.chdir({str(HERE)!r}); from hatchling.build import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    )
    with tarfile.open(tmp_path / run(program)) as archive:
        files = {path.split("/", 1)[1] for path in archive.getnames()}

    assert {"LICENSE", "README.md", "pyproject.toml", "tests/test_packaging.py"} <= files
    assert not any("__pycache__" in path for path in files)


def test_the_metadata_says_whose_it_is_and_what_it_needs():
    told = metadata.metadata("llama-index-postprocessor-late-rerank")

    assert told["Author"] == "The late-rerank authors"
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Requires-Python"] == ">=3.10"


@pytest.mark.skipif(tomllib is None, reason="needs tomllib, in Python from 3.11 on")
def test_the_hubs_table_names_every_public_class():
    import llama_index.postprocessor.late_rerank as module

    table = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["llamahub"]
    assert table["import_path"] == module.__name__
    assert table["class_authors"] == dict.fromkeys(["LateRerank", "LateRerankRetriever"], "late-rerank")
