"""`late-rerank serve` as processes: several on one store, killed, ended, without Redis, as a user who may write little."""

import ctypes
import json
import os
import pickle
import platform
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import httpx
import pytest
import uvicorn
from redis_servers import RedisServer, skip_without_redis
from serving import counts, memory_mb, serving, until

from late_rerank.ranking.relevance import FITTED
from late_rerank.serve.loading import shared_encoder
from late_rerank.serve.port import check_free, hold
from late_rerank.stores import DiskStore

DOCUMENTS = [f"Passage {i} is about {topic}." for i, topic in enumerate(["cats", "rivers", "bread", "music", "stars"] * 8)]
QUESTION = {"query": "which one is about music", "documents": DOCUMENTS}


def asked(url, question=QUESTION, client=httpx):
    return client.post(f"{url}/rerank", json=question, timeout=60)


ONNX = ("--backend", "onnx")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


def workers(process):
    """Process ids of a server's workers: children that were spawned, or forked and so have their parent's command."""
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "spawn_main|late_rerank serve"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in children.stdout.split()]


def forked_from(process):
    """Process ids of all children."""
    return set(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))


def listening(port):
    """How many sockets listen on a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(local.endswith(f":{port:04X}") and state == "0A" for _, local, _, state, *_ in rows)


def sockets(pid):
    """How many a process has open."""
    return sum(entry.resolve().name.startswith("socket:") for entry in Path(f"/proc/{pid}/fd").iterdir())


def steady(pid):
    before = sockets(pid)
    time.sleep(0.3)
    return sockets(pid) == before


def is_there(pid):
    """Whether a process hasn't ended, or its parent hasn't noticed."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def new_ones(url, n, n_documents=1):
    """Answers to so many questions, each of some stored and some new documents, and on a connection of its own."""
    return [
        asked(url, {"query": "music", "documents": [*(f"New {i} {j} {n}" for j in range(n_documents)), *DOCUMENTS[:5]]})
        for i in range(n)
    ]


def pss_mb(pids):
    """What processes take of a machine's memory: a page that n processes share counts one n-th for each of them. Linux."""
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(int(re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)[1]) for rollup in rollups) / 1024


class TestSeveralWorkers:
    @pytest.fixture(scope="class", params=["spawned", pytest.param("forked", marks=needs_linux)])
    @classmethod
    def served(cls, request, tmp_path_factory, tiny, minilm):
        store = tmp_path_factory.mktemp("serve") / "store"
        options = tiny if request.param == "spawned" else ONNX
        with serving("--workers", 2, "--store", store, *options) as (url, process, _log):
            yield url, process, store

    def test_they_share_one_store_and_their_counts_are_summed(self, served):
        url, process, _ = served
        first = asked(url).json()
        answers = [asked(url).json() for _ in range(30)]

        assert first["meta"]["cache"] == {"hits": 0, "misses": len(DOCUMENTS)}
        assert all(answer["meta"]["cache"]["hits"] == len(DOCUMENTS) for answer in answers)
        assert all(answer["results"] == answers[0]["results"] for answer in answers)
        found = [counts(url)['late_rerank_requests_total{endpoint="/rerank",status="200"}'] for _ in range(10)]
        assert set(found) == {31}
        assert len(workers(process)) == 2

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they listen on one socket")
    def test_each_has_its_share_of_connections_that_come_at_once(self, served):
        """Though the first that wakes could take them all."""
        url, process, _ = served
        port = httpx.URL(url).port
        until(lambda: listening(port) == 2, "two processes don't listen")
        first, second = workers(process)
        until(lambda: steady(first) and steady(second), "connections of earlier tests are still there")
        for pid in (first, second):
            os.kill(pid, signal.SIGSTOP)
        before = sockets(first), sockets(second)
        with ExitStack() as stack:
            for _ in range(64):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            os.kill(first, signal.SIGCONT)
            # At most, since uvicorn ends a process that says nothing for five.
            until(lambda: sockets(first) - before[0] >= 12, "a process took none of the connections", seconds=3)
            time.sleep(0.3)
            alone = sockets(first) - before[0]
            os.kill(second, signal.SIGCONT)
            until(lambda: sockets(first) - before[0] + sockets(second) - before[1] == 64, "not all were taken")

        assert 12 <= alone <= 52  # by chance, it isn't in less than one of a million runs

    @pytest.mark.slow("load until a process is replaced, 30 s")
    def test_one_is_killed_under_load_and_the_others_answer(self, served):
        url, process, store = served
        stop = threading.Event()
        statuses, lost = [], []

        def asks(n):
            i = 0
            while not stop.is_set():
                i += 1
                new = {"query": "music", "documents": [f"New passage {n} {i}.", *DOCUMENTS[:5]]}
                began = time.monotonic()
                try:
                    statuses.append(asked(url, new).status_code)
                except httpx.TransportError:
                    lost.append(began)  # the connection was the killed one's

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(asks, n) for n in range(4)]
            until(lambda: len(statuses) >= 8, "nothing is answered under load")
            killed, survivor = workers(process)
            os.kill(killed, signal.SIGKILL)
            until(lambda: not is_there(killed), "it isn't ended")
            ended, n_answers = time.monotonic(), len(statuses)
            until(lambda: len(statuses) >= n_answers + 8, "the other one doesn't answer")
            until(lambda: len(set(workers(process)) - {killed, survivor}) == 1, "it isn't replaced")
            stop.set()
            for future in futures:
                future.result(60)

        assert set(statuses) == {200}
        assert all(began < ended for began in lost), "a request was lost that began when the killed one had ended"
        assert asked(url).json()["results"][0]["index"] in range(3, 40, 5)
        assert process.poll() is None
        with DiskStore(store) as opened:
            assert opened.verify().problems == []


# An app that fails when a worker begins, and one that answers.
FORKED = """
import sys, uvicorn
from late_rerank.serve.workers import run_workers

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": f"lifespan.startup.{sys.argv[2]}"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

run_workers(uvicorn.Config(app, port=int(sys.argv[1]), workers=2), forks=True)
"""


@needs_linux
class TestForkedWorkers:
    @pytest.fixture
    @classmethod
    def forked(cls):
        """Begins workers that answer without a model, or fail."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        begun = []

        def begin(does):
            begun.append(subprocess.Popen([sys.executable, "-c", FORKED, str(port), does], stderr=subprocess.PIPE, text=True))
            return begun[-1], port

        yield begin
        for process in begun:
            process.kill()
            process.wait(60)
            process.stderr.close()
        until(lambda: listening(port) == 0, "workers outlive their parent")

    @pytest.mark.slow("two servers, 12 s")
    @pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel doesn't tell what is shared")
    def test_they_share_the_models_memory(self, tmp_path, minilm):
        taken = {}
        for n in (1, 4):
            with serving("--workers", n, "--store", tmp_path / str(n), *ONNX) as (url, process, _log):
                until(lambda n=n, url=url: listening(httpx.URL(url).port) == n, "not all listen")
                assert {answer.status_code for answer in new_ones(url, 20 * n)} == {200}
                taken[n] = pss_mb([process.pid, *workers(process)])
        # 1.2 before the first document, 1.4 to 1.64 after some: what each has encoded is its own. Spawned ones took 4.1.
        assert taken[4] <= 1.8 * taken[1], taken

    def test_each_gives_the_same_ranking_of_documents_that_it_encodes(self, minilm):
        with serving("--workers", 2, *ONNX) as (url, _, _log):  # without a store each has a memory of its own
            until(lambda: listening(httpx.URL(url).port) == 2, "two processes don't listen")
            answers = [asked(url).json() for _ in range(30)]
        assert sum(answer["meta"]["cache"]["misses"] > 0 for answer in answers) == 2
        assert all(answer["results"] == answers[0]["results"] for answer in answers)

    def test_one_that_took_anothers_place_answers(self, tmp_path, minilm):
        with serving("--workers", 2, "--store", tmp_path / "store", *ONNX) as (url, process, _log):
            first = workers(process)
            for killed in first:
                os.kill(killed, signal.SIGKILL)
                until(lambda killed=killed: killed not in workers(process), "it isn't ended")
                until(lambda: listening(httpx.URL(url).port) == 2, "it isn't replaced")
            assert not set(first) & set(workers(process))
            assert {answer.status_code for answer in new_ones(url, 10)} == {200}
            assert process.poll() is None

    def test_a_signal_replaces_all_and_no_question_is_lost(self, forked):
        process, port = forked("complete")
        until(lambda: listening(port) == 2, "two processes don't listen")
        first = forked_from(process)
        process.send_signal(signal.SIGHUP)
        statuses = []

        def are_replaced():
            statuses.append(httpx.get(f"http://127.0.0.1:{port}").status_code)
            return len(forked_from(process)) == 2 and not first & forked_from(process)

        until(are_replaced, "they aren't replaced")
        assert set(statuses) == {200}

    def test_signals_change_their_number(self, forked):
        process, port = forked("complete")
        until(lambda: listening(port) == 2, "two processes don't listen")
        process.send_signal(signal.SIGTTIN)
        until(lambda: listening(port) == 3, "there is no third")
        process.send_signal(signal.SIGTTOU)
        until(lambda: listening(port) == 2, "no one ends")

    def test_one_that_says_nothing_is_replaced(self, forked):
        process, port = forked("complete")
        until(lambda: listening(port) == 2, "two processes don't listen")
        stopped = min(forked_from(process))
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: stopped not in forked_from(process) and listening(port) == 2, "it isn't replaced")

    def test_they_end_when_their_parent_is_killed(self, forked):
        process, port = forked("complete")
        until(lambda: listening(port) == 2, "two processes don't listen")
        process.kill()
        until(lambda: listening(port) == 0, "they outlive it")

    def test_all_end_if_one_cannot_begin(self, forked):
        process, _ = forked("failed")
        assert process.wait(60) == 1
        assert "couldn't begin" in process.stderr.read()

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)])
    def test_a_signal_ends_them(self, forked, number, code):
        process, port = forked("complete")
        until(lambda: listening(port) == 2, "two processes don't listen")
        process.send_signal(number)
        assert process.wait(60) == code


class TestSharedEncoder:
    def test_onnx_runtimes_is_shared(self, minilm):
        if sys.platform != "linux":
            pytest.skip("workers are forked on Linux alone")
        shared = shared_encoder({"model": "minilm", "backend": "onnx"})
        assert (shared.name, shared.fingerprint) == ("minilm", minilm.fingerprint)

    @pytest.mark.parametrize("backend", ["openvino", "torch"])
    def test_no_other_engine_is_loaded(self, backend):
        assert shared_encoder({"model": "minilm", "backend": backend}) is None

    @needs_linux
    def test_a_model_that_cannot_be_loaded_is_told_and_left_to_the_workers(self, tmp_path, caplog):
        (tmp_path / "model").mkdir()
        assert shared_encoder({"model": str(tmp_path / "model"), "backend": "onnx"}) is None
        assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
            "the model can't be loaded before the workers begin"
        ]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they listen on one socket")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_nobody_else_gets_the_port_before_a_process_listens(host):
    try:
        held = hold(uvicorn.Config("", host=host, port=0))
    except OSError:
        if host == "::1":
            pytest.skip("no IPv6 here")
        raise
    with held:
        port = held.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            check_free(host, port)
        with pytest.raises(OSError, match="in use"), socket.create_server((host, port), family=held.family):
            pass
        with pickle.loads(ForkingPickler.dumps(held)) as of_a_process:
            of_a_process.listen()
            socket.create_connection((host, port), 10).close()
            of_a_process.accept()[0].close()


@pytest.mark.parametrize("options", [("--backend", "torch"), pytest.param((*ONNX, "--workers", 2), marks=needs_linux)])
def test_what_runs_is_finished_when_it_is_ended(options, tmp_path, minilm):  # a small model would be done too soon
    with serving("--store", tmp_path / "store", *options) as (url, process, _):
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(
                asked, url, {"query": "music", "documents": [f"{text} {'More words. ' * 60}" for text in DOCUMENTS]}
            )
            until(lambda: counts(url)["late_rerank_requests_waiting"] == 1, "it isn't begun")
            process.send_signal(signal.SIGTERM)
            answer = running.result(60)
        assert process.wait(60) in (0, -signal.SIGTERM)
    assert answer.status_code == 200
    assert answer.json()["meta"]["n_unscored"] == 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
@pytest.mark.slow("120 requests of a thousand documents, 18 s")
def test_what_a_burst_took_is_given_back(tiny):
    blank = {"query": "music", "documents": [" " * (600 + i % 7) for i in range(1000)]}  # nothing to encode
    with serving(*tiny) as (url, process, _), ThreadPoolExecutor(60) as clients:
        assert asked(url, blank).status_code == 200
        before = memory_mb([process.pid])
        answers = clients.map(lambda _: asked(url, blank), range(120))
        seen = [(answer.status_code, memory_mb([process.pid])) for answer in answers]
        taken = max(memory for _, memory in seen) - before
        assert {status for status, _ in seen} == {200}
        assert taken > 30
        until(lambda: memory_mb([process.pid]) - before < taken / 2, "it is kept")


SHAPES = """
import ctypes, random
from late_rerank.serve import memory
memory.bound()
from late_rerank import Reranker

class Mallinfo2(ctypes.Structure):
    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _names.split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
chosen, encoder = random.Random(0), Reranker(backend="openvino").encoder
for _ in range(3):
    for _ in range(100):
        query = " ".join(["river"] * chosen.randint(3, 28))
        encoder.encode_query([query] * chosen.randint(1, 16))
    print(mallinfo2().uordblks)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33, which tells what is in use")
@pytest.mark.slow("compiles hundreds of shapes, 26 s")
def test_what_is_prepared_for_shapes_of_batches_is_bounded():
    pytest.importorskip("openvino")
    told = subprocess.run([sys.executable, "-c", SHAPES], capture_output=True, text=True, check=True, timeout=300).stdout
    after_100, _, after_300 = map(int, told.split())
    assert after_300 - after_100 < 8_000_000


def test_answers_go_on_without_redis_and_recover(tmp_path, tiny):
    skip_without_redis()
    with RedisServer(tmp_path) as redis, serving("--store", redis.url, *tiny) as (url, _, _log):
        assert asked(url).json()["meta"]["cache"]["misses"] == len(DOCUMENTS)
        assert asked(url).json()["meta"]["cache"]["hits"] == len(DOCUMENTS)
        redis.kill()
        few = {"query": "music", "documents": DOCUMENTS[:5]}
        answers = [asked(url, few) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 5
        assert answers[0].json()["results"][0]["index"] == 3
        redis.start()
        until(lambda: asked(url, few).json()["meta"]["cache"]["hits"] == 5, "Redis isn't asked again")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_user_who_can_write_only_the_store_and_temporary_files_can_serve(minilm):
    nobody = pwd.getpwnam("nobody")
    become = {"user": nobody.pw_uid, "group": nobody.pw_gid, "cwd": "/"}
    try:
        subprocess.run([sys.executable, "-c", "import late_rerank.cli"], **become, capture_output=True, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("this Python is in a folder that another user can't read")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are in one that only this user may enter
        Path(folder).chmod(0o711)
        store, scratch = Path(folder, "store"), Path(folder, "scratch")
        for each in (store, scratch):
            each.mkdir()
            os.chown(each, nobody.pw_uid, nobody.pw_gid)
        env = {"HOME": "/nonexistent", "TMPDIR": str(scratch), "HF_HUB_OFFLINE": "1", "LATE_RERANK_API_KEYS": "a-key-of-ours"}
        with serving("--store", store, "--workers", 2, "--backend", "torch", env=env, **become) as (url, _, _log):
            assert httpx.post(f"{url}/rerank", json=QUESTION).status_code == 401
            key = {"authorization": "Bearer a-key-of-ours"}
            answer = httpx.post(f"{url}/rerank", json=QUESTION, headers=key, timeout=60)
        assert answer.status_code == 200
        assert {path.stat().st_uid for path in store.rglob("*")} == {nobody.pw_uid}


class TestCommandLine:
    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            (["--port", "70000"], 2, "from 0 to 65535"),
            (["--workers", "0"], 2, "at least 1"),
            (["--folder", "nowhere"], 2, "NAME=PATH"),
            (["--folder", "a=empty", "--folder", "a=elsewhere"], 2, "two are called 'a'"),
            (["--timeout-s", "-1"], 2, "above 0"),
            (["--model", "no/such-model"], 1, "no/such-model"),
            (["--scoring", "nearest"], 2, "maxsim"),
            (["--scoring", "proximity", "--calibration", "old.json"], 1, "the calibration was fitted to scoring='maxsim'"),
            (["--api-keys", "no-such-file"], 1, "no-such-file: No such file"),
            (["--folder", "a=no-such-folder"], 1, "no-such-folder"),
            pytest.param(
                ["--folder", "a=no-such-folder", "--workers", "2"],
                1,
                "no-such-folder",
                marks=pytest.mark.slow("a process, 10 s"),
            ),
        ],
    )
    def test_wrong_use_is_told_before_anything_runs(self, options, code, words, tmp_path):
        FITTED["minilm"]["maxsim"].save(tmp_path / "old.json")
        run = subprocess.run(
            [sys.executable, "-m", "late_rerank", "serve", *options],
            cwd=tmp_path,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert (run.returncode, words in run.stderr) == (code, True), run.stderr
        assert "Traceback" not in run.stderr

    @pytest.mark.parametrize("n_workers", ["1", pytest.param("2", marks=pytest.mark.slow("a process, 10 s"))])
    def test_a_port_that_is_taken_is_told(self, n_workers):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            command = [sys.executable, "-m", "late_rerank", "serve", "--port", port, "--workers", n_workers]
            run = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert run.returncode == 1
        assert f"127.0.0.1:{port}: Address already in use" in run.stderr
        assert "Traceback" not in run.stderr

    @pytest.mark.parametrize("n_workers", [1, pytest.param(2, marks=pytest.mark.slow("three processes, 28 s"))])
    def test_ctrl_c_ends_it(self, n_workers, tiny):
        with serving("--workers", n_workers, *tiny) as (_, process, log):
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            time.sleep(0.1)
        assert "Traceback" not in "".join(log)

    def test_as_many_processes_as_it_says_whatever_the_environment(self, tiny):
        with serving(*tiny, env={"WEB_CONCURRENCY": "2"}) as (_, process, _log):
            assert workers(process) == []

    def test_no_query_and_no_document_is_logged(self, minilm):
        with serving() as (url, _, log):
            secret = "xyzzy " * 300
            assert asked(url, {"query": secret, "documents": [secret]}).json()["meta"]["query_truncated"] is True
            asked(url, {"query": secret})
            httpx.post(
                f"{url}/rerank", content=json.dumps({"query": secret})[:-3], headers={"content-type": "application/json"}
            )
        assert "xyzzy" not in "".join(log)
