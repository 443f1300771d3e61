"""A published space's keys file -> one of version 2, which object storage needs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk.keys_file import open_keys
from late_rerank.stores.keys_blocks import FIELDS, VERSION, Fence, KeysHeader, header_size, parse_header
from late_rerank.stores.keys_writer import KeysWriter


@contextmanager
def blocks_of(path: Path) -> Iterator[tuple[Path, KeysHeader, list[int]]]:
    """Give a keys file of version 2: the file itself, or what a file of version 1 becomes. Also its header and segments.

    Raises:
        StoreFormatError: If it is damaged.
    """
    with path.open("rb") as file:
        first = file.read(FIELDS.size)
    if len(first) == FIELDS.size and FIELDS.unpack(first)[2] == VERSION:
        yield path, *_read(path)
        return
    with tempfile.TemporaryDirectory(prefix="late-rerank-") as folder:
        made = Path(folder) / path.name
        _rewrite(path, made)
        yield made, *_read(made)


def _read(path: Path) -> tuple[KeysHeader, list[int]]:
    with path.open("rb") as file:
        first = file.read(FIELDS.size)
        header = parse_header(first + file.read(header_size(first, path) - len(first)), path)
        start, end = header.tail
        file.seek(start)
        return header, Fence(header, file.read(end - start), path).segments


def _rewrite(path: Path, made: Path) -> None:
    keys = open_keys(path)
    for problem in keys.problems():
        raise StoreFormatError(f"{path} is damaged: {problem}; publish the store, or copy it, again")
    with made.open("wb") as file:
        writer = KeysWriter(file, keys.space)
        for rows in keys.parts():
            writer.add(rows)
        writer.finish()
