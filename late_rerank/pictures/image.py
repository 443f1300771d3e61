"""A picture in memory or in a file: PNG, JPEG, WebP, GIF, BMP or TIFF."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from late_rerank.errors import check_installed
from late_rerank.pictures.base import Picture, names_url

# Pillow opens more, but some start programs (EPS: Ghostscript).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
# A page of A4 at 600 dpi has 35 million. A PNG of 17 kB can hold 144 million, which take 430 MB.
MOST_PIXELS = 50_000_000


class PictureTooLargeError(ValueError):
    """A picture has more bytes or pixels than are taken. Nothing was decoded."""


class ImagePicture(Picture):
    """An image in memory or in a file. It is opened when it is encoded, and the first frame of several counts.

    The identity is that of the file's bytes, so the same picture in two formats is encoded twice. A Pillow image is known by
    its pixels; don't change it afterwards. Two pictures of one source are equal.

    Args:
        source: The bytes of an image file, the path of one, or a Pillow image. Never a URL: fetch it yourself, and give the
            bytes.
        most_pixels: A larger image is refused before it is decoded.

    Raises:
        ValueError: If it is a URL, or no bytes.
        TypeError: If it is anything else.
    """

    def __init__(self, source: bytes | str | os.PathLike[str] | Any, *, most_pixels: int = MOST_PIXELS) -> None:
        if isinstance(source, str) and names_url(source):
            raise ValueError(
                f"an image must be bytes, a path or a Pillow image, not a URL: fetch {source:.60} and give its bytes"
            )
        if isinstance(source, (bytes, bytearray, memoryview)):
            source = bytes(source)
            if not source:
                raise ValueError("an image must have bytes, got none")
        elif isinstance(source, (str, os.PathLike)):
            source = Path(source)
        elif not _is_pillow(source):
            raise TypeError(f"an image must be bytes, a path or a Pillow image, got {type(source).__name__}: {source!r:.60}")
        self._source: bytes | Path | Any = source
        self._most_pixels = most_pixels
        self._identity: bytes | None = None

    @property
    def path(self) -> Path | None:
        """The image's file; None for an image in memory."""
        return self._source if isinstance(self._source, Path) else None

    def identity(self) -> bytes:
        if isinstance(self._source, Path):
            return file_digest(self._source)
        if self._identity is None:
            held = self._source if isinstance(self._source, bytes) else _pillow_bytes(self.pixels())
            self._identity = hashlib.blake2b(held, digest_size=32).digest()
        return self._identity

    def pixels(self) -> Any:
        if not _is_pillow(self._source):
            with self._open() as image:
                return _upright(image)
        self._check_size(self._source)
        try:
            return _upright(self._source)
        except (OSError, SyntaxError) as error:  # a file that Pillow opened, and is damaged further on
            raise ValueError(f"a Pillow image can't be decoded: {error}") from error

    def size(self) -> tuple[int, int]:
        """Read the width and the height from the file's header. Nothing is decoded, and nothing turned upright.

        Raises:
            PictureTooLargeError: If there are more pixels than are taken.
            ValueError: If it is no image of these formats.
            OSError: If it is in a file that can't be read.
            MissingDependencyError: If Pillow isn't installed.
        """
        if _is_pillow(self._source):
            return self._check_size(self._source)
        with self._open() as image:
            return self._check_size(image)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Open the file with Pillow, check its size, and tell what goes wrong until the end of the block."""
        check_installed("an image", "visual", "PIL")
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - 60 ms that a stored picture need not pay

        shown = str(self.path or "the image")
        try:
            with Image.open(self._opened(), formats=FORMATS) as image:
                self._check_size(image)
                yield image
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # a warning where warnings are errors
            raise PictureTooLargeError(
                f"{shown} has too many pixels; at most {self._most_pixels:,} are taken: {error}"
            ) from error
        except UnidentifiedImageError as error:
            raise ValueError(f"{shown} is no whole image of {', '.join(FORMATS)}") from error
        except (OSError, SyntaxError) as error:  # SyntaxError: a damaged PNG
            raise ValueError(f"{shown} is no whole image of {', '.join(FORMATS)}: {error}") from error

    def _opened(self) -> Path | io.BytesIO:
        return self._source if isinstance(self._source, Path) else io.BytesIO(self._source)

    def _check_size(self, image: Any) -> tuple[int, int]:
        width, height = image.size
        if width * height > self._most_pixels:
            raise PictureTooLargeError(
                f"{self.path or 'the image'} has {width:,} x {height:,} pixels; at most {self._most_pixels:,} are taken: make "
                "it smaller"
            )
        return width, height

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImagePicture) and bool(self._source == other._source)

    def __hash__(self) -> int:
        return hash(self.identity() if _is_pillow(self._source) else self._source)

    def __repr__(self) -> str:
        if self.path is not None:
            return f"ImagePicture({str(self.path)!r})"
        return f"ImagePicture({'bytes' if isinstance(self._source, bytes) else 'a Pillow image'})"


def as_picture(given: Picture | bytes | str | os.PathLike[str] | Any) -> Picture:
    """Make a Picture of what a user gave: bytes, a path or a Pillow image; a Picture as it is.

    Raises:
        ValueError: If it is a URL, or no bytes.
        TypeError: If it is anything else.
    """
    return given if isinstance(given, Picture) else ImagePicture(given)


# Rows that are brought to 8 bits at once.
_BAND = 256

# (path, modification time, size, inode) -> digest; of the files that were asked for last.
_DIGESTS: dict[tuple[str, int, int, int], bytes] = {}
# 10 MB of memory. A folder of more scans would be read from disk in each query.
_MOST_DIGESTS = 50_000


def check_regular(path: Path) -> os.stat_result:
    """Refuse what is no regular file, before it is opened: a pipe would wait for its writer, and a device never ends.

    Raises:
        ValueError: If it is none.
        OSError: If there is nothing at the path.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # opening a folder is an error already
        raise ValueError(f"{path} is no regular file")
    return found


def file_digest(path: Path) -> bytes:
    """Digest a file's bytes; read again only if the file has changed.

    Raises:
        ValueError: If it is no regular file.
        OSError: If the file can't be read.
    """
    status = check_regular(path)
    known = (str(path), status.st_mtime_ns, status.st_size, status.st_ino)
    found = _DIGESTS.get(known)
    if found is None:
        digest = hashlib.blake2b(digest_size=32)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        found = digest.digest()
        while len(_DIGESTS) >= _MOST_DIGESTS:
            _DIGESTS.pop(next(iter(_DIGESTS)), None)
        _DIGESTS[known] = found
    return found


def _is_pillow(source: object) -> bool:
    return any((base.__module__, base.__qualname__) == ("PIL.Image", "Image") for base in type(source).__mro__)


def _upright(image: Any) -> Any:
    """Turn an image by its EXIF orientation, and give it as RGB, on white where it is transparent."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - as in `pixels`

    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        seen = image.convert("RGBA")
        white = Image.new("RGB", seen.size, "white")
        white.paste(seen, mask=seen)
        return white
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image)
    return image.convert("RGB")


def _eight_bits(image: Any) -> Any:
    """Bring 16 or 32 bits a pixel to 8. Pillow would cut them at 255: a scan in 16 bits would be all white."""
    import numpy as np  # noqa: PLC0415 - beside Pillow
    from PIL import Image  # noqa: PLC0415 - as in `pixels`

    values = np.asarray(image)
    highest = 65535 if image.mode.startswith("I;16") else _highest(float(np.nanmax(values)) if values.size else 0.0)
    grey = np.empty(values.shape, dtype=np.uint8)
    for start in range(0, len(values), _BAND):  # at once, 50 million pixels would take a gigabyte
        band = np.nan_to_num(values[start : start + _BAND].astype(np.float32), nan=0.0, posinf=highest)
        grey[start : start + _BAND] = np.clip(band / highest * 255, 0, 255)
    return Image.fromarray(grey).convert("RGB")


def _highest(most: float) -> float:
    """Guess the value of white from the largest value: floats end at 1, bytes at 255, and scans at 65,535."""
    return next((white for white in (1.0, 255.0, 65535.0) if most <= white), most)


def _pillow_bytes(image: Any) -> bytes:
    held: bytes = f"{image.mode} {image.size} ".encode() + image.tobytes()
    return held
