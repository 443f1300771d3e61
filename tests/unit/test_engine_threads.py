"""How many threads an engine has: one a core, or as many as the environment says."""

import pytest

from late_rerank.encode.backends import threads


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_n_cores", lambda: 4)
    monkeypatch.setattr(threads, "_n_processors", lambda: 8)


def test_two_processors_of_one_core_count_once():
    assert threads.n_threads() == 4


def test_no_more_than_this_process_may_use(monkeypatch):
    monkeypatch.setattr(threads, "_n_processors", lambda: 2)
    assert threads.n_threads() == 2


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("6,2", 6), ("0", 1), ("", 4), ("many", 4)])
def test_the_environment_decides(value, expected, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.n_threads() == expected


def test_a_forked_child_of_a_process_with_an_engine_has_one(monkeypatch):
    monkeypatch.setattr(threads, "lost_threads", lambda: True)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads.n_threads() == 1
