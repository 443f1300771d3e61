"""The Picture: an image that a document has, known by its content and decoded only when it is encoded."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from typing import Any

KEY_BYTES = 16
# No text has a picture's key, whatever both hold.
_EMPTY = hashlib.blake2b(digest_size=KEY_BYTES, person=b"image")


# "C:" is a drive. Some schemes are known without slashes too.
_URL = re.compile(r"\s*(?:[a-z][a-z0-9+.-]+://|(?:data|file|ftp|gs|https?|s3):)", re.IGNORECASE)


def names_url(path: str) -> bool:
    """Tell whether a text that should be a path is a URL. None is ever opened."""
    return _URL.match(path) is not None


class PictureError(ValueError):
    """A picture can't be decoded, or is one that the model can't take. The message names it.

    An encoder raises it for the picture that is to blame. Then a Reranker tells the user which document it is.

    Args:
        message: What is wrong with the picture.
        picture: The picture.
    """

    def __init__(self, message: str, picture: Picture) -> None:
        super().__init__(message, picture)
        self.message = message
        self.picture = picture

    def __str__(self) -> str:
        return self.message

    @property
    def reason(self) -> str:
        """What is wrong with the picture, without the places that were put before it."""
        return self.__cause__.reason if isinstance(self.__cause__, PictureError) else self.message

    def at(self, place: str) -> PictureError:
        """Give the same error with the picture's place among the user's documents before the message."""
        return type(self)(f"{place}: {self.message}", self.picture)


class Picture(ABC):
    """An image of a document: a photo, a scan, a page of a PDF file. Its law is `late_rerank.testing.PictureTests`."""

    @abstractmethod
    def identity(self) -> bytes:
        """Give the bytes that tell this picture from all others: equal bytes mean equal pixels.

        A store is asked with them in each query, so they must be cheap: decode and render nothing here.

        Raises:
            OSError: If the picture is in a file that can't be read.
        """

    @abstractmethod
    def pixels(self) -> Any:
        """Decode the picture: a Pillow image, mode "RGB", turned upright.

        Raises:
            ValueError: If it is damaged, or larger than is taken.
            OSError: If it is in a file that can't be read.
            MissingDependencyError: If Pillow or PDFium isn't installed.
        """

    def key(self) -> bytes:
        """Digest the identity: the picture's key in a store, 16 bytes.

        Raises:
            OSError: If the picture is in a file that can't be read.
        """
        digest = _EMPTY.copy()
        digest.update(self.identity())
        return digest.digest()


class StoredPicture(Picture):
    """A picture that was indexed before, known by its key alone. It can be scored, but not encoded again.

    Args:
        key: As `Picture.key` gave it: 16 bytes, or 32 hexadecimal digits.

    Raises:
        TypeError: If it is neither bytes nor a text.
        ValueError: If it is no key.
    """

    def __init__(self, key: bytes | str) -> None:
        if not isinstance(key, (bytes, bytearray, memoryview, str)):
            raise TypeError(f"a picture's key must be bytes or hexadecimal digits, got {type(key).__name__}: {key!r:.60}")
        try:
            self._key = bytes.fromhex(key) if isinstance(key, str) else bytes(key)
        except ValueError:
            self._key = b""
        if len(self._key) != KEY_BYTES:
            raise ValueError(
                f"a picture's key must be {KEY_BYTES} bytes or {2 * KEY_BYTES} hexadecimal digits, got {key!r:.60}"
            )

    def identity(self) -> bytes:
        return self._key

    def key(self) -> bytes:
        return self._key

    def pixels(self) -> Any:
        raise ValueError(f"the picture with the key {self._key.hex()} isn't in the store: index it, or give the image itself")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredPicture) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"StoredPicture({self._key.hex()!r})"
