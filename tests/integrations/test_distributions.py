"""The wrappers as they are shipped: what their wheels hold, and that these work away from this repository."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import late_rerank

ROOT = Path(__file__).parents[2] / "integrations"
WRAPPERS = {
    "langchain": ("langchain_late_rerank", "LateRerankRetriever LateRerankCompressor"),
    "llama-index": ("llama_index.postprocessor.late_rerank", "LateRerank LateRerankRetriever"),
    "haystack": ("haystack_integrations.components.rankers.late_rerank", "LateRerankRanker"),
}

pytest.importorskip("hatchling", reason="building wheels needs hatchling: pip install hatchling")


@pytest.fixture(scope="module", params=WRAPPERS)
def wheel(request, tmp_path_factory):
    """(path, module, public names)"""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT / request.param, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    module, names = WRAPPERS[request.param]
    return path, module, names.split()


def test_a_wheel_holds_its_module_its_types_and_its_licence_and_nothing_else(wheel):
    path, module, _ = wheel
    names = zipfile.ZipFile(path).namelist()
    package = module.replace(".", "/")
    assert {f"{package}/__init__.py", f"{package}/py.typed"} <= set(names)
    metadata = [name for name in names if ".dist-info/" in name]
    assert any(name.endswith("licenses/LICENSE") for name in metadata)
    assert [name for name in names if not name.startswith(f"{package}/") and name not in metadata] == []
    assert path.name.endswith("-py3-none-any.whl")


def test_a_wheel_says_what_it_needs(wheel):
    path, _, _ = wheel
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(name).decode().splitlines()
    needed = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert len(needed) == 2
    assert any(each.startswith("late-rerank<0.2,>=0.1") for each in needed)
    assert "License-Expression: Apache-2.0" in lines
    assert "Requires-Python: >=3.10" in lines


def test_a_wheel_works_outside_the_repository(wheel, tmp_path):
    path, module, names = wheel
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "site"), str(path)]
    subprocess.run(install, check=True, capture_output=True)
    code = f"import {module} as module; print(module.__file__); print([getattr(module, name).__name__ for name in {names}])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    file, found = done.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path / "site")
    assert found == str(names)


def test_all_four_distributions_are_of_one_version():
    """The root's is read from late_rerank/__init__.py when it is built; `make version VERSION=...` writes all."""
    root = (ROOT.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^provider = "scikit_build_core.metadata.regex"\ninput = "late_rerank/__init__.py"$', root, re.MULTILINE)
    assert not re.search("^version = ", root, re.MULTILINE)
    wrappers = [(ROOT / folder / "pyproject.toml").read_text(encoding="utf-8") for folder in WRAPPERS]
    assert [re.findall('^version = "(.+)"$', text, re.MULTILINE) for text in wrappers] == [[late_rerank.__version__]] * 3


def test_the_roots_extras_name_the_distributions():
    text = (ROOT.parent / "pyproject.toml").read_text()
    for folder in WRAPPERS:
        (name,) = [
            line.partition('"')[2].partition('"')[0]
            for line in (ROOT / folder / "pyproject.toml").read_text().splitlines()
            if line.startswith("name = ")
        ]
        assert f'\n{folder} = ["{name}>=0.1,<0.2"]' in text
