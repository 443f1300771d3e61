"""Children forked from a process that has loaded a model: by hand, by multiprocessing, gunicorn and Celery."""

import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from forking import needs_fork

pytestmark = needs_fork
BACKENDS = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
LONGEST_S = 300

CHILDREN = """
import multiprocessing, os, sys, threading
from late_rerank import Reranker
from late_rerank.retrieve import DenseRetriever

TEXTS = [f"number {i} sleeps " + "all day long " * 20 for i in range(20)] + ["Cats sleep all day."]
backend = sys.argv[1]
reranker = Reranker(backend=backend)
reranker.rerank("what do cats do", TEXTS[:10])

def same(_=None):
    return reranker.rerank("what do cats do", TEXTS)[0].text

def own():
    with Reranker(backend=backend, kernel="torch") as mine:
        assert mine.encoder.backend.name == backend
        return mine.rerank("what do cats do", TEXTS)[0].text

def in_a_child(call):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, call().encode())
        sys.exit(0)  # as workers end: with all that the interpreter frees
    os.close(writing)
    assert os.read(reading, 1000).decode() == "Cats sleep all day.", "nothing came"
    assert os.waitpid(child, 0)[1] == 0

in_a_child(own)
dense = DenseRetriever(TEXTS)
in_a_child(lambda: dense.retrieve("what do cats do", 1)[0].text)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert set(pool.map(same, range(4))) == {"Cats sleep all day."}
stop = threading.Event()
def go_on(i=0):
    while not stop.is_set():
        i += 1
        reranker.rerank("cats", [f"{i} {text}" for text in TEXTS])
thread = threading.Thread(target=go_on)
thread.start()
reranker.rerank("cats", ["a book " + "of cats " * 20_000], deadline_s=0.05)
in_a_child(same)
stop.set()
thread.join()
print("done", same())
"""

ENDS = """
import sys, asyncio
from late_rerank import Reranker
reranker = Reranker(backend=sys.argv[1])
book = "the quick brown fox " * 10_000
reranker.rerank("fox", [book, "a fox"], deadline_s=0.05)
async def main():
    call = asyncio.create_task(reranker.arerank("fox", [book + "jumps", *map(str, range(50))]))
    await asyncio.sleep(0.05)
asyncio.run(main())
print("main ends")
"""

APPLICATION = """
from late_rerank import Reranker
reranker = Reranker()
reranker.rerank("cats", ["cats sleep all day", "dogs bark"])
def app(environ, start_response):
    ranked = reranker.rerank("cats", ["dogs bark", "cats sleep all day", "as said in " + environ["PATH_INFO"]])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [ranked[0].text.encode()]
"""

QUEUE = """
from pathlib import Path
from celery import Celery
folder = str(Path(__file__).parent / "queue")
app = Celery(
    "tasks",
    broker_url="filesystem://",
    result_backend=Path(folder).as_uri(),
    broker_transport_options={name: folder for name in ("data_folder_in", "data_folder_out", "control_folder")},
)
"""

TASKS = """
from late_rerank import Reranker
from queues import app
reranker = Reranker()
reranker.rerank("cats", ["cats sleep all day", "dogs bark"])
@app.task
def rank(n):
    return reranker.rerank("cats", ["dogs bark", "cats sleep all day", f"a new one {n}"])[0].text
"""


def run(code, *arguments):
    found = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=LONGEST_S)
    assert found.returncode == 0, found.stderr
    return found


@pytest.fixture
def process(tmp_path):
    """Begins a process in the test's folder, and ends it."""
    begun = []

    def begin(*command):
        with (tmp_path / "log").open("w") as log:
            begun.append(subprocess.Popen([sys.executable, "-m", *command], cwd=tmp_path, stdout=log, stderr=log))
        return begun[-1]

    yield begin
    for each in begun:
        if each.poll() is None:
            each.send_signal(signal.SIGTERM)
            each.wait(LONGEST_S)


def until(answer, process, log):
    end = time.monotonic() + LONGEST_S
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        try:
            return answer()
        except httpx.TransportError:
            time.sleep(0.2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.slow("three starts of Python that load models, 30 s a backend")
def test_children_rank_with_their_parents_model_and_with_one_of_their_own_and_end(backend):
    pytest.importorskip(BACKENDS[backend])
    assert run(CHILDREN, backend).stdout == "done Cats sleep all day.\n"


@pytest.mark.parametrize(
    "backend",
    ["torch", *(pytest.param(each, marks=pytest.mark.slow("a process, 12 s")) for each in BACKENDS if each != "torch")],
)
def test_a_process_ends_in_good_order_whatever_is_being_encoded(backend):
    pytest.importorskip(BACKENDS[backend])
    found = run(ENDS, backend)
    assert (found.stdout, found.stderr) == ("main ends\n", "")


@pytest.mark.slow("a server of several processes, 18 s")
def test_gunicorns_workers_rank_with_a_model_that_was_preloaded(tmp_path, process):
    pytest.importorskip("gunicorn")
    (tmp_path / "application.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = process(
        "gunicorn", "--preload", "--workers=2", "--no-control-socket", f"--bind=127.0.0.1:{port}", "application:app"
    )
    url = f"http://127.0.0.1:{port}"
    for path in "abcd":
        answer = until(lambda path=path: httpx.get(f"{url}/{path}", timeout=LONGEST_S), server, tmp_path / "log")
        assert answer.text == "cats sleep all day"
    server.send_signal(signal.SIGTERM)
    assert server.wait(LONGEST_S) == 0
    assert "SIGSEGV" not in (tmp_path / "log").read_text()


@pytest.mark.slow("a broker and workers, 14 s")
def test_celerys_prefork_workers_rank_with_a_model_that_was_loaded_before(tmp_path, process):
    pytest.importorskip("celery")
    (tmp_path / "queue").mkdir()
    (tmp_path / "queues.py").write_text(QUEUE)
    (tmp_path / "tasks.py").write_text(TASKS)
    worker = process("celery", "--app=tasks", "worker", "--pool=prefork", "--concurrency=2", "--loglevel=WARNING")
    code = f"from queues import app; print(*{{app.send_task('tasks.rank', [i]).get(timeout={LONGEST_S}) for i in range(4)}})"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST_S)
    assert found.stdout == "cats sleep all day\n", found.stderr + (tmp_path / "log").read_text()
    assert worker.poll() is None
