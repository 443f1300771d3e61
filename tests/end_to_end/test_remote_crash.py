"""Writers of a store in object storage are killed at random moments. What was acknowledged is there; what is there is whole.

LATE_RERANK_KILLS=100 kills more often.
"""

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from forking import needs_fork
from remote_runs import ObjectServer

from late_rerank.stores import DiskStore
from late_rerank.stores.remote import RemoteStore
from late_rerank.stores.remote.cleaning import clean
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.merging import merge
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.publishing import publish
from late_rerank.stores.remote.verification import verify
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

KILLS = int(os.environ.get("LATE_RERANK_KILLS", "10"))
BATCH = 20

pytestmark = needs_fork


def batch(number):
    return keys(BATCH, salt=number), random_packed([number % 7 + i for i in range(BATCH)], SPEC, seed=number)


def write(url, first, pipe):
    """Publish one batch after the other, and tell the number of each that is committed."""
    number = first
    while True:
        with tempfile.TemporaryDirectory() as folder:
            with DiskStore(Path(folder) / "store") as store:
                store.space("a", SPEC).put(*batch(number))
            publish(Path(folder) / "store", url)
        os.write(pipe, number.to_bytes(4, "little"))
        number += 1
        if number % 5 == 0:
            merge(Objects.at(url))


def killed_writer(url, first, n_told, after_s):
    """Fork a writer, kill it some time after it acknowledged some commits, and give all that it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write(url, first, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read(4 * n_told)
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the writer failed before it was killed"
        told += pipe.read()
    return [int.from_bytes(told[i : i + 4], "little") for i in range(0, len(told), 4)]


@pytest.mark.parametrize("place", ["bucket", "folder"])
def test_killed_writers_lose_nothing_that_they_acknowledged_and_leave_nothing_half(place, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where dead writers leave their scratch folders
    monkeypatch.setattr(tempfile, "tempdir", None)
    random_numbers = random.Random(1)
    with ObjectServer().serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = "s3://bucket/p" if place == "bucket" else f"file://{tmp_path}/remote"
        objects, acknowledged, tried = Objects.at(url), [], 0
        for _ in range(KILLS):
            told = killed_writer(url, tried, random_numbers.choice([0, 0, 1, 3]), random_numbers.uniform(0, 0.4))
            acknowledged += told
            tried = max([tried, *told]) + 2  # the one that it was at may be there, or not
        assert acknowledged, "no writer got through once"
        report = verify(objects)
        assert report.problems == []
        with RemoteStore(url, timeout_s=60, on_error="raise") as store:
            space = store.space("a", SPEC)
            for number in range(tried):
                names, packed = batch(number)
                fetched = space.get(names)
                assert len(fetched.found) in ((BATCH,) if number in acknowledged else (0, BATCH)), number
                assert not len(fetched.found) or same_documents(fetched.found, packed)
        if place == "bucket":
            server.age(hours=25)
            clean(objects)
            left = {name.removeprefix("p/") for name in server.objects}
            assert {name for name in left if name.startswith(("segments/", "keys/"))} == newest(objects).objects()
            assert [name for name in left if name.startswith("probes/")] == []
            assert verify(objects).problems == []
