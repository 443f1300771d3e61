"""The files in which people keep weights: adapters, shards, half precision, pickles. Whole and as they stand for one model."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from checkpoints import adapter, native, pylate, stanford
from hubs import cached
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder

from late_rerank.encode import TextEncoder
from late_rerank.encode.torch.loading import load_checkpoint
from late_rerank.errors import MissingDependencyError, ModelError

TEXTS = ["the cat sat on the mat", "late interaction keeps one vector per token", "what is it?"]
QUERIES = ["what sat on the mat", "cat"]

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks for it


def check_as_sentence_transformers(encoder, folder):
    """Vectors are those of the checkpoint as sentence-transformers alone runs it."""
    theirs = MultiVectorEncoder(str(folder), device="cpu").float()
    for texts, ours, rows in (
        (TEXTS, encoder.encode_document(TEXTS), theirs.encode_document(TEXTS)),
        (QUERIES, encoder.encode_query(QUERIES), theirs.encode_query(QUERIES)),
    ):
        assert len(ours.truncated) == len(texts)
        np.testing.assert_allclose(ours.values, np.concatenate([np.asarray(row) for row in rows]), rtol=0, atol=1e-4)


def merged(folder, to):
    """The whole checkpoint that peft's own merging gives, of an adapter's."""
    import shutil

    import peft
    from transformers import BertModel

    shutil.copytree(folder, to)
    base = BertModel.from_pretrained(json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"])
    peft.PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(to)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (to / name).unlink()
    return to


class TestAdapters:
    @pytest.mark.parametrize("backend", [pytest.param("onnx", marks=pytest.mark.model), "torch"])
    def test_an_adapter_gives_the_vectors_that_sentence_transformers_gives(self, backend, tmp_path):
        folder = adapter(pylate(tmp_path / "model"))
        check_as_sentence_transformers(TextEncoder(folder, backend=backend), folder)

    def test_it_has_the_fingerprint_of_the_merged_model_and_not_of_its_base(self, tmp_path):
        plain = TextEncoder(pylate(tmp_path / "plain"), backend="torch").fingerprint
        folder = adapter(pylate(tmp_path / "model"))
        own = TextEncoder(folder, backend="torch").fingerprint
        assert own == TextEncoder(merged(folder, tmp_path / "whole"), backend="torch").fingerprint != plain

    @pytest.mark.parametrize(
        "options",
        [
            {"use_rslora": True, "target_modules": "all-linear"},
            {"modules_to_save": ["word_embeddings"]},
            {"rank_pattern": {"layer.0.attention.self.query": 2}, "layers_to_transform": [0]},
        ],
        ids=lambda options: ", ".join(options),
    )
    def test_other_kinds_of_lora_are_merged_too(self, options, tmp_path):
        folder = adapter(pylate(tmp_path / "model"), **options)
        encoder = TextEncoder(folder, backend="torch")
        check_as_sentence_transformers(encoder, folder)
        model, _ = load_checkpoint(folder, "cpu")
        assert not [name for name, _ in model.named_parameters() if "lora" in name or "base_layer" in name or "default" in name]

    def test_a_dora_of_which_transformers_leaves_out_a_part_is_refused(self, tmp_path):
        folder = adapter(pylate(tmp_path / "model"), use_dora=True)
        with pytest.raises(ModelError, match=r"a DoRA, of which transformers leaves out a part .*merge_and_unload"):
            TextEncoder(folder, backend="torch")

    @pytest.mark.parametrize("bias", ["all", "lora_only"])
    def test_trained_biases_are_the_adapters(self, bias, tmp_path):
        folder = adapter(pylate(tmp_path / "model"), bias=bias)
        check_as_sentence_transformers(TextEncoder(folder, backend="torch"), folder)

    @pytest.mark.parametrize(
        ("options", "lost"),
        [
            ({"modules_to_save": ["word_embeddings"]}, "embeddings.word_embeddings.weight"),
            ({"bias": "all"}, "embeddings.LayerNorm.bias"),
            ({"bias": "all"}, "layer.1.attention.self.key.bias"),
            ({"bias": "lora_only"}, "layer.0.attention.self.query.base_layer.bias"),
        ],
        ids=["module", "norm", "unwrapped layer", "wrapped layer"],
    )
    def test_an_adapter_without_a_weight_that_was_trained_whole_is_refused(self, options, lost, tmp_path):
        folder = adapter(pylate(tmp_path / "model"), **options)
        weights = load_file(folder / "adapter_model.safetensors")
        kept = {name: weight for name, weight in weights.items() if not name.endswith(f".{lost}")}
        assert len(kept) == len(weights) - 1
        save_file(kept, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"doesn't hold '.*', which adapter_config\.json says was trained"):
            TextEncoder(folder, backend="torch")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"peft_type": "IA3"}, r"says peft_type 'IA3', where LORA alone .*merge_and_unload"),
            ({"trainable_token_indices": [3]}, r"says trainable_token_indices, .*merge_and_unload"),
        ],
    )
    def test_another_kind_of_adapter_is_refused(self, change, said, tmp_path):
        folder = adapter(pylate(tmp_path / "model"))
        edit(folder / "adapter_config.json", **change)
        with pytest.raises(ModelError, match=said):
            TextEncoder(folder, backend="torch")

    def test_an_adapter_in_a_pickle_alone_is_refused_with_what_to_do(self, tmp_path):
        folder = adapter(pylate(tmp_path / "model"))
        (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
        with pytest.raises(ModelError, match=r"in adapter_model\.bin alone\. Convert it: safetensors\.torch\.save_file"):
            TextEncoder(folder, backend="torch")

    def test_its_base_is_found_in_the_hubs_cache(self, tmp_path, monkeypatch):
        folder = adapter(pylate(tmp_path / "model"))
        whole = TextEncoder(folder, backend="torch").fingerprint
        cached(tmp_path / "cache", "owner/base", {"a" * 40: tmp_path / "model-base"}, {"main": "a" * 40, "v1": "a" * 40})
        (tmp_path / "model-base" / "model.safetensors").unlink()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        for revision in (None, "v1", "a" * 40):
            edit(folder / "adapter_config.json", base_model_name_or_path="owner/base", revision=revision)
            assert TextEncoder(folder, backend="torch").fingerprint == whole

    def test_an_adapter_for_another_revision_of_its_base_is_refused(self, tmp_path, monkeypatch):
        folder = adapter(pylate(tmp_path / "model"))
        other = pylate(tmp_path / "other")
        revisions = {"a" * 40: tmp_path / "model-base", "b" * 40: other}
        cached(tmp_path / "cache", "owner/base", revisions, {"main": "b" * 40, "v1": "a" * 40})
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        edit(folder / "adapter_config.json", base_model_name_or_path="owner/base", revision="v1")
        with pytest.raises(ModelError, match=r"an adapter for 'owner/base', .* its revision 'v1', where .* the newest"):
            TextEncoder(folder, backend="torch")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"base_model_name_or_path": "owner/absent"}, r"is an adapter for 'owner/absent', which can't be used: .* the hub"),
            ({"base_model_name_or_path": None}, "doesn't say base_model_name_or_path"),
            ({"target_modules": ["key"]}, r"doesn't hold the matrix '.*key.*', which adapter_config.json asks for"),
        ],
        ids=["base", "no base", "matrices"],
    )
    def test_an_adapter_that_does_not_fit_is_refused(self, change, said, tmp_path, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        folder = adapter(pylate(tmp_path / "model"))
        edit(folder / "adapter_config.json", **change)
        with pytest.raises(ModelError, match=said):
            TextEncoder(folder, backend="torch")

    def test_settings_without_matrices_are_refused(self, tmp_path):
        folder = adapter(pylate(tmp_path / "model"))
        (folder / "adapter_model.safetensors").unlink()
        with pytest.raises(ModelError, match=r"adapter_model\.safetensors is missing"):
            TextEncoder(folder, backend="torch")

    def test_without_peft_the_message_says_what_to_install(self, tmp_path, monkeypatch):
        folder = adapter(pylate(tmp_path / "model"))
        monkeypatch.setattr("late_rerank.errors.is_installed", lambda package: package != "peft")
        with pytest.raises(
            MissingDependencyError, match=r'has an adapter, which needs .*peft.*pip install "late-rerank\[train\]"'
        ):
            TextEncoder(folder, backend="torch")


def in_shards(folder):
    """The same weights in two files, and an index that names the file of each."""
    weights = sorted(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    halves = {f"model-0000{i + 1}-of-00002.safetensors": dict(weights[i::2]) for i in range(2)}
    for name, part in halves.items():
        save_file(part, folder / name, metadata={"format": "pt"})
    places = {weight: name for name, part in halves.items() for weight in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def as_pickle(folder):
    """The same weights in torch's own format, as checkpoints of 2022 have them."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def of_type(folder, dtype, *, rounded_only=False):
    """The same weights rounded to a type: stored in it, or in float32."""
    for file in folder.rglob("model.safetensors"):
        rounded = {name: weight.to(dtype) for name, weight in load_file(file).items()}
        save_file(
            {name: weight.float() if rounded_only else weight for name, weight in rounded.items()}, file, {"format": "pt"}
        )
    if not rounded_only:
        edit(folder / "config.json", dtype=str(dtype).removeprefix("torch."), torch_dtype=str(dtype).removeprefix("torch."))
    return folder


FORMATS = {"stanford": stanford, "pylate": pylate, "native": native}


@pytest.mark.parametrize(
    ("made", "form"),
    [(stanford, as_pickle), (pylate, as_pickle), (native, as_pickle), (pylate, in_shards), (native, in_shards)],
)
def test_the_fingerprint_is_that_of_one_file_of_safetensors(made, form, tmp_path):
    one = TextEncoder(made(tmp_path / "one"), backend="torch")
    folder = form(made(tmp_path / "other"))
    other = TextEncoder(folder, backend="torch")
    assert other.fingerprint == one.fingerprint
    check_as_sentence_transformers(other, folder)


@pytest.mark.parametrize("made", FORMATS.values(), ids=FORMATS)
class TestFormsOfOneModel:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_half_precision_is_computed_as_the_float32_values_it_stands_for(self, made, dtype, tmp_path):
        folder = of_type(made(tmp_path / "half"), dtype)
        half = TextEncoder(folder, backend="torch")
        same = TextEncoder(of_type(made(tmp_path / "float"), dtype, rounded_only=True), backend="torch")
        assert half.fingerprint == same.fingerprint != TextEncoder(made(tmp_path / "exact"), backend="torch").fingerprint
        assert half.backend.precision == "f32"
        np.testing.assert_array_equal(half.encode_document(TEXTS).values, same.encode_document(TEXTS).values)
        check_as_sentence_transformers(half, folder)


@pytest.mark.parametrize("made", [pylate, native], ids=["pylate", "native"])
def test_a_missing_shard_is_named(made, tmp_path):
    folder = in_shards(made(tmp_path / "model"))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00002\.safetensors, which model\.safetensors\.index\.json"):
        TextEncoder(folder, backend="torch")


def test_stanfords_format_in_shards_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"has its weights in 2 files; .* Join them: .* save_file all as model\.safetensors"):
        TextEncoder(in_shards(stanford(tmp_path / "model")), backend="torch")


@pytest.mark.model
def test_a_compiled_model_of_half_precision_has_the_same_vectors_and_fingerprint_in_another_process(tmp_path):
    folder = of_type(pylate(tmp_path / "model"), torch.bfloat16)
    compiled = TextEncoder(folder, backend="onnx")
    check_as_sentence_transformers(compiled, folder)
    code = (
        "import sys; from late_rerank.encode import TextEncoder; print(TextEncoder(sys.argv[1], backend='torch').fingerprint)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code, folder], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.split()[-1] == compiled.fingerprint


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-was-here",)


@pytest.mark.parametrize("made", [stanford, pylate], ids=["stanford", "pylate"])
def test_a_pickle_that_holds_code_is_refused_and_not_run(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = as_pickle(made(tmp_path / "model"))
    torch.save({**torch.load(folder / "pytorch_model.bin"), "linear.weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can't be loaded"):
        TextEncoder(folder, backend="torch")
    assert not (tmp_path / "evil-was-here").exists()


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
