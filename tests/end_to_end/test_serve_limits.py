"""What a server refuses, what it waits for and how long, and what it never does twice."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from serving import DOCUMENTS, QUERY, counts, until

from late_rerank.retrieve import BM25Retriever
from late_rerank.serve.limits import Limits
from late_rerank.testing.fakes import FakeEncoder, Gate

QUESTION = {"query": QUERY, "documents": DOCUMENTS}


class Held:
    """A hook of an encoder: notes all texts, and holds those that begin with a word until its gate is opened."""

    def __init__(self, word="new"):
        self.gate = Gate()
        self.calls = []
        self._word = word

    def __call__(self, texts):
        self.calls.append(list(texts))
        if any(text.startswith(self._word) for text in texts):
            self.gate()

    @property
    def texts(self):
        return [text for call in self.calls for text in call]


@pytest.fixture
def held():
    """Documents that begin with "new" are held. At the end the gate is open, so that a server can end."""
    hook = Held()
    yield hook
    hook.gate.open()


def post(url, path, value):
    return httpx.post(url + path, json=value, timeout=90)


def new(n, first=0):
    return [f"new {i}" for i in range(first, first + n)]


def until_waiting(url, n):
    """Until so many questions are being ranked, or wait for their documents."""
    until(lambda: counts(url)["late_rerank_requests_waiting"] == n, f"there aren't {n} requests waiting")


class TestLimits:
    def test_a_body_that_is_said_to_be_too_large_is_not_read(self, served):
        url = served(limits=Limits(body_bytes=1000))
        answer = post(url, "/rerank", {**QUESTION, "documents": ["a" * 2000]})
        assert answer.status_code == 413
        assert "at most 1,000" in answer.json()["message"]

    def test_nor_is_one_that_turns_out_to_be(self, served):
        url = served(limits=Limits(body_bytes=100_000))

        def chunks():
            for _ in range(1000):
                yield b" " * 1000

        try:
            answer = httpx.post(f"{url}/rerank", content=chunks(), headers={"content-type": "application/json"}, timeout=60)
        except httpx.TransportError:
            return  # the connection is closed while it is still sent
        assert answer.status_code == 413

    def test_a_slow_body_is_given_up(self, served):
        url = served(limits=Limits(body_timeout_s=0.3))
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 60) as connection:
            connection.sendall(
                b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
            )
            assert b"408" in connection.recv(1000).split(b"\r\n")[0]

    def test_too_many_at_once_are_told_when_to_come_again(self, served, held):
        url = served(FakeEncoder(before_document=held), limits=Limits(in_flight=4))

        def admitted(i):
            """Ask until it isn't refused: /metrics, too, is in flight while this test looks at it."""
            while (answer := post(url, "/rerank", {"query": "cats", "documents": new(1, i)})).status_code == 429:
                pass
            return answer.status_code

        def n_rejected():
            return counts(url).get('late_rerank_rejected_total{reason="429"}', 0)

        with ThreadPoolExecutor(4) as pool:
            first = [pool.submit(admitted, i) for i in range(4)]
            until_waiting(url, 4)
            before = n_rejected()
            refused = [post(url, "/rerank", QUESTION) for _ in range(12)]
            assert n_rejected() - before == len(refused)
            held.gate.open()
            assert [status.result(90) for status in first] == [200] * 4
        assert {answer.status_code for answer in refused} == {429}
        assert all(answer.headers["retry-after"] == "1" and "too many" in answer.json()["message"] for answer in refused)
        assert post(url, "/rerank", QUESTION).status_code == 200

    def test_too_many_that_wait_for_encoding_don_t_keep_out_the_others(self, served, held):
        url = served(FakeEncoder(before_document=held), limits=Limits(waiting_encoders=2))
        assert post(url, "/v1/index", {"documents": DOCUMENTS}).status_code == 200
        with ThreadPoolExecutor(2) as pool:
            first = [pool.submit(post, url, "/rerank", {"query": "a", "documents": new(1, i)}) for i in range(2)]
            until_waiting(url, 2)
            assert [post(url, "/rerank", {"query": "a", "documents": new(1, 9)}).status_code for _ in range(3)] == [429] * 3
            assert [post(url, "/rerank", QUESTION).status_code for _ in range(4)] == [200] * 4
            held.gate.open()
            assert [answer.result(90).status_code for answer in first] == [200] * 2

    def test_a_query_has_one_too(self, served):
        answer = post(served(), "/rerank", {**QUESTION, "query": "cats " * 5000})
        assert answer.status_code == 413
        assert "query has 25,000 characters" in answer.json()["message"]

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            (b'{"query": "a", "documents": [' + b"1," * 10**6 + b"1]}", "documents[0]"),
            (b'{"query": "a", "documents": [' + b"{}," * 10**6 + b"{}]}", "documents: List should have at most 100000 items"),
            (b'{"query": "a", "documents": [{"a": 1}], "rank_fields": [' + b'"a",' * 10**6 + b'"a"]}', "at most 64 items"),
            (b'{"query": "a", "documents": [{"a": 1}], "rank_fields": [' + b'"a",' * 64 + b'"a"]}', "at most 64 items"),
            (
                b'{"query": "a", "documents": ['
                + b'{"a":1},' * 10**5
                + b'{"a":1}], "rank_fields": ['
                + b'"a",' * 63
                + b'"a"]}',
                "at most 100000 items",
            ),
            (b'{"query": "a", "texts": [' + b"1," * 10**6 + b"1]}", "texts[0]"),
            (b'{"documents": ["a"], "queries": [' + b"{}," * 10**6 + b"{}]}", "queries"),
            (b'{"input": "a", "query": [' + b"{}," * 10**6 + b"{}]}", "query"),
        ],
        ids=["numbers", "objects", "a million fields", "65 fields", "64 fields of 100,001", "texts", "queries", "parts"],
    )
    def test_the_first_mistake_of_a_million_is_the_last_that_is_looked_at(self, served, body, told):
        answer = httpx.post(f"{served()}/rerank", content=body, headers={"content-type": "application/json"}, timeout=90)
        message = answer.json().get("message") or answer.json()["error"]
        assert answer.status_code == 422
        assert told in message
        assert " more" not in message  # it counts all mistakes that were found

    @pytest.mark.parametrize("name", ["text_1", "text_2"])
    def test_so_it_is_in_pairs(self, served, name):
        other = {"text_1": b"text_2", "text_2": b"text_1"}[name]
        body = b'{"' + other + b'": "a", "' + name.encode() + b'": [' + b"{}," * 10**6 + b"{}]}"
        answer = httpx.post(f"{served()}/score", content=body, headers={"content-type": "application/json"}, timeout=90)
        assert answer.status_code == 422
        assert " more" not in answer.json()["message"]

    @pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"n_documents": -1}, {"deadline_s": float("inf")}])
    def test_bounds_that_are_none_are_refused(self, wrong):
        with pytest.raises(ValueError, match="must be above 0"):
            Limits(**wrong)


class TestDeadlines:
    def test_stored_documents_are_scored_and_the_others_keep_their_order_behind(self, served, held):
        url = served(FakeEncoder(before_document=held))
        post(url, "/v1/index", {"documents": DOCUMENTS})
        documents = new(40) + DOCUMENTS
        told = post(url, "/rerank", {**QUESTION, "documents": documents, "deadline_s": 0.3}).json()

        assert (told["meta"]["degraded"], told["meta"]["n_unscored"]) == (True, 40)
        assert told["results"][0]["index"] == 41
        behind = told["results"][3:]
        assert [r["index"] for r in behind] == list(range(40))
        assert {r["relevance_score"] for r in behind} == {0.0}
        held.gate.open()
        again = {**QUESTION, "documents": documents, "deadline_s": 0.01}
        until(lambda: not post(url, "/rerank", again).json()["meta"]["degraded"], "they aren't encoded in the background")
        assert set(held.texts) == set(documents)

    @pytest.mark.parametrize("bar", [0, -1.0, "-0.5"])
    def test_a_bar_that_is_none_keeps_unscored_documents(self, served, held, bar):
        url = served(FakeEncoder(before_document=held), limits=Limits(deadline_s=0.2))
        told = post(url, "/rerank", {**QUESTION, "documents": new(20), "score_threshold": bar}).json()
        assert (len(told["results"]), told["meta"]["n_unscored"]) == (20, 20)

    def test_without_one_it_is_told_when_the_time_is_up(self, served, held):
        url = served(FakeEncoder(before_document=held), limits=Limits(timeout_s=0.3))
        answer = post(url, "/rerank", {**QUESTION, "documents": new(20)})
        assert answer.status_code == 504
        assert "ask again" in answer.json()["message"]
        assert answer.json()["error"]["type"] == "timeout_error"
        assert int(answer.headers["retry-after"]) > 0

    def test_indexing_goes_as_far_as_its_time_and_what_is_stored_stays(self, served):
        first = iter([1.0])
        encoder = FakeEncoder(before_document=lambda _: time.sleep(next(first, 0.0)))
        url = served(encoder, limits=Limits(timeout_s=1.0))
        body = {"documents": new(60)}
        answer = post(url, "/v1/index", body)
        assert answer.status_code == 504
        assert "16 of 60 documents are stored" in answer.json()["message"]
        assert int(answer.headers["retry-after"]) > 0
        assert encoder.n_documents == 16
        reports = []
        until(lambda: reports.append(post(url, "/v1/index", body)) or reports[-1].status_code == 200, "it never ends")
        report = reports[-1].json()
        assert (report["n_documents"], report["n_encoded"]) == (60, 60 - report["n_cached"])
        assert encoder.n_documents == 60

    def test_the_same_documents_from_four_are_indexed_once(self, served, held):
        encoder = FakeEncoder(before_document=held)
        url = served(encoder)
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(post, url, "/v1/index", {"documents": new(20)}) for _ in range(4)]
            until(lambda: counts(url)["late_rerank_requests_in_flight"] == 5, "not all have come")  # with the one that asks
            held.gate.open()
            assert [answer.result(90).status_code for answer in answers] == [200] * 4
        assert encoder.n_documents == 20

    def test_an_explanation_is_told_so_too_and_what_fails_later_is_not_logged(self, served, caplog):
        gate = Gate()

        class Failing(FakeEncoder):
            def tokens(self, text, kind):
                gate()
                raise ValueError(f"failed at {text}")

        url = served(Failing(), limits=Limits(timeout_s=0.3, working=1))
        answer = post(url, "/v1/explain", {"query": "cats", "text": "secret"})
        assert answer.status_code == 504
        asked = {"query": "cats", "text": "another"}
        assert post(url, "/v1/explain", asked).status_code == 429
        gate.open()
        until(lambda: post(url, "/v1/explain", asked).status_code == 500, "the first one never ends")
        assert "ValueError" in caplog.text  # of the second one, which was told
        assert "secret" not in caplog.text

    def test_the_servers_own_holds_for_all(self, served, held):
        url = served(FakeEncoder(before_document=held), limits=Limits(deadline_s=0.2))
        assert post(url, "/rerank", {**QUESTION, "documents": new(20)}).json()["meta"]["degraded"] is True

    def test_a_document_that_many_ask_for_at_once_is_encoded_once(self, served):
        queries = Held("plug")
        encoder = FakeEncoder(before_query=queries)
        url = served(encoder)
        with ThreadPoolExecutor(9) as pool:
            # Long: from its characters and time the server estimates how long the others take.
            plug = pool.submit(post, url, "/rerank", {"query": "plug", "documents": ["a " * 2000]})
            queries.gate.wait_until_reached()
            asked = [pool.submit(post, url, "/rerank", QUESTION) for _ in range(8)]
            until_waiting(url, 9)
            queries.gate.open()
            answers = [answer.result(90).json() for answer in asked]
            assert plug.result(90).status_code == 200
        assert encoder.n_documents == 1 + len(DOCUMENTS)
        assert all(answer["results"] == answers[0]["results"] for answer in answers)

    def test_the_event_loop_goes_on_meanwhile(self, served, held):
        url = served(FakeEncoder(before_document=held))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(post, url, "/rerank", {"query": "a", "documents": new(10)})
            held.gate.wait_until_reached()
            assert [httpx.get(f"{url}/health", timeout=60).status_code for _ in range(5)] == [200] * 5
            assert not answer.done()
            held.gate.open()
            assert answer.result(90).status_code == 200


class TestEachQueryIsEncodedOnce:
    """For a ranking, a context or a search; alone or among others; with documents that are stored or new."""

    PATHS = ("/rerank", "/context", "/v1/search")

    @pytest.fixture(params=["stored", "new"])
    def asked(self, request, served):
        """A server's URL, the calls of its encoder for queries, and what asks it one question."""
        queries = Held("plug")
        folders = {"animals": BM25Retriever(DOCUMENTS)}
        url = served(FakeEncoder(before_query=queries), folders=folders)
        if request.param == "stored":
            assert post(url, "/v1/index", {"documents": DOCUMENTS}).status_code == 200

        def ask(path, query):
            body = {"query": query, "folder": "animals"} if path == "/v1/search" else {"query": query, "documents": DOCUMENTS}
            return post(url, path, body)

        yield url, queries, ask
        queries.gate.open()

    @pytest.mark.parametrize("path", PATHS)
    def test_alone(self, asked, path):
        _, queries, ask = asked
        assert ask(path, "when do cats sleep").status_code == 200
        assert queries.texts == ["warm", "when do cats sleep"]

    def test_in_a_batch_with_15_others(self, asked):
        url, queries, ask = asked
        texts = [f"cats sleep {i}" for i in range(16)]
        with ThreadPoolExecutor(17) as pool:
            plug = pool.submit(ask, "/rerank", "plug")
            queries.gate.wait_until_reached()
            answers = [pool.submit(ask, self.PATHS[i % 3], text) for i, text in enumerate(texts)]
            until_waiting(url, 17)
            queries.gate.open()
            assert [answer.result(90).status_code for answer in (plug, *answers)] == [200] * 17
        assert max(map(len, queries.calls)) == 16
        assert sorted(queries.texts) == sorted(["warm", "plug", *texts])
