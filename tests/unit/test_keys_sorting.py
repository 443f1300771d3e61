"""Rows in any order, sorted by key though only some fit into memory; published stores whose rows were spilled."""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.errors import StoreError
from late_rerank.stores import DiskStore, PublishedStore
from late_rerank.stores.disk import keys_sorting, publishing
from late_rerank.stores.disk.keys_sorting import RowSorter
from late_rerank.stores.keys_blocks import ROW
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

FEW = {"_ROWS_A_RUN": 7, "_ROWS_AT_ONCE": 12, "_ROWS_OF_A_RUN": 2}


def rows_for(numbers):
    rows = np.zeros(len(numbers), dtype=ROW)
    rows["key"] = np.frombuffer(b"".join(number.to_bytes(16, "big") for number in numbers), dtype="V16")
    return rows


@given(st.lists(st.integers(0, 2**64), unique=True, max_size=60), st.integers(1, 9))
def test_rows_come_sorted_however_many_runs_they_took(numbers, part):
    with TemporaryDirectory() as folder, patch.multiple(keys_sorting, **FEW):
        scratch = Path(folder) / "some.rows"
        with RowSorter(scratch) as sorter:
            for start in range(0, len(numbers), part):
                sorter.add(rows_for(numbers[start : start + part]))
            assert scratch.exists() == bool(sorter._runs)
            found = [row["key"].tobytes() for rows in sorter.sorted_parts() for row in rows]
        assert not scratch.exists()
    assert found == [number.to_bytes(16, "big") for number in sorted(numbers)]


def test_few_rows_are_held_at_a_time(tmp_path):
    with patch.multiple(keys_sorting, **FEW), RowSorter(tmp_path / "some.rows") as sorter:
        for start in range(0, 700, 5):
            sorter.add(rows_for(range(start * 7 % 701, start * 7 % 701 + 1)))
            assert sorter._n_held < 7
        assert max(len(rows) for rows in sorter.sorted_parts()) <= 2 * (len(sorter._runs) + 1)


def test_a_published_store_is_the_same_though_its_rows_were_spilled(tmp_path):
    names, packed = keys(40), random_packed([n % 4 for n in range(40)], SPEC)
    with DiskStore(tmp_path / "store") as store:
        store.space("a", SPEC).put(names, packed)
        store.publish(tmp_path / "at once")
        with patch.multiple(keys_sorting, **FEW), patch.object(publishing, "_CHUNK_ROWS", 3):
            store.publish(tmp_path / "spilled")
    for place in ("keys/0000000001.keys", "segments/0000000001.seg"):
        assert (tmp_path / "spilled" / place).read_bytes() == (tmp_path / "at once" / place).read_bytes()
    assert [path.name for path in (tmp_path / "spilled" / "keys").iterdir()] == ["0000000001.keys"]
    with PublishedStore(tmp_path / "spilled") as published:
        assert same_documents(published.space("a", SPEC).get(names).found, packed)
        assert published.verify().problems == []


def test_a_failed_publication_leaves_no_scratch_file(tmp_path):
    with DiskStore(tmp_path / "store") as store:
        store.space("a", SPEC).put(keys(40), random_packed([1] * 40, SPEC))
        with (
            patch.multiple(keys_sorting, **FEW),
            patch.object(publishing, "_CHUNK_ROWS", 3),
            patch.object(publishing, "KeysWriter", side_effect=OSError("the disk is full")),
            pytest.raises(StoreError, match="the disk is full"),
        ):
            store.publish(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "keys").iterdir()] == ["0000000001.keys"]
    assert not (tmp_path / "out" / "FORMAT.json").exists()
