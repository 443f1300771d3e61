"""Commits of a store in object storage: none is lost, and a service that can't keep to that is refused."""

import os
from contextlib import suppress

import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from forking import in_a_child, needs_fork
from hypothesis import given
from hypothesis import strategies as st
from remote_runs import ObjectServer, put_run

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores.remote import committing
from late_rerank.stores.remote.committing import change, commit, prove
from late_rerank.stores.remote.manifest import Manifest, name_of, newest, number_of, read_manifest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run
from late_rerank.testing.stores import keys

URL = "s3://bucket/a/prefix"
WRITERS, COMMITS = 4, 10


def a_run(name, space="s"):
    return Run(space, 1, f"keys/{name}", {}, 1, 1)


@pytest.fixture
def server(monkeypatch):
    with ObjectServer().serving() as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture
def moto(monkeypatch):
    moto = pytest.importorskip("moto.server", reason='needs `pip install "moto[server]"`')
    boto3 = pytest.importorskip("boto3")
    monkeypatch.setattr("werkzeug.serving.WSGIRequestHandler.log_request", lambda *_: None)
    served = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    known = ObjectServer()
    known.port = served.get_host_and_port()[1]
    for name, value in known.environment.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT"]).create_bucket(Bucket="bucket")
    yield served
    served.stop()


def commit_ten(url, writer):
    objects = Objects.at(url)
    return [commit(objects, [a_run(f"{writer}-{i}")]) for i in range(COMMITS)]


def at_once(url):
    """Fork writers that commit at once; give the numbers that each was told."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(WRITERS) as threads:
        return list(threads.map(lambda writer: in_a_child(lambda: commit_ten(url, writer)), range(WRITERS)))


def check_all_are_there(url, told):
    manifest = newest(Objects.at(url))
    assert manifest.number == WRITERS * COMMITS
    assert sorted(number for numbers in told for number in numbers) == list(range(1, WRITERS * COMMITS + 1))
    assert {run.keys for run in manifest.runs} == {f"keys/{w}-{i}" for w in range(WRITERS) for i in range(COMMITS)}
    for writer in range(WRITERS):  # newest first
        mine = [run.keys for run in manifest.runs if run.keys.startswith(f"keys/{writer}-")]
        assert mine == [f"keys/{writer}-{i}" for i in reversed(range(COMMITS))]


@needs_fork
def test_processes_that_commit_to_a_folder_at_once_lose_nothing(tmp_path):
    url = f"file://{tmp_path}/remote"
    check_all_are_there(url, at_once(url))


@needs_fork
def test_processes_that_commit_to_a_bucket_at_once_lose_nothing(moto):
    check_all_are_there(URL, at_once(URL))


def test_a_service_that_ignores_conditional_puts_is_refused_before_anything_is_committed(server):
    server.habits.ignores_conditions = True
    with pytest.raises(StoreError, match="ignores conditional puts"):
        commit(Objects.at(URL), [a_run("x")])
    assert {name.rpartition("/")[2] for name in server.objects} == {"FORMAT.json"}


def test_a_service_that_answers_409_while_two_puts_run_is_asked_again(server):
    prove(objects := Objects.at(URL))
    server.habits.conflicts = 3
    assert commit(objects, [a_run("x")]) == 1
    assert [run.keys for run in newest(objects).runs] == ["keys/x"]


def test_a_commit_whose_answer_is_lost_counts_once(server):
    objects = Objects.at(URL)
    commit(objects, [a_run("x")])
    for number in (2, 3):
        server.habits.loses_answer = 0
        prove(objects)
        fail_next_manifest(server)
        assert commit(objects, [a_run(f"y{number}")]) == number
    fail_next_manifest(server)
    assert change(objects, lambda runs: (a_run(f"z{len(runs)}"), *runs)).number == 4  # an edit that would be seen twice
    assert [run.keys for run in newest(objects).runs] == ["keys/z3", "keys/y3", "keys/y2", "keys/x"]


def fail_next_manifest(server):
    """Let the next put of a manifest be done, and answered by 500."""

    def fail(method, name):
        if method == "PUT" and "/manifests/" in name:
            server.habits.loses_answer = 1
            server.habits.fail = lambda method, name: None

    server.habits.fail = fail


def test_a_stale_listing_loses_no_commit(server):
    objects = Objects.at(URL)
    commit(objects, [a_run("x")])
    server.habits.frozen_list = list(server.objects)
    assert commit(objects, [a_run("y")]) == 2
    assert commit(Objects.at(URL), [a_run("z")]) == 3
    server.habits.frozen_list = None
    assert [run.keys for run in newest(objects).runs] == ["keys/z", "keys/y", "keys/x"]


def test_a_run_that_is_committed_again_stays_where_it_is(server):
    objects = Objects.at(URL)
    assert commit(objects, [a_run("x")]) == commit(objects, [a_run("x")]) == 1
    assert commit(objects, [a_run("y")]) == 2
    assert commit(objects, [a_run("x")]) == 2
    assert commit(objects, [a_run("x"), a_run("z")]) == 3
    assert [run.keys for run in newest(objects).runs] == ["keys/z", "keys/y", "keys/x"]


def test_nothing_is_committed_where_an_edit_changes_nothing(server):
    objects = Objects.at(URL)
    commit(objects, [a_run("x")])
    assert change(objects, lambda runs: runs).number == change(objects, lambda runs: None).number == 1


PUBLISHED = '{"format": "late-rerank published store", "version": 1, "id": "x"}'
LATER = '{"format": "late-rerank remote store", "version": 2, "id": "x"}'


@pytest.mark.parametrize("text", [PUBLISHED, LATER, "[]"])
def test_another_kind_of_store_is_left_alone(text, tmp_path):
    (tmp_path / "FORMAT.json").write_text(text)
    with pytest.raises(StoreFormatError, match=r"FORMAT.json is damaged|published store|version 2"):
        commit(Objects.at(f"file://{tmp_path}"), [a_run("x")])
    assert [path.name for path in tmp_path.iterdir()] == ["FORMAT.json"]


def test_a_writer_that_others_always_forestall_gives_up(server, monkeypatch):
    objects = Objects.at(URL)
    prove(objects)
    monkeypatch.setattr(committing, "_MOST_ATTEMPTS", 3)
    monkeypatch.setattr(Objects, "create", lambda self, name, data: "manifests" not in name)
    monkeypatch.setattr(committing, "prove", lambda _: None)
    with pytest.raises(StoreError, match="other writers were first 3 times"):
        commit(objects, [a_run("x")])


RUNS = st.lists(
    st.builds(
        Run,
        space=st.text(),
        n_documents=st.integers(0, 2**40),
        keys=st.text(),
        segments=st.dictionaries(st.integers(1, 2**32), st.text(), max_size=3),
        size_bytes=st.integers(0, 2**60),
        keys_bytes=st.integers(0, 2**60),
        n_deleted=st.integers(0, 9),
        level=st.integers(0, 9),
        replaced=st.lists(st.text()).map(tuple),
    ),
    max_size=4,
)


@given(RUNS, st.integers(1, 10**12), st.data())
def test_a_manifest_is_read_as_it_was_written_and_a_damaged_one_is_refused(runs, number, data):
    manifest = Manifest(number, "me", "before", 12, tuple(runs))
    raw = manifest.to_bytes()
    assert read_manifest(raw, "x") == manifest
    at = data.draw(st.integers(0, len(raw) - 1))
    damaged = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    with suppress(StoreFormatError):
        assert read_manifest(damaged, "x") == manifest  # white space between values


@given(st.integers(1, 10**15))
def test_manifests_sort_by_their_numbers(number):
    assert number_of(name_of(number)) == number
    if number < 10**12 - 1:
        assert name_of(number) < name_of(number + 1)


@pytest.mark.parametrize("text", ["1.json", "000000000000.json", "x.json", "000000000001.json.tmp"])
def test_other_objects_beside_manifests_are_passed_over(text):
    assert number_of(f"manifests/{text}") is None


def test_a_manifest_under_anothers_name_is_refused(server):
    objects = Objects.at(URL)
    commit(objects, [a_run("x")])
    objects.put(name_of(2), objects.get(name_of(1)))
    with pytest.raises(StoreFormatError, match="says that it is number 1"):
        newest(objects)


def test_runs_of_a_later_version_keep_what_this_one_knows(server):
    run = put_run(Objects.at(URL), keys(2), [1, 2])
    assert Run.from_json(run.to_json() | {"bloom": "new"}) == run
    with pytest.raises(StoreFormatError, match="a run must have"):
        Run.from_json({"space": "s"})
