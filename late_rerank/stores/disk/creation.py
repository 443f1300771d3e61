"""A folder -> a store that can be used: made where there is none, its index made again where that is lost."""

from __future__ import annotations

from pathlib import Path

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk import files, format_file, index
from late_rerank.stores.disk.rebuild import rebuild_index
from late_rerank.warn import warn_caller

# What a process that died while it made a store leaves behind.
_OURS = {"LOCK", "segments", format_file.NAME, f"{format_file.NAME}.new"}


def open_or_create(folder: Path, gate: files.Gate, opened: index.Index) -> None:
    """Make sure that there is a store at `folder`, with an index that can be read.

    Raises:
        ValueError: The folder holds other files, or is a file.
        StoreFormatError: It is no such store, of another version, or its index is another store's.
        OSError: It can't be read, or made.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; a store is a folder")
    if not format_file.is_store(folder):
        _create(folder, gate)
    found = format_file.read_format(folder)
    if found["format"] != format_file.STORE:
        raise StoreFormatError(f"{folder} holds a published store, which is never written to: open it with PublishedStore")
    if not (folder / index.NAME).is_file():
        _rebuild(folder, gate)
    if opened.store_id() != found["id"]:
        raise StoreFormatError(
            f"{folder / index.NAME} is the index of another store; make its own again: late-rerank store rebuild {folder}"
        )


def _create(folder: Path, gate: files.Gate) -> None:
    """Say that the folder is a store; its index is made like one that was lost."""
    strange = sorted(path.name for path in folder.iterdir() if path.name not in _OURS) if folder.exists() else []
    # Looked for again: another process may have made it since, and what it held when we listed it is that one's index.
    if strange and not format_file.is_store(folder):
        raise ValueError(f"{folder} is no store and not empty (it holds {', '.join(strange[:3])}); name a new or empty folder")
    files.make_folder(folder)
    files.make_folder(folder / "segments")
    with gate.held():
        if format_file.is_store(folder):
            return  # another process was faster
        if any((folder / "segments").iterdir()):
            raise StoreFormatError(f"{folder} has lost its {format_file.NAME}, but holds segments; put it back from a copy")
        format_file.write_format(folder, format_file.STORE)


def _rebuild(folder: Path, gate: files.Gate) -> None:
    with gate.held():
        if (folder / index.NAME).is_file():
            return
        report = rebuild_index(folder)
    if report.n_segments:
        warn_caller(
            f"{folder} had lost its index; it was made again from {report.n_segments} segments, {report.n_documents} documents"
        )
