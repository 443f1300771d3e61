"""Places that the index gave are remembered, by each process for itself, as long as they are right."""

import os

import numpy as np
import pytest

from late_rerank.stores import DiskStore
from late_rerank.stores.disk import rebuild
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

N = 40
OLD, NEW = random_packed([30] * N, SPEC, seed=1), random_packed([20] * N, SPEC, seed=2)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def reader(folder):
    """A store whose space "a" holds OLD; their places are remembered."""
    with DiskStore(folder) as store:
        space_of(store).put(keys(N), OLD)
        space_of(store).get(keys(N))
        yield store


@pytest.fixture
def writer(folder, reader):
    with DiskStore(folder) as store:
        yield store


def space_of(store, name="a"):
    return store.space(name, SPEC)


def found(store):
    return space_of(store).get(keys(N))


def asked(store, monkeypatch):
    """How many keys the index is asked for while OLD's documents are got."""
    n_asked = []
    places = parts_of(store).index.places
    look_up = places.look_up
    monkeypatch.setattr(places, "look_up", lambda space, names: n_asked.append(len(names)) or look_up(space, names))
    assert same_documents(found(store).found, OLD)
    return sum(n_asked)


def test_new_documents_leave_places_remembered(reader, writer, monkeypatch):
    space_of(writer).put(keys(3, salt=1), random_packed([5] * 3, SPEC))
    space_of(writer, "b").put(keys(N), NEW)
    space_of(reader).put(keys(3, salt=2), random_packed([5] * 3, SPEC))

    assert asked(reader, monkeypatch) == 0


@pytest.mark.parametrize("own", [True, False])
def test_a_replaced_document_is_seen_at_once(reader, writer, own):
    space_of(reader if own else writer).put(keys(1), NEW.take(np.arange(1)))

    assert same_documents(found(reader).found.take(np.arange(1)), NEW.take(np.arange(1)))
    assert same_documents(found(reader).found.take(np.arange(1, N)), OLD.take(np.arange(1, N)))


@pytest.mark.parametrize("own", [True, False])
def test_a_deleted_document_is_missed_at_once_and_its_successor_found(reader, writer, own):
    space = space_of(reader if own else writer)
    space.delete(keys(1))
    assert found(reader).missing.tolist() == [0]

    space.put(keys(1), NEW.take(np.arange(1)))
    assert same_documents(found(reader).found.take(np.arange(1)), NEW.take(np.arange(1)))


def test_documents_moved_by_compaction_are_asked_for_again(reader, writer, monkeypatch):
    space_of(writer).put(keys(1, salt=1), NEW.take(np.arange(1)))  # into a segment of its own
    parts_of(reader).writing.seal_all()
    found(reader)
    report = writer.compact()

    assert (report.n_segments_before, report.n_segments_after) == (2, 1)
    assert asked(reader, monkeypatch) == N


def test_a_dropped_space_that_is_filled_again_is_seen(reader, writer):
    writer.drop("a")
    assert found(reader).missing.tolist() == list(range(N))

    space_of(writer).put(keys(N), NEW)
    assert same_documents(found(reader).found, NEW)


def test_a_rebuilt_index_is_asked_again(folder, reader, monkeypatch):
    with with_internals(Internals(tick_s=0))(folder) as other:  # looks at each get, as others do after some seconds
        assert asked(other, monkeypatch) == N
        assert asked(other, monkeypatch) == 0
        parts_of(reader).writing.seal_all()
        rebuild(folder)
        found(other)

        assert asked(other, monkeypatch) == N


def test_a_child_asks_for_itself(reader, monkeypatch):
    assert asked(reader, monkeypatch) == 0
    child = os.fork()
    if not child:
        n_asked = asked(reader, monkeypatch), asked(reader, monkeypatch)
        os._exit(0 if n_asked == (N, 0) else 1)
    assert os.waitpid(child, 0)[1] == 0
