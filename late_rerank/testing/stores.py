"""The law of stores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from late_rerank.errors import IncompatibleError
from late_rerank.stores import Store
from late_rerank.testing.store_life import LENGTHS, SPEC, RawDocument, StoreLifeTests, keys
from late_rerank.testing.vectors import random_packed, same_documents
from late_rerank.types import CodecSpec

__all__ = ["LENGTHS", "SPEC", "RawDocument", "StoreTests", "keys"]


class StoreTests(StoreLifeTests):
    """Tests of a store. Inherit and override `make_store`.

    Override `raw_documents`, `reopened` and `read_only` too, or their tests are skipped. A store that bounds its size must hold
    a few hundred kilobytes for this suite.
    """

    @pytest.fixture
    def store(self) -> Store:
        return self.make_store()

    def test_documents_come_back_byte_for_byte_in_the_asked_order(self, store: Store) -> None:
        space, packed, names = store.space("a", SPEC), random_packed(LENGTHS, SPEC), keys(len(LENGTHS))
        space.put(names, packed)
        order = [4, 0, 6, 3, 1, 5, 2]
        fetched = space.get([names[i] for i in order])
        assert same_documents(fetched.found, packed.take(np.array(order)))
        assert fetched.positions.tolist() == list(range(len(order)))
        assert fetched.missing.tolist() == []

    def test_found_and_missing_positions_part_the_asked_keys(self, store: Store) -> None:
        space, packed, names = store.space("a", SPEC), random_packed(LENGTHS, SPEC), keys(len(LENGTHS))
        space.put(names, packed)
        unknown = keys(3, salt=9)
        fetched = space.get([unknown[0], names[3], unknown[1], names[1], unknown[2]])
        assert fetched.positions.tolist() == [1, 3]
        assert fetched.missing.tolist() == [0, 2, 4]
        assert same_documents(fetched.found, packed.take(np.array([3, 1])))

    def test_a_key_asked_for_twice_is_found_twice(self, store: Store) -> None:
        space, names = store.space("a", SPEC), keys(2)
        packed = random_packed([5, 6], SPEC)
        space.put(names, packed)
        assert same_documents(space.get([names[1], names[1]]).found, packed.take(np.array([1, 1])))

    def test_what_is_missing_is_what_get_misses(self, store: Store) -> None:
        space, names, unknown = store.space("a", SPEC), keys(len(LENGTHS)), keys(3, salt=9)
        asked = [[], names, unknown, [unknown[0], names[1], unknown[0], names[1], names[5], unknown[2], names[0]]]
        for put, deleted in ((0, []), (5, names[:2]), (len(names), names[1:2])):
            space.put(names[:put], random_packed(LENGTHS[:put], SPEC))
            space.delete(deleted)
            for some in asked:
                missing = space.missing(some)
                assert missing.dtype == np.int64
                assert missing.tolist() == space.get(some).missing.tolist()

    def test_missing_sees_no_other_space(self, store: Store) -> None:
        names = keys(2)
        store.space("a", SPEC).put(names, random_packed([5, 6], SPEC))
        assert store.space("b", SPEC).missing(names).tolist() == [0, 1]

    def test_asking_for_nothing_finds_nothing(self, store: Store) -> None:
        fetched = store.space("a", SPEC).get([])
        assert len(fetched.found) == len(fetched.positions) == len(fetched.missing) == 0
        assert set(fetched.found.starts) == set(SPEC.columns)

    def test_an_empty_space_misses_everything(self, store: Store) -> None:
        fetched = store.space("a", SPEC).get(keys(3))
        assert len(fetched.found) == 0
        assert fetched.missing.tolist() == [0, 1, 2]

    def test_put_keeps_no_memory_of_the_caller(self, store: Store) -> None:
        space, packed, names = store.space("a", SPEC), random_packed(LENGTHS, SPEC), keys(len(LENGTHS))
        space.put(names, packed)
        packed.buffers[0][:] = 0
        packed.lengths[:] = 1
        for buffer in space.get(names).found.buffers:
            if buffer.flags.writeable:  # then it must be a copy
                buffer[:] = 0
        assert same_documents(space.get(names).found, random_packed(LENGTHS, SPEC))

    def test_fetched_vectors_outlive_delete_replacement_and_drop(self, store: Store) -> None:
        space, names = store.space("a", SPEC), keys(len(LENGTHS))
        space.put(names, random_packed(LENGTHS, SPEC))
        fetched = space.get(names)
        space.put(names[:3], random_packed([9, 9, 9], SPEC, seed=5))
        space.delete(names[3:])
        store.drop("a")
        assert same_documents(fetched.found, random_packed(LENGTHS, SPEC))

    def test_a_key_put_again_is_replaced(self, store: Store) -> None:
        space, names = store.space("a", SPEC), keys(2)
        space.put(names, random_packed([5, 6], SPEC))
        newer = random_packed([8], SPEC, seed=1)
        space.put(names[:1], newer)
        assert same_documents(space.get(names[:1]).found, newer)
        assert len(space) == 2

    def test_put_of_nothing_is_fine(self, store: Store) -> None:
        space = store.space("a", SPEC)
        space.put([], random_packed([], SPEC))
        assert len(space) == 0

    def test_delete_forgets_and_counts_what_was_here(self, store: Store) -> None:
        space, names = store.space("a", SPEC), keys(4)
        space.put(names, random_packed([1, 2, 3, 4], SPEC))
        assert space.delete([names[1], names[2], *keys(1, salt=9)]) == 2
        assert space.delete([names[1]]) == 0
        assert space.get(names).missing.tolist() == [1, 2]
        assert len(space) == 2

    def test_put_refuses_another_codec_and_loses_nothing(self, store: Store) -> None:
        space, names = store.space("a", SPEC), keys(1)
        space.put(names, random_packed([5], SPEC))
        other = CodecSpec("test", 8, {"codes": 8, "scales": 4}, {"seed": 1})
        with pytest.raises(IncompatibleError, match="holds"):
            space.put(names, random_packed([5], other))
        assert same_documents(space.get(names).found, random_packed([5], SPEC))

    def test_put_refuses_keys_of_another_size_or_number(self, store: Store) -> None:
        space = store.space("a", SPEC)
        with pytest.raises(ValueError, match="16 bytes"):
            space.put([b"short"], random_packed([5], SPEC))
        with pytest.raises(ValueError, match="one key a document"):
            space.put(keys(2), random_packed([5], SPEC))
        assert len(space) == 0

    def test_spaces_of_other_encoders_and_codecs_never_see_each_other(self, store: Store) -> None:
        other = CodecSpec("test", 7, {"codes": 7, "scales": 4}, {"seed": 2})
        spaces = [store.space("a", SPEC), store.space("b", SPEC), store.space("a", other)]
        names = keys(1)
        for i, space in enumerate(spaces):
            assert len(space.get(names).found) == 0
            space.put(names, random_packed([5], space.codec, seed=i))
        for i, space in enumerate(spaces):
            assert same_documents(space.get(names).found, random_packed([5], space.codec, seed=i))

    def test_a_space_opened_twice_is_the_same_space(self, store: Store) -> None:
        names = keys(1)
        store.space("a", SPEC).put(names, random_packed([5], SPEC))
        assert len(store.space("a", SPEC).get(names).found) == 1
        assert [(space.fingerprint, space.codec) for space in store.spaces()] == [("a", SPEC)]

    def test_drop_forgets_every_space_of_one_encoder_only(self, store: Store) -> None:
        names = keys(3)
        store.space("a", SPEC).put(names, random_packed([1, 2, 3], SPEC))
        store.space("b", SPEC).put(names, random_packed([1, 2, 3], SPEC))
        assert store.drop("a") == 3
        assert len(store.space("a", SPEC)) == 0
        assert len(store.space("b", SPEC)) == 3
        assert store.drop("never seen") == 0

    def test_stats_count_documents_and_bytes(self, store: Store) -> None:
        store.space("a", SPEC).put(keys(2), random_packed([10, 20], SPEC))
        stats = store.stats()
        assert stats["n_documents"] == 2
        assert stats["size_bytes"] >= 30 * SPEC.bytes_per_token

    def test_threads_that_put_and_get_at_once_see_whole_documents(self, store: Store) -> None:
        space = store.space("a", SPEC)

        def work(salt: int) -> bool:
            for _ in range(20):
                names = keys(len(LENGTHS), salt=salt % 2)  # two threads share each set of keys
                space.put(names, random_packed(LENGTHS, SPEC, seed=salt % 2))
                fetched = space.get(names)
                if not same_documents(fetched.found, random_packed(LENGTHS, SPEC, seed=salt % 2).take(fetched.positions)):
                    return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(4)))
