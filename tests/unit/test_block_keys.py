"""A keys file on a disk: which blocks a lookup reads, and that both versions say the same."""

import errno
from pathlib import Path

import numpy as np
import pytest

from late_rerank.stores.disk import block_keys
from late_rerank.stores.disk.block_keys import BlockKeys
from late_rerank.stores.disk.keys_file import ColumnKeys, open_keys
from late_rerank.stores.disk.places import unpack_place
from late_rerank.stores.keys_blocks import ROW, ROWS_A_BLOCK
from late_rerank.stores.keys_writer import KeysWriter, sort_rows

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def rows():
    rows = np.zeros(1000, dtype=ROW)
    rows["key"] = np.frombuffer(np.random.default_rng(0).bytes(16_000), dtype="V16")
    rows["offset"], rows["n_tokens"], rows["segment"], rows["flags"] = np.arange(1000) * 64, 3, 1 + np.arange(1000) % 2, 2
    return sort_rows(rows)


@pytest.fixture
def path(rows, tmp_path):
    with (tmp_path / "1.keys").open("wb") as file:
        writer = KeysWriter(file, "a space")
        writer.add(rows)
        writer.finish()
    return tmp_path / "1.keys"


@pytest.fixture
def done(monkeypatch):
    """What lookups did, in order: blocks that they had read ahead, and the blocks that they then looked at."""
    done = []
    ahead, find = BlockKeys._prefetch, block_keys.find_rows

    def prefetch(keys, numbers):
        done.append(("ahead", numbers.tolist()))
        ahead(keys, numbers)

    def find_rows(keys, asked, numbers, raw, *, is_checked):
        done.append(("unchecked" if not is_checked else "checked", numbers.tolist()))
        return find(keys, asked, numbers, raw, is_checked=is_checked)

    monkeypatch.setattr(BlockKeys, "_prefetch", prefetch)
    monkeypatch.setattr(block_keys, "find_rows", find_rows)
    return done


def some_of(rows, blocks):
    return [rows["key"][block * ROWS_A_BLOCK + 5].tobytes() for block in blocks]


def test_all_blocks_of_a_lookup_are_asked_for_before_one_is_read(rows, path, done):
    places, damage = BlockKeys(path).find([*some_of(rows, [7, 2, 4]), bytes(16)])
    assert done == [("ahead", [2, 4, 7]), ("unchecked", [2, 4, 7])]
    assert damage == []
    expected = [rows[block * ROWS_A_BLOCK + 5] for block in (7, 2, 4)]
    assert [unpack_place(place) for place in places[:3]] == [(r["segment"], r["offset"], 3, 2) for r in expected]
    assert places[3] is None


def test_a_block_is_compared_with_its_checksum_once(rows, path, done):
    keys = BlockKeys(path)
    keys.find(some_of(rows, [1, 3]))
    keys.find(some_of(rows, [3, 1]))
    keys.find(some_of(rows, [3, 5]))
    assert done[2:] == [("ahead", []), ("checked", [1, 3]), ("ahead", [5]), ("unchecked", [3, 5])]


def test_a_damaged_block_is_compared_each_time(rows, path):
    raw = bytearray(path.read_bytes())
    raw[4096 + 3 * 4096 + 9] ^= 4
    path.write_bytes(raw)
    keys = BlockKeys(path)
    for _ in range(2):
        places, damage = keys.find(some_of(rows, [3, 1]))
        assert (places[0], damage) == (None, ["block 3 of 1.keys is damaged"])
        assert places[1] is not None


class PagesOf:
    """The mapping of a keys file, on a machine whose pages are as large as said. Notes what it is told to read ahead."""

    def __init__(self, size, mapping):
        self.size, self.mapping, self.ahead = size, mapping, []

    def __len__(self):
        return len(self.mapping)

    def madvise(self, advice, start, n_bytes):
        if start % self.size:
            raise OSError(errno.EINVAL, "Invalid argument")
        self.mapping.madvise(advice, start, n_bytes)
        self.ahead.append(range(start, start + n_bytes))


@pytest.mark.parametrize("size", [4096, 16384, 65536])
def test_blocks_are_read_ahead_whatever_size_pages_have(size, rows, path, monkeypatch):
    monkeypatch.setattr(block_keys, "_PAGE", size)
    keys = BlockKeys(path)
    keys._mmap = pages = PagesOf(size, keys._mmap)
    blocks = [0, 2, 3, 9]
    assert None not in keys.find(some_of(rows, blocks))[0]
    for start in (4096 + 4096 * block for block in blocks):
        assert sum(start in part and start + 4095 in part for part in pages.ahead) == 1


@pytest.mark.parametrize("name", ["0000000001.keys", "0000000002.keys"])
def test_both_versions_of_a_keys_file_say_the_same(name):
    columns, blocks = (open_keys(GOLDEN / version / "published" / "keys" / name) for version in ("stores-1", "stores-2"))
    assert (type(columns), type(blocks)) == (ColumnKeys, BlockKeys)
    assert (columns.space, columns.n, columns.segments) == (blocks.space, blocks.n, blocks.segments)
    rows = [[row.tolist() for part in keys.parts() for row in part] for keys in (columns, blocks)]
    assert rows[0] == rows[1]
    asked = [bytes(16), *(row[0] for row in rows[0][::-1]), b"not one of these"]
    found = [keys.locate(asked) for keys in (columns, blocks)]
    assert found[0].rows.tolist() == found[1].rows.tolist() == rows[0][::-1]
    assert found[0].key.tolist() == found[1].key.tolist()
    assert found[0].number.tolist() == found[1].number.tolist() == [*range(columns.n)][::-1]
    assert columns.find(asked) == blocks.find(asked)
