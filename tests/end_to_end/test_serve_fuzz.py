"""Whatever is sent, the server answers, keeps to its description, and lives on."""

import random
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from serving import counts, running

from late_rerank import Reranker
from late_rerank.retrieve import BM25Retriever
from late_rerank.serve.app import create_app
from late_rerank.serve.limits import Limits
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

GOOD = (
    b'{"query": "cats", "documents": ["cats sleep", {"text": "dogs", "id": "d"}], "top_n": 1, "deadline_s": 2.5, '
    b'"best_span": true}'
)


@pytest.fixture(scope="module")
def url():
    settings = Settings(folders={"animals": BM25Retriever(["cats sleep", "dogs bark"])}, limits=Limits(body_timeout_s=2))
    with running(create_app(lambda: Reranker(FakeEncoder(), scoring="proximity"), settings)) as url:
        yield url


def test_what_its_description_allows_and_forbids_gives_no_error_of_the_server(url, tmp_path):
    command = Path(sys.executable).with_name("schemathesis")
    if not command.exists():
        pytest.skip("needs the package schemathesis: pip install schemathesis")
    options = [
        "--max-examples",
        "40",
        "--seed",
        "1",
        "--generation-database",
        "none",
        "--no-color",
        "--phases",
        "examples,coverage,fuzzing",
    ]
    checks = ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"]
    run = subprocess.run(
        [command, "run", f"{url}/openapi.json", *options, *checks], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-6000:]
    assert "503" not in run.stdout


def test_a_description_is_one_of_openapi(url):
    described = httpx.get(f"{url}/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert {"/rerank", "/v1/rerank", "/v2/rerank", "/v1/index", "/context", "/metrics"} <= set(described["paths"])


@pytest.mark.slow("thousands of bodies, 50 s")
def test_broken_bodies_are_refused_and_nothing_else_happens(url):
    chance = random.Random(0)

    def sent(_):
        body = bytearray(GOOD)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(body))
            how = chance.randrange(4)
            if how == 0:
                body[at] = chance.randrange(256)
            elif how == 1:
                del body[at : at + chance.randrange(1, 20)]
            elif how == 2:
                body[at:at] = chance.choice(
                    [b"[" * 500, b"1e999", b"\xff\xfe", b'"\\ud800"', b"9" * 400, b"{}", b"\x00", b"null,"]
                )
            else:
                body[at:at] = body[: chance.randrange(len(body))]
        headers = {"content-type": "application/json"}
        return httpx.post(f"{url}/rerank", content=bytes(body), headers=headers, timeout=20).status_code

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(sent, range(1500)))
    assert found <= {200, 400, 413, 422}
    assert {400, 422} <= found
    assert httpx.get(f"{url}/health").status_code == 200


def test_connections_that_end_or_stall_anywhere_hold_nothing(url):
    host, port = url.removeprefix("http://").split(":")
    head = b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        GOOD
    )
    whole = head + GOOD
    stalled = []
    for cut in (*range(0, len(whole), 7), len(whole)):
        connection = socket.create_connection((host, int(port)), 10)
        connection.sendall(whole[:cut])
        if cut % 2:
            stalled.append(connection)
        else:
            connection.close()
    answers = [
        httpx.post(f"{url}/rerank", content=GOOD, headers={"content-type": "application/json"}, timeout=20) for _ in range(20)
    ]
    assert {answer.status_code for answer in answers} == {200}
    for connection in stalled:
        connection.close()
    # Bodies that never came are given up, and counted no more.
    end = time.monotonic() + 10
    while counts(url)["late_rerank_requests_in_flight"] > 1:  # this one
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files where the system tells of them")
def test_thousands_of_requests_leave_no_file_open(url):
    def n_open():
        return len(list(Path("/proc/self/fd").iterdir()))

    with httpx.Client() as client:
        before = n_open()
        for _ in range(1000):
            client.post(f"{url}/rerank", content=GOOD, headers={"content-type": "application/json"})
            client.post(f"{url}/rerank", content=b"{", headers={"content-type": "application/json"})
        assert n_open() <= before + 5
