"""A page's patches, in the order of its image tokens -> where each lies on the page. No torch here.

Proved without trained weights: in a model without layers a dot changes the vectors of the patches that hold it, and no others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from late_rerank.encode.base import Box

NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)
"""The box of a token that sees no part of the page: a marker, a prompt's word."""


def patch_boxes(processor: Any, features: Mapping[str, Any], size: tuple[int, int]) -> list[Box]:
    """Give the box of each patch of one page.

    Args:
        processor: The model's.
        features: What the processor made of the page.
        size: The page's width and height in pixels, as it was given.

    Returns:
        In the order of the image tokens that stand for patches.
    """
    images = processor.image_processor
    if "image_grid_thw" in features:  # Qwen: one grid, whose cells are merged
        _, rows, columns = np.asarray(features["image_grid_thw"]).reshape(3).tolist()
        return _grid(rows // images.merge_size, columns // images.merge_size)
    if hasattr(images, "do_image_splitting"):  # Idefics3, ModernVBERT
        return _tiles(processor, size)
    if hasattr(images, "max_side"):  # NeoMME
        return _whole_patches(images, size)
    side = math.isqrt(processor.image_seq_length)  # PaliGemma
    return _grid(side, side)


def leading_image_tokens(processor: Any) -> int:
    """Tell how many image tokens stand before a page's first patch: NeoMME's pages begin with one that is none."""
    return int(hasattr(processor.image_processor, "max_side"))


def resized(height: int, width: int, max_side: int | None, size: Any) -> tuple[int, int]:
    """Give the height and width to which NeoMME brings a page: within `max_side`, and within the pixels that `size` names.

    Source: `get_resize_output_size` in transformers 5.23, models/neomme/image_processing_neomme.py.
    """
    least, most = (None, None) if size is None else (size["min_pixels"], size["max_pixels"])
    grows = least is not None and height * width < least
    scale = (least / (height * width)) ** 0.5 if least is not None and grows else 1.0
    if max_side is not None:
        scale = min(scale, max_side / max(height, width))
    if most is not None:
        scale = min(scale, (most / (height * width)) ** 0.5)
    if scale == 1:
        return height, width

    def fits(sides: tuple[int, int]) -> bool:
        return (max_side is None or max(sides) <= max_side) and (most is None or math.prod(sides) <= most)

    rounded = max(1, round(height * scale)), max(1, round(width * scale))
    if not fits(rounded):
        return _within(max(1, math.floor(height * scale)), max(1, math.floor(width * scale)), most)
    if least is not None and grows and math.prod(rounded) < least:
        ceiled = max(1, math.ceil(height * scale)), max(1, math.ceil(width * scale))
        return ceiled if fits(ceiled) else rounded
    return rounded


def _within(height: int, width: int, most: int | None) -> tuple[int, int]:
    if most is None or height * width <= most:
        return height, width
    return (max(1, most // width), width) if height >= width else (height, max(1, most // height))


def _tiles(processor: Any, size: tuple[int, int]) -> list[Box]:
    """Tiles row by row, the patches of each in a row, then the whole page once more."""
    side = math.isqrt(processor.image_seq_len)
    _, rows, columns = processor.image_processor.get_number_of_image_patches(size[1], size[0], {})
    boxes = []
    for row in range(rows):
        for column in range(columns):
            tile = (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)
            boxes += _grid(side, side, tile)
    return boxes + _grid(side, side)


def _whole_patches(images: Any, size: tuple[int, int]) -> list[Box]:
    """Patches of the resized page. The last ones of its rows and columns lie partly beyond it, and are cut at its edge."""
    height, width = resized(size[1], size[0], images.max_side, images.size)
    side = images.patch_size
    return [
        (x / width, y / height, min((x + side) / width, 1.0), min((y + side) / height, 1.0))
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]


def _grid(rows: int, columns: int, within: Box = (0.0, 0.0, 1.0, 1.0)) -> list[Box]:
    left, top, right, bottom = within
    x = np.linspace(left, right, columns + 1).tolist()
    y = np.linspace(top, bottom, rows + 1).tolist()
    return [(x[column], y[row], x[column + 1], y[row + 1]) for row in range(rows) for column in range(columns)]
