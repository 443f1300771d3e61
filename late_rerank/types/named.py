"""Documents that are found by a name instead of their content: where a team keeps the vectors under ids of its own."""

from __future__ import annotations

from typing import Any

from late_rerank.pictures import Picture


class RowKey(bytes):
    """A key that carries the name of the row that it stands for, since a digest can't be read back.

    Args:
        digest: 16 bytes, of the name and of where the row lies.
        row: The name of the row, as its store asks for it.

    Attributes:
        row: As given.
    """

    row: Any

    def __new__(cls, digest: bytes, row: Any) -> RowKey:
        key = super().__new__(cls, digest)
        key.row = row
        return key

    def __reduce__(self) -> tuple[Any, ...]:
        return RowKey, (bytes(self), self.row)


class NamedText(str):
    """A document's text, with the key of its row. It is encoded if the row is missing, and kept under a key of its own.

    Args:
        text: The text; may be empty, since the row has the vectors.
        key: The row's key.
    """

    _key: bytes

    def __new__(cls, text: str, key: bytes) -> NamedText:
        named = super().__new__(cls, text)
        named._key = key
        return named

    def key(self) -> bytes:
        """Give the row's key, 16 bytes."""
        return self._key

    @property
    def unnamed(self) -> str:
        """The text alone."""
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedText, (str(self), self._key)


class NamedPicture(Picture):
    """A document's picture, with the key of its row. It is encoded if the row is missing, and kept under a key of its own.

    Args:
        picture: The picture.
        key: The row's key.
    """

    def __init__(self, picture: Picture, key: bytes) -> None:
        self._picture, self._key = picture, key

    def identity(self) -> bytes:
        """As in Picture."""
        return self._picture.identity()

    def pixels(self) -> Any:
        """As in Picture."""
        return self._picture.pixels()

    def key(self) -> bytes:
        """Give the row's key, 16 bytes."""
        return self._key

    @property
    def unnamed(self) -> Picture:
        """The picture alone."""
        return self._picture

    def __repr__(self) -> str:
        return repr(self._picture)
