"""A small file that adapts weights: to the last bit the same everywhere, or the model would have several fingerprints."""

import pytest
import torch

from late_rerank.encode.adapter import add_adapter, write_adapter


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(24, 40), torch.nn.Linear(40, 8))


def factors(rank=16, order=None):
    torch.manual_seed(1)
    down, up = torch.randn(rank, 24) * 0.3, torch.randn(40, rank) * 0.01
    order = torch.arange(rank) if order is None else order
    return {"0": (down[order], up[:, order])}


def test_the_product_is_added_to_the_layer_it_names_and_to_no_other(transformer, tmp_path):
    before = [layer.weight.detach().clone() for layer in transformer]
    projection = torch.randn(4, 8)
    write_adapter(tmp_path / "adapter.safetensors", factors(), projection)
    found = add_adapter(transformer, tmp_path / "adapter.safetensors")

    down, up = factors()["0"]
    torch.testing.assert_close(transformer[0].weight.detach(), before[0] + up @ down, atol=1e-4, rtol=0)
    assert (transformer[0].weight - before[0]).abs().max() > 0.01
    assert torch.equal(transformer[1].weight, before[1])
    assert torch.equal(found, projection.half().float())


def test_the_order_of_the_sum_changes_no_bit(transformer, tmp_path):
    plain = transformer[0].weight.detach().clone()
    found = []
    for order in (torch.arange(16), torch.randperm(16), torch.arange(15, -1, -1)):
        transformer[0].weight.data.copy_(plain)
        write_adapter(tmp_path / "a.safetensors", factors(order=order), torch.zeros(4, 8))
        add_adapter(transformer, tmp_path / "a.safetensors")
        found.append(transformer[0].weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
