"""`late-rerank index --engine`: real workers, killed and interrupted; object storage, Redis and Postgres; the crash harness."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bulk_workers import DEATHS, FAKE, FATAL, GATE, SLOW
from commands import start, wait_until
from object_server import ObjectServer

pytest.importorskip("fcntl", reason="workers of stores need POSIX")
pytest.importorskip("obstore", reason='pip install "late-rerank[remote]"')

from late_rerank.bulk.scratch import home
from late_rerank.cli import main
from late_rerank.corpus import CorpusStream
from late_rerank.stores import DiskStore, open_store
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.store import RemoteStore
from late_rerank.vectors.keys import key_of

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:.* bytes of text are few")]

TESTS = Path(__file__).parents[1]
HARNESS = Path(__file__).with_name("bulk_crash.py")


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    """Workers find this folder's models, and keep receipts and scratch in the test's folder."""
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def corpus(tmp_path):
    """400 documents, about 26 KB: few for many workers, which is told."""
    file = tmp_path / "corpus.jsonl"
    rows = [{"_id": i, "text": f"Document {i} tells of cats and of rivers."} for i in range(400)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/remote"


@pytest.fixture
def call(capsys):
    """A command's JSON."""

    def call(*arguments, code=0, model=FAKE):
        assert main(["index", *map(str, arguments), "--model", model, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return call


def n_there(store, corpus):
    texts = [document.text for document in CorpusStream(corpus)]
    (space,) = store.spaces()
    return len(texts) - len(space.missing([key_of(text) for text in texts]))


def receipts_in(url):
    return sum(1 for _ in Objects.at(url).list("receipts"))


def workers_of(process):
    """Pids of the worker processes that a driver has."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for file in children for pid in file.read_text().split()]


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for_end(pids):
    until = time.monotonic() + 60
    while not all(map(has_ended, pids)):
        assert time.monotonic() < until
        time.sleep(0.02)


class TestCommand:
    def test_workers_fill_a_folder_and_a_second_run_encodes_nothing(self, corpus, tmp_path, call):
        store = tmp_path / "store"
        first = call(corpus, "--store", store, "--engine", "local", "--workers", 2)
        again = call(corpus, "--store", store, "--engine", "local", "--workers", 1)
        assert (first["n_documents"], first["n_encoded"], first["engine"], first["commit"]) == (400, 400, "local", None)
        assert (again["n_encoded"], again["n_cached"]) == (0, 400)
        assert {"path", "store", "model", "codec", "fingerprint", "n_tokens", "size_bytes", "seconds"} <= first.keys()
        assert {"n_workers", "n_splits", "n_resumed", "documents_per_s", "n_skipped_files", "passed_over"} <= first.keys()
        with DiskStore(store) as opened:
            assert n_there(opened, corpus) == 400

    def test_a_store_in_object_storage_has_an_engine_by_itself(self, corpus, url, monkeypatch, capsys):
        monkeypatch.setattr("late_rerank.cli.index._MANY_RUNS", 0)
        assert main(["index", str(corpus), "--store", url, "--model", FAKE, "--workers", "1"]) == 0
        out, err = capsys.readouterr()
        assert "400 documents in" in out
        assert f"kept in {url} for model {FAKE}, codec int8" in out
        assert "1 split, by 1 worker of engine local: " in out
        assert f"looked into by each query; this makes one of them: late-rerank store merge {url}" in out
        assert err == ""

    def test_skipped_and_passed_over_files_are_told(self, tmp_path, url, capsys):
        folder = tmp_path / "texts"
        folder.mkdir()
        (folder / "a.txt").write_text("Cats sleep.")
        (folder / "bad.txt").write_bytes(b"\x00")
        (folder / "b.bin").touch()
        assert main(["index", str(folder), "--store", url, "--model", FAKE, "--json"]) == 0
        out, err = capsys.readouterr()
        assert (json.loads(out)["n_skipped_files"], json.loads(out)["passed_over"]) == (1, {".bin": 1})
        assert f"skipped {folder}/bad.txt: binary, not text" in err
        assert "passed over 1 file of kinds that aren't read: 1 .bin" in err

    def test_a_damaged_line_is_told_with_its_number(self, corpus, url, capsys):
        with corpus.open("a") as file:
            file.write("no JSON\n")
        assert main(["index", str(corpus), "--store", url, "--model", FAKE, "--workers", "1"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "1 split failed, and nothing was committed" in err
        assert "line 401 is not JSON" in err

    @pytest.mark.parametrize(
        "option", [("--workers", "2"), ("--address", "here:1"), ("--split-mb", "1"), ("--engine", "hadoop")]
    )
    def test_options_of_an_engine_without_one_are_wrong_use(self, corpus, tmp_path, option, capsys):
        with pytest.raises(SystemExit) as caught:
            main(["index", str(corpus), "--store", str(tmp_path / "store"), *option])
        assert caught.value.code == 2
        assert option[0] in capsys.readouterr().err

    def test_a_folder_and_a_cluster_do_not_go_together(self, corpus, tmp_path, capsys):
        pytest.importorskip("ray")
        assert main(["index", str(corpus), "--store", str(tmp_path / "store"), "--engine", "ray", "--model", FAKE]) == 1
        assert 'give store="s3://' in capsys.readouterr().err


class TestStores:
    def test_a_corpus_in_a_bucket_goes_into_a_store_in_a_bucket(self, corpus, monkeypatch, call):
        with ObjectServer().serving() as server:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            Objects.at("s3://bucket/texts").put("corpus.jsonl", corpus)
            report = call("s3://bucket/texts/corpus.jsonl", "--store", "s3://bucket/store", "--workers", 1)
            assert (report["n_encoded"], report["commit"]) == (400, 1)
            with RemoteStore("s3://bucket/store", on_error="raise") as store:
                assert n_there(store, corpus) == 400
            server.habits.ignores_conditions = True
            assert main(["index", str(corpus), "--store", "s3://bucket/other", "--model", FAKE]) == 1

    def test_workers_fill_redis(self, corpus, tmp_path, lasting, call):
        assert call(corpus, "--store", lasting.url, "--engine", "local", "--workers", 1)["n_encoded"] == 400
        with open_store(lasting.url) as store:
            assert n_there(store, corpus) == 400

    def test_workers_fill_postgres(self, corpus, postgres, call):
        assert call(corpus, "--store", postgres.url, "--engine", "local", "--workers", 1)["n_encoded"] == 400
        with open_store(postgres.url) as store:
            assert n_there(store, corpus) == 400


class TestDeaths:
    @pytest.fixture
    def slow(self, corpus, url, tmp_path, monkeypatch):
        """Start a job whose workers encode the first splits and then wait; give the process when a split is finished."""
        gate = tmp_path / "gate"
        monkeypatch.setenv(GATE, str(gate))
        processes = []

        def begin():
            program = f"""
import sys
from late_rerank import bulk
try:
    report = bulk.index({str(corpus)!r}, store={url!r}, model={SLOW!r}, workers=2, split_bytes=3000)
except KeyboardInterrupt as interrupted:
    sys.exit(f"interrupted: {{interrupted}}")
print(report.n_resumed, report.n_encoded)
"""
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            processes.append(process)
            if not gate.exists():
                wait_until(lambda: receipts_in(url) > 0, process, timeout_s=60)
            return process

        begin.gate = gate
        yield begin
        for process in processes:
            process.kill()
            process.communicate()

    def test_a_killed_driver_takes_its_workers_along_and_the_next_one_goes_on(self, slow, corpus, url):
        first = slow()
        workers = workers_of(first)
        first.kill()
        first.wait()
        wait_for_end(workers)
        n_finished = receipts_in(url)
        assert newest(Objects.at(url)).number == 0
        slow.gate.touch()
        second = slow()
        out, err = second.communicate(timeout=120)
        assert (second.returncode, err) == (0, "")
        assert out.split() == [str(n_finished), "400"]
        with RemoteStore(url, on_error="raise") as store:
            assert n_there(store, corpus) == 400
        assert receipts_in(url) == 0
        assert list(home().iterdir()) == []

    def test_an_interrupt_ends_the_workers_and_says_how_to_go_on(self, slow, url):
        process = slow()
        workers = workers_of(process)
        assert workers
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        wait_for_end(workers)
        assert err.startswith("interrupted: ")
        assert err.endswith("splits are done; the same call goes on from there\n")
        assert newest(Objects.at(url)).number == 0

    def test_killed_workers_are_replaced(self, tmp_path, url, monkeypatch, call):
        file = tmp_path / "fatal.jsonl"
        file.write_text("".join(json.dumps({"text": f"Document {i}."}) + "\n" for i in range(20)) + '{"text": "fatal"}\n')
        (tmp_path / "deaths").mkdir()
        monkeypatch.setenv(DEATHS, str(tmp_path / "deaths"))
        report = call(file, "--store", url, "--workers", 1, model=FATAL)
        assert len(list((tmp_path / "deaths").iterdir())) == 3
        assert report["n_encoded"] == 21
        assert list(home().iterdir()) == []


@pytest.mark.slow("the real model in two workers, 15 s")
@pytest.mark.model
def test_workers_give_the_vectors_of_plain_indexing(corpus, tmp_path, shared_minilm, capsys):
    few = tmp_path / "few.jsonl"
    few.write_text("".join(corpus.read_text().splitlines(keepends=True)[:40]))
    for name, options in (("plain", ()), ("bulk", ("--engine", "local", "--workers", "2"))):
        process = start("index", few, "--store", tmp_path / name, "--backend", "onnx", "--json", *options)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert json.loads(out)["n_encoded"] == 40
    with DiskStore(tmp_path / "plain") as plain, DiskStore(tmp_path / "bulk") as bulk:
        (one,), (other,) = plain.spaces(), bulk.spaces()
        keys = [key_of(document.text) for document in CorpusStream(few)]
        found = [space.get(keys).found for space in (one, other)]
        assert (one.fingerprint, one.codec) == (other.fingerprint, other.codec)
        for i in range(len(keys)):
            codes = [part.column("codes", i).view("int8").astype(int) for part in found]
            assert abs(codes[0] - codes[1]).max() <= 1  # an engine's sums depend on a batch's width


def crash(*options):
    command = [sys.executable, str(HARNESS), *options]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{HARNESS.parent}"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)


@pytest.mark.slow("kills workers and drivers, 25 s")
def test_killed_workers_and_drivers_lose_nothing_and_leave_nothing(tmp_path):
    done = crash("--rounds", "2", "--seed", "3", "--chance", "0.04", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    print(counts)
    assert counts["violations"] == 0
    assert counts["documents"] >= 2 * 240
    assert counts["n_kills"] > 3


@pytest.mark.slow("starts drivers that lose documents, 10 s")
@pytest.mark.parametrize("breakage", ["a receipt is forgotten", "receipt before upload"])
def test_the_harness_notices_what_is_broken(tmp_path, breakage):
    done = crash("--rounds", "1", "--chance", "0", "--break", breakage, "--folder", str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
