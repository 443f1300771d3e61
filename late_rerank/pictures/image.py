"""A picture in memory or in a file: PNG, JPEG, WebP, GIF, BMP or TIFF."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from late_rerank.errors import check_installed
from late_rerank.pictures.base import Picture

# Pillow opens more, but some start programs (EPS: Ghostscript).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
# A page of A4 at 600 dpi has 35 million. A PNG of 17 kB can hold 144 million, which take 430 MB.
MOST_PIXELS = 50_000_000

_URL = ("http:", "https:", "ftp:", "file:", "s3:", "gs:", "data:")


class PictureTooLargeError(ValueError):
    """A picture has more bytes or pixels than are taken. Nothing was decoded."""


class ImagePicture(Picture):
    """An image in memory or in a file. It is opened when it is encoded, and the first frame of several counts.

    The identity is that of the file's bytes, so the same picture in two formats is encoded twice. A Pillow image is known by
    its pixels.

    Args:
        source: The bytes of an image file, the path of one, or a Pillow image. Never a URL: fetch it yourself, and give the
            bytes.
        most_pixels: A larger image is refused before it is decoded.

    Raises:
        ValueError: If it is a URL, or no bytes.
        TypeError: If it is anything else.
    """

    def __init__(self, source: bytes | str | os.PathLike[str] | Any, *, most_pixels: int = MOST_PIXELS) -> None:
        if isinstance(source, str) and source.lower().startswith(_URL):
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
            held = self._source if isinstance(self._source, bytes) else _pillow_bytes(_upright(self._source))
            self._identity = hashlib.blake2b(held, digest_size=32).digest()
        return self._identity

    def pixels(self) -> Any:
        if _is_pillow(self._source):
            self._check_size(self._source)
            return _upright(self._source)
        with self._open() as image:
            return _upright(image)

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
                f"{self!r} has {width:,} x {height:,} pixels; at most {self._most_pixels:,} are taken: make it smaller"
            )
        return width, height

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


# (path, modification time, size, inode) -> digest; of the files that were asked for last.
_DIGESTS: dict[tuple[str, int, int, int], bytes] = {}
_MOST_DIGESTS = 4096


def file_digest(path: Path) -> bytes:
    """Digest a file's bytes; read again only if the file has changed.

    Raises:
        OSError: If the file can't be read.
    """
    stat = path.stat()
    known = (str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino)
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
    return type(source).__module__.partition(".")[0] == "PIL" or any(
        base.__module__ == "PIL.Image" for base in type(source).__mro__
    )


def _upright(image: Any) -> Any:
    """Turn an image by its EXIF orientation, and give it as RGB, on white where it is transparent."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - as in `pixels`

    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image)
    return image.convert("RGB")


def _eight_bits(image: Any) -> Any:
    """Bring 16 or 32 bits a pixel to 8. Pillow would cut them at 255: a scan in 16 bits would be all white."""
    import numpy as np  # noqa: PLC0415 - beside Pillow
    from PIL import Image  # noqa: PLC0415 - as in `pixels`

    values = np.asarray(image, dtype=np.float64)
    highest = 65535 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255
    scaled = np.clip(values / highest * 255, 0, 255).astype(np.uint8)
    return Image.fromarray(scaled).convert("RGB")


def _pillow_bytes(image: Any) -> bytes:
    held: bytes = f"{image.mode} {image.size} ".encode() + image.tobytes()
    return held
