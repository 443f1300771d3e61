"""Store and Space: what every store must do. The law is `late_rerank.testing.StoreTests`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from late_rerank.errors import IncompatibleError
from late_rerank.types import F32, I64, CodecSpec, Fetched, PackedVectors, RowKey, TokenVectors

KEY_BYTES = 16


class Packs(Protocol):
    """What packs token vectors: a codec, of which stores know no more."""

    def spec(self, dim: int) -> CodecSpec:
        """Say how vectors of `dim` components are laid out."""

    def encode(self, vectors: TokenVectors) -> PackedVectors:
        """Pack documents."""


class Sample(NamedTuple):
    """A document of a table: the row's name, its text, and its token vectors, (n_tokens, dim) float32."""

    row: Any
    text: str
    rows: F32


class Edition(NamedTuple):
    """What a store holds, as far as copies elsewhere need to know. A copy is good for the edition that it was read from.

    Attributes:
        store: Which store it is.
        generation: Grows when documents were replaced, deleted or dropped.
    """

    store: str
    generation: int


# Of stores that don't number what they hold: a copy is good until it is deleted where it lies.
UNNUMBERED = Edition("", 0)


class OwnRows(Protocol):
    """A table of token vectors that somebody else fills, under ids of its own, in floats."""

    def key_of(self, name: object) -> RowKey | None:
        """Give the key of the document that users call `name`. None if no row can have that name."""

    def pack_by(self, codec: Packs) -> None:
        """Pack rows by this codec from now on, in the spaces that have its spec."""

    def samples(self, n: int) -> list[Sample]:
        """Give up to `n` documents with their texts, to compare them with a model's vectors. None if they can't be compared."""


class Space(ABC):
    """The vectors of one encoder, known by its fingerprint, under one codec.

    Attributes:
        fingerprint: The encoder's fingerprint.
        codec: How every document in the space is packed.
    """

    def __init__(self, fingerprint: str, codec: CodecSpec) -> None:
        self.fingerprint = fingerprint
        self.codec = codec

    def put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        """Keep documents under their keys. A document whose key is there already is replaced.

        Args:
            keys: One 16-byte digest for each document.
            packed: The documents, in the order of `keys`. They are copied, so the caller may use the memory again.

        Raises:
            IncompatibleError: If `packed` has another codec or dim than this space.
            ValueError: If the number of keys isn't the number of documents, or a key isn't 16 bytes.
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
            keys: In any order. A key that is asked for twice is found twice.

        Returns:
            The found documents, in the order of `keys`, and the positions of the missing ones. The vectors stay valid and
            unchanged while the caller holds them, whatever is put or deleted meanwhile.
        """

    def missing(self, keys: Sequence[bytes]) -> I64:
        """Find out which documents are missing, without fetching the others. Like `get`, this counts as a use of the others.

        Indexing calls `missing`. By default it calls `get`. A store that can tell with less work overrides it.

        Args:
            keys: In any order. A missing key that is asked for twice is missing twice.

        Returns:
            (n_missing,) int64, ascending positions in `keys`: the same as `get(keys).missing`. A damaged document may count as
            present, if only its vectors would show the damage.
        """
        return self.get(keys).missing

    @abstractmethod
    def delete(self, keys: Sequence[bytes]) -> int:
        """Forget documents. Unknown keys are passed over. Return how many documents were here."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the documents here."""


class Store(ABC):
    """Keeps spaces side by side. Each model and codec has a space of its own, so old vectors can't be served by mistake.

    Attributes:
        read_only: Whether `put`, `delete` and `drop` are refused, with a StoreError.
    """

    @property
    def read_only(self) -> bool:
        """Whether `put`, `delete` and `drop` are refused."""
        return False

    @property
    def own_rows(self) -> OwnRows | None:
        """The table of somebody else's vectors. None, as in most stores, where keys are digests of contents."""
        return None

    @property
    def edition(self) -> Edition | None:
        """What it holds now, as far as this is known here. None if it isn't known. Asking takes no time."""
        return UNNUMBERED

    def refuse_index(self) -> None:
        """Raise the StoreError that says why documents can't be indexed here, and what to do instead. Most stores take them."""
        return

    @abstractmethod
    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        """Open the space of that encoder and codec. A new space is empty."""

    @abstractmethod
    def spaces(self) -> list[Space]:
        """List every space that anything was put into, oldest first. A store may also list spaces that were only opened."""

    @abstractmethod
    def drop(self, fingerprint: str) -> int:
        """Forget every space of that encoder. Return how many documents they held."""

    @abstractmethod
    def stats(self) -> dict[str, Any]:
        """Count over all spaces. Give at least n_documents and size_bytes."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files, connections and memory. Fetched documents stay valid.

        Don't use a store after this. A later use raises StoreError, or finds no documents.
        """

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
