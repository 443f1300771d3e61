"""A folder -> the store that it holds."""

from __future__ import annotations

import os

from late_rerank.errors import StoreError
from late_rerank.stores.disk import format_file
from late_rerank.stores.disk.published import PublishedStore
from late_rerank.stores.disk.store import DiskStore
from late_rerank.stores.folders import folder_at


def open_folder(path: str | os.PathLike[str]) -> DiskStore | PublishedStore:
    """Open the store in a folder: a published one read-only, any other to read and write; make one where there is none.

    Raises:
        ValueError: If the folder holds other files.
        StoreError: If the store can't be used.
    """
    folder = folder_at(path)
    try:
        is_published = format_file.is_store(folder) and format_file.read_format(folder)["format"] == format_file.PUBLISHED
    except PermissionError as error:
        raise StoreError(f"the store {folder} can't be read: {error}") from error
    if is_published:
        return PublishedStore(folder)
    return DiskStore(folder)
