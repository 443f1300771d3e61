"""Published models that can't be used: the reason and what to do are told before anything is loaded or run."""

import pytest
from hubs import cached
from published.refused import REFUSED

from late_rerank.cli import main
from late_rerank.encode import TextEncoder
from late_rerank.encode.checkpoint import read_checkpoint
from late_rerank.errors import ModelError

COMMIT = "c" * 40


@pytest.fixture(params=REFUSED)
def refused(request, tmp_path, monkeypatch):
    """A model's name, and what is said of it; its files are in the hub's cache."""
    build, said = REFUSED[request.param]
    folder = tmp_path / "files"
    folder.mkdir()
    build(folder)
    cached(tmp_path / "cache", request.param, {COMMIT: folder}, {"main": COMMIT})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return request.param, said


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_model_that_can_not_be_used_is_refused_with_the_reason(refused, backend):
    name, said = refused
    with pytest.raises(ModelError, match=said) as told:
        TextEncoder(name, backend=backend)
    assert "lightonai/mLateOn" in str(told.value)
    assert "Encoder of your own" in str(told.value)


def test_the_doctor_says_why_and_ends_with_1(refused, capsys):
    name, _ = refused
    assert main(["doctor", name]) == 1
    told = capsys.readouterr().err
    assert told.startswith("late-rerank doctor: ")
    assert told.count("\n") == 1


def test_code_for_a_tokenizer_or_a_config_alone_is_not_needed(tmp_path):
    """auto_map may name code that nothing here runs: a tokenizer has a fast version, a config is read as JSON."""
    from checkpoints import stanford

    folder = stanford(tmp_path / "model")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace("{", '{"auto_map": {"AutoConfig": "configuration.Config"},', 1))
    assert read_checkpoint(folder).format == "stanford"
