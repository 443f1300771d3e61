"""Checkpoints with a file that is missing, cut off or a pointer: the same vectors, or a ModelError that names the file."""

import json
import shutil

import numpy as np
import pytest
import torch
from checkpoints import native, pylate, stanford
from safetensors.torch import load_file, save_file

from late_rerank.cli import main
from late_rerank.encode import TextEncoder
from late_rerank.encode.builtin import MINILM_LATE_ADAPTER
from late_rerank.encode.files import check_whole
from late_rerank.encode.single import SingleVectorEncoder
from late_rerank.encode.torch.single import by_sentence_transformers
from late_rerank.errors import ModelError

TEXTS = ["the cat sat on the mat, late", "what is one vector per token? " * 30]
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 90868376\n".encode()


def instead(content):
    """Something else in a file's place."""
    return lambda file: file.write_bytes(content)


def shortened(file):
    file.write_bytes(file.read_bytes()[:-10])


def halved(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def a_folder(file):
    file.unlink()
    file.mkdir()


DAMAGES = {
    "removed": lambda file: file.unlink(),
    "halved": halved,
    "shortened": shortened,
    "a folder": a_folder,
    "empty": instead(b""),
    "a pointer": instead(POINTER),
    "garbage": instead(bytes(range(256)) * 3),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "a list": instead(b"[3]"),
    "an object": instead(b"{}"),
    "a string": instead(b'"text"'),
    "null": instead(b"null"),
    "brackets": instead(b"[" * 100_000),
}


def with_pickles(folder):
    """Weights as torch's own files, as before safetensors."""
    for file in list(folder.rglob("model.safetensors")):
        torch.save(load_file(file), file.with_name("pytorch_model.bin"))
        file.unlink()
    return folder


def in_shards(folder):
    """Weights in two files and an index, as large models have them."""
    whole = folder / "model.safetensors"
    weights = load_file(whole)
    whole.unlink()
    places = {name: f"model-{i % 2 + 1:05}-of-00002.safetensors" for i, name in enumerate(sorted(weights))}
    for file in set(places.values()):
        save_file({name: weights[name] for name in weights if places[name] == file}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def load(folder):
    return TextEncoder(str(folder), device="cpu", backend="torch")


def vectors(encoder):
    return np.concatenate([encoder.encode_document(TEXTS).values, encoder.encode_query(TEXTS).values])


FORMATS = {
    "native": native,
    "pylate": pylate,
    "stanford": stanford,
    "pylate, pickles": lambda folder: with_pickles(pylate(folder)),
    "stanford, pickles": lambda folder: with_pickles(stanford(folder)),
    "native, shards": lambda folder: in_shards(native(folder)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_named_or_not_needed(name, tmp_path):
    whole = FORMATS[name](tmp_path / "whole")
    encoder = load(whole)
    right = encoder.fingerprint, vectors(encoder)
    wrong = []
    for file in sorted(file.relative_to(whole) for file in whole.rglob("*") if file.is_file()):
        for damage, do in DAMAGES.items():
            folder = shutil.copytree(whole, tmp_path / "damaged")
            do(folder / file)
            try:
                encoder = load(folder)
                if encoder.fingerprint != right[0] or not np.array_equal(vectors(encoder), right[1]):
                    wrong.append((str(file), damage, "other vectors"))
            except ModelError as error:
                expected = (file.name, "git lfs pull") if damage == "a pointer" else (file.name,)
                wrong += [(str(file), damage, str(error)) for words in expected if words not in str(error)]
            except Exception as error:  # noqa: BLE001 - this is what is looked for
                wrong.append((str(file), damage, repr(error)))
            shutil.rmtree(folder)
    assert wrong == []


@pytest.mark.parametrize(
    ("make", "file", "key", "value"),
    [
        (native, "1_Dense/config.json", "module_input_name", "x"),
        (native, "3_Normalize/config.json", "module_output_name", []),
        (native, "sentence_bert_config.json", "modality_config", {}),
        (native, "sentence_bert_config.json", "document_length", "x"),
        (native, "tokenizer_config.json", "model_max_length", -1),
        (pylate, "config_sentence_transformers.json", "document_length", []),
        (pylate, "config.json", "hidden_size", "x"),
        (stanford, "tokenizer_config.json", "pad_token", None),
        (stanford, "config.json", "architectures", -1),
        (stanford, "artifact.metadata", "doc_maxlen", None),
    ],
)
def test_a_value_that_can_not_be_is_a_model_error(make, file, key, value, tmp_path):
    folder = make(tmp_path / "model")
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ModelError, match="model"):
        load(folder)


def test_a_vocabulary_that_is_cut_off_is_told_by_the_rows_of_the_weights(tmp_path):
    folder = stanford(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    load(folder)  # the words alone are enough
    halved(folder / "vocab.txt")
    with pytest.raises(ModelError, match=r"its tokenizer has \d+ tokens, its weights are for \d+"):
        load(folder)


def _edited(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("make", [native, pylate, stanford])
def test_a_config_with_fewer_layers_than_the_weights_is_refused(make, tmp_path):
    folder = make(tmp_path / "model")
    _edited(folder / "config.json", num_hidden_layers=1)
    with pytest.raises(ModelError, match=r"config\.json describes fewer layers .*encoder\.layer\.1\."):
        load(folder)


def test_a_config_with_another_width_than_the_weights_is_told_in_words(tmp_path):
    folder = stanford(tmp_path / "model")
    _edited(folder / "config.json", hidden_size=48)
    with pytest.raises(ModelError, match=r"aren't of the sizes that its config\.json says"):
        load(folder)


def test_weights_of_heads_that_the_model_was_pre_trained_with_are_passed_over(tmp_path):
    folder = stanford(tmp_path / "model")
    right = load(folder).fingerprint
    weights = load_file(folder / "model.safetensors")
    heads = {name: torch.ones(2) for name in ("cls.predictions.bias", "cls.seq_relationship.bias")}
    save_file({**weights, **heads}, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder).fingerprint == right


def test_a_tokenizer_with_tokens_beyond_the_weights_is_refused_before_a_text_has_one(tmp_path):
    folder = stanford(tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["cat"] = 99_999
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match=r"its tokenizer numbers 'cat' 99,999, its weights are for \d+ tokens"):
        load(folder)


def test_files_that_nobody_reads_may_be_anything(tmp_path):
    folder = native(tmp_path / "model")
    right = load(folder).fingerprint
    (folder / "onnx").mkdir()
    for name in ("pytorch_model.bin", "onnx/model.onnx", "training_args.bin", "README.md", "model.h5"):
        (folder / name).write_bytes(POINTER)
    assert load(folder).fingerprint == right


@pytest.mark.parametrize("content", [POINTER, b"", b"\0" * 9], ids=["pointer", "empty", "zeros"])
@pytest.mark.parametrize("command", [("doctor", "{folder}"), ("rerank", "cats", "{file}", "--model={folder}")])
def test_a_command_says_so_in_one_line(command, content, tmp_path, capsys):
    folder = stanford(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(content)
    (tmp_path / "candidates.jsonl").write_text('{"text": "cats sleep"}')
    capsys.readouterr()
    assert main([part.format(folder=folder, file=tmp_path / "candidates.jsonl") for part in command]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "model.safetensors" in said


def by_torch(make):
    return TextEncoder(backend="torch") if make is TextEncoder else by_sentence_transformers("minilm", None)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("make", [TextEncoder, SingleVectorEncoder])
def test_the_built_in_models_files_are_looked_at_too(make, name, minilm, monkeypatch, tmp_path):
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        (tmp_path / file).write_bytes(POINTER if file == name else b"{}")
    for module in ("compiled.builtin", "torch.loading", "torch.single"):
        monkeypatch.setattr(f"late_rerank.encode.{module}.minilm_source", lambda: str(tmp_path))
    with pytest.raises(ModelError, match=rf"{name} is|pip install --force-reinstall .*late-rerank-minilm"):
        make("minilm")
    with pytest.raises(ModelError, match=rf"{name} is|pip install --force-reinstall .*late-rerank-minilm"):
        by_torch(make)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_folder_for_single_vectors_is_looked_at_too(name, tmp_path):
    folder = stanford(tmp_path / "model")
    (folder / name).write_bytes(POINTER)
    with pytest.raises(ModelError, match=rf"{name} is a git-lfs pointer"):
        SingleVectorEncoder(str(folder))


def test_the_built_in_adapter_is_looked_at_too(minilm, monkeypatch, tmp_path):
    (tmp_path / "adapter.safetensors").write_bytes(MINILM_LATE_ADAPTER.read_bytes()[:-1])
    for module in ("compiled.builtin", "torch.loading"):
        monkeypatch.setattr(f"late_rerank.encode.{module}.MINILM_LATE_ADAPTER", tmp_path / "adapter.safetensors")
    for backend in ("onnx", "torch"):
        with pytest.raises(ModelError, match=r"adapter\.safetensors has [\d,]+ bytes, where its header says"):
            TextEncoder("minilm-late", backend=backend)


def test_a_file_in_torchs_old_form_is_taken_for_whole(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    check_whole(tmp_path)
