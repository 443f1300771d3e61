"""Parts of published checkpoints that readers overlook: activations, residuals, nested settings, rotary positions, formats."""

import json

import numpy as np
import pytest
from published import build
from safetensors.torch import load_file, save_file

from late_rerank.encode import TextEncoder
from late_rerank.encode.checkpoint import read_checkpoint
from late_rerank.errors import ModelError

pytestmark = pytest.mark.model  # one of them is compiled

TEXTS = ["What is late interaction?", "the cat sat on the mat", "Which planet is known as the Red Planet? " * 60]
STANFORD, PORT = "answerdotai/answerai-colbert-small-v1", "lightonai/answerai-colbert-small-v1"


def edit(file, remove=(), **changes):
    values = {**json.loads(file.read_text(encoding="utf-8")), **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if key not in remove}), encoding="utf-8")


def by_torch(folder):
    return TextEncoder(folder, backend="torch")


def vectors(encoder):
    return encoder.encode_query(TEXTS).values, encoder.encode_document(TEXTS).values


@pytest.mark.parametrize(
    ("activation", "said"),
    [
        ("transformers.activations.NewGELUActivation", "names the activation 'transformers.activations.NewGELUActivation'"),
        (None, "names no activation"),
        (3, "names the activation 3"),
    ],
)
def test_a_projection_whose_activation_would_become_tanh_is_refused(activation, said, tmp_path):
    folder = build("lightonai/LateOn", tmp_path / "model")
    edit(folder / "2_Dense" / "config.json", activation_function=activation)
    with pytest.raises(ModelError, match=f"2_Dense/config.json {said}.*would take Tanh.*Identity"):
        read_checkpoint(folder)


@pytest.mark.parametrize(("key", "value", "name"), [("use_residual", True, "residual.weight"), ("bias", True, "linear.bias")])
def test_a_projection_that_lacks_a_weight_of_its_settings_is_refused(key, value, name, tmp_path):
    folder = build("lightonai/LateOn", tmp_path / "model")
    edit(folder / "3_Dense" / "config.json", **{key: value})
    with pytest.raises(ModelError, match=f"3_Dense/model.safetensors holds no '{name}'"):
        read_checkpoint(folder)


def test_a_residual_between_layers_of_one_size_has_no_weight(tmp_path):
    folder = build("lightonai/LateOn", tmp_path / "model")
    square = folder / "1_Dense"
    edit(square / "config.json", out_features=32)
    weights = load_file(square / "model.safetensors")
    save_file({"linear.weight": weights["linear.weight"][:32].contiguous()}, square / "model.safetensors")
    edit(folder / "2_Dense" / "config.json", in_features=32)
    save_file({"linear.weight": weights["linear.weight"][:32].contiguous()}, folder / "2_Dense" / "model.safetensors")
    assert by_torch(folder).dim == 128


def test_an_activation_of_torch_is_compiled(tmp_path):
    """PyLate's documentation shows such a stack."""
    folder = build("mixedbread-ai/mxbai-edge-colbert-v0-32m", tmp_path / "model")
    edit(folder / "1_Dense" / "config.json", activation_function="torch.nn.modules.activation.GELU")
    ours, theirs = TextEncoder(folder, backend="onnx"), by_torch(folder)
    assert ours.backend.name == "onnx"
    for one, other in zip(vectors(ours), vectors(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_stanfords_settings_may_stand_in_an_object_within_the_file(tmp_path):
    """Stanford's own reader takes both; sentence-transformers takes the defaults of what it doesn't find."""
    changes = {"query_maxlen": 24, "doc_maxlen": 90, "mask_punctuation": False, "attend_to_mask_tokens": True}
    flat, nested = (build("colbert-ir/colbertv2.0", tmp_path / name) for name in ("flat", "nested"))
    edit(flat / "artifact.metadata", **changes)
    settings = json.loads((flat / "artifact.metadata").read_text())
    (nested / "artifact.metadata").write_text(json.dumps({"config": settings, "meta": settings.pop("meta")}))
    ours, theirs = by_torch(nested), by_torch(flat)
    assert ours.fingerprint == theirs.fingerprint
    assert ours._model.layout.settings() == theirs._model.layout.settings()
    assert (ours.query_tokens, ours.window_tokens, ours._model.layout.skiplist) == (24, 90, {})
    for one, other in zip(vectors(ours), vectors(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_length_beyond_the_configs_positions_is_refused_only_where_positions_are_a_table(tmp_path):
    rotary, table = (build(name, tmp_path / str(i)) for i, name in enumerate(("lightonai/LateOn", PORT)))
    edit(rotary / "config.json", max_position_embeddings=200)
    encoder = by_torch(rotary)
    assert encoder.window_tokens == 300
    assert len(encoder.encode_document([TEXTS[2]]).rows(0)) > 300
    edit(table / "config_sentence_transformers.json", document_length=600)
    with pytest.raises(ModelError, match="says a length of 600 tokens, but has positions for 512"):
        by_torch(table)


def test_a_training_left_truncation_and_padding_in_the_tokenizers_file(tmp_path):
    """PyLate saves what its last call set: LateOn-Code-edge's file cuts at 2,047 tokens and pads with [MASK]."""
    plain, stale = (build("lightonai/LateOn", tmp_path / name) for name in ("plain", "stale"))
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 50284, "pad_type_id": 0}
    cut = {"direction": "Right", "max_length": 47, "strategy": "LongestFirst", "stride": 0}
    edit(stale / "tokenizer.json", truncation=cut, padding={**padding, "pad_token": "[MASK]"})
    ours, theirs = by_torch(stale), by_torch(plain)
    assert ours.fingerprint == theirs.fingerprint
    np.testing.assert_array_equal(ours.encode_document(TEXTS).values, theirs.encode_document(TEXTS).values)


@pytest.mark.parametrize("name", [STANFORD, PORT, "lightonai/LateOn", "lightonai/ColBERT-Zero", "lightonai/LateOn-Code-edge"])
def test_saved_in_sentence_transformers_own_format_it_is_the_same_model(name, tmp_path):
    from sentence_transformers import MultiVectorEncoder

    folder = build(name, tmp_path / "published")
    MultiVectorEncoder(str(folder), device="cpu").save_pretrained(str(tmp_path / "native"), create_model_card=False)
    ours, theirs = by_torch(folder), by_torch(tmp_path / "native")
    assert (ours.format, theirs.format) == (read_checkpoint(folder).format, "native")
    assert ours.fingerprint == theirs.fingerprint
    for one, other in zip(vectors(ours), vectors(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_stanfords_checkpoint_and_its_port_have_the_same_vectors(tmp_path):
    """Their fingerprints differ, for the port finds its markers in lower case: "[UNUSED0]" in a text is one token there."""
    ours, theirs = (by_torch(build(name, tmp_path / str(i))) for i, name in enumerate((STANFORD, PORT)))
    for one, other in zip(vectors(ours), vectors(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert len(ours.encode_document(["[UNUSED0]"]).values) > len(theirs.encode_document(["[UNUSED0]"]).values)
