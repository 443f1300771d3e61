"""ExistingVectorsStore: what a store of somebody else's vectors must do. It finds documents by their ids, and packs rows."""

from __future__ import annotations

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from late_rerank.errors import IncompatibleError, StoreError
from late_rerank.processes.forks import guarded
from late_rerank.stores.base import OwnRows, Packs, Sample, Space, Store
from late_rerank.stores.existing.rows import Rows
from late_rerank.stores.existing.space import ExistingSpace
from late_rerank.stores.record import space_json
from late_rerank.types import CodecSpec, RowKey

# Half a pair: such texts can't be written as UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")
_KEY = hashlib.blake2b(digest_size=16, person=b"row")


class ExistingVectorsStore(Store):
    """Token vectors in a table that somebody else fills: read as they are, found by the candidates' ids, never written.

    `Reranker(store=...)` packs the rows by its codec when they are fetched. A candidate without an id, or without a row, is
    encoded. Such new vectors can't be kept here; put a TieredStore with a near store before it.

    A subclass says how rows are fetched (`fetch`), which texts they are of (`samples`), and how many there are (`stats`).

    Args:
        place: Where the rows lie, without a password: for messages, and to tell ids of two tables from each other. See also
            `tell_apart`.
        dim: Components of one token vector.
        fingerprint: The fingerprint of the encoder that made the vectors, as you know it: nothing in the rows tells.
            `Reranker.encoder.fingerprint` and `late-rerank doctor MODEL` give a model's.
        row_of: Makes a row's name of a candidate's id. None takes the id as it is.

    Attributes:
        place: As given.
        dim: As given.
        fingerprint: As given.

    Raises:
        TypeError: If the fingerprint is no str.
        ValueError: If `dim` is below 1.
    """

    def __init__(self, place: str, *, dim: int, fingerprint: str, row_of: Callable[[Any], Any] | None = None) -> None:
        if not isinstance(fingerprint, str) or not fingerprint:
            raise TypeError(
                f"fingerprint must be the str that names the vectors' model, got {fingerprint!r:.60}: "
                "Reranker(model).encoder.fingerprint gives it"
            )
        if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
            raise ValueError(f"dim must be the number of components of one token vector, got {dim!r:.60}")
        self.place = place
        self.dim = dim
        self.fingerprint = fingerprint
        self._row_of = row_of
        self.tell_apart(place)
        self._packs: dict[str, Packs] = {}
        self._spaces: dict[str, ExistingSpace] = {}
        self._is_closed = False
        self._lock = guarded(Lock())

    @abstractmethod
    def fetch(self, names: Sequence[str]) -> Mapping[str, Rows]:
        """Read rows, in one round trip.

        Args:
            names: Names of rows, each once, as `key_of` wrote them.

        Returns:
            Name -> (n_tokens, dim) float32 or float16. Missing rows are left out.

        Raises:
            StoreError: If the table can't be read.
        """

    def present(self, names: Sequence[str]) -> set[str]:
        """Find out which rows are there. A store that can tell without fetching the vectors overrides it."""
        return set(self.fetch(names))

    def written(self, row: Any) -> str | None:
        """Write a row's name as `fetch` gives it. None if no row can have that name, as "seven" in a column of numbers."""
        return str(row)

    @abstractmethod
    def samples(self, n: int) -> list[Sample]:
        """Give up to `n` documents with their texts. None if no column of texts was named, or no check is wanted."""

    @abstractmethod
    def count(self) -> int:
        """Count the rows; in a large table about."""

    @property
    def own_rows(self) -> OwnRows:
        """This store."""
        return self

    @property
    def read_only(self) -> bool:
        """Always."""
        return True

    def key_of(self, name: object) -> RowKey | None:
        """Give the key of a candidate's row. 7 and "7" name the same row, since ids come from JSON as either.

        Returns:
            None if no row can have that name. No database holds half a surrogate pair, say, and asking for it would fail.
        """
        given = name if self._row_of is None else self._row_of(name)
        row = None if given is None else self.written(given)
        if row is None or _SURROGATE.search(row):
            return None
        digest = _KEY.copy()
        digest.update(self._apart + b"\0" + row.encode())
        return RowKey(digest.digest(), row)

    def tell_apart(self, *parts: str) -> None:
        """Say what tells these vectors from others: two stores of the same parts may share a near store, and no others.

        A subclass calls it when it is made. Two columns of a table must differ, and so must two tables that one name leads to.
        `row_of` is no part of it: a key is that of the row which it names.
        """
        self._apart = json.dumps(parts).encode()

    def pack_by(self, codec: Packs) -> None:
        """Pack rows by this codec from now on, in the space that has its spec."""
        with self._lock:
            self._packs[space_json(self.fingerprint, codec.spec(self.dim))] = codec

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        """Open the rows, packed as `codec` says.

        Raises:
            IncompatibleError: If the rows are of another model or width, or `pack_by` wasn't told of the codec.
        """
        self.refuse_if_closed()
        if codec.dim != self.dim:
            raise IncompatibleError(
                f"the vectors in {self.place} have {self.dim} components, but the model makes {codec.dim}: "
                "another model made them"
            )
        if fingerprint != self.fingerprint:
            raise IncompatibleError(
                f"the vectors in {self.place} were declared as made by {self.fingerprint!r:.80}, but the model is "
                f"{fingerprint!r:.80}; take the model that made them, or declare what made them"
            )
        described = space_json(fingerprint, codec)
        with self._lock:
            if described not in self._packs:
                raise IncompatibleError(
                    f"nothing was said about how to pack the floats in {self.place} as {codec.name!r}: give the store to a "
                    "Reranker, or call pack_by(codec) first"
                )
            if described not in self._spaces:
                self._spaces[described] = ExistingSpace(self, self._packs[described], fingerprint, codec)
            return self._spaces[described]

    def spaces(self) -> list[Space]:
        """List the spaces that were opened."""
        with self._lock:
            return list(self._spaces.values())

    def drop(self, fingerprint: str) -> int:
        """Refuse: the rows are somebody else's.

        Raises:
            StoreError: Always.
        """
        raise StoreError(
            f"vectors of {fingerprint!r:.80} can't be dropped from {self.place}, whose rows are somebody else's: drop them "
            "where they are filled"
        )

    def stats(self) -> dict[str, Any]:
        """Give n_documents, the rows of the table; and size_bytes, which is 0 where the table can't tell."""
        self.refuse_if_closed()
        return {"n_documents": self.count(), "size_bytes": self.size_bytes(), "place": self.place}

    def size_bytes(self) -> int:
        """Count the bytes of the table; 0 if it can't tell."""
        return 0

    def close(self) -> None:
        """Let go of the connection. Fetched documents stay valid."""
        self._is_closed = True

    def refuse_if_closed(self) -> None:
        """Raise a StoreError if the store was closed."""
        if self._is_closed:
            raise StoreError(f"the store of {self.place} was closed; open it again")
