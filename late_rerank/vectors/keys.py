"""Contents -> keys: what a store knows of a document, and which of several documents a batch of packed documents holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np

from late_rerank.pictures import Picture
from late_rerank.text.words import is_blank
from late_rerank.types import I64, Content, Encodable, GivenVectors, NamedPicture, NamedText, PackedVectors
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
    return _text_key(content)


def is_nothing(content: Content) -> bool:
    """Tell whether there is nothing to compare: a blank text, or token vectors without a row."""
    if isinstance(content, GivenVectors):
        return not len(content)
    if not isinstance(content, str) or isinstance(content, NamedText):  # whose vectors lie in a row, whatever its text
        return False
    return _is_blank_text(content)


def _text_key(text: str) -> bytes:
    digest = _EMPTY.copy()  # a quarter faster than making one
    digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.digest()


def _is_blank_text(text: str) -> bool:
    # A text that begins with a letter isn't blank: no need to look at the rest.
    return not (text[:1].isascii() and text[:1].isalnum()) and is_blank(text)


def has_something(content: Encodable) -> bool:
    """Tell whether a document that has a row's key could be encoded, if the row is missing: it is a picture, or has words."""
    return not isinstance(content, str) or not is_blank(content)


def unnamed(content: Encodable) -> Encodable:
    """Give what is encoded of a document, without the key of its row: its own key is that of its content alone."""
    return content.unnamed if isinstance(content, (NamedText, NamedPicture)) else content


def own_names(contents: Mapping[bytes, Encodable], keys: Iterable[bytes]) -> dict[bytes, bytes]:
    """Give the keys under which documents are kept that have no row: those of their contents.

    What was encoded never counts as a row's: the text that came along may be a part, or the row may come later.

    Args:
        contents: Key -> text or picture, of all keys.
        keys: Documents without a row. Those that have nothing to encode are left out.

    Raises:
        OSError: If one is a picture in a file that can't be read.
    """
    found = {key: contents[key] for key in keys if has_something(contents[key])}
    return {key: key_of(each.unnamed) if isinstance(each, (NamedText, NamedPicture)) else key for key, each in found.items()}


def has_given(contents: Iterable[Content]) -> bool:
    """Tell whether any document came with its token vectors."""
    return any(issubclass(kind, GivenVectors) for kind in set(map(type, contents)))


def parted(contents: Mapping[bytes, Content]) -> tuple[Mapping[bytes, GivenVectors], Mapping[bytes, Encodable]]:
    """Part the documents that came with their token vectors from those that a store may hold."""
    if not has_given(contents.values()):
        return {}, cast("dict[bytes, Encodable]", contents)
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
        n_given: How many came with token vectors, at least one each.

    Raises:
        OSError: If one is a picture in a file that can't be read.
    """

    def __init__(self, contents: Sequence[Content]) -> None:
        self.contents = contents
        self.keys: list[bytes | None]
        if set(map(type, contents)) <= {str}:  # most are: a look at the type of each of 100 takes 10 us
            self.n_given = 0
            self.keys = [None if _is_blank_text(text) else _text_key(text) for text in cast("Sequence[str]", contents)]
        else:
            self.n_given = sum(isinstance(content, GivenVectors) and len(content) > 0 for content in contents)
            self.keys = [None if is_nothing(content) else key_of(content) for content in contents]

    def by_key(self) -> dict[bytes, Content]:
        """Map each key to its content. Blank texts are left out."""
        contents = dict(zip(self.keys, self.contents, strict=True))
        contents.pop(None, None)
        return cast("dict[bytes, Content]", contents)

    def place_of(self, picture: Picture) -> int | None:
        """Find the first document that is encoded as this picture; None if there is none."""
        key = picture.key()
        pictures = ((i, each) for i, each in enumerate(self.contents) if isinstance(each, Picture))
        return next((i for i, each in pictures if key_of(unnamed(each)) == key), None)

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
