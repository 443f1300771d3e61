"""Texts -> keys: what a store knows of a document, and which of several texts a batch of packed documents holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np

from late_rerank.text.words import is_blank
from late_rerank.types import I64, PackedVectors
from late_rerank.vectors.documents import KeyedDocuments

_EMPTY = hashlib.blake2b(digest_size=16)
_ALL = slice(None)


def key_of(text: str) -> bytes:
    """Digest a document's content: its key, 16 bytes.

    The same text is encoded once, whatever ids or corpora bring it. A changed text has a new key, so nothing goes stale.
    """
    digest = _EMPTY.copy()  # a quarter faster than making one
    digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.digest()


def keys_of(texts: Iterable[str]) -> list[bytes | None]:
    """Give the key of each text, None for a blank one."""
    # A text that begins with a letter isn't blank: no need to look at the rest.
    return [None if not (text[:1].isascii() and text[:1].isalnum()) and is_blank(text) else key_of(text) for text in texts]


class KeyedTexts:
    """Texts with their keys.

    Args:
        texts: Any; blank ones have no key, duplicates share one.

    Attributes:
        texts: As given.
        keys: One a text; None for a blank one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.keys = keys_of(texts)

    def by_key(self) -> dict[bytes, str]:
        """Map each key to its text. Blank texts are left out."""
        texts = dict(zip(self.keys, self.texts, strict=True))
        texts.pop(None, None)
        return cast("dict[bytes, str]", texts)

    def select(self, found: KeyedDocuments) -> tuple[I64 | slice, I64 | slice, PackedVectors]:
        """Find these texts among packed documents.

        Returns:
            The positions of the texts that are there, which of the chosen documents each one is, and the chosen documents, each
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
