"""The server's log: one line a request, with its reason where it was refused, and never a text."""

import json
import logging
import sys

import httpx
import pytest
from serving import KEY, counts, running, serving, until

from late_rerank import Reranker
from late_rerank.serve import logs
from late_rerank.serve.access import ApiKeys
from late_rerank.serve.app import create_app
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

DOCUMENTS = ["secret rivers run", "secret cats sleep all day", ""]
QUESTION = {"query": "secret cats", "documents": DOCUMENTS}
ONNX = ("--model", "minilm", "--backend", "onnx")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


@pytest.fixture
def log(caplog):
    """The records of requests, as field -> value; /ready, which the tests wait for, left out."""
    caplog.set_level(logging.DEBUG, logger="late_rerank.serve")

    def records(n):
        found = []
        until(lambda: len(found) >= n or found.extend(_fields(caplog, len(found))), "the line isn't written")
        return found

    return records


def _fields(caplog, first):
    records = [r for r in caplog.records if r.name == "late_rerank.serve" and getattr(r, "path", "/ready") != "/ready"]
    return [r.__dict__ for r in records[first:]]


class TestLines:
    def test_a_request_has_one_line_with_counts(self, served, log, caplog):
        url = served()
        httpx.post(f"{url}/v1/index", json={"documents": DOCUMENTS[:1]})
        httpx.post(f"{url}/v1//rerank/", json=QUESTION, headers={"x-request-id": "mine-7"})
        indexed, line = log(2)
        assert (indexed["path"], indexed["status"]) == ("/v1/index", 200)
        asked = ("client", "method", "path", "status", "documents", "hits", "request_id", "levelname")
        assert [line[name] for name in asked] == ["127.0.0.1", "POST", "/v1//rerank/", 200, 2, 1, "mine-7", "INFO"]
        assert line["ms"] > 0
        assert line["message"] == f"127.0.0.1 POST /v1//rerank/ 200 {line['ms']} ms documents=2 hits=1"
        assert "secret" not in caplog.text

    @pytest.mark.parametrize(
        ("body", "status", "reason"),
        [
            ({**QUESTION, "query": " "}, 400, "query is blank: it needs at least one word"),
            ({**QUESTION, "documents": ["secret", 5]}, 422, "documents[1]"),
            ({**QUESTION, "top_n": "secret"}, 422, "top_n: Input should be a valid integer"),
            ({**QUESTION, "documents": [{"secret": "secret"}]}, 422, "documents[0] has no text"),
            ({**QUESTION, "documents": ["secret"] * 1001}, 413, "1001 documents: at most 1000"),
        ],
    )
    def test_a_refused_one_has_its_reason(self, served, log, caplog, body, status, reason):
        httpx.post(f"{served()}/rerank", json=body)
        (line,) = log(1)
        assert (line["status"], line["levelname"]) == (status, "WARNING")
        assert reason in line["reason"]
        assert line["reason"] in line["message"]
        assert "secret" not in caplog.text

    def test_so_has_one_without_a_key_or_under_another_name(self, served, log):
        url = served(keys=ApiKeys([KEY]), hosts=())
        httpx.post(f"{url}/rerank", json=QUESTION)
        told = httpx.get(f"{url}/info", headers={"host": "host.docker.internal:8000"}).json()["message"]
        httpx.get(f"{url}/nowhere", headers={"x-api-key": KEY})
        unknown, other, nowhere = log(3)
        assert (unknown["status"], unknown["reason"]) == (401, "no valid API key: send it as `Authorization: Bearer KEY`")
        assert other["reason"] == told
        assert told == "unknown Host 'host.docker.internal'; allow it with --allowed-host host.docker.internal"
        assert (nowhere["status"], nowhere["path"], nowhere["levelname"]) == (404, "/nowhere", "WARNING")

    def test_health_checks_are_for_debugging(self, served, log):
        url = served()
        for path in ("/health", "/metrics", "/v1/health/", "/info"):
            httpx.get(url + path)
        assert [line["levelname"] for line in log(4)] == ["DEBUG", "DEBUG", "DEBUG", "INFO"]

    def test_a_failure_names_its_kind_alone(self, served, log, caplog):
        class Failing(FakeEncoder):
            def encode_document(self, texts):
                raise RuntimeError(f"could not read {texts[0]!r}")

        httpx.post(f"{served(Failing())}/rerank", json=QUESTION)
        until(lambda: "ms: RuntimeError" in caplog.text, "the line isn't written")
        assert "secret" not in caplog.text

    @pytest.mark.parametrize("path", ["/%0A127.0.0.1%20GET%20/forged", "/%1b[2J", "/%E2%80%AEx"])
    def test_a_path_forges_no_line(self, served, log, path):
        httpx.get(served() + path)
        (line,) = log(1)
        assert line["message"].isprintable()
        assert len(line["message"].splitlines()) == 1

    def test_a_long_path_is_cut(self, served, log):
        httpx.get(served() + "/" + "x" * 5000)
        (line,) = log(1)
        assert len(line["path"]) == 200

    def test_several_queries_are_counted_together(self, served, log):
        httpx.post(f"{served()}/rerank", json={"queries": ["cats", "rivers"], "documents": DOCUMENTS})
        (line,) = log(1)
        assert (line["documents"], line["hits"]) == (4, 0)


def test_a_line_of_json_has_the_fields():
    record = logging.LogRecord("late_rerank.serve", logging.INFO, "", 0, "%s", ("text",), None)
    record.__dict__ |= {"client": "::1", "method": "POST", "path": '/"\n', "status": 200, "ms": 1.5, "documents": 3, "hits": 2}
    told = json.loads(logs.JsonLines().format(record))
    assert {name: told[name] for name in ("level", "logger", "client", "path", "ms", "hits")} == {
        "level": "info",
        "logger": "late_rerank.serve",
        "client": "::1",
        "path": '/"\n',
        "ms": 1.5,
        "hits": 2,
    }
    assert "message" not in told
    try:
        int("broken")
    except ValueError:
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "it %s", ("failed",), sys.exc_info())
    told = json.loads(logs.JsonLines().format(record))
    assert (told["message"], "ValueError: invalid literal" in told["exception"]) == ("it failed", True)


def test_refused_paths_are_counted():
    with running(create_app(lambda: Reranker(FakeEncoder()), Settings(keys=ApiKeys([KEY])))) as url:
        for path in ("/a", "/b", "/v1/embeddings"):
            httpx.get(url + path, headers={"x-api-key": KEY})
        httpx.get(f"{url}/rerank", headers={"x-api-key": KEY})
        found = counts(url, **{"x-api-key": KEY})
    assert found['late_rerank_rejected_total{reason="404"}'] == 3
    assert found['late_rerank_rejected_total{reason="405"}'] == 1
    assert found['late_rerank_requests_total{endpoint="other",status="404"}'] == 3


class TestProcesses:
    """The log of `late-rerank serve`, on stderr."""

    def lines(self, written, n, path="/rerank"):
        def found():
            return [line for line in written if path in line]

        until(lambda: len(found()) >= n, "".join(written))
        return found()

    def check_json(self, url, written):
        for _ in range(6):
            assert httpx.post(f"{url}/rerank", json=QUESTION, timeout=60).status_code == 200
        httpx.post(f"{url}/rerank", json={}, timeout=60)
        told = [json.loads(line) for line in self.lines(written, 7)]
        assert [each["status"] for each in told].count(200) == 6
        (refused,) = [each for each in told if each["status"] == 422]
        assert "documents: Field required" in refused["reason"]
        assert all(json.loads(line) for line in written)  # uvicorn's own lines too
        assert "secret" not in "".join(written)

    @pytest.mark.parametrize("workers", [1, pytest.param(2, marks=needs_linux)])
    def test_each_process_writes_json(self, minilm, workers):
        with serving("--workers", workers, "--log-format", "json", *ONNX) as (url, _, written):
            self.check_json(url, written)

    @pytest.mark.slow("two processes load torch, 30 s")
    def test_spawned_workers_too(self, tiny):
        with serving("--workers", 2, "--log-format", "json", *tiny) as (url, _, written):
            self.check_json(url, written)

    def test_text_is_the_default(self, minilm):
        with serving(*ONNX, env={"LATE_RERANK_MAX_DOCUMENTS": "3"}) as (url, _, written):
            httpx.post(f"{url}/rerank", json=QUESTION, timeout=60)
            httpx.post(f"{url}/rerank", json={**QUESTION, "documents": ["secret"] * 4}, timeout=60)
            done, refused = self.lines(written, 2)
        assert " POST /rerank 200 " in done
        assert done.endswith("documents=2 hits=0\n")
        assert "4 documents: at most 3 are taken" in refused

    def test_a_level_leaves_out_what_is_below(self, minilm):
        with serving(*ONNX, env={"LATE_RERANK_LOG_LEVEL": "warning"}) as (url, _, written):
            httpx.post(f"{url}/rerank", json=QUESTION, timeout=60)
            httpx.post(f"{url}/rerank", json={}, timeout=60)
            (line,) = self.lines(written, 1)
        assert " 422 " in line
        assert not [other for other in written if "INFO" in other]
