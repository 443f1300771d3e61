"""How a server ends at SIGTERM: with --drain-s it says first that it isn't ready, and still answers."""

import os
import signal
import subprocess
import sys

import httpx
import pytest
from ports import lasting_port
from serving import DOCUMENTS, QUERY, serving, until, wait_until_ready

QUESTION = {"query": QUERY, "documents": DOCUMENTS}
# A server as `serve` runs it, but with an encoder that loads at once.
SERVER = """
import sys
import uvicorn
from late_rerank import Reranker
from late_rerank.serve.app import create_app
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder
uvicorn.run(create_app(lambda: Reranker(FakeEncoder()), Settings(drain_s=float(sys.argv[2]))), port=int(sys.argv[1]))
"""


@pytest.fixture
def draining():
    """Starts a server that drains so many seconds; gives its URL and its process."""
    processes = []

    def start(drain_s):
        port = lasting_port()
        processes.append(subprocess.Popen([sys.executable, "-c", SERVER, str(port), str(drain_s)]))
        wait_until_ready(f"http://127.0.0.1:{port}", processes[-1])
        return f"http://127.0.0.1:{port}", processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def is_ready(url):
    return httpx.get(f"{url}/ready", timeout=60).status_code == 200


class TestAServerThatDrains:
    def test_is_not_ready_from_sigterm_on_and_answers_on_until_a_second_one(self, draining):
        url, process = draining(3600)
        with httpx.Client(timeout=60) as client:
            assert client.post(f"{url}/rerank", json=QUESTION).headers.get("connection") != "close"
            process.send_signal(signal.SIGTERM)
            until(lambda: not is_ready(url), "it is still ready")
            assert "about to end" in httpx.get(f"{url}/ready").json()["message"]
            assert httpx.get(f"{url}/health").status_code == 200
            answer = client.post(f"{url}/rerank", json=QUESTION)
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM

    def test_ends_by_itself_when_its_time_is_over(self, draining):
        _, process = draining(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM

    @pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
    def test_does_so_with_all_its_workers(self, minilm):
        options = ("--workers", 2, "--backend", "onnx", "--drain-s", 3600)
        with serving(*options) as (url, process, log):
            until(lambda: sum("startup complete" in line for line in log) == 2, "two workers didn't start")
            workers = [int(line.split("[")[1].split("]")[0]) for line in log if "Started server process [" in line]
            assert len(workers) == 2
            process.send_signal(signal.SIGTERM)
            # Linux deals out connections among the workers.
            until(lambda: not any(is_ready(url) for _ in range(8)), "a worker is still ready")
            assert httpx.post(f"{url}/rerank", json=QUESTION, timeout=60).status_code == 200
            for pid in workers:
                os.kill(pid, signal.SIGTERM)
            assert process.wait(60) == 0
