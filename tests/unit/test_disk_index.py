"""The tables of a DiskStore's index: which record of a key counts, what is counted, and rows by their place."""

import sqlite3
from contextlib import closing

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.stores import DiskStore
from late_rerank.stores.disk import index, lookups, tables
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.tables import Row
from late_rerank.stores.record import TOMBSTONE
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

# Few keys, sequences and segments, so that they meet; no two records lie at one place.
RECORDS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9), st.booleans()),
    unique_by=lambda record: record[2:4],
    max_size=25,
)


def row_for(key, sequence, segment, place, is_tombstone):
    return Row(bytes([key] * 16), segment, 64 * place, 64 + 64 * key, key, TOMBSTONE * is_tombstone, sequence, 1_700_000_000)


@given(st.lists(RECORDS.map(lambda records: [row_for(*record) for record in records]), max_size=3))
def test_of_a_keys_records_the_highest_counts_in_whatever_order_they_come(batches):
    seen, expected = set(), {}
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        tables.make_tables(connection, "a store", 1)
        space = tables.add_space(connection, "a space")
        for segment in (1, 2, 3):
            tables.enter_segment(connection, segment, space)
        for batch in batches:
            new = [row for row in batch if (row.segment, row.offset) not in seen]
            seen |= {(row.segment, row.offset) for row in new}
            tables.add_rows(connection, space, iter(new))
            for row in new:
                order = (row.sequence, row.segment, row.offset)
                before = expected.get(row.key)
                if before is None or order > (before.sequence, before.segment, before.offset):
                    expected[row.key] = row
        rows = [row for segment in (1, 2, 3) for row in lookups.rows(connection, segment)]
        assert sorted(rows) == sorted(expected.values())
        living = [row for row in rows if not row.flags & TOMBSTONE]
        for found in lookups.segments(connection):
            mine = [row for row in living if row.segment == found.id]
            assert (found.n_live, found.live_bytes) == (len(mine), sum(row.size for row in mine))


def make_older(folder):
    """Give a store's index the tree that versions before had in the place of today's."""
    with closing(sqlite3.connect(folder / index.NAME, isolation_level=None)) as connection:
        connection.execute(f"DROP INDEX {tables.PLACES}")
        connection.execute("CREATE INDEX record_segment ON record (segment)")


def test_rows_of_a_segment_come_by_place_a_part_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_BYTES_AT_ONCE", 300)
    with DiskStore(tmp_path) as store:
        store.space("a", SPEC).put(keys(40), random_packed([n % 5 for n in range(40)], SPEC))
        store.space("a", SPEC).put(keys(3), random_packed([1] * 3, SPEC))
        opened = parts_of(store).index
        (segment,) = opened.segments()
        expected = opened.rows(segment.id)
        monkeypatch.delattr(lookups, "rows")  # the question for all rows at once
        assert list(opened.rows_in(segment)) == expected
        assert len(expected) == 40


def test_rows_beyond_the_end_of_a_segment_are_given_too(tmp_path):
    with DiskStore(tmp_path) as store:
        store.space("a", SPEC).put(keys(4), random_packed([1] * 4, SPEC))
        opened = parts_of(store).index
        with parts_of(store).gate.held(), opened.changing() as changes:
            changes.execute("UPDATE record SET offset = offset + 1000000000000 WHERE key = ?", keys(1))
        (segment,) = opened.segments()
        assert list(opened.rows_in(segment)) == opened.rows(segment.id)
    with DiskStore(tmp_path) as store:
        assert [problem.remedy for problem in store.verify().problems] == ["rebuild"]


def test_an_index_of_an_earlier_version_is_read_and_sorted_by_place_when_it_is_compacted(tmp_path):
    names, packed = keys(20), random_packed([2] * 20, SPEC)
    with DiskStore(tmp_path / "store") as store:
        store.space("a", SPEC).put(names[:10], packed.take(np.arange(10)))
    make_older(tmp_path / "store")
    with DiskStore(tmp_path / "store") as store:
        store.space("a", SPEC).put(names[10:], packed.take(np.arange(10, 20)))
        assert not parts_of(store).index.has_places()
        assert store.verify().problems == []
        store.publish(tmp_path / "out")
        store.compact()
        assert parts_of(store).index.has_places()
        assert store.verify().problems == []
        assert same_documents(store.space("a", SPEC).get(names).found, packed)


def test_the_log_of_a_larger_index_may_grow_to_half_of_it_and_no_further_than_eight_times_the_usual(tmp_path, monkeypatch):
    with with_internals(Internals(log_bytes=20_000))(tmp_path) as store:
        writer = parts_of(store).index._writer
        store.space("a", SPEC).put(keys(1), random_packed([1], SPEC))
        connection = writer._connected()
        for size, most in ((10_000, 20_000), (100_000, 50_000), (10_000_000, 160_000)):
            monkeypatch.setattr("late_rerank.stores.disk.pragmas.size_bytes", lambda _, size=size: size)
            assert writer._most_log_bytes(connection) == most
