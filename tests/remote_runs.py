"""Runs made in memory, as fast as a test needs them: a segment and its keys, byte for byte as publishing writes them."""

import io
from hashlib import blake2b

import numpy as np
from object_server import BUCKET, ObjectServer

from late_rerank.stores.disk.segment import pack_header
from late_rerank.stores.keys_blocks import ROW
from late_rerank.stores.keys_writer import KeysWriter, sort_rows
from late_rerank.stores.record import SEAL, TRUNCATED, pack_marks, pack_records, space_json
from late_rerank.stores.remote.committing import commit
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run
from late_rerank.stores.remote.uploading import object_name
from late_rerank.testing.stores import SPEC
from late_rerank.testing.vectors import random_packed

__all__ = ["BUCKET", "ObjectServer", "add", "put_run"]


def put_run(objects, names, lengths, *, seed=0, fingerprint="a", spec=SPEC):
    """Send one run, and don't commit it. Its documents are `random_packed(lengths, spec, seed)`."""
    space, packed = space_json(fingerprint, spec), random_packed(lengths, spec, seed=seed)
    records = pack_records(names, packed, sequence=1, stored_at=1)
    header = pack_header(1, space)
    seal = pack_marks([bytes(16)], flag=SEAL, sequence=0, stored_at=0)
    segment = header + records.bytes.tobytes() + seal.bytes.tobytes()
    rows = np.zeros(len(names), dtype=ROW)
    rows["key"] = np.frombuffer(b"".join(names), dtype="V16")
    rows["offset"], rows["n_tokens"], rows["segment"] = len(header) + records.offsets[:-1], packed.lengths, 1
    rows["flags"] = np.where(packed.truncated, TRUNCATED, 0)
    file = io.BytesIO()
    writer = KeysWriter(file, space)
    writer.add(sort_rows(rows))
    writer.finish()
    sent = [_send(objects, raw, folder) for raw, folder in ((segment, "segments"), (file.getvalue(), "keys"))]
    size = len(file.getvalue())
    return Run(space, len(names), sent[1], {1: sent[0]}, size + len(segment), size)


def add(url, names, lengths, **more):
    """Send one run and commit it."""
    objects = Objects.at(url)
    run = put_run(objects, names, lengths, **more)
    commit(objects, [run])
    return run


def _send(objects, raw, folder):
    name = object_name(folder, blake2b(raw, digest_size=16).hexdigest(), "seg" if folder == "segments" else "keys")
    objects.put(name, raw)
    return name
