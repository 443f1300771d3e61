"""Keys files of version 2 as bytes: what is written is found, whatever the keys, and nothing else is."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.errors import StoreFormatError
from late_rerank.stores.keys_blocks import (
    BLOCK_BYTES,
    FIRST_BYTES,
    ROW,
    ROWS_A_BLOCK,
    Fence,
    find_rows,
    header_size,
    parse_header,
    rows_of,
)
from late_rerank.stores.keys_runs import merged
from late_rerank.stores.keys_writer import KeysWriter, sort_rows

SPACE = '{"codec":{},"fingerprint":"some model"}'
FEW_HALVES = [0, 1, 2**63, 2**64 - 1]


def key_of(half, last):
    return struct.pack(">QQ", half, last)


KEYS = st.builds(key_of, st.sampled_from(FEW_HALVES), st.integers(0, 300))
# For each of few first halves a range of keys: they spread over several blocks, and begin and end anywhere in them.
RANGES = st.tuples(st.integers(0, 120), st.integers(0, 350), st.integers(1, 3)).map(lambda given: range(*given))
SETS = st.lists(RANGES, min_size=4, max_size=4).map(
    lambda ranges: {key_of(half, last) for half, lasts in zip(FEW_HALVES, ranges, strict=True) for last in lasts}
)


def rows_for(keys):
    rows = np.zeros(len(keys), dtype=ROW)
    rows["key"] = np.frombuffer(b"".join(keys), dtype="V16")
    rows["offset"] = np.arange(len(keys)) * 64
    rows["n_tokens"] = np.arange(len(keys)) % 512
    rows["segment"] = np.arange(len(keys)) % 3 + 1
    rows["flags"] = np.arange(len(keys)) % 2 * 2
    return rows


def in_parts(rows, part):
    return (rows[start : start + part] for start in range(0, len(rows), part))


def written(rows, *, part=1000):
    file = io.BytesIO()
    writer = KeysWriter(file, SPACE)
    for some in in_parts(rows, part):
        writer.add(some)
    header = writer.finish()
    raw = file.getvalue()
    assert parse_header(raw, "the file") == header
    assert len(raw) == header.size_bytes
    return raw


def opened(raw):
    header = parse_header(raw[: header_size(raw[:40], "the file")], "the file")
    start, end = header.tail
    return header, Fence(header, raw[start:end], "the file")


def block_bytes(raw, header, numbers):
    return b"".join(raw[slice(*header.span(number))] for number in numbers)


def found(raw, keys):
    """Look keys up as a reader does: header, fence, then only the blocks that it names."""
    header, fence = opened(raw)
    asked = fence.blocks_of(keys)
    numbers = asked.blocks()
    rows = find_rows(keys, asked, numbers, block_bytes(raw, header, numbers.tolist()))
    assert rows.damaged == []
    return dict(zip(rows.key.tolist(), rows.rows.tolist(), strict=True))


def many(n, seed=0):
    return sort_rows(rows_for([np.random.default_rng(seed + i).bytes(16) for i in range(n)]))


@given(SETS, st.lists(KEYS, max_size=20), st.integers(1, 400))
def test_every_key_is_found_and_no_other_where_first_halves_are_equal_across_blocks(keys, others, part):
    rows = sort_rows(rows_for(sorted(keys)[::-1]))
    raw = written(rows, part=part)
    expected = {bytes(row[0]): row for row in rows.tolist()}
    asked = [*keys, *others]
    assert found(raw, asked) == {i: expected[key] for i, key in enumerate(asked) if key in expected}


@given(SETS, st.integers(1, 400))
def test_all_rows_are_read_back_in_order_however_they_were_added(keys, part):
    rows = rows_for(sorted(keys))
    raw = written(rows, part=part)
    header, fence = opened(raw)
    numbers = np.arange(header.n_blocks)
    read, damaged = rows_of(numbers, block_bytes(raw, header, numbers.tolist()))
    assert (read.tolist(), damaged) == (rows.tolist(), [])
    assert raw == written(rows, part=10_000)
    assert fence.segments == sorted(set(rows["segment"].tolist()))


@given(st.lists(SETS, max_size=4), st.integers(1, 120))
def test_merged_runs_are_one_run_in_which_the_earlier_run_counts(runs, part):
    given_runs = [rows_for(sorted(keys)) for keys in runs]
    for number, rows in enumerate(given_runs):
        rows["segment"] = number
    expected = {bytes(row["key"]): row.tolist() for rows in reversed(given_runs) for row in rows}
    parts = merged([in_parts(rows, part) for rows in given_runs])
    assert [row.tolist() for rows in parts for row in rows] == [expected[key] for key in sorted(expected)]


def test_a_key_of_zeros_is_found_only_if_it_was_written():
    zeros = bytes(16)
    one = key_of(0, 1)
    assert found(written(rows_for([one])), [zeros]) == {}
    assert list(found(written(rows_for([zeros])), [zeros, one])) == [0]
    assert found(written(rows_for([])), [zeros]) == {}


def test_a_key_needs_one_block_of_millions():
    raw = written(many(5_000))
    header, fence = opened(raw)
    assert header.n_blocks == -(-5_000 // ROWS_A_BLOCK)
    keys = [np.random.default_rng(i).bytes(16) for i in range(0, 5_000, 10)]
    asked = fence.blocks_of(keys)
    twice = len(asked.key) - len(keys)
    assert twice < len(keys) // 20  # those whose first half begins a block
    assert len(found(raw, keys)) == len(keys)


def test_each_flipped_byte_is_told_where_it_lies():
    raw = written(many(250))
    header, _ = opened(raw)
    tail_start = header.tail[0]
    numbers = np.arange(header.n_blocks)
    for at in [*range(200), *range(FIRST_BYTES - 2, len(raw), 13), len(raw) - 1]:
        bad = bytearray(raw)
        bad[at] ^= 0x10
        if at < header.size:
            with pytest.raises(StoreFormatError):
                parse_header(bytes(bad), "the file")
        elif at < tail_start:
            block = (at - header.size) // BLOCK_BYTES
            _, damaged = rows_of(numbers, block_bytes(bytes(bad), header, numbers.tolist()))
            assert damaged == [block], at
        else:
            with pytest.raises(StoreFormatError, match="fence"):
                Fence(header, bytes(bad[slice(*header.tail)]), "the file")


def test_keys_of_a_damaged_block_are_missing_and_all_others_found():
    rows = many(500)
    raw = written(rows)
    header, fence = opened(raw)
    bad = bytearray(raw)
    bad[header.span(2)[0] + 50] ^= 1
    keys = [bytes(row[0]) for row in rows.tolist()]
    asked = fence.blocks_of(keys)
    numbers = asked.blocks()
    result = find_rows(keys, asked, numbers, block_bytes(bytes(bad), header, numbers.tolist()))
    assert result.damaged == [2]
    assert sorted({*range(500)} - {*result.key.tolist()}) == [*range(2 * ROWS_A_BLOCK, 3 * ROWS_A_BLOCK)]


def test_a_block_from_another_place_counts_as_damaged():
    rows = many(500)
    raw = written(rows)
    header, fence = opened(raw)
    key = [bytes(rows[ROWS_A_BLOCK + 7]["key"])]
    asked = fence.blocks_of(key)
    assert asked.blocks().tolist() == [1]
    assert find_rows(key, asked, np.array([1]), block_bytes(raw, header, [3])).damaged == [1]


def test_blocks_that_were_not_read_are_passed_over():
    rows = many(500)
    raw = written(rows)
    header, fence = opened(raw)
    keys = [bytes(row[0]) for row in rows.tolist()]
    result = find_rows(keys, fence.blocks_of(keys), np.array([1, 4]), block_bytes(raw, header, [1, 4]))
    assert {position // ROWS_A_BLOCK for position in result.key.tolist()} == {1, 4}
    assert len(find_rows(keys, fence.blocks_of(keys), np.array([], dtype=np.int64), b"").key) == 0


def test_rows_that_are_not_sorted_are_refused():
    writer = KeysWriter(io.BytesIO(), SPACE)
    rows = many(10)
    writer.add(rows[:5])
    for wrong in (rows[4:6], rows[:1], rows[[7, 6]]):
        with pytest.raises(ValueError, match="sorted by key"):
            writer.add(wrong)


def test_a_long_name_of_a_space_takes_a_longer_header():
    file = io.BytesIO()
    writer = KeysWriter(file, "x" * 5000)
    writer.add(many(3))
    header = writer.finish()
    raw = file.getvalue()
    assert header_size(raw[:40], "the file") == header.size == 2 * FIRST_BYTES
    assert parse_header(raw, "the file").space == "x" * 5000
    with pytest.raises(StoreFormatError, match="damaged header"):
        parse_header(raw[:FIRST_BYTES], "the file")


def test_what_is_no_keys_file_or_of_another_version_is_refused_and_named():
    with pytest.raises(StoreFormatError, match=r"x\.keys is no keys file"):
        parse_header(b"something else" * 400, "x.keys")
    with pytest.raises(StoreFormatError, match=r"x\.keys is no keys file"):
        parse_header(b"", "x.keys")
