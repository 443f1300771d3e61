"""A store that can't keep misses doesn't cost an answer; one that can't be read does."""

import threading
import warnings

import numpy as np
import pytest
from failing_stores import FailingStore

from late_rerank import Reranker
from late_rerank.errors import IncompatibleError, StoreError, StoreFormatError
from late_rerank.testing.fakes import FakeEncoder

TEXTS = ["the cat sat", "dogs and cats", "a cat on a mat", "", "cat cat cat"]


@pytest.fixture
def full():
    return Reranker(FakeEncoder(), store=FailingStore(put=StoreError("no space left on device")))


def answers(reranker):
    batch = reranker.rerank_batch(["cat", "mat"], [TEXTS, TEXTS[:3]])
    return [list(reranker.rerank("cat", TEXTS)), *map(list, batch)]


def test_queries_are_answered_as_ever_and_one_warning_is_given(full):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = answers(full)
        maxima = full.token_maxima("cat mat", TEXTS)

    assert len(caught) == 1
    assert "encoded anew for each query" in str(caught[0].message)
    assert found == answers(Reranker(FakeEncoder()))
    np.testing.assert_array_equal(maxima, Reranker(FakeEncoder()).token_maxima("cat mat", TEXTS))


def test_documents_that_were_not_stored_are_counted(full):
    assert full.stats()["n_not_stored"] == 0
    with pytest.warns(UserWarning, match="can't keep") as caught:
        full.rerank("cat", TEXTS)
    full.token_maxima("cat", TEXTS[:2])

    assert caught[0].filename == __file__
    assert full.stats()["n_not_stored"] == 4 + 2
    assert full.stats()["n_documents"] == 0


def test_each_reranker_warns_for_itself():
    store = FailingStore(put=StoreError("no space left on device"))
    for _ in range(2):
        with pytest.warns(UserWarning, match="can't keep"):
            Reranker(FakeEncoder(), store=store).rerank("cat", TEXTS)


def test_once_there_is_room_again_documents_are_stored(full):
    with pytest.warns(UserWarning, match="can't keep"):
        full.rerank("cat", TEXTS)
    full.store.errors.clear()
    full.rerank("cat", TEXTS)

    assert full.rerank("cat", TEXTS).n_hits == 4
    assert full.stats()["n_not_stored"] == 4


def test_threads_get_one_warning_together(full):
    threads = [threading.Thread(target=full.rerank, args=("cat", TEXTS)) for _ in range(8)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(caught) == 1
    assert 4 <= full.stats()["n_not_stored"] <= 8 * 4  # those that are asked for at the same time are encoded once


@pytest.mark.parametrize("error", [StoreFormatError("damaged"), StoreError("read-only")])
def test_indexing_into_such_a_store_fails(full, error):
    full.store.errors["put"] = error
    with pytest.raises(type(error), match=str(error)):
        full.index(TEXTS)
    assert full.stats()["n_not_stored"] == 0


def test_other_errors_of_put_are_raised(full):
    for error in (IncompatibleError("of another codec"), OSError("not translated")):
        full.store.errors["put"] = error
        with pytest.raises(type(error), match=str(error)):
            full.rerank("cat", TEXTS)


def test_errors_of_get_are_raised(full):
    full.store.errors["get"] = StoreError("can't be read")
    for call in (full.rerank, full.token_maxima):
        with pytest.raises(StoreError, match="can't be read"):
            call("cat", TEXTS)


def test_the_time_of_encoding_misses_is_told_although_they_cannot_be_stored(full):
    with pytest.warns(UserWarning, match="can't keep"):
        assert full.rerank("cat", TEXTS).timings_ms["encode_missing"] > 0
