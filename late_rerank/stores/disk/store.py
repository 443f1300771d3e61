"""DiskStore: token vectors in a folder, shared by the processes of one machine, that outlive any of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from late_rerank.stores.base import Space, Store
from late_rerank.stores.disk.backup import BackupReport, backup
from late_rerank.stores.disk.compaction import Compaction, CompactReport
from late_rerank.stores.disk.copies import write_mark
from late_rerank.stores.disk.files import os_errors_as_store_errors
from late_rerank.stores.disk.frozen import unwritable
from late_rerank.stores.disk.internals import USUAL, Internals
from late_rerank.stores.disk.publishing import PublishReport, publish
from late_rerank.stores.disk.shared import Bounds, Shared
from late_rerank.stores.disk.space import DiskSpace
from late_rerank.stores.disk.tables import delete_some_rows, delete_space, drop_space
from late_rerank.stores.disk.verification import VerifyReport, verify
from late_rerank.stores.folders import folder_at
from late_rerank.stores.record import parse_space, space_json
from late_rerank.types import CodecSpec

# Rows deleted in one transaction: readers and other writers get their turn in between.
_ROWS_AT_ONCE = 5000


class DiskStore(Store):
    """Token vectors in a folder on a local disk. Safe to share between threads and processes, and after a fork.

    When `put` returns, the documents are durable: also if the process is killed or the machine loses power. Fetched documents
    lie in mapped files: nothing is copied. POSIX only; not for network file systems.

    Args:
        path: The folder, "~" for the user's home; made if it isn't there. Any number of processes may open it.
        max_bytes: What the documents of all spaces may take, at least 1 MiB; None for no bound. The least recently used
            segments (an eighth of the bound each) go first. Other processes keep to the bound that they were given.
        ttl_s: After how many seconds a stored document is a miss; None for never.
        check: Whether `get` computes each record's checksum; a damaged document then is a miss. Costs 1 ms for 2 MB.

    Attributes:
        path: The folder, absolute.

    Raises:
        ValueError: If a bound or time is out of range, or the folder holds other files.
        StoreFormatError: If the store is of another version, or damaged.
        StoreError: If the folder can't be used.
    """

    _internals: Internals = USUAL  # inside.with_internals makes classes with others

    def __init__(
        self, path: str | os.PathLike[str], *, max_bytes: int | None = None, ttl_s: float | None = None, check: bool = False
    ) -> None:
        bounds = Bounds(max_bytes, ttl_s, check)
        bounds.check_values(self._internals)
        self.path = folder_at(path).absolute()  # the program may change to another folder
        self.max_bytes = max_bytes
        self.ttl_s = ttl_s
        self.check = check
        self._shared = Shared(self.path, bounds, self._internals)
        self._parts = self._shared.parts

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written to the folder, now. Stored documents are found all the same."""
        return unwritable(self.path) is not None

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        self._shared.refuse_if_closed()
        return DiskSpace(self._shared, space_json(fingerprint, codec), fingerprint, codec)

    def spaces(self) -> list[Space]:
        """List every space that something was put into, oldest first."""
        return [DiskSpace(self._shared, name, *parse_space(name)) for _, name in self._parts.index.spaces()]

    def drop(self, fingerprint: str) -> int:
        spaces = [(number, name) for number, name in self._parts.index.spaces() if parse_space(name)[0] == fingerprint]
        if not spaces:
            return 0
        n_documents = sum(self._parts.index.count(name) for _, name in spaces)
        with self._shared.writing_alone():
            for _, name in spaces:
                self._parts.writing.let_go(name)
            with self._parts.gate.held(), self._parts.index.changing() as changes:
                for number, _ in spaces:
                    drop_space(changes, number)
            self._parts.writing.remove_dead()
            self._delete_rows_of_dropped()
        self._shared.let_removed_go()
        return n_documents

    def stats(self) -> dict[str, Any]:
        """Count documents and bytes, over all spaces and of each. JSON values.

        "size_bytes" are the segments' and the index's, "dead_bytes" those of documents that were replaced or deleted (`compact`
        frees them), "n_damaged" and "n_evicted" count since this object was made.
        """
        spaces: list[dict[str, Any]] = []
        for name, n_documents, live_bytes, size_bytes, n_segments in self._parts.index.totals():
            fingerprint, codec = parse_space(name)
            spaces.append(
                {
                    "fingerprint": fingerprint,
                    "codec": codec.name,
                    "dim": codec.dim,
                    "n_documents": n_documents,
                    "size_bytes": size_bytes,
                    "dead_bytes": max(size_bytes - live_bytes - n_segments * 4096, 0),
                    "n_segments": n_segments,
                }
            )
        index_bytes = self._parts.index.size_bytes()
        return {
            "path": str(self.path),
            "n_documents": sum(space["n_documents"] for space in spaces),
            "size_bytes": sum(space["size_bytes"] for space in spaces) + index_bytes,
            "index_bytes": index_bytes,
            "dead_bytes": sum(space["dead_bytes"] for space in spaces),
            "n_segments": sum(space["n_segments"] for space in spaces),
            "max_bytes": self.max_bytes,
            "ttl_s": self.ttl_s,
            "n_evicted": self._shared.eviction.n_evicted,
            "n_damaged": self._shared.n_damaged,
            "spaces": spaces,
        }

    def verify(self, *, progress: bool = False) -> VerifyReport:
        """Read every byte and compare it with its checksum, and the index with the segments. Changes no document.

        Args:
            progress: Show a bar on stderr, if that is a terminal.
        """
        with os_errors_as_store_errors(self.path):
            report = verify(self.path, self._parts.index, progress=progress)
            if self._shared.check_first and not report.problems and not self.read_only:
                with self._parts.gate.held():
                    write_mark(self.path, checked=True)
                self._shared.check_first = False
            return report

    def compact(self, *, min_live: float = 0.9, progress: bool = False) -> CompactReport:
        """Rewrite segments of which less than `min_live` is alive; leave out damaged and expired documents.

        Others may read and write meanwhile. Segments that another process appends to are passed over.

        Args:
            min_live: Share of bytes, 0 to 1. With 1 every dead byte goes.
            progress: Show a bar on stderr, if that is a terminal.

        Raises:
            StoreError: If the disk is full, or failed; nothing is lost.
        """
        with self._shared.writing_alone():
            self._parts.writing.seal_all()
            self._parts.writing.recover()
            newer_than = self._shared.bounds.newer_than()
            report = Compaction(self._parts).run(min_live=min_live, newer_than=newer_than, progress=progress)
            self._delete_rows_of_dropped()
        self._shared.let_removed_go()
        return report

    def publish(self, folder: str | os.PathLike[str], *, progress: bool = False) -> PublishReport:
        """Write the store as it is now to another folder, in the form that opens on a read-only file system.

        Args:
            folder: Must not be there yet, or be empty.
            progress: Show a bar on stderr, if that is a terminal.

        Raises:
            ValueError: If the folder holds something.
            StoreError: If the disk is full, or failed.
        """
        self._shared.refuse_if_closed()
        target = folder_at(folder)
        with os_errors_as_store_errors(target):
            return publish(self._parts, target, self._shared.bounds.newer_than(), progress=progress)

    def backup(self, folder: str | os.PathLike[str], *, progress: bool = False) -> BackupReport:
        """Copy the store as it is now to another folder, which can be used in its place; others may write meanwhile.

        Args:
            folder: Must not be there yet, or be empty. It appears when the whole copy is durable.
            progress: Show a bar on stderr, if that is a terminal.

        Returns:
            What was copied. It includes all that was acknowledged before the call.

        Raises:
            ValueError: If the folder holds something, or lies within the store.
            StoreError: If the disk is full, or failed, or another process copies to that folder.
        """
        self._shared.refuse_if_closed()
        target = folder_at(folder)
        with os_errors_as_store_errors(target):
            return backup(self._parts, target, progress=progress)

    def close(self) -> None:
        """Seal the segments that this object wrote, and let go of all files. Fetched documents stay valid."""
        self._shared.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.max_bytes, self.ttl_s, self.check)

    def _delete_rows_of_dropped(self) -> None:
        gate, index = self._parts.gate, self._parts.index
        for number in index.dropped_spaces():
            n_deleted = 1
            while n_deleted:
                with gate.held(), index.changing() as changes:
                    n_deleted = delete_some_rows(changes, number, _ROWS_AT_ONCE)
            with gate.held(), index.changing() as changes:
                delete_space(changes, number)
        with gate.held():
            index.free_pages()


def _reopen(path: Path, max_bytes: int | None, ttl_s: float | None, check: bool) -> DiskStore:  # noqa: FBT001 - pickle's call
    return DiskStore(path, max_bytes=max_bytes, ttl_s=ttl_s, check=check)
