"""Store and Space: what every store must do. The law is `late_rerank.testing.StoreTests`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from late_rerank.errors import IncompatibleError
from late_rerank.types import I64, CodecSpec, Fetched, PackedVectors

KEY_BYTES = 16


class Space(ABC):
    """The vectors of one encoder (by fingerprint) under one codec.

    Attributes:
        fingerprint: The encoder's.
        codec: How every document here is packed.
    """

    def __init__(self, fingerprint: str, codec: CodecSpec) -> None:
        self.fingerprint = fingerprint
        self.codec = codec

    def put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        """Keep documents under their keys; a key that is there already is replaced.

        Args:
            keys: One 16-byte digest a document.
            packed: The documents, in the order of `keys`; copied, so the caller may reuse the memory.

        Raises:
            IncompatibleError: If `packed` is of another codec or dim than this space.
            ValueError: If there isn't one key a document, or a key isn't 16 bytes.
        """
        if packed.codec != self.codec:
            raise IncompatibleError(f"this space holds {self.codec}, but the documents are packed as {packed.codec}")
        if len(keys) != len(packed):
            raise ValueError(f"put needs one key a document, got {len(keys)} keys for {len(packed)} documents")
        for key in keys:
            if not isinstance(key, bytes) or len(key) != KEY_BYTES:
                raise ValueError(f"a key is {KEY_BYTES} bytes, got {key!r}")
        self._put(keys, packed)

    @abstractmethod
    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        """Keep documents; `put` has checked the arguments."""

    @abstractmethod
    def get(self, keys: Sequence[bytes]) -> Fetched:
        """Find documents, in one round trip.

        Args:
            keys: In any order; a key asked for twice is found twice.

        Returns:
            The documents that are here, in the order of `keys`, and the positions of the missing ones. The vectors stay valid
            and unchanged while the caller holds them, whatever is put or deleted meanwhile.
        """

    def missing(self, keys: Sequence[bytes]) -> I64:
        """Find out which documents are missing, without fetching the others. Counts as a use of the others, like `get`.

        This calls `get`; a store that can tell for less overrides it. Indexing asks this.

        Args:
            keys: In any order; a key that is asked for twice and isn't here is missing twice.

        Returns:
            (n_missing,) int64, ascending positions in `keys`: `get(keys).missing`. Where only the vectors would tell that a
            document is damaged, it may count as here.
        """
        return self.get(keys).missing

    @abstractmethod
    def delete(self, keys: Sequence[bytes]) -> int:
        """Forget documents; keys that aren't here are passed over. Returns how many were here."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the documents here."""


class Store(ABC):
    """Spaces side by side: another model or codec opens another space, so old vectors can't be served by mistake.

    Attributes:
        read_only: Whether `put`, `delete` and `drop` are refused, with a StoreError.
    """

    @property
    def read_only(self) -> bool:
        """Whether `put`, `delete` and `drop` are refused."""
        return False

    @abstractmethod
    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        """Open the space of that encoder and codec; a new space is empty."""

    @abstractmethod
    def spaces(self) -> list[Space]:
        """List every space that something was put into, oldest first; a store may list spaces that were only opened too."""

    @abstractmethod
    def drop(self, fingerprint: str) -> int:
        """Forget every space of that encoder. Returns how many documents they held."""

    @abstractmethod
    def stats(self) -> dict[str, Any]:
        """Count at least n_documents and size_bytes, over all spaces."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files, connections, memory; fetched documents stay valid.

        A store is not used after. A later use is a StoreError, or finds none of its documents.
        """

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
