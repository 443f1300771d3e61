"""A folder -> a store that can be used: made where there is none, its index made again where that is lost."""

from __future__ import annotations

import os
from pathlib import Path

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores.disk import copies, files, format_file, index
from late_rerank.stores.disk.index_errors import DamagedIndexError
from late_rerank.stores.disk.rebuild import rebuild_index
from late_rerank.warn import warn_caller

# Left behind by a process that died while it made a store.
_OURS = {"LOCK", "segments", format_file.NAME, f"{format_file.NAME}.new"}


def open_or_create(folder: Path, gate: files.Gate, opened: index.Index) -> bool:
    """Make sure that there is a store at `folder`, with an index that can be read and belongs to its segments.

    Returns:
        Whether each record is to be checked when it is first read: it was copied, and nobody has verified it since.

    Raises:
        ValueError: If the folder holds other files, or is a file.
        StoreFormatError: If the folder is a published store, of another version, or its index is another store's.
        OSError: If the store can't be read, or made.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; a store is a folder")
    if not format_file.is_store(folder):
        _create(folder, gate)
    found = format_file.read_format(folder)
    if found["format"] != format_file.STORE:
        raise StoreFormatError(f"{folder} holds a published store, which is never written to: open it with PublishedStore")
    if not (folder / "segments").is_dir() and os.access(folder, os.W_OK):
        files.make_folder(folder / "segments")  # tools that copy files alone pass over an empty one
    if not (folder / index.NAME).is_file() or _is_damaged(opened):
        _rebuild(folder, gate, opened)
    if opened.store_id() != found["id"]:
        raise StoreFormatError(
            f"{folder / index.NAME} is the index of another store; make its own again: late-rerank store rebuild {folder}"
        )
    if copies.is_copy(folder):
        settle(folder, gate, opened)
    return not copies.is_checked(folder)


def _is_damaged(opened: index.Index) -> bool:
    try:
        opened.store_id()
    except DamagedIndexError:
        opened.reopen()
        return True
    return False


def settle(folder: Path, gate: files.Gate, opened: index.Index) -> None:
    """See whether a copy is whole. If it was copied while somebody wrote, its index is made again."""
    if not os.access(folder, os.W_OK):
        reason = _torn(folder, opened)
        if reason:
            warn_caller(
                f"{folder} seems to have been copied while it was written ({reason}); documents that aren't whole count as "
                "missing. Copy it again with `late-rerank store backup`"
            )
        return
    with gate.held():
        if not copies.is_copy(folder):
            opened.reopen()  # another process was faster, and may have made the index again
            return
        reason = _torn(folder, opened)
        report = rebuild_index(folder) if reason else None
        # Making the index again has read every record. Without a mark the store is an earlier version's.
        copies.write_mark(folder, checked=reason is not None or copies.read_mark(folder) is None)
    if report is not None:
        opened.reopen()
        warn_caller(
            f"{folder} was copied while it was written ({reason}); its index was made again from {report.n_segments} "
            f"segments, {report.n_documents} documents. `late-rerank store backup` copies a store that is in use"
        )


def _torn(folder: Path, opened: index.Index) -> str | None:
    try:
        return next(copies.reasons_torn(folder, opened), None)
    except StoreError as error:
        return str(error)


def _create(folder: Path, gate: files.Gate) -> None:
    """Mark the folder as a store. Its index is made later, like a lost one."""
    # Looked for again: another process may have made the store since, and the files that we list may be its index.
    if format_file.has_segments(folder) and not format_file.is_store(folder):
        raise StoreFormatError(
            f"{folder} has lost its {format_file.NAME}, but holds segments; make it again: late-rerank store rebuild {folder}"
        )
    strange = sorted(path.name for path in folder.iterdir() if path.name not in _OURS) if folder.exists() else []
    if strange and not format_file.is_store(folder):
        raise ValueError(f"{folder} is no store and not empty (it holds {', '.join(strange[:3])}); name a new or empty folder")
    files.make_folder(folder)
    files.make_folder(folder / "segments")
    with gate.held():
        if format_file.is_store(folder):
            return  # another process was faster
        format_file.write_format(folder, format_file.STORE)


def _rebuild(folder: Path, gate: files.Gate, opened: index.Index) -> None:
    if not os.access(folder, os.W_OK):
        raise StoreFormatError(
            f"{folder} has lost its index, or it is damaged, and nothing can be written here. Make it again where it can be: "
            f"late-rerank store rebuild {folder}"
        )
    with gate.held():
        if (folder / index.NAME).is_file() and not _is_damaged(opened):
            return  # another process was faster
        report = rebuild_index(folder)
        copies.write_mark(folder, checked=True)  # every record was read
    if report.n_segments:
        warn_caller(
            f"{folder} had lost its index; it was made again from {report.n_segments} segments, {report.n_documents} documents"
        )
