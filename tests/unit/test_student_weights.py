"""Layers in 8-bit integers and a teacher's embeddings -> a student's weights."""

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from late_rerank.encode.query_side.weights import CODES, MAP, WORDS, student_weights, write_layers

MATRIX, BIAS, NORM = "encoder.layer.0.output.dense.weight", "encoder.layer.0.output.dense.bias", "embeddings.LayerNorm.weight"
random = np.random.default_rng(7)
TEACHER = {
    "0.model.embeddings.LayerNorm.weight": np.ones(6, np.float32),
    "0.model.embeddings.word_embeddings.weight": random.normal(size=(9, 6)).astype(np.float32),
    "0.model.encoder.layer.0.output.dense.weight": np.zeros((6, 8), np.float32),
    "0.model.encoder.layer.5.output.dense.bias": np.zeros(6, np.float32),
    "0.model.pooler.dense.weight": np.zeros((6, 6), np.float32),
}
OWN = {MATRIX: random.normal(size=(6, 8)).astype(np.float32), BIAS: random.normal(size=6).astype(np.float32)}
CORRECTION = {CODES: random.normal(size=(9, 2)).astype(np.float32), MAP: random.normal(size=(2, 6)).astype(np.float32)}


def weights(file):
    plain = SimpleNamespace(description=SimpleNamespace(weights={"prefix": "0.model."}), tensors=lambda: iter(TEACHER.items()))
    return {name.removeprefix("0.model."): values for name, values in student_weights(plain, file)}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "layers.safetensors"


def test_integers_are_off_by_half_a_step_at_most_and_vectors_are_exact(file):
    write_layers(file, OWN)
    found = weights(file)

    assert load_file(file)[MATRIX].dtype == np.int8
    steps = np.abs(OWN[MATRIX]).max(axis=1, keepdims=True) / 127
    assert (np.abs(found[MATRIX] - OWN[MATRIX]) <= steps * 0.5001).all()
    np.testing.assert_array_equal(found[BIAS], OWN[BIAS])
    assert all(values.dtype == np.float32 for values in found.values())


def test_what_was_rounded_once_stays_as_it_is(file):
    write_layers(file, OWN)
    once = weights(file)
    write_layers(file, {name: once[name] for name in OWN})

    np.testing.assert_allclose(weights(file)[MATRIX], once[MATRIX], rtol=1e-6)


def test_half_precision_is_kept(file):
    write_layers(file, OWN, "float16")

    np.testing.assert_array_equal(weights(file)[MATRIX], OWN[MATRIX].astype(np.float16).astype(np.float32))


def test_embeddings_are_the_teachers_and_its_layers_and_pooler_are_left_out(file):
    write_layers(file, OWN)
    found = weights(file)

    assert set(found) == {NORM, WORDS, MATRIX, BIAS}
    np.testing.assert_array_equal(found[WORDS], TEACHER[f"0.model.{WORDS}"])


def test_a_student_may_have_a_norm_of_its_own(file):
    write_layers(file, OWN | {NORM: np.full(6, 3, np.float32)})

    assert weights(file)[NORM].tolist() == [3] * 6


def test_a_correction_is_added_to_the_word_embeddings(file):
    write_layers(file, OWN | CORRECTION)
    found = weights(file)

    assert set(found) == {NORM, WORDS, MATRIX, BIAS}
    expected = TEACHER[f"0.model.{WORDS}"] + CORRECTION[CODES] @ CORRECTION[MAP]
    np.testing.assert_allclose(found[WORDS], expected, atol=0.1)
    assert np.abs(found[WORDS] - TEACHER[f"0.model.{WORDS}"]).max() > 0.5


def test_a_row_of_zeros_stays_one(file):
    write_layers(file, {MATRIX: np.zeros((6, 8), np.float32)})

    assert not weights(file)[MATRIX].any()


@pytest.mark.parametrize(
    ("more", "said"),
    [({WORDS: TEACHER[f"0.model.{WORDS}"]}, "are the teacher's"), ({CODES: CORRECTION[CODES]}, "one of them is missing")],
)
def test_what_can_not_be_kept_is_refused(more, said, file):
    with pytest.raises(ValueError, match=said):
        write_layers(file, OWN | more)
    assert not file.exists()
