"""Revisions of a model on the hub: which snapshot is read, what is compiled for each, and what is said where there is none."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from checkpoints import stanford
from hubs import cached, serving_hub
from safetensors.torch import load_file, save_file

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.encode import TextEncoder
from late_rerank.encode.compiled.kept import home
from late_rerank.encode.sources import local_folder
from late_rerank.errors import ModelError

NAME = "owner/colbert"
OLD, NEW = "a" * 40, "b" * 40
REFS = {"main": NEW, "v1": OLD, "refs/pr/3": OLD}
TEXTS = ["the cat sat on the mat", "late interaction keeps one vector per token"]


@pytest.fixture(scope="module")
def revisions(tmp_path_factory):
    """Two commits of one model, whose projections differ."""
    folders = {commit: tmp_path_factory.mktemp("hub") / commit[0] for commit in (OLD, NEW)}
    for folder in folders.values():
        stanford(folder)
    weights = load_file(folders[OLD] / "model.safetensors")
    weights["linear.weight"] = weights["linear.weight"].flip(0).contiguous()
    save_file(weights, folders[OLD] / "model.safetensors", metadata={"format": "pt"})
    return folders


@pytest.fixture(scope="module")
def cache(revisions, tmp_path_factory):
    """The hub's cache, with both commits; offline, as the tests' environment says."""
    folder = tmp_path_factory.mktemp("cache")
    cached(folder, NAME, revisions, REFS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield folder


class TestKeptRevisions:
    @pytest.mark.parametrize(
        ("revision", "commit"),
        [("", NEW), ("@main", NEW), ("@v1", OLD), ("@refs/pr/3", OLD), (f"@{OLD}", OLD), (f"@{NEW}", NEW)],
    )
    def test_a_revision_names_its_own_snapshot_offline(self, revision, commit, cache):
        assert local_folder(NAME + revision) == cache / "models--owner--colbert" / "snapshots" / commit

    @pytest.mark.model  # compiles two
    def test_each_revision_has_its_own_vectors_and_compiled_model(self, cache, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
        old, new = TextEncoder(NAME, revision="v1"), TextEncoder(NAME)
        assert old.name == f"{NAME}@v1"
        assert old.fingerprint != new.fingerprint
        np.testing.assert_allclose(
            old.encode_document(TEXTS).values, new.encode_document(TEXTS).values[:, ::-1], rtol=0, atol=1e-5
        )
        same = TextEncoder(f"{NAME}@{OLD}")
        assert same.describe()["compiled"] == old.describe()["compiled"] != new.describe()["compiled"]
        assert len([folder for folder in home().iterdir() if folder.is_dir()]) == 2

    def test_a_reranker_of_a_revision_is_pickled_with_it(self, cache):
        with Reranker(NAME, revision="v1", backend="torch") as reranker:
            assert reranker.arguments["model"] == reranker.model_name == f"{NAME}@v1"
            again = pickle.loads(pickle.dumps(reranker))
        assert again.encoder.fingerprint == reranker.encoder.fingerprint

    def test_the_doctor_names_the_files_of_a_revision_and_tells_in_words_how_queries_are_filled(self, cache, capsys):
        assert main(["doctor", NAME, "--revision", "v1", "--backend", "torch"]) == 0
        told = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line)
        assert told["model"].strip() == f"{NAME}@v1"
        assert told["files"].strip().endswith(f"snapshots/{OLD}")
        expected = "fixed: filled up to 32 tokens with [MASK], not attended to"
        assert told["query expansion"].strip() == expected

    def test_what_the_cache_holds_is_named_where_a_revision_is_absent(self, cache):
        with pytest.raises(ModelError, match=rf"at the revision 'v2' \(the cache holds main, refs/pr/3, v1, {OLD}, {NEW}\)"):
            TextEncoder(NAME, revision="v2")


class TestTheHub:
    @pytest.fixture
    def asked(self, revisions, monkeypatch, tmp_path):
        with serving_hub(NAME, revisions, REFS) as (url, asked):
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
            template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
            monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
            yield asked

    @pytest.mark.parametrize(("revision", "commit"), [("v1", OLD), ("main", NEW), (OLD, OLD)])
    def test_a_revision_is_downloaded_once_and_found_again_offline(self, revision, commit, asked, revisions, monkeypatch):
        folder = local_folder(f"{NAME}@{revision}")
        assert folder.name == commit
        assert (folder / "model.safetensors").read_bytes() == (revisions[commit] / "model.safetensors").read_bytes()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        n_asked = len(asked)
        assert local_folder(f"{NAME}@{revision}") == folder
        assert len(asked) == n_asked

    def test_a_revision_that_the_hub_does_not_have_is_named(self, asked):
        with pytest.raises(ModelError, match=r"owner/colbert has no revision 'v9' on the hub. Expected one of its branches"):
            local_folder(f"{NAME}@v9")

    def test_a_model_that_the_hub_does_not_have_is_named(self, asked):
        with pytest.raises(ModelError, match="the hub can't give it, at the revision 'v1': RepositoryNotFoundError"):
            local_folder("owner/other@v1")


def test_a_folder_of_that_name_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "owner" / "colbert@v1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert local_folder(f"{NAME}@v1") == Path("owner/colbert@v1")
