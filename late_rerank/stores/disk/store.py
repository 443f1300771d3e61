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
from late_rerank.stores.disk.tables import delete_some_rows, delete_space, drop_space, sort_by_place
from late_rerank.stores.disk.verification import VerifyReport, verify
from late_rerank.stores.folders import folder_at
from late_rerank.stores.record import parse_space, space_json
from late_rerank.types import CodecSpec

# Rows deleted in one transaction: readers and other writers get their turn in between.
_ROWS_AT_ONCE = 5000


class DiskStore(Store):
    """Token vectors in a folder on a local disk. Safe to share between threads and processes, and after a fork.

    When `put` returns, the documents are durable, even if the process is killed or the machine loses power. Fetched documents
    lie in mapped files; no bytes are copied. A DiskStore needs POSIX, and doesn't work on network file systems.

    Args:
        path: The folder. It is made if it isn't there. "~" is the user's home. Any number of processes may open it.
        max_bytes: The most bytes that the documents of all spaces may take, at least 1 MiB. None sets no bound. The least
            recently used segments go first; each takes at most an eighth of the bound. Other processes keep to their own
            bounds.
        ttl_s: Seconds after which a stored document is a miss. None means never.
        check: Whether `get` computes each record's checksum. Then a damaged document is a miss. The check costs 1 ms for 2 MB.

    Attributes:
        path: The folder, absolute.

    Raises:
        ValueError: If a bound or time is out of its range, or the folder holds other files.
        StoreFormatError: If the store has another version, or is damaged.
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
        """Whether the folder can't be written to now. Stored documents are found all the same."""
        return unwritable(self.path) is not None

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        self._shared.refuse_if_closed()
        return DiskSpace(self._shared, space_json(fingerprint, codec), fingerprint, codec)

    def spaces(self) -> list[Space]:
        """List every space that anything was put into, oldest first."""
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
        """Count documents and bytes, over all spaces and of each space. All are JSON values.

        "size_bytes" counts segments and index. "dead_bytes" counts documents that were replaced or deleted; `compact` frees
        these bytes. "n_damaged" and "n_evicted" count since this object was made.
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
        """Check every byte against its checksum, and the index against the segments. No document changes.

        Args:
            progress: Show a bar on stderr, if stderr is a terminal.
        """
        with os_errors_as_store_errors(self.path):
            report = verify(self.path, self._parts.index, progress=progress)
            if self._shared.check_first and not report.problems and not self.read_only:
                with self._parts.gate.held():
                    write_mark(self.path, checked=True)
                self._shared.check_first = False
            return report

    def compact(self, *, min_live: float = 0.9, progress: bool = False) -> CompactReport:
        """Rewrite the segments of which less than `min_live` is alive. Leave out damaged and expired documents.

        Others may read and write meanwhile. Segments that another process appends to are passed over.

        Args:
            min_live: A share of bytes, from 0 to 1. With 1 every dead byte goes.
            progress: Show a bar on stderr, if stderr is a terminal.

        Raises:
            StoreError: If the disk is full, or fails. Nothing is lost.
        """
        with self._shared.writing_alone():
            self._parts.writing.seal_all()
            self._parts.writing.recover()
            self._sort_by_place()
            newer_than = self._shared.bounds.newer_than()
            report = Compaction(self._parts).run(min_live=min_live, newer_than=newer_than, progress=progress)
            self._delete_rows_of_dropped()
        self._shared.let_removed_go()
        return report

    def publish(self, folder: str | os.PathLike[str], *, progress: bool = False) -> PublishReport:
        """Write the store as it is now to another folder, in a form that opens on a read-only file system.

        Args:
            folder: A new or empty folder.
            progress: Show a bar on stderr, if stderr is a terminal.

        Raises:
            ValueError: If the folder isn't empty.
            StoreError: If the disk is full, or fails.
        """
        self._shared.refuse_if_closed()
        target = folder_at(folder)
        with os_errors_as_store_errors(target):
            return publish(self._parts, target, self._shared.bounds.newer_than(), progress=progress)

    def backup(self, folder: str | os.PathLike[str], *, progress: bool = False) -> BackupReport:
        """Copy the store as it is now to another folder, which can be used in its place. Others may write meanwhile.

        Args:
            folder: A new or empty folder. It appears when the whole copy is durable.
            progress: Show a bar on stderr, if stderr is a terminal.

        Returns:
            Counts of the copy. The copy includes every document that was acknowledged before the call.

        Raises:
            ValueError: If the folder isn't empty, or lies within the store.
            StoreError: If the disk is full, or fails. Also if another process copies to that folder.
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

    def _sort_by_place(self) -> None:
        if not self._parts.index.has_places():
            with self._parts.gate.held(), self._parts.index.changing() as changes:
                sort_by_place(changes)

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
