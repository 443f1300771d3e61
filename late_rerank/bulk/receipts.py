"""Receipts: what a worker tells of a finished split. They are kept until the job's commit, so that a job can go on."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from late_rerank.bulk.job import VERSION
from late_rerank.stores.remote.objects import Objects

FOLDER = "receipts"


@dataclass(frozen=True)
class Receipt:
    """What came of one split.

    Attributes:
        split: The split's name.
        identity: As `Job.identity` gives it.
        place: Where the split is in the corpus, for people.
        n_documents: Documents that it has.
        n_encoded: Documents that were encoded.
        n_cached: Documents that were there already.
        n_tokens: Token vectors of the encoded documents.
        size_bytes: Their packed bytes.
        seconds: What the worker took.
        worker: Machine and process.
        skipped: (path, reason) of files that could not be read.
        encodings: (path, Python's name of the encoding) of text files that aren't UTF-8.
        misdeclared: (path, what it declares) of files in another encoding than they declare.
        runs: What was uploaded, as `Run.to_json` gives it.
        witnesses: Keys of some documents, in hexadecimal digits. If the store lacks one, the split is done again.
    """

    split: str
    identity: str
    place: str
    n_documents: int
    n_encoded: int
    n_cached: int
    n_tokens: int
    size_bytes: int
    seconds: float
    worker: str
    skipped: list[list[str]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    witnesses: list[str] = field(default_factory=list)
    encodings: list[list[str]] = field(default_factory=list)
    misdeclared: list[list[str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def read(cls, given: Mapping[str, Any], split: str, identity: str) -> Receipt | None:
        """Read it from JSON values. None if it is another version's, another model's or another split's."""
        if (given.get("version"), given.get("split"), given.get("identity")) != (VERSION, split, identity):
            return None
        try:
            return cls(**{name: value for name, value in given.items() if name != "version"})
        except TypeError:  # a field too many or too few
            return None


class Receipts(ABC):
    """The receipts of one job."""

    @abstractmethod
    def names(self) -> set[str]:
        """Name the splits that have one."""

    @abstractmethod
    def get(self, split: str) -> bytes | None:
        """Read the receipt of a split; None if it has none."""

    @abstractmethod
    def create(self, split: str, raw: bytes) -> None:
        """Write a receipt, unless there is one: of two workers the first counts."""

    @abstractmethod
    def remove(self, splits: Iterable[str]) -> None:
        """Remove receipts, after the commit or because they don't hold any more."""

    def read(self, split: str, identity: str) -> Receipt | None:
        """Read the receipt of a split; None if it has none, or a damaged one, or one of another version or model."""
        raw = self.get(split)
        if raw is None:
            return None
        try:
            given = json.loads(raw)
        except ValueError:
            return None
        return Receipt.read(given, split, identity) if isinstance(given, dict) else None

    def first(self, receipt: Receipt) -> Receipt:
        """Write a receipt. Give the one that counts: another worker may have been first."""
        self.create(receipt.split, json.dumps(receipt.to_json()).encode())
        return self.read(receipt.split, receipt.identity) or receipt


class RemoteReceipts(Receipts):
    """Receipts beside the objects that they name.

    Args:
        objects: The store's.
        job: The job's name.
    """

    def __init__(self, objects: Objects, job: str) -> None:
        self._objects = objects
        self._folder = f"{FOLDER}/{job}"

    def names(self) -> set[str]:
        found = self._objects.list(self._folder)
        return {each.name.rpartition("/")[2].removesuffix(".json") for each in found if each.name.endswith(".json")}

    def get(self, split: str) -> bytes | None:
        return self._objects.get(self._name(split))

    def create(self, split: str, raw: bytes) -> None:
        self._objects.create(self._name(split), raw)

    def remove(self, splits: Iterable[str]) -> None:
        self._objects.delete([self._name(split) for split in splits])

    def _name(self, split: str) -> str:
        return f"{self._folder}/{split}.json"


class FolderReceipts(Receipts):
    """Receipts in a folder of the driver's machine, for stores that workers write to directly.

    Args:
        folder: The job's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> set[str]:
        return {path.stem for path in self._folder.glob("*.json")}

    def get(self, split: str) -> bytes | None:
        try:
            return self._path(split).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, split: str, raw: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / f"{split}.{os.getpid()}.new"
        new.write_bytes(raw)
        with suppress(FileExistsError):
            os.link(new, self._path(split))
        new.unlink()

    def remove(self, splits: Iterable[str]) -> None:
        for split in splits:
            self._path(split).unlink(missing_ok=True)
        with suppress(OSError):  # other receipts are there
            self._folder.rmdir()

    def _path(self, split: str) -> Path:
        return self._folder / f"{split}.json"
