"""Published models that can't be used: the reason and what to do are told before anything is loaded or run."""

import json

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


def with_code(folder, **code):
    """Let a Stanford checkpoint's config.json name code."""
    from checkpoints import stanford

    config = stanford(folder) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": code}))
    return folder


@pytest.mark.parametrize("kind", ["AutoConfig", "AutoTokenizer", "AutoModelForMaskedLM"])
def test_code_that_makes_no_token_vectors_is_not_needed(kind, tmp_path):
    """A tokenizer has a fast version, a config is read as JSON, and a head stands behind token vectors."""
    folder = with_code(tmp_path / "model", **{kind: "modeling.Some"})
    assert read_checkpoint(folder).format == "stanford"


@pytest.mark.parametrize("code", [{"AutoModel": "modeling.Some"}, {"AutoModelForMaskedLM": "modeling.HF_ColBERT"}])
def test_code_of_the_model_itself_is_refused(code, tmp_path):
    with pytest.raises(ModelError, match="needs Python code of its own repository"):
        read_checkpoint(with_code(tmp_path / "model", **code))


@pytest.mark.parametrize(("given", "said"), [("fr", r"such as 'fr_XX'$"), ("xx", r"such as 'en_XX', 'fr_XX'$")])
def test_a_language_without_an_adapter_is_refused_with_some_that_have_one(given, said, tmp_path):
    from checkpoints import stanford

    config = stanford(tmp_path / "model") / "config.json"
    config.write_text(
        json.dumps({**json.loads(config.read_text()), "default_language": given, "languages": ["en_XX", "fr_XX"]})
    )
    with pytest.raises(ModelError, match=said):
        read_checkpoint(tmp_path / "model")
