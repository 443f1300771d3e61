"""Batches padded to widths at which an engine's vectors don't depend on how wide a batch is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.backends.run import Run
from late_rerank.types import F32

# In bfloat16, oneDNN sums attention over the keys in blocks. In a batch 112 wide, a text of 100 tokens got other vectors (by
# .012) than in a batch 111 wide, and the same vectors in all wider batches. 16 was enough on Zen 4 (AVX-512 BF16); 32 and 64
# are for processors with larger blocks. Padding to 16 cost up to 3 % of the time of 24 passages. Padding to 32 made a query
# take half as long again.
_MULTIPLES = (16, 32, 64)
# Widths within a block of each size, and one longer than a block of any size.
_TRIED = (23, 73, 105)


def steady(run: Run, n_words: int, padding: int, most: int | None) -> int:
    """Find the multiple to which an engine's inputs must be padded, so that a text's vectors are the same in any batch.

    Args:
        run: The engine.
        n_words: Ids below this are tokens.
        padding: The id that pads.
        most: The most tokens that the model has positions for; None for no limit.

    Returns:
        0 if no multiple makes them the same to the last bit.
    """
    return next((m for m in _MULTIPLES if _is_steady(padded(run, m, padding, most), m, n_words, most)), 0)


def padded(run: Run, multiple: int, padding: int, most: int | None) -> Run:
    """Pad an engine's inputs to whole blocks, as far as the model has positions.

    Args:
        run: The engine.
        multiple: As `steady` gives it; for 0 the largest is used.
        padding: The id that pads.
        most: As for `steady`.
    """
    multiple = multiple or _MULTIPLES[-1]

    def run_padded(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> F32:
        n, width = ids.shape
        wide = max(width, min(-(-width // multiple) * multiple, most or width + multiple))
        if wide == width:
            return run(ids, mask)
        wide_ids, wide_mask = np.full((n, wide), padding, dtype=np.int64), np.zeros((n, wide), dtype=np.int64)
        wide_ids[:, :width], wide_mask[:, :width] = ids, mask
        return run(wide_ids, wide_mask)[:, :width]

    return run_padded


def _is_steady(run: Run, multiple: int, n_words: int, most: int | None) -> bool:
    """Tell whether texts have the same vectors alone and beside a text that is longer by more than a block."""
    words = np.random.default_rng(0)
    for width in _TRIED:
        longer = width + 2 * multiple
        if most is not None and longer > most:
            break
        ids, mask = words.integers(0, n_words, (2, longer)), np.ones((2, longer), dtype=np.int64)
        mask[0, width:] = 0
        alone = run(ids[:1, :width], mask[:1, :width])
        if not np.array_equal(alone[0], run(ids, mask)[0, :width]):
            return False
    return True
