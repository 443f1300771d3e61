"""Destination: what workers and the driver do with a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from late_rerank.bulk.receipts import Receipt, Receipts
from late_rerank.errors import StoreError
from late_rerank.stores import Space, Store
from late_rerank.vectors.indexing import IndexReport

Index = Callable[[Space], IndexReport]
"""Encodes a split's documents into a space, those that the space is missing."""


class LostObjectsError(StoreError):
    """Somebody removed objects at the moment of the commit. What needs them isn't visible, and must be done again."""


@dataclass(frozen=True)
class Filled:
    """What a worker wrote.

    Attributes:
        report: Its counts.
        runs: What was uploaded, as `Run.to_json` gives it; the driver commits it.
        witnesses: Keys of some of the documents, in hexadecimal digits.
    """

    report: IndexReport
    runs: list[dict[str, Any]] = field(default_factory=list)
    witnesses: list[str] = field(default_factory=list)


class Destination(ABC):
    """A place for token vectors that many processes write to.

    Attributes:
        place: The store's folder or URL.
        is_local: Whether only this machine's processes can write there.
        is_directly_written: Whether documents are visible when a worker has written them. Then the driver keeps the receipts,
            on its machine; else the workers do, in the store.
    """

    place: str
    is_local: bool
    is_directly_written: bool

    @abstractmethod
    def open(self) -> Store:
        """Open the store for the driver, as it is now. A service that doesn't answer is an error.

        Raises:
            StoreError: If it can't be used.
        """

    @abstractmethod
    def prepare(self) -> None:
        """See that documents can be written, before hours are spent on encoding them.

        Raises:
            StoreError: If they can't.
        """

    @abstractmethod
    def receipts(self, job: str) -> Receipts:
        """Give the receipts of a job."""

    @abstractmethod
    def lost(self, receipts: Sequence[Receipt], space: str) -> set[str]:
        """Name the splits whose documents aren't there any more, though they have receipts.

        Raises:
            StoreError: If the store can't be read.
        """

    def is_committed(self, receipts: Sequence[Receipt]) -> bool:  # noqa: ARG002 - few have commits
        """Tell whether an earlier run of the job committed these, and was killed before it removed them.

        Raises:
            StoreError: If the store can't be read.
        """
        return False

    @abstractmethod
    def commit(self, receipts: Sequence[Receipt]) -> int | None:
        """Make all documents visible at once. Give the commit's number; None where they are visible already.

        Raises:
            LostObjectsError: If objects were removed meanwhile. Only what needs them is taken back.
            StoreError: If they can't be.
        """

    @abstractmethod
    def begin(self, job: str, space: str) -> None:
        """In a worker: open what it needs for all of its splits.

        Raises:
            StoreError: If the store can't be used.
        """

    @abstractmethod
    def fill(self, folder: Path, index: Index) -> Filled:
        """In a worker: write the documents of one split.

        Args:
            folder: An empty folder for what is made on the way.
            index: Encodes the documents into a space.
        """

    @abstractmethod
    def known(self, split: str, identity: str) -> Receipt | None:
        """In a worker: give the receipt of a split, if another worker has finished it."""

    @abstractmethod
    def keep(self, receipt: Receipt) -> Receipt:
        """In a worker: keep a receipt, last of all. Give the one that counts."""
