"""One document as bytes, the same in every store: its columns; on disk and in Redis a header before them.

FORMAT.md is the specification, and says why.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import StoreFormatError
from late_rerank.types import I64, Bytes, CodecSpec, Fetched, PackedVectors

ALIGNMENT = 64
HEADER_BYTES = 64
MAGIC = b"LREC"

TOMBSTONE = 1
TRUNCATED = 2
SEAL = 4

_HEADER = np.dtype(
    [
        ("magic", "S4"),
        ("crc", "<u4"),
        ("key", "V16"),
        ("sequence", "<u8"),
        ("size", "<u8"),
        ("n_tokens", "<u8"),
        ("stored_at", "<u8"),
        ("flags", "<u4"),
        ("reserved", "<u4"),
    ]
)
# The checksum covers what follows it: the rest of the header, the columns and all padding.
_CHECKED_FROM = 8


@dataclass(frozen=True, slots=True)
class Header:
    """A record's header.

    Attributes:
        key: 16 bytes.
        sequence: Among records of one key the highest counts.
        size: Of the whole record, header and padding included; a multiple of 64.
        n_tokens: Of the document.
        stored_at: Seconds since 1970, UTC.
        flags: TOMBSTONE, TRUNCATED, SEAL, or'ed.
    """

    key: bytes
    sequence: int
    size: int
    n_tokens: int
    stored_at: int
    flags: int


@dataclass(frozen=True, slots=True)
class Records:
    """Records end to end.

    Attributes:
        bytes: (n_bytes,) uint8.
        offsets: (n_records + 1,) int64: record i is bytes[offsets[i]:offsets[i + 1]].
    """

    bytes: Bytes
    offsets: I64


def layout(columns: Mapping[str, int], lengths: I64, start: int = 0) -> tuple[dict[str, I64], I64]:
    """Compute where each column of documents starts, and where each document ends; every column on a 64-byte boundary.

    Args:
        columns: Bytes a token by column, in order.
        lengths: (n_documents,) int64, in tokens.
        start: Where a document's first column starts; a multiple of 64.

    Returns:
        For each column (n_documents,) int64 from the document's own beginning, and (n_documents,) int64 ends.
    """
    starts, end = {}, np.full(len(lengths), start, dtype=np.int64)
    for name, width in columns.items():
        starts[name] = end
        end = (end + lengths * width + (ALIGNMENT - 1)) & -ALIGNMENT
    return starts, end


def copy_columns(packed: PackedVectors, index: int, starts: Mapping[str, I64], into: Bytes) -> None:
    """Copy document `index` to where `layout` says, from the first byte of `into` on."""
    for name, column_starts in starts.items():
        column = packed.column(name, index)
        start = column_starts[index]
        into[start : start + len(column)] = column


def pack_records(keys: Sequence[bytes], packed: PackedVectors, *, sequence: int, stored_at: int) -> Records:
    """Pack documents as records with checksums, ready to be written.

    Args:
        keys: One a document.
        packed: The documents.
        sequence: Of them all.
        stored_at: Seconds since 1970.
    """
    starts, sizes = layout(packed.codec.columns, packed.lengths, HEADER_BYTES)
    flags = np.where(packed.truncated, TRUNCATED, 0)
    records = _records(_headers(keys, sequence, sizes, packed.lengths, stored_at, flags))
    for i, offset in enumerate(records.offsets[:-1].tolist()):
        copy_columns(packed, i, starts, records.bytes[offset:])
    write_checksums(records)
    return records


def pack_marks(keys: Sequence[bytes], *, flag: int, sequence: int | I64, stored_at: int | I64) -> Records:
    """Pack records without columns: tombstones, or a seal (whose key is all zeros). Sequence and time of all, or one each."""
    sizes = np.full(len(keys), HEADER_BYTES, dtype=np.int64)
    nothing = np.zeros(len(keys), dtype=np.int64)
    records = _records(_headers(keys, sequence, sizes, nothing, stored_at, np.full(len(keys), flag)))
    write_checksums(records)
    return records


def write_checksums(records: Records) -> None:
    """Compute each record's checksum and put it into its header."""
    whole = records.bytes.data
    for start, end in pairwise(records.offsets.tolist()):
        whole[start + 4 : start + 8] = zlib.crc32(whole[start + _CHECKED_FROM : end]).to_bytes(4, "little")


def read_headers(heads: Sequence[bytes | memoryview]) -> NDArray[np.void]:
    """Read the headers of many records at once, unchecked: (n,) with a field for each of Header's, and "magic".

    Args:
        heads: Each record's first 64 bytes.
    """
    return np.frombuffer(b"".join(heads), dtype=_HEADER)


def read_header(buffer: Bytes, offset: int = 0) -> Header | None:
    """Read the header at `offset`; None if no record can begin there. The checksum isn't compared."""
    raw = buffer[offset : offset + HEADER_BYTES].tobytes()
    if len(raw) < HEADER_BYTES or not raw.startswith(MAGIC):
        return None
    header = np.frombuffer(raw, dtype=_HEADER)[0]
    size = int(header["size"])
    if size < HEADER_BYTES or size % ALIGNMENT:
        return None
    return Header(
        raw[8:24], int(header["sequence"]), size, int(header["n_tokens"]), int(header["stored_at"]), int(header["flags"])
    )


def checked_header(buffer: Bytes, offset: int = 0) -> Header | None:
    """Read the header of the record at `offset`; None unless the whole record is there and undamaged."""
    header = read_header(buffer, offset)
    if header is None or offset + header.size > len(buffer):
        return None
    stored = int.from_bytes(buffer[offset + 4 : offset + 8].tobytes(), "little")
    return header if zlib.crc32(buffer[offset + _CHECKED_FROM : offset + header.size].data) == stored else None


def one_buffer_each(
    codec: CodecSpec, documents: Sequence[Bytes | None], lengths: Sequence[int], truncated: Sequence[bool], start: int = 0
) -> Fetched:
    """Make a space's Fetched of documents that each lie in a buffer of their own.

    Args:
        codec: Of the space.
        documents: One an asked key, None where it isn't here.
        lengths: (n_found,) in tokens.
        truncated: (n_found,).
        start: Where the columns start in each buffer.
    """
    buffers = tuple([document for document in documents if document is not None])
    tokens = np.array(lengths, dtype=np.int64)
    found = PackedVectors(
        codec=codec,
        buffers=buffers,
        buffer=np.arange(len(buffers), dtype=np.int32),
        starts=layout(codec.columns, tokens, start)[0],
        lengths=tokens,
        truncated=np.array(truncated, dtype=np.bool_),
    )
    if len(buffers) == len(documents):
        return Fetched(found, np.arange(len(documents), dtype=np.int64), np.empty(0, dtype=np.int64))
    here = np.array([document is not None for document in documents], dtype=np.bool_)
    return Fetched(found, np.flatnonzero(here), np.flatnonzero(~here))


def space_json(fingerprint: str, codec: CodecSpec) -> str:
    """Describe a space as canonical JSON: the same text for the same encoder and codec."""
    return json.dumps(
        {
            "fingerprint": fingerprint,
            "codec": {
                "name": codec.name,
                "dim": codec.dim,
                "columns": [[name, width] for name, width in codec.columns.items()],  # their order counts
                "config": dict(codec.config),
            },
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )


def parse_space(text: str) -> tuple[str, CodecSpec]:
    """Read a space's fingerprint and codec from its `space_json`.

    Raises:
        StoreFormatError: If the text describes no space.
    """
    try:
        given = json.loads(text)
        codec = given["codec"]
        spec = CodecSpec(codec["name"], codec["dim"], {name: width for name, width in codec["columns"]}, codec["config"])  # noqa: C416
        return given["fingerprint"], spec
    except (ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(f"a space must be described by fingerprint and codec, got {text[:80]!r}") from error


def _headers(
    keys: Sequence[bytes], sequence: int | I64, sizes: I64, lengths: I64, stored_at: int | I64, flags: NDArray[np.int64]
) -> NDArray[np.void]:
    headers = np.zeros(len(keys), dtype=_HEADER)
    headers["magic"] = MAGIC
    headers["key"] = np.frombuffer(b"".join(keys), dtype="V16")
    headers["sequence"], headers["stored_at"] = sequence, stored_at
    headers["size"], headers["n_tokens"], headers["flags"] = sizes, lengths, flags
    return headers


def _records(headers: NDArray[np.void]) -> Records:
    """Make room for the records, zeroed, their headers in place."""
    offsets = np.zeros(len(headers) + 1, dtype=np.int64)
    offsets[1:] = np.cumsum(headers["size"].astype(np.int64))
    room = np.zeros(int(offsets[-1]), dtype=np.uint8)
    raw = headers.view(np.uint8).reshape(len(headers), HEADER_BYTES)
    for i, offset in enumerate(offsets[:-1].tolist()):
        room[offset : offset + HEADER_BYTES] = raw[i]
    return Records(room, offsets)
