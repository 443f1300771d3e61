"""An image file -> its picture, decoded once: damage must show while a corpus is read, not in each search."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from late_rerank.errors import is_installed
from late_rerank.pictures import ImagePicture

# A TIFF file's first bytes -> its byte order; and how a count, and a place in the file, are written. The last two are BigTIFF.
_TIFF = {b"II*\0": "<HI", b"MM\0*": ">HI", b"II+\0": "<QQ", b"MM\0+": ">QQ"}


def read_image(file: Path) -> tuple[ImagePicture, str | None]:
    """Make an image file's picture, and decode it once: 30 ms a page, beside seconds of encoding.

    Without Pillow nothing is decoded: `index` looks for a first document before it knows whether the model sees images.

    Returns:
        The picture; and what of the file isn't read, in words, or None.

    Raises:
        ValueError: If it is damaged, too large, or no image.
        OSError: If it can't be read.
    """
    if not file.is_file() or not file.stat().st_size:
        raise ValueError("no image: it is empty, or no regular file")
    picture = ImagePicture(file)
    if is_installed("PIL"):
        picture.pixels()
    return picture, _frames_left_out(file)


def _frames_left_out(file: Path) -> str | None:
    """Say which frames of a TIFF file aren't read: they are pages. Frames of other formats are those of an animation."""
    with file.open("rb") as held:
        written = _TIFF.get(held.read(4))
        if written is None:
            return None
        try:
            n_frames = _n_frames(held, *written)
        except (OverflowError, ValueError, struct.error):
            return "only its first frame is read; what follows is damaged"
    return None if n_frames == 1 else f"only the first of {n_frames:,} frames is read; save each as a file of its own"


def _n_frames(held: BinaryIO, order: str, count: str, place: str) -> int:
    """Follow the chain of a TIFF file's directories. Not with Pillow, which warns of each tag that it doesn't like."""

    def number(kind: str) -> int:
        size = struct.calcsize(order + kind)
        return int(struct.unpack(order + kind, held.read(size))[0])

    is_big = place == "Q"
    held.seek(8 if is_big else 4)
    seen: set[int] = set()
    while (at := number(place)) and at not in seen:
        seen.add(at)
        held.seek(at)
        held.seek(number(count) * (20 if is_big else 12), 1)
    return len(seen)
