"""Object storage that fails: a query's documents are missing, with one warning, or a command says why. Never wrong vectors."""

import re
import threading
import time
import traceback
import warnings
from datetime import timedelta

import numpy as np
import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remote_runs import ObjectServer, add

from late_rerank.errors import StoreConnectionError, StoreError, StoreFormatError
from late_rerank.stores.remote import RemoteStore
from late_rerank.stores.remote import keys as keys_module
from late_rerank.stores.remote.cleaning import clean
from late_rerank.stores.remote.merging import merge
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.verification import verify
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

URL = "s3://bucket/p"
N = 30
LENGTHS = [3, 0, 1, 60, 17, 64] * 5
NAMES = keys(N)
PATIENCE_S = 60.0
PARTS = (NAMES[:20], random_packed(LENGTHS[:20], SPEC)), (NAMES[20:], random_packed(LENGTHS[20:], SPEC, seed=1))
RIGHT = {name: packed.take(np.array([i])) for names, packed in PARTS for i, name in enumerate(names)}


@pytest.fixture(scope="module")
def serving():
    with ObjectServer().serving() as served:
        yield served


@pytest.fixture
def server(serving, monkeypatch):
    serving.objects.clear()
    serving.habits = type(serving.habits)()
    for name, value in serving.environment.items():
        monkeypatch.setenv(name, value)
    return serving


@pytest.fixture
def filled(server):
    """Two runs: of 20 documents, and of 10."""
    add(URL, NAMES[:20], LENGTHS[:20])
    add(URL, NAMES[20:], LENGTHS[20:], seed=1)
    return server


def opened(**more):
    return RemoteStore(URL, **{"timeout_s": PATIENCE_S, "retries": 0, "pause_s": 1e-6} | more)


def check_right(fetched, names=NAMES):
    """Every found document is the right one."""
    for i, position in enumerate(fetched.positions.tolist()):
        assert same_documents(fetched.found.take(np.array([i])), RIGHT[names[position]])
    assert sorted([*fetched.positions.tolist(), *fetched.missing.tolist()]) == list(range(len(names)))
    return len(fetched.found)


def damaged_from(at):
    return lambda name, raw: raw[:at] + bytes(len(raw) - at) if "/segments/" in name else raw


def of_segments(value):
    return lambda method, name: value if method == "GET" and "/segments/" in name else None


FAULTS = {
    "500": {"fail": of_segments(500)},
    "503": {"fail": of_segments(503)},
    "403": {"fail": of_segments(403)},
    "a body that ends early": {"cut": lambda name: "/segments/" in name},
    "an answer that is too short": {"shorten": lambda name: "/segments/" in name},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_documents_that_cant_be_read_are_missing_with_one_warning_until_they_can_be(fault, filled):
    with opened() as store:
        space = store.space("a", SPEC)
        assert check_right(space.get(NAMES)) == N
        vars(filled.habits).update(FAULTS[fault])
        with pytest.warns(RuntimeWarning, match="Object storage at s3://bucket/p: reading") as told:
            assert [check_right(space.get(NAMES)) for _ in range(2)] == [0, 0]
        assert len(told) == 1
        assert store.stats()["n_errors"] >= 1
        filled.habits = type(filled.habits)()
        for _ in range(1000):  # the service is left alone for microseconds
            if check_right(space.get(NAMES)) == N:
                break
        assert check_right(space.get(NAMES)) == N


def test_a_service_that_hangs_costs_one_wait(filled):
    with opened(timeout_s=1.0, pause_s=60) as store:
        space = store.space("a", SPEC)
        space.get(NAMES)
        filled.habits.hangs = lambda method, name: True
        with pytest.warns(RuntimeWarning, match="no answer in time"):
            assert check_right(space.get(NAMES)) == 0
        filled.counts.clear()
        assert [check_right(space.get(NAMES)) for _ in range(5)] == [0] * 5
        assert filled.counts["GET"] == 0


def test_segments_that_fail_leave_the_documents_of_others(filled):
    with opened() as store:
        space = store.space("a", SPEC)
        failing = next(name for name in filled.objects if "/segments/" in name)
        filled.habits.fail = lambda method, name: 500 if name == failing else None
        with pytest.warns(RuntimeWarning, match="answered 500"):
            fetched = space.get(NAMES)
        n = check_right(fetched)
        assert n in (10, 20)
        assert store.stats()["n_unreachable"] == N - n


def test_a_service_that_fails_now_and_then_is_not_left_alone(filled):
    with opened(pause_s=3600) as store:
        space = store.space("a", SPEC)
        failing = next(name for name in filled.objects if "/segments/" in name)
        filled.habits.fail = lambda method, name: 503 if name == failing else None
        with pytest.warns(RuntimeWarning, match="answered 503"):
            assert check_right(space.get(NAMES)) < N
        filled.habits.fail = lambda method, name: None
        assert check_right(space.get(NAMES)) == N


def test_errors_are_raised_where_that_is_asked_for(filled):
    with opened(on_error="raise") as store:
        space = store.space("a", SPEC)
        filled.habits.fail = lambda method, name: 503
        with pytest.raises(StoreConnectionError, match="answered 503"):
            space.get(NAMES)


def test_damage_and_lost_objects_are_raised_as_what_they_are(filled):
    filled.habits.damage = lambda name, raw: b"?" + raw[1:] if "/keys/" in name else raw
    with opened(on_error="raise") as store, pytest.raises(StoreFormatError, match=r"Object storage at s3://bucket/p: .*keys"):
        store.space("a", SPEC).get(NAMES)
    filled.habits.damage = lambda name, raw: raw
    for name in [name for name in filled.objects if "/segments/" in name]:
        del filled.objects[name]
    with opened(on_error="raise") as store, pytest.raises(StoreError, match="is gone") as error:
        store.space("a", SPEC).get(NAMES)
    assert not isinstance(error.value, StoreConnectionError)


def test_messages_hold_no_credentials(filled, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    filled.habits.fail = lambda method, name: 403
    filled.habits.said = b"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>somebody</AWSAccessKeyId></Error>"
    with pytest.raises(StoreConnectionError, match="SignatureDoesNotMatch") as error:
        opened(on_error="raise")
    assert "check the credentials" in str(error.value)
    shown = "".join(traceback.format_exception(error.value))
    assert not re.search("somebody|a-secret-key|a-session-token|X-Amz", shown)


ANSWER = b"<Error><Code>NoSuchBucket</Code><AWSAccessKeyId>somebody</AWSAccessKeyId></Error>"
ASKED = {
    "put": lambda objects: objects.put("x", b""),
    "create": lambda objects: objects.create("x", b""),
    "get": lambda objects: objects.get("x"),
    "list": lambda objects: list(objects.list("x")),
    "delete": lambda objects: objects.delete(["x"]),
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_bucket_that_isnt_there_is_told_without_the_services_answer(asked, server):
    server.habits.fail, server.habits.said = lambda method, name: 404, ANSWER
    with pytest.raises(StoreConnectionError, match="the bucket isn't there: check its name") as error:
        ASKED[asked](Objects.at(URL))
    assert "somebody" not in "".join(traceback.format_exception(error.value))


def test_an_object_that_isnt_there_is_no_error_and_a_folder_that_isnt_there_holds_none(server, tmp_path):
    for objects in (Objects.at(URL), Objects.at(f"file://{tmp_path}/none"), Objects.at(f"file://{tmp_path}")):
        objects.delete(["x", "y/z"])
        assert (objects.get("x"), objects.look("x"), list(objects.list("y"))) == (None, None, [])
    assert list(tmp_path.iterdir()) == []


def test_a_store_opens_while_the_service_is_down_and_finds_documents_once_it_is_up(filled):
    filled.habits.fail = lambda method, name: 503
    with pytest.warns(RuntimeWarning, match="answered 503"):
        store = opened()
    with store:
        space = store.space("a", SPEC)
        assert check_right(space.get(NAMES)) == 0
        assert store.spaces() == []
        filled.habits.fail = lambda method, name: None
        for _ in range(1000):
            if check_right(space.get(NAMES)) == N:
                return
    raise AssertionError("the documents are never found")


def test_a_server_that_isnt_there_is_a_miss(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    with pytest.warns(RuntimeWarning, match="no connection"):
        store = opened()
    assert store.space("a", SPEC).get(NAMES).missing.tolist() == list(range(N))


def test_a_place_without_a_store_is_an_error(server):
    with pytest.raises(StoreError, match=r"s3://bucket/p holds no store; `late-rerank store publish DIR URL` makes one"):
        opened()


@pytest.mark.parametrize("kind", ["FORMAT.json", "manifests/"])
def test_damage_in_what_says_what_a_store_is_is_an_error(kind, filled):
    filled.habits.damage = lambda name, raw: b"?" + raw[1:] if kind in name else raw
    with pytest.raises(StoreFormatError, match=r"damaged|no manifest"):
        opened()


@pytest.mark.parametrize("whole_bytes", [0, 2**20])
@given(st.integers(0, 2**30), st.integers(1, 255), st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_byte_makes_documents_missing_and_none_wrong(filled, monkeypatch, whole_bytes, at, change, in_keys):
    monkeypatch.setattr(keys_module, "_WHOLE_BYTES", whole_bytes)  # keys are read by blocks, or whole
    part = "/keys/" if in_keys else "/segments/"

    def damage(name, raw):
        if part not in name:
            return raw
        where = at % len(raw)
        return raw[:where] + bytes([raw[where] ^ change]) + raw[where + 1 :]

    filled.habits.damage = damage
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with opened() as store:
            check_right(store.space("a", SPEC).get(NAMES))


def test_damaged_documents_are_told_once_and_counted(filled):
    filled.habits.damage = damaged_from(5000)
    with opened() as store:
        space = store.space("a", SPEC)
        with pytest.warns(RuntimeWarning, match="store verify") as told:
            left, _ = [check_right(space.get(NAMES)) for _ in range(2)]
        assert left < N
        assert (len(told), store.stats()["n_damaged"]) == (1, 2 * (N - left))


def test_objects_that_are_gone_are_looked_for_in_the_newest_manifest(filled):
    with opened(poll_s=3600) as store:
        space = store.space("a", SPEC)
        space.get(NAMES)
        merge(Objects.at(URL))
        filled.age(hours=25)
        clean(Objects.at(URL), grace=timedelta(0))
        store._shared._snapshot._opened.clear()  # as a process that opened the store, and asks for the first time
        assert check_right(space.get(NAMES)) == N


def test_a_segment_that_is_gone_for_good_is_a_miss(filled):
    with opened() as store:
        space = store.space("a", SPEC)
        space.get(NAMES)
        for name in [name for name in filled.objects if "/segments/" in name]:
            del filled.objects[name]
        with pytest.warns(RuntimeWarning, match="is gone"):
            assert check_right(space.get(NAMES)) == 0


def test_a_running_store_notices_a_commit(server):
    add(URL, NAMES[:20], LENGTHS[:20])
    with opened(poll_s=1e-6) as store:
        space = store.space("a", SPEC)
        assert check_right(space.get(NAMES)) == 20
        add(URL, NAMES[20:], LENGTHS[20:], seed=1)
        end = time.monotonic() + 60
        while check_right(space.get(NAMES)) < N:
            assert time.monotonic() < end, "the commit isn't noticed"


def test_a_query_doesnt_wait_for_a_look(filled):
    is_asked, may_answer = threading.Event(), threading.Event()

    def hangs(method, name):
        if name == "":  # a listing
            is_asked.set()
            return not may_answer.is_set()
        return False

    with opened(poll_s=1e-6) as store:
        space = store.space("a", SPEC)
        space.get(NAMES)
        filled.habits.hangs = hangs
        for _ in range(3):
            assert check_right(space.get(NAMES)) == N
        assert is_asked.wait(60)
        assert check_right(space.get(NAMES)) == N


def test_a_stale_listing_gives_an_older_store(server):
    add(URL, NAMES[:20], LENGTHS[:20])
    server.habits.frozen_list = list(server.objects)
    add(URL, NAMES[20:], LENGTHS[20:], seed=1)
    with opened() as store:
        assert check_right(store.space("a", SPEC).get(NAMES)) == 20


@pytest.mark.parametrize("work", [verify, merge, clean, lambda objects: objects.put("segments/x", b"x")])
def test_commands_say_why_they_fail(work, filled):
    filled.habits.fail = lambda method, name: 503
    with pytest.raises(StoreConnectionError, match=r"s3://bucket/p: .*answered 503"):
        work(Objects(URL, retries=0))
