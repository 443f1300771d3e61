"""Batches are padded to widths at which an engine that sums in blocks gives each text the same vectors."""

import numpy as np
import pytest

from late_rerank.encode.backends.widths import padded, steady


def summing_in_blocks(block, seen=None):
    """An engine whose rows are one number: which of their tokens fill whole blocks of the batch's width."""

    def run(ids, mask):
        if seen is not None:
            seen.append(ids.copy())
        whole = ids.shape[1] // block * block
        hidden = (ids * mask)[:, :whole].sum(axis=1) + 2.0 * (ids * mask)[:, whole:].sum(axis=1)
        return np.repeat(hidden.astype(np.float32)[:, None, None], ids.shape[1], axis=1)

    return run


@pytest.mark.parametrize(("block", "multiple"), [(1, 16), (8, 16), (16, 16), (32, 32), (64, 64), (48, 0)])
def test_the_least_multiple_that_is_steady_is_taken(block, multiple):
    assert steady(summing_in_blocks(block), 50, 1, None) == multiple


@pytest.mark.parametrize("width", [1, 15, 16, 17, 100])
def test_the_width_asked_for_comes_back_and_padding_is_the_models_own(width):
    seen = []
    run = padded(summing_in_blocks(16, seen), 16, 1, None)
    ids = np.full((3, width), 7)
    assert run(ids, np.ones_like(ids)).shape == (3, width, 1)
    assert seen[-1].shape[1] == -(-width // 16) * 16
    assert (seen[-1][:, width:] == 1).all()


def test_no_batch_is_wider_than_the_model_has_positions():
    seen = []
    assert steady(summing_in_blocks(16, seen), 50, 0, 78) == 16
    run = padded(summing_in_blocks(16, seen), 16, 0, 78)
    ids = np.full((1, 70), 7)
    run(ids, np.ones_like(ids))
    assert max(batch.shape[1] for batch in seen) == 78


def test_where_no_multiple_is_steady_the_largest_is_used():
    seen = []
    ids = np.full((1, 70), 7)
    padded(summing_in_blocks(48, seen), 0, 1, None)(ids, np.ones_like(ids))
    assert seen[-1].shape[1] == 128
