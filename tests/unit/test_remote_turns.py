"""Requests to object storage that run at once are bounded, whoever sends them."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from remote_runs import ObjectServer, add, put_run

from late_rerank.stores import DiskStore
from late_rerank.stores.remote import RemoteStore
from late_rerank.stores.remote.committing import commit
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.turns import Turns
from late_rerank.testing.stores import SPEC, keys

WORK = st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.integers(0, 3)), max_size=20)


@given(WORK, st.integers(1, 8))
def test_never_more_than_the_bound_run_and_nothing_is_held_at_the_end(work, most):
    running, seen = 0, [0]

    async def one(turns, n, steps):
        nonlocal running
        async with turns.taken(n):
            running += min(n, most)
            seen.append(running)
            try:
                for _ in range(steps):
                    await asyncio.sleep(0)
            finally:
                running -= min(n, most)

    async def every():
        turns = Turns(most)
        tasks = [asyncio.ensure_future(one(turns, n, steps)) for n, _, steps in work]
        await asyncio.sleep(0)
        for task, (_, is_cancelled, _) in zip(tasks, work, strict=True):
            if is_cancelled:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        n_undisturbed = sum(not is_cancelled for _, is_cancelled, _ in work)
        assert len(seen) > n_undisturbed
        async with turns.taken(most):
            assert running == 0

    asyncio.run(asyncio.wait_for(every(), 60))
    assert max(seen) <= most


def test_queries_at_once_stay_below_the_bound_and_all_find_their_documents(monkeypatch):
    monkeypatch.setattr("late_rerank.stores.remote.library._LIBRARY.turns", Turns(7))
    names = keys(60)
    with ObjectServer().serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for i in range(6):
            add("s3://bucket/p", names[i * 10 : i * 10 + 10], [400 + i] * 10, seed=i)
        server.habits.delay_s = 0.001
        with RemoteStore("s3://bucket/p", timeout_s=60) as store, ThreadPoolExecutor(8) as threads:
            space = store.space("a", SPEC)
            found = list(threads.map(lambda _: len(space.get(names).found), range(16)))
        assert found == [60] * 16
        assert server.most_at_once <= 7


def digests(salt, n):
    """Keys that are spread evenly, as a Reranker's are."""
    return [blake2b(f"{salt} {i}".encode(), digest_size=16).digest() for i in range(n)]


def test_many_small_runs_are_opened_with_little_reading(monkeypatch):
    with ObjectServer().serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        objects = Objects.at("s3://bucket/p")
        runs = [put_run(objects, digests(i, 2000), [0] * 2000, seed=i) for i in range(12)]
        commit(objects, runs)
        assert sum(run.keys_bytes for run in runs) > 1_000_000
        with RemoteStore("s3://bucket/p", timeout_s=60) as store:
            server.counts.clear()
            assert store.space("a", SPEC).missing([digests(11, 1)[0], digests(77, 1)[0]]).tolist() == [1]
            assert server.counts["bytes"] < 900_000  # the two blocks of a run are read with what lies between


ENDING = """
import threading
from late_rerank.stores import open_store
from late_rerank.testing.stores import SPEC, keys

store = open_store("s3://bucket/p?poll_s=0.0001")
space = store.space("a", SPEC)
found = len(space.get(keys(20)).found)
threading.Thread(target=lambda: [space._far.get(keys(20)) for _ in range(1000)], daemon=True).start()
print(found)
"""


def test_a_program_that_ends_while_threads_read_ends_well_and_keeps_what_it_read(monkeypatch, tmp_path):
    with ObjectServer().serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        add("s3://bucket/p", keys(20), [5] * 20)
        server.habits.delay_s = 0.005
        done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "20\n", "")
    (folder,) = (tmp_path / "late-rerank" / "stores").iterdir()
    with DiskStore(folder) as near:  # whose spaces are named by what the far store held
        assert [len(space) for space in near.spaces()] == [20]
