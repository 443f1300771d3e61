"""Documents and whole spaces are forgotten by a commit; their bytes go when the store is cleaned."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from late_rerank.errors import StoreFormatError
from late_rerank.stores.base import KEY_BYTES
from late_rerank.stores.keys_blocks import ROW
from late_rerank.stores.keys_writer import KeysWriter, sort_rows
from late_rerank.stores.record import TOMBSTONE, parse_space, space_json
from late_rerank.stores.remote.committing import change, commit
from late_rerank.stores.remote.counting import count
from late_rerank.stores.remote.keys import find
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run
from late_rerank.stores.remote.snapshot import Snapshot
from late_rerank.stores.remote.uploading import digest_of, object_name
from late_rerank.types import CodecSpec


def delete(objects: Objects, fingerprint: str, codec: CodecSpec, keys: Sequence[bytes]) -> int:
    """Forget documents of a space: a run of tombstones hides them. Return how many documents were there.

    Other machines forget their near copies when they next look for a manifest.

    Raises:
        ValueError: If a key isn't 16 bytes.
        StoreError: If the store can't be read, or the service can't be reached.
    """
    for key in keys:
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise ValueError(f"a key is {KEY_BYTES} bytes, got {key!r}")
    space = space_json(fingerprint, codec)
    snapshot = Snapshot(objects, newest(objects))
    wanted = sorted(set(keys))
    places = find(objects, snapshot.keys_of(space), wanted)
    if places.errors:
        raise places.errors[0]
    if places.n_damaged:
        raise StoreFormatError(f"{objects.url}: keys are damaged; `late-rerank store verify URL` names them")
    here = [key for key, run in zip(wanted, places.run.tolist(), strict=True) if run >= 0]
    if here:
        commit(objects, [_tombstones(objects, space, here)])
    return len(here)


def drop(objects: Objects, fingerprint: str) -> int:
    """Forget every space of an encoder. Return how many documents they held, or at most held.

    Raises:
        StoreError: If the store can't be read, or the service can't be reached.
    """
    snapshot = Snapshot(objects, newest(objects))
    spaces = {space for space in snapshot.spaces() if parse_space(space)[0] == fingerprint}
    if not spaces:
        return 0
    n_documents = sum(count(objects, snapshot, space).n_documents for space in spaces)
    change(objects, lambda runs: tuple(run for run in runs if run.space not in spaces))
    return n_documents


def _tombstones(objects: Objects, space: str, keys: Sequence[bytes]) -> Run:
    rows = np.zeros(len(keys), dtype=ROW)
    rows["key"] = np.frombuffer(b"".join(keys), dtype="V16")
    rows["flags"] = TOMBSTONE
    with tempfile.TemporaryDirectory(prefix="late-rerank-") as folder:
        path = Path(folder) / "deleted.keys"
        with path.open("wb") as file:
            writer = KeysWriter(file, space)
            writer.add(sort_rows(rows))
            header = writer.finish()
        name = object_name("keys", digest_of(path), "keys")
        objects.put(name, path)
    return Run(space, 0, name, {}, header.size_bytes, header.size_bytes, n_deleted=len(keys))
