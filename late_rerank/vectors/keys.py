"""Contents -> keys: what a store knows of a document, and which of several documents a batch of packed documents holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from late_rerank.text.words import is_blank
from late_rerank.types import I64, Content, Encodable, GivenVectors, NamedText, PackedVectors
from late_rerank.vectors.documents import KeyedDocuments

_EMPTY = hashlib.blake2b(digest_size=16)
_ALL = slice(None)


def key_of(content: Content) -> bytes:
    """Digest a document's content: its key, 16 bytes.

    The same content is encoded once, whatever ids or corpora bring it. A changed one has a new key, so nothing goes stale. No
    picture has a text's key. A document that a store finds by its id has its row's key.

    Raises:
        OSError: If it is a picture in a file that can't be read.
    """
    if not isinstance(content, str) or isinstance(content, NamedText):
        return content.key()
    digest = _EMPTY.copy()  # a quarter faster than making one
    digest.update(content.encode("utf-8", "surrogatepass"))
    return digest.digest()


def is_nothing(content: Content) -> bool:
    """Tell whether there is nothing to compare: a blank text, or token vectors without a row."""
    if isinstance(content, (GivenVectors, NamedText)):  # a named document has its vectors in a row, whatever its text
        return isinstance(content, GivenVectors) and not len(content)
    # A text that begins with a letter isn't blank: no need to look at the rest.
    return isinstance(content, str) and not (content[:1].isascii() and content[:1].isalnum()) and is_blank(content)


def has_something(content: Encodable) -> bool:
    """Tell whether a document that has a row's key could be encoded, if the row is missing: it is a picture, or has words."""
    return not isinstance(content, str) or not is_blank(content)


def parted(contents: Mapping[bytes, Content]) -> tuple[dict[bytes, GivenVectors], dict[bytes, Encodable]]:
    """Part the documents that came with their token vectors from those that a store may hold."""
    given: dict[bytes, GivenVectors] = {}
    stored: dict[bytes, Encodable] = {}
    for key, content in contents.items():
        if isinstance(content, GivenVectors):
            given[key] = content
        else:
            stored[key] = content
    return given, stored


class KeyedContents:
    """Texts, pictures and given token vectors with their keys.

    Args:
        contents: Any; blank texts have no key, duplicates share one.

    Attributes:
        contents: As given.
        keys: One a content; None for a blank text.

    Raises:
        OSError: If one is a picture in a file that can't be read.
    """

    def __init__(self, contents: Sequence[Content]) -> None:
        self.contents = contents
        self.keys = [None if is_nothing(content) else key_of(content) for content in contents]

    def by_key(self) -> dict[bytes, Content]:
        """Map each key to its content. Blank texts are left out."""
        contents = dict(zip(self.keys, self.contents, strict=True))
        contents.pop(None, None)
        return cast("dict[bytes, Content]", contents)

    def select(self, found: KeyedDocuments) -> tuple[I64 | slice, I64 | slice, PackedVectors]:
        """Find these documents among packed documents.

        Returns:
            The positions of those that are there, which of the chosen documents each one is, and the chosen documents, each
            once: two results of one kernel call may differ in the last bit, and duplicates must tie.
        """
        if found.keys == self.keys:
            return _ALL, _ALL, found.packed
        row = np.array([found.rows.get(key, -1) for key in self.keys], dtype=np.int64)
        positions = np.flatnonzero(row >= 0)
        which = row[positions]
        wanted = np.zeros(len(found.packed), dtype=np.bool_)
        wanted[which] = True
        if wanted.all():
            return positions, which, found.packed
        return positions, (np.cumsum(wanted) - 1)[which], found.packed.take(np.flatnonzero(wanted))
