"""A revision beside a model: which models have one, what is said of others, and how options and wrappers hand it on."""

import argparse
from functools import partial

import pytest

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.cli.main import parser
from late_rerank.cli.options import at_given_revision
from late_rerank.encode import TextEncoder
from late_rerank.encode.revisions import at_revision, one_at_revision, split_revision
from late_rerank.encode.single import SingleVectorEncoder
from late_rerank.encode.sources import local_folder
from late_rerank.encode.visual.encoder import VisualEncoder
from late_rerank.errors import ModelError
from late_rerank.retrieve import DenseRetriever
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.wrapping import any_reranker_from, model_at, reranker_from

COMMIT = "c1e84128e85ef755c096a95bdb06b47793b13acf"


class TestNames:
    @pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/3", COMMIT, "c1e8412"])
    def test_a_revision_goes_behind_the_name_and_comes_back(self, revision):
        joined = at_revision("owner/name", revision)
        assert joined == f"owner/name@{revision}"
        assert split_revision(joined) == ("owner/name", revision)

    def test_a_model_without_one_stays_as_it_is(self, tmp_path):
        given = FakeEncoder()
        assert at_revision(given, None) is given
        assert at_revision(tmp_path, None) is tmp_path
        assert split_revision("owner/name") == ("owner/name", None)

    @pytest.mark.parametrize("revision", ["", " ", "a b", "a..b", "/etc", "-x", "a@b", "a:b", "v[1]"])
    def test_what_git_takes_as_no_name_is_refused(self, revision):
        with pytest.raises(ValueError, match="revision must be a branch, a tag or a commit of a model on the hub, got"):
            at_revision("owner/name", revision)
        with pytest.raises(ModelError, match=r"model='owner/name@.*': revision must be a branch"):
            local_folder(f"owner/name@{revision}")

    def test_another_type_is_refused(self):
        with pytest.raises(TypeError, match=r"revision must be a str, a branch, a tag or a commit .*, got int"):
            at_revision("owner/name", 3)

    @pytest.mark.parametrize(
        ("model", "said"),
        [
            ("minilm", "model='minilm' is built in: a release of late-rerank fixes its weights"),
            ("minilm-late", "model='minilm-late' is built in"),
            ("owner/name@v2", "model='owner/name@v2' names one already"),
            (FakeEncoder(), r"the model is an Encoder \(FakeEncoder\), which is loaded already"),
        ],
    )
    def test_a_model_that_has_none_is_told_why(self, model, said):
        with pytest.raises(ValueError, match=rf"revision='v1' names a branch, .* \(owner/name\), but {said}"):
            at_revision(model, "v1")

    def test_a_folder_has_none_however_it_is_given(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "owner" / "name").mkdir(parents=True)
        for folder in (tmp_path, str(tmp_path), "owner/name", tmp_path / "absent"):
            with pytest.raises(ValueError, match="is a folder, which holds one revision: leave the revision out, or give the"):
                at_revision(folder, "v1")

    def test_a_built_in_name_with_a_revision_is_no_hub_name(self):
        with pytest.raises(ModelError, match="'minilm' is built in, and has no revisions: pass model='minilm'"):
            TextEncoder("minilm@v1")


@pytest.mark.parametrize("make", [Reranker, TextEncoder, VisualEncoder, SingleVectorEncoder, partial(DenseRetriever, [])])
def test_whatever_loads_a_model_takes_a_revision_and_names_it(make, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"model='owner/name@v1' .* the hub can't give it, at the revision 'v1'"):
        make(model="owner/name", revision="v1")
    with pytest.raises(ValueError, match="is a folder"):
        make(model=str(tmp_path), revision="v1")


class TestOptions:
    @pytest.mark.parametrize(
        "typed",
        [
            ["search", ".", "q"],
            ["rerank", "q"],
            ["context", ".", "q"],
            ["explain", "q", "--text", "t"],
            ["index", ".", "--store", "s"],
            ["import", "x", "--store", "s"],
            ["eval", "."],
            ["calibrate", ".", "--out", "x"],
            ["tune", "."],
            ["train", ".", "--out", "x"],
            ["mcp"],
            ["serve"],
        ],
        ids=lambda typed: typed[0],
    )
    def test_every_command_with_a_model_takes_a_revision_of_it(self, typed):
        options = parser().parse_args([*typed, "--model", "owner/name", "--revision", "v1"])
        at_given_revision(options)
        assert options.model == ([("owner/name", "owner/name@v1")] if typed == ["serve"] else "owner/name@v1")

    @pytest.mark.parametrize("typed", [["doctor"], ["compile", "--out", "x"]], ids=lambda typed: typed[0])
    def test_commands_that_take_a_model_alone_do_too(self, typed):
        options = parser().parse_args([*typed, "owner/name", "--revision", COMMIT])
        at_given_revision(options)
        assert options.model == f"owner/name@{COMMIT}"

    def test_a_wrong_one_ends_the_command_with_a_message(self, capsys):
        assert main(["doctor", "--revision", "v1"]) == 1
        assert "late-rerank doctor: revision='v1' names a branch" in capsys.readouterr().err

    def test_a_server_of_several_models_gives_each_its_own(self):
        assert one_at_revision([("a", "owner/a@v1"), ("b", "owner/b")], None) == [("a", "owner/a@v1"), ("b", "owner/b")]
        with pytest.raises(ValueError, match="is for one model, got 2: give each as NAME=MODEL@REVISION"):
            one_at_revision([("a", "owner/a"), ("b", "owner/b")], "v1")

    def test_a_server_takes_it_of_the_environment(self, monkeypatch):
        from late_rerank.cli.environment import read_environment

        monkeypatch.setenv("LATE_RERANK_MODEL", "fine=owner/name")
        monkeypatch.setenv("LATE_RERANK_REVISION", "v1")
        options = parser().parse_args(["serve"])
        read_environment(options)
        at_given_revision(options)
        assert options.model == [("fine", "owner/name@v1")]

    def test_a_command_without_models_is_left_alone(self):
        options = argparse.Namespace(command="bench")
        at_given_revision(options)
        assert vars(options) == {"command": "bench"}


class TestWrappers:
    @pytest.mark.parametrize("make", [reranker_from, any_reranker_from])
    def test_a_wrappers_revision_reaches_the_reranker(self, make, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(ModelError, match="model='owner/name@v1'"):
            make(None, model="owner/name", revision="v1")

    def test_a_ready_reranker_has_its_own(self):
        with pytest.raises(ValueError, match="give either a ready reranker or revision, not both"):
            reranker_from(Reranker(FakeEncoder()), revision="v1")

    def test_without_a_model_it_is_the_built_in_one(self):
        assert model_at(None, None) is None
        with pytest.raises(ValueError, match="'minilm' is built in"):
            model_at(None, "v1")
