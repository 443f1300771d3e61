"""Batches padded to widths at which an engine's vectors don't depend on how wide a batch is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.backends.backbone import Run
from late_rerank.types import F32

# In bfloat16, oneDNN sums attention over the keys in blocks. In a batch 112 wide, a text of 100 tokens got other vectors (by
# .012) than in a batch 111 wide, and the same vectors in all wider batches. 16 was enough on Zen 4 (AVX-512 BF16); 32 and 64
# are for processors with larger blocks. Padding to 16 cost up to 3 % of the time of 24 passages. Padding to 32 made a query
# take half as long again.
_MULTIPLES = (16, 32, 64)
# Widths within a block of each size, and one longer than a block of any size.
_TRIED = (23, 73, 105)


def steady(run: Run, config: Any) -> tuple[Run, int]:
    """Pad an engine's inputs, so that a text's vectors are the same to the last bit in any batch.

    Args:
        run: The engine.
        config: The Hugging Face model's config: its vocabulary, its padding and its positions.

    Returns:
        The engine with padding, and the multiple to which it pads; 0 if no multiple helps, in which case the largest is used.
    """
    most = getattr(config, "max_position_embeddings", None)
    for multiple in _MULTIPLES:
        padded = _padded(run, multiple, int(getattr(config, "pad_token_id", None) or 0), most)
        if _is_steady(padded, multiple, int(config.vocab_size), most):
            return padded, multiple
    return padded, 0


def _padded(run: Run, multiple: int, padding: int, most: int | None) -> Run:
    def padded(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> F32:
        n, width = ids.shape
        wide = max(width, min(-(-width // multiple) * multiple, most or width + multiple))
        if wide == width:
            return run(ids, mask)
        wide_ids, wide_mask = np.full((n, wide), padding, dtype=np.int64), np.zeros((n, wide), dtype=np.int64)
        wide_ids[:, :width], wide_mask[:, :width] = ids, mask
        return run(wide_ids, wide_mask)[:, :width]

    return padded


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
