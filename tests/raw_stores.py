"""Documents read where each of our stores keeps them, by FORMAT.md alone: nothing here calls a store."""

import hashlib
import json
import struct
import zlib

from late_rerank.testing.stores import RawDocument

HEADER = struct.Struct("<4sI16sQQQQII")
TOMBSTONE, TRUNCATED, SEAL = 1, 2, 4


def aligned(n):
    return -(-n // 64) * 64


def document(columns, raw, start, n_tokens, *, truncated):
    """The columns of a document whose first one begins at `start`."""
    parts = {}
    for name, width in columns.items():
        parts[name] = bytes(raw[start : start + n_tokens * width])
        start = aligned(start + n_tokens * width)
    return RawDocument(parts, truncated)


def records(raw, start, columns):
    """(offset, key, sequence, the document or None for a tombstone) of each record, up to the seal or where nothing follows."""
    while raw[start : start + 4] == b"LREC":
        _, checksum, key, sequence, size, n_tokens, _, flags, _ = HEADER.unpack_from(raw, start)
        assert zlib.crc32(raw[start + 8 : start + size]) == checksum
        if flags & SEAL:
            return
        found = document(columns, raw, start + 64, n_tokens, truncated=bool(flags & TRUNCATED))
        yield start, key, sequence, None if flags & TOMBSTONE else found
        start += size


def described(space):
    """A space's name, as FORMAT.md says."""
    codec = space.codec
    columns = [list(column) for column in codec.columns.items()]
    codec = {"columns": columns, "config": dict(codec.config), "dim": codec.dim, "name": codec.name}
    return json.dumps({"codec": codec, "fingerprint": space.fingerprint}, sort_keys=True, separators=(",", ":"))


def in_folder(folder, space):
    """Of each key's records in the segments of a space, the one that counts."""
    latest = {}
    for path in sorted((folder / "segments").glob("*.seg")):
        raw = path.read_bytes()
        magic, _, _, number, size, text_size = struct.unpack_from("<8sIIQII", raw)
        assert magic == b"LRRKSEGM"
        if raw[32 : 32 + text_size].decode() == described(space):
            for offset, key, sequence, found in records(raw, size, space.codec.columns):
                latest[key] = max(latest.get(key, ((-1,), None)), ((sequence, number, offset), found), key=lambda pair: pair[0])
    return {key: found for key, (_, found) in latest.items() if found is not None}


def in_redis(url, prefix, space, *, cluster):
    """The values under the names of a space."""
    import redis  # an extra

    client = (redis.RedisCluster if cluster else redis.Redis).from_url(url)
    begin = f"{prefix}:{hashlib.blake2b(described(space).encode(), digest_size=8).hexdigest()}:"
    found = {}
    for name in client.scan_iter(match=f"{begin}*"):
        ((_, key, _, value),) = records(client.get(name), 0, space.codec.columns)
        assert name.decode() == begin + key.hex()
        found[key] = value
    client.close()
    return found


def in_postgres(server, schema, space):
    """The rows of a space."""
    digest = hashlib.blake2b(described(space).encode(), digest_size=16).digest()
    rows = server.run(
        f"SELECT key, value FROM {schema}.record JOIN {schema}.space ON number = record.space WHERE digest = %s", digest
    )
    found = {}
    for name, value in rows:
        ((_, key, _, document),) = records(value, 0, space.codec.columns)
        assert name == key
        found[key] = document
    return found


def in_memory(store, space):
    """What a MemoryStore holds; there is no other way in than its own dict."""
    documents = store._documents.by_name
    return {
        name[8:]: document(space.codec.columns, held.payload, 0, held.length, truncated=held.truncated)
        for name, held in documents.items()
        if name[:8] == space.prefix
    }


def keys_rows(raw):
    """(key, offset, tokens, segment, flags) of each row of a keys file of version 2, and its space's name."""
    magic, _, version, n, size, text_size, _, _ = struct.unpack_from("<8sIIQIIII", raw)
    assert (magic, version) == (b"LRRKKEYS", 2)
    rows = []
    for start in range(size, size + -(-n // 102) * 4096, 4096):
        block = raw[start : start + 4096]
        number, n_rows, checksum = struct.unpack_from("<QII", block, 4080)
        assert (number, checksum) == ((start - size) // 4096, zlib.crc32(block[:4092]))
        rows += [struct.unpack_from("<16sQQII", block, 40 * i) for i in range(n_rows)]
    assert len(rows) == n
    return rows, raw[40 : 40 + text_size].decode()


def in_objects(folder, space):
    """The documents of a space that the newest manifest's runs give; of two runs with one key the first counts."""
    newest = max((folder / "manifests").glob("*.json"), default=None)
    runs = [] if newest is None else json.loads(newest.read_text())["runs"]
    found = {}
    for run in reversed(runs):
        rows, name = keys_rows((folder / run["keys"]).read_bytes())
        assert name == run["space"]
        if name != described(space):
            continue
        for key, offset, n_tokens, segment, flags in rows:
            if flags & TOMBSTONE:
                found.pop(key, None)
                continue
            raw = (folder / run["segments"][str(segment)]).read_bytes()
            _, written, _, found[key] = next(records(raw, offset, space.codec.columns))
            assert (written, HEADER.unpack_from(raw, offset)[5]) == (key, n_tokens)
    return found
