"""Near copies of object storage: what is corrected, deleted or dropped there is noticed by every machine."""

import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from remote_runs import add, put_run

from late_rerank.stores.remote.committing import commit
from late_rerank.stores.remote.deleting import delete, drop
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.merging import merge
from late_rerank.stores.remote.objects import Objects
from late_rerank.testing.stores import SPEC, keys

NAMES = keys(6)
LENGTHS = [3, 0, 1, 60, 17, 64]


@pytest.fixture
def url(tmp_path):
    """A store of three documents in a folder."""
    add(f"file://{tmp_path}/remote", NAMES[:3], LENGTHS[:3])
    return f"file://{tmp_path}/remote"


CHANGES = {
    "add": (0, lambda url: add(url, NAMES[3:], LENGTHS[3:], seed=1)),
    "add to another space": (0, lambda url: add(url, NAMES[:3], LENGTHS[:3], fingerprint="b")),
    "commit again": (0, lambda url: add(url, NAMES[:3], LENGTHS[:3])),
    "replace one of them": (1, lambda url: add(url, NAMES[2:5], LENGTHS[2:5], seed=1)),
    "delete": (1, lambda url: delete(Objects.at(url), "a", SPEC, NAMES[:1])),
    "delete what isn't there": (0, lambda url: delete(Objects.at(url), "a", SPEC, NAMES[5:])),
    "drop": (1, lambda url: drop(Objects.at(url), "a")),
    "drop another model's": (0, lambda url: drop(Objects.at(url), "b")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_generation_grows_only_if_a_copy_may_be_wrong(url, change):
    expected, does = CHANGES[change]
    does(url)
    assert newest(Objects.at(url)).generation == expected


def test_a_merge_keeps_the_generation_and_so_does_the_next_addition(url):
    add(url, NAMES[1:4], LENGTHS[1:4], seed=1)
    merge(Objects.at(url))
    add(url, NAMES[4:], LENGTHS[4:], seed=2)
    assert newest(Objects.at(url)).generation == 1


def test_a_run_whose_keys_cant_be_read_counts_as_replacing(url, tmp_path):
    objects = Objects.at(url)
    new = put_run(objects, NAMES[3:], LENGTHS[3:], seed=1)
    (tmp_path / "remote" / new.keys).write_bytes(b"damaged")
    commit(objects, [new])
    assert newest(objects).generation == 1


def test_of_writers_at_once_each_looks_at_what_the_other_committed(url, monkeypatch):
    objects, others = Objects.at(url), [NAMES[4:]]
    create = Objects.create

    def after_another(self, name, raw):
        if name.startswith("manifests") and others:
            add(url, others.pop(), LENGTHS[4:], seed=1)
        return create(self, name, raw)

    new = put_run(objects, NAMES[3:5], LENGTHS[3:5], seed=2)
    monkeypatch.setattr(Objects, "create", after_another)
    commit(objects, [new])
    assert (newest(objects).number, newest(objects).generation) == (3, 1)
