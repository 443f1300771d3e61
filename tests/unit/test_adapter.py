"""A small file that adapts weights: to the last bit the same everywhere, or the model would have several fingerprints."""

import numpy as np
import pytest

from late_rerank.encode.adapter import adapted, write_adapter


@pytest.fixture
def weights():
    numbers = np.random.default_rng(0)
    return {f"{i}.weight": numbers.standard_normal(shape, dtype=np.float32) for i, shape in enumerate([(40, 24), (8, 40)])}


def factors(rank=16, order=None):
    numbers = np.random.default_rng(1)
    down, up = numbers.standard_normal((rank, 24)) * 0.3, numbers.standard_normal((40, rank)) * 0.01
    order = np.arange(rank) if order is None else order
    return {"0": (down[order], up[:, order])}


def test_the_product_is_added_to_the_layer_it_names_and_to_no_other(weights, tmp_path):
    before = {name: values.copy() for name, values in weights.items()}
    projection = np.random.default_rng(2).standard_normal((4, 8))
    write_adapter(tmp_path / "adapter.safetensors", factors(), projection)
    changed, found = adapted(tmp_path / "adapter.safetensors", weights)

    down, up = factors()["0"]
    assert changed.keys() == {"0.weight"}
    assert changed["0.weight"].dtype == found.dtype == np.float32
    np.testing.assert_allclose(changed["0.weight"], before["0.weight"] + up @ down, atol=1e-4)
    assert np.abs(changed["0.weight"] - before["0.weight"]).max() > 0.01
    np.testing.assert_array_equal(found, projection.astype(np.float16).astype(np.float32))
    for name, values in weights.items():
        np.testing.assert_array_equal(values, before[name])


def test_the_order_of_the_sum_changes_no_bit(weights, tmp_path):
    found = []
    for order in (np.arange(16), np.random.default_rng(3).permutation(16), np.arange(15, -1, -1)):
        write_adapter(tmp_path / "a.safetensors", factors(order=order), np.zeros((4, 8)))
        found.append(adapted(tmp_path / "a.safetensors", weights)[0]["0.weight"])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
