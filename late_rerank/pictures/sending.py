"""A picture as a model that reads images is sent it: its size when it is scaled down, and its data URI."""

from __future__ import annotations

import base64
import io
from typing import Any

from late_rerank.pictures.base import Picture

# Pages of text stay sharp at this quality without halved colours.
_QUALITY = 90
# A page of text as PNG and as JPEG of quality 75 differs by 36 of 255 at most in its grey values, at 150 dpi. A comma for a
# full stop in 6 points, in black, makes 140.
_MOST_APART = 40
# Pixels of the longer side at which two pictures are compared: a digit of 8 points on a page of A4 is 11 pixels high.
_COMPARED = 1568


def shown_size(picture: Picture, longest: int) -> tuple[int, int]:
    """Give a picture's width and height when its longer side is at most so many pixels. It is never enlarged.

    The picture is decoded.

    Raises:
        ValueError: If it is damaged, too large, or known by its key alone.
        OSError: If it is in a file that can't be read.
        MissingDependencyError: If Pillow or PDFium isn't installed.
    """
    return _fitted(picture.pixels().size, longest)


def data_uri(picture: Picture, longest: int) -> str:
    """Give a picture as a data URI: PNG or JPEG, whichever is shorter, of the size that `shown_size` gives.

    Raises:
        ValueError: As in `shown_size`.
        OSError: As in `shown_size`.
        MissingDependencyError: As in `shown_size`.
    """
    image = _scaled(picture.pixels(), longest)
    png, jpeg = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG")
    image.save(jpeg, "JPEG", quality=_QUALITY, subsampling=0)
    kind, held = min((("png", png.getvalue()), ("jpeg", jpeg.getvalue())), key=lambda each: len(each[1]))
    return f"data:image/{kind};base64,{base64.b64encode(held).decode('ascii')}"


def look_the_same(one: Picture, other: Picture) -> bool:
    """Tell whether two pictures show the same, but for what a file's format and its compression change.

    No grey value may differ by a sixth of its range. So two forms that were filled in differently differ.

    Raises:
        ValueError: As in `shown_size`.
        OSError: As in `shown_size`.
        MissingDependencyError: As in `shown_size`.
    """
    from PIL import ImageChops  # noqa: PLC0415 - as in `_scaled`

    left, right = (_scaled(picture.pixels(), _COMPARED) for picture in (one, other))
    if left.size != right.size:
        return False
    apart: Any = ImageChops.difference(left.convert("L"), right.convert("L")).getextrema()
    return bool(apart[1] < _MOST_APART)


def _scaled(image: Any, longest: int) -> Any:
    from PIL import Image  # noqa: PLC0415 - 60 ms that a text's context need not pay

    size = _fitted(image.size, longest)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height
