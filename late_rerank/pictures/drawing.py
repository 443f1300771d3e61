"""Pillow images -> the bytes of images to be shown: a smaller JPEG, a layer of heat, a PNG with boxes drawn on it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

# A page as text needs these qualities; a noisy scan that is larger is made smaller after them.
_QUALITIES = (82, 70, 58, 45)
_SHRINK = 0.8
# No smaller, whatever its bytes.
_LEAST_SIDE = 200


class Jpeg(NamedTuple):
    """A JPEG file in memory.

    Attributes:
        content: The file's bytes.
        width: In pixels.
        height: In pixels.
    """

    content: bytes
    width: int
    height: int


class Drawn(NamedTuple):
    """A box to draw.

    Attributes:
        box: Left, top, right and bottom, in fractions of the image.
        colour: Red, green and blue, 0 to 255.
        opacity: Of its inside, from 0 to 1. Its edge is opaque.
        labels: What stands above it, each on a ground of its own colour. ASCII.
    """

    box: tuple[float, float, float, float]
    colour: tuple[int, int, int]
    opacity: float
    labels: Sequence[tuple[str, tuple[int, int, int]]]


def as_jpeg(image: Any, *, longest: int, most_bytes: int) -> Jpeg:
    """Write an image as JPEG, as well as the bytes allow. The same image gives the same bytes.

    Args:
        image: A Pillow image, mode "RGB".
        longest: The most pixels of its longer side.
        most_bytes: The most bytes; an image of 200 pixels a side may have more.
    """
    while True:
        smaller = _scaled(image, longest)
        for quality in _QUALITIES:
            content = _saved(smaller, "JPEG", quality=quality, optimize=True)
            if len(content) <= most_bytes:
                return Jpeg(content, *smaller.size)
        if max(smaller.size) <= _LEAST_SIDE:
            return Jpeg(content, *smaller.size)
        longest = max(int(max(smaller.size) * _SHRINK), _LEAST_SIDE)


def layer_png(opacities: bytes, width: int, colour: tuple[int, int, int]) -> bytes:
    """Write a layer of one colour as PNG.

    Args:
        opacities: One byte a pixel, row by row from the top left: 0 for nothing, 255 for the full colour.
        width: Pixels of a row.
        colour: Red, green and blue, 0 to 255.
    """
    from PIL import Image  # noqa: PLC0415 - 60 ms that only who draws should pay

    opacity = Image.frombytes("L", (width, len(opacities) // width), opacities)
    layer = Image.new("RGBA", opacity.size, (*colour, 0))
    layer.putalpha(opacity)
    return _saved(layer, "PNG")


def boxed_png(image: Any, boxes: Sequence[Drawn], *, longest: int) -> bytes:
    """Draw boxes on an image, and write it as PNG.

    Args:
        image: A Pillow image, mode "RGB".
        boxes: The later ones lie on top.
        longest: The most pixels of its longer side.
    """
    from PIL import Image, ImageDraw  # noqa: PLC0415 - as above

    shown = _scaled(image, longest).convert("RGBA")
    line = max(1, round(max(shown.size) / 700))
    for drawn in boxes:
        layer = Image.new("RGBA", shown.size, (*drawn.colour, 0))
        ImageDraw.Draw(layer).rectangle(
            _pixels(drawn.box, shown.size), (*drawn.colour, round(255 * drawn.opacity)), (*drawn.colour, 255), line
        )
        shown = Image.alpha_composite(shown, layer)
    draw = ImageDraw.Draw(shown)
    for drawn in boxes:
        _label(draw, drawn, shown.size)
    return _saved(shown.convert("RGB"), "PNG")


def _label(draw: Any, drawn: Drawn, size: tuple[int, int]) -> None:
    """Write a box's labels in a row above its top left corner, within the image."""
    from PIL import ImageFont  # noqa: PLC0415 - as above

    height = max(9, round(max(size) / 80))
    font = ImageFont.load_default(height)
    left, top, _, bottom = _pixels(drawn.box, size)
    top = top - height - 2 if top > height + 2 else bottom
    for text, colour in drawn.labels:
        width = round(draw.textlength(text, font)) + 4
        draw.rectangle((left, top, left + width, top + height + 2), colour)
        draw.text((left + 2, top + 1 + height // 2), text, "white", font, anchor="lm")
        left += width + 1


def _pixels(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Give the pixels of a box: at least one, and all within the image."""
    width, height = size
    left, top = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    return left, top, max(round(box[2] * width) - 1, left), max(round(box[3] * height) - 1, top)


def _scaled(image: Any, longest: int) -> Any:
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    return image.resize(tuple(max(1, round(side * scale)) for side in image.size))


def _saved(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
