"""The server, asked over a real socket: what it answers, to whom, in whose words, and what it refuses."""

import asyncio
import hmac
import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from serving import DOCUMENTS, KEY, QUERY, counts, running, until

from late_rerank import Reranker
from late_rerank.errors import ModelError, StoreConnectionError
from late_rerank.retrieve import BM25Retriever
from late_rerank.serve import loading
from late_rerank.serve.access import ApiKeys
from late_rerank.serve.app import create_app
from late_rerank.serve.limits import Limits
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

QUESTION = {"query": QUERY, "documents": DOCUMENTS}
TEXTS = {"query": QUERY, "texts": DOCUMENTS}


@pytest.fixture(scope="module")
def url():
    folders = {"animals": BM25Retriever(DOCUMENTS)}
    with running(create_app(lambda: Reranker(FakeEncoder()), Settings(folders=folders))) as url:
        yield url


def expected(n=None):
    return [(d.index, d.relevance) for d in Reranker(FakeEncoder()).rerank(QUESTION["query"], DOCUMENTS, top_k=n)]


def posted(url, value):
    """As JavaScript and Python's json write it: ASCII, with escapes. httpx can't send half an emoji."""
    return httpx.post(url, content=json.dumps(value), headers={"content-type": "application/json"})


def lifespan_of(app):
    """The lifespan of the router, which lies within other apps."""
    inner = app
    while not hasattr(inner, "lifespan_context"):
        inner = inner._app
    return inner.lifespan_context(app)


class TestOddText:
    """Half emoji as JavaScript sends them, NUL, NaN and marks: one odd document never refuses a request."""

    TEXTS = ("a chunk cut within an emoji \ud83d", "cats sleep", "\ude00 cats \x00\ud83d\ud83d\ude00", "\ud83d", "\x00")

    @pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
    @pytest.mark.parametrize("query", ["cats", "cats \udfff"])
    def test_documents_with_half_emoji_are_ranked_and_come_back(self, url, path, query):
        asked = {"query": query, "documents": self.TEXTS, "return_documents": True, "\ud83d": "\ud83d"}
        answer = posted(url + path, asked)
        assert answer.status_code == 200
        assert answer.content.isascii()
        found = answer.json()["results"]
        expected = [(d.index, d.relevance) for d in Reranker(FakeEncoder()).rerank(query, self.TEXTS)]
        assert [(r["index"], r["relevance_score"]) for r in found] == expected
        assert {r["index"]: r["document"]["text"] for r in found} == dict(enumerate(json.loads(json.dumps(self.TEXTS))))

    def test_texts_clients_get_them_too(self, url):
        found = posted(f"{url}/rerank", {"query": "cats", "texts": self.TEXTS, "return_text": True})
        assert found.status_code == 200
        assert {r["index"]: r["text"] for r in found.json()} == dict(enumerate(json.loads(json.dumps(self.TEXTS))))

    def test_they_are_indexed_packed_and_explained(self, url):
        documents = [{"text": text, "id": i, "metadata": {"\ud83d": "\ud83d"}} for i, text in enumerate(self.TEXTS)]
        indexed = posted(f"{url}/v1/index", {"documents": documents})
        context = posted(f"{url}/context", {"query": "cats", "documents": documents})
        explained = posted(f"{url}/v1/explain", {"query": "cats \ud83d", "text": "cats \ud83d"})
        assert [answer.status_code for answer in (indexed, context, explained)] == [200] * 3
        assert indexed.json()["n_documents"] == 5
        told = context.json()
        assert {part["id"] for part in told["parts"] + told["dropped"]} == set(range(5))

    def test_a_question_of_half_an_emoji_is_blank(self, url):
        answer = posted(f"{url}/rerank", {"query": "\ud83d", "documents": ["a"]})
        assert (answer.status_code, answer.json()["message"]) == (400, "query is blank: it needs at least one word")

    def test_a_folder_of_half_an_emoji_isnt_there(self, url):
        assert posted(f"{url}/v1/search", {"query": "cats", "folder": "\ud83d"}).status_code == 404

    @pytest.mark.parametrize("half", ["", "\\ud83d"])
    def test_numbers_that_json_does_not_have_come_back_as_null(self, url, half):
        document = '{"text": "cats' + half + '", "price": NaN, "inner": [{"at": -Infinity}, 1e999, 2.5], "n": NaN}'
        body = '{"query": "a", "return_documents": true, "rank_fields": ["price", "text"], "documents": [' + document + "]}"
        answer = httpx.post(f"{url}/rerank", content=body, headers={"content-type": "application/json"})
        shown = answer.json()["results"][0]["document"]
        assert shown == {"text": json.loads(f'"cats{half}"'), "price": None, "inner": [{"at": None}, None, 2.5], "n": None}

    @pytest.mark.parametrize("half", ["", "\\ud83d"])
    def test_a_byte_order_mark_is_passed_over_and_the_last_of_equal_names_counts(self, url, half):
        body = '\ufeff{"query": "a", "documents": ["x"], "documents": ["b", "a' + half + '"]}'
        answer = httpx.post(f"{url}/rerank", content=body.encode(), headers={"content-type": "application/json"})
        assert [r["index"] for r in answer.json()["results"]] == [1, 0]


class TestRerank:
    @pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
    def test_documents_are_answered_in_an_envelope(self, url, path):
        answer = httpx.post(url + path, json={**QUESTION, "model": "rerank-v3.5", "top_n": 2, "priority": 1})
        told = answer.json()

        assert answer.status_code == 200
        assert [(r["index"], r["relevance_score"]) for r in told["results"]] == expected(2)
        assert all(0 <= r["relevance_score"] <= 1 and "document" not in r for r in told["results"])
        assert told["usage"]["total_tokens"] == 4 + sum(len(text.split()) for text in DOCUMENTS)
        assert told["id"] == answer.headers["x-request-id"]
        assert told["meta"]["degraded"] is False
        assert told["meta"]["api_version"]["version"] == ("1" if "v1" in path else "2")

    def test_texts_are_answered_by_a_bare_array(self, url):
        found = httpx.post(f"{url}/rerank", json={**TEXTS, "truncate": True, "return_text": True}).json()
        assert [(r["index"], r["score"]) for r in found] == expected()
        assert [r["text"] for r in found] == [DOCUMENTS[i] for i, _ in expected()]

    def test_the_text_decides_not_a_word_in_it(self, url):
        answer = httpx.post(f"{url}/rerank", json={**QUESTION, "query": 'what is a "texts": field'})
        assert "results" in answer.json()
        answer = httpx.post(f"{url}/rerank", json={**TEXTS, "query": 'what is a "documents": field'})
        assert isinstance(answer.json(), list)

    def test_documents_may_be_objects_and_come_back_when_asked_for(self, url):
        documents = [{"text": DOCUMENTS[0], "id": "a"}, DOCUMENTS[1], {"text": DOCUMENTS[2], "id": 7}]
        found = httpx.post(f"{url}/rerank", json={**QUESTION, "documents": documents, "return_documents": True}).json()
        assert {r["index"]: r["document"] for r in found["results"]} == {
            0: {"text": DOCUMENTS[0], "id": "a"},
            1: {"text": DOCUMENTS[1]},
            2: {"text": DOCUMENTS[2], "id": 7},
        }

    @pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
    @pytest.mark.parametrize("more", [{}, {"rank_fields": ["title", "body"]}])
    def test_documents_come_back_with_all_that_was_sent(self, url, path, more):
        documents = [
            {"text": "cats", "id": 7, "title": "Cats", "url": None, "inner": {"page": 1.5, "tags": ["a", True]}},
            {"id": {"$oid": "5f"}, "body": "sleep", "text": "rivers", "": 10**30},
            {"title": "a cat", "text": "", "id": True, "half \ud83d": "\ud83d"},
        ]
        asked = {"query": "cats", "documents": documents, "return_documents": True, **more}
        found = posted(url + path, asked)
        assert found.status_code == 200
        shown = {r["index"]: r["document"] for r in found.json()["results"]}
        assert json.dumps([shown[i] for i in range(3)]) == json.dumps(documents)

    def test_named_fields_of_an_object_are_read(self, url):
        documents = [{"title": "rivers", "body": "run"}, {"title": "cats", "body": "sleep", "other": "x"}]
        found = httpx.post(
            f"{url}/v1/rerank",
            json={"query": "cats", "documents": documents, "rank_fields": ["title", "body"], "return_documents": True},
        ).json()
        assert found["results"][0]["document"] == documents[1]
        text = Reranker(FakeEncoder()).rerank("cats", ["title: cats\nbody: sleep"])[0]
        assert found["results"][0]["relevance_score"] == text.relevance

    def test_names_of_fields_are_no_content(self, url):
        blank = [{"title": "", "body": None}, {"title": " \u200b"}, {"text": "", "title": None}]
        documents = [*blank, {"title": "dogs", "body": float("nan")}]
        asked = {"query": "title body", "documents": documents, "rank_fields": ["title", "body"]}
        found = posted(f"{url}/rerank", asked).json()["results"]
        assert [r["index"] for r in found] == [3, 0, 1, 2]
        assert [r["relevance_score"] for r in found[1:]] == [0.0] * 3
        text = Reranker(FakeEncoder()).rerank("title body", ["title: dogs"])[0]
        assert found[0]["relevance_score"] == text.relevance

    def test_raw_scores_are_maxsim(self, url):
        scores = {d.index: d.score for d in Reranker(FakeEncoder()).rerank(QUESTION["query"], DOCUMENTS)}
        found = httpx.post(f"{url}/rerank", json={**QUESTION, "raw_scores": True}).json()["results"]
        assert {r["index"]: r["relevance_score"] for r in found} == scores

    def test_zero_and_null_mean_all(self, url):
        for n in (0, None):
            assert len(httpx.post(f"{url}/rerank", json={**QUESTION, "top_n": n}).json()["results"]) == 3

    def test_only_the_first_tokens_count_where_that_is_asked_for(self, url):
        found = httpx.post(f"{url}/rerank", json={**QUESTION, "query": "sea day night", "max_tokens_per_doc": 2}).json()
        assert found["usage"]["total_tokens"] == 3 + 6
        assert {r["relevance_score"] for r in found["results"]} != {r[1] for r in expected()}

    def test_a_blank_document_comes_last(self, url):
        found = httpx.post(f"{url}/rerank", json={"query": "cats", "documents": ["", " ", "cats"]}).json()["results"]
        assert [(r["index"], r["relevance_score"]) for r in found][1:] == [(0, 0.0), (1, 0.0)]

    def test_what_is_asked_at_once_is_answered_as_alone(self, url):
        questions = [
            {"query": f"word{i} cats", "documents": [f"word{j} day" for j in range(40)] + DOCUMENTS} for i in range(30)
        ]
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda q: httpx.post(f"{url}/rerank", json=q, timeout=30).json(), questions))
        for question, answer in zip(questions, answers, strict=True):
            alone = Reranker(FakeEncoder()).rerank(question["query"], question["documents"])
            assert [(r["index"], r["relevance_score"]) for r in answer["results"]] == [(d.index, d.relevance) for d in alone]


class TestErrors:
    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            ({**QUESTION, "query": " "}, 400, "query is blank"),
            ({**QUESTION, "documents": []}, 400, "documents is empty"),
            ({"query": "a"}, 422, "documents: Field required"),
            ({**QUESTION, "query": 5}, 422, "query: Input should be a valid string"),
            ({**QUESTION, "documents": ["a", {"name": "b"}]}, 422, "documents[1] has no text"),
            ({**QUESTION, "top_n": -1}, 422, "top_n"),
            ({**QUESTION, "deadline_s": 0}, 422, "deadline_s"),
            ({**QUESTION, "documents": ["a"] * 1001}, 413, "1001 documents: at most 1000"),
            ({**QUESTION, "documents": ["a" * 200_001]}, 413, "documents[0] has 200,001 characters"),
        ],
    )
    def test_documents_clients_are_told_in_their_words(self, url, body, status, words):
        answer = httpx.post(f"{url}/v2/rerank", json=body)
        told = answer.json()
        assert answer.status_code == status
        assert words in told["message"]
        assert told["message"] == told["detail"] == told["error"]["message"]
        assert (told["error"]["code"], told["id"]) == (status, answer.headers["x-request-id"])

    @pytest.mark.parametrize(
        ("body", "status", "kind"),
        [
            ({**TEXTS, "query": ""}, 400, "Empty"),
            ({**TEXTS, "texts": []}, 400, "Empty"),
            ({**TEXTS, "texts": "a"}, 422, "Validation"),
            ({**TEXTS, "texts": ["a"] * 1001}, 413, "Validation"),
        ],
    )
    def test_texts_clients_are_told_in_theirs(self, url, body, status, kind):
        answer = httpx.post(f"{url}/rerank", json=body)
        assert answer.status_code == status
        assert answer.json()["error_type"] == kind
        assert isinstance(answer.json()["error"], str)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'{"query": "\xff\xfe", "documents": ["a"]}',
            b'{"query": "\xed\xa0\xbd", "documents": ["a"]}',
            b'{"query": "a\\ud83d", "documents": ["\xed\xa0\xbd"]}',
            b'{"query": "a", "documents": ["\\ud8"]}',
            b'{"query": "a", "documents": ["\\ud83d", ]}',
            b'["\\ud83d"]',
            b'{"query": "a", "documents": ["\\ud83d", %s]}' % (b"[" * 900 + b"]" * 900),
            b'{"query": "a", "documents": ["\\ud83d"' + b"[" * 100_000,
            '{"query": "a", "documents": ["a"]}'.encode("utf-16"),
            b"[" * 100_000,
            b'{"query": "a", "documents": ' + b"[" * 100_000,
            b'{"query": "a", "documents": ["a"], "top_n": 1e999}',
            b'{"query": "a", "documents": ["a"], "top_n": %s}' % (b"9" * 5000),
            b'{"query": "a", "documents": ["a"], "max_tokens_per_doc": NaN}',
            b"\x00" * 100,
        ],
        ids=range(19),
    )
    def test_what_is_no_such_json_is_refused(self, url, body):
        answer = httpx.post(f"{url}/rerank", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422)
        assert answer.json()["message"]

    @pytest.mark.parametrize("documents", [["cats", 5], ["cats", {"text": 5}], ["\ud83d", {"title": "x"}], ["\ud83d", None]])
    def test_the_document_that_is_none_is_named(self, url, documents):
        answer = posted(f"{url}/rerank", {"query": "a", "documents": documents})
        assert answer.status_code == 422
        assert "documents[1]" in answer.json()["message"] or "document 1" in answer.json()["message"]

    def test_nothing_of_a_document_stands_in_an_error(self, url):
        answer = httpx.post(f"{url}/rerank", json={**QUESTION, "documents": ["a secret", 5, {"hidden": "more secrets"}]})
        assert answer.status_code == 422
        assert "secret" not in answer.text

    def test_a_body_that_is_not_said_to_be_json_is_refused(self, url):
        # What a page of another site can send without asking.
        answer = httpx.post(f"{url}/rerank", content=json.dumps(QUESTION), headers={"content-type": "text/plain"})
        assert answer.status_code == 415
        assert "Content-Type: application/json" in answer.json()["message"]

    @pytest.mark.parametrize(
        ("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/rerank", 405), ("PUT", "/", 405)]
    )
    def test_what_is_not_there_is_told(self, url, method, path, status):
        answer = httpx.request(method, url + path)
        assert answer.status_code == status
        assert "/docs" in answer.json()["message"]
        assert (status == 405) == ("allow" in answer.headers)

    def test_a_failure_of_ours_shows_and_logs_no_text(self, served, caplog):
        class Failing(FakeEncoder):
            def encode_document(self, texts):
                raise RuntimeError(f"could not read {texts[0]!r}")

        with caplog.at_level(logging.ERROR):
            answer = httpx.post(f"{served(Failing())}/rerank", json=QUESTION, headers={"x-request-id": "mine-7"})
        assert answer.status_code == 500
        assert answer.headers["x-request-id"] == "mine-7"
        assert "rivers" not in answer.text + caplog.text
        assert "Traceback" not in answer.text
        assert "mine-7: RuntimeError" in caplog.text

    def test_one_question_that_fails_is_not_the_others_failure(self, served):
        class Failing(FakeEncoder):
            def encode_query(self, texts):
                if any("fail" in text for text in texts):
                    raise RuntimeError
                return super().encode_query(texts)

        url = served(Failing())
        questions = [{**QUESTION, "query": "fail" if i % 3 == 0 else "cats"} for i in range(30)]
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda q: httpx.post(f"{url}/rerank", json=q, timeout=30).status_code, questions))
        assert answers == [500 if i % 3 == 0 else 200 for i in range(30)]


class TestKeys:
    @pytest.fixture
    def locked(self, served):
        return served(keys=ApiKeys([KEY, "another-key"]))

    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": f"Bearer {KEY}"},
            {"authorization": KEY},
            {"x-api-key": "another-key"},
            {"authorization": "Basic a:b", "x-api-key": KEY},
        ],
    )
    def test_each_way_to_bring_one_will_do(self, locked, headers):
        assert httpx.post(f"{locked}/rerank", json=QUESTION, headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "headers", [{}, {"authorization": "Bearer wrong-key"}, {"authorization": "Bearer"}, {"x-api-key": ""}]
    )
    def test_a_missing_or_wrong_one_is_401_in_the_clients_words(self, locked, headers):
        answer = httpx.post(f"{locked}/v2/rerank", json=QUESTION, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "no valid API key" in answer.json()["message"]
        answer = httpx.post(f"{locked}/rerank", json=TEXTS, headers=headers)
        assert (answer.status_code, answer.json()["error_type"]) == (401, "Validation")

    def test_only_what_tells_nothing_is_open(self, locked):
        paths = ("/health", "/ready", "/", "/docs", "/openapi.json")
        assert [httpx.get(locked + path).status_code for path in paths] == [200] * 5
        assert [httpx.get(locked + path).status_code for path in ("/info", "/metrics")] == [401] * 2

    @pytest.mark.parametrize("given", [KEY, "another-key", "wrong-key", "", KEY[:-1], KEY + "x" * 10_000])
    def test_each_is_compared_with_all_in_constant_time(self, given, monkeypatch):
        compared = []
        compare = hmac.compare_digest
        monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or compare(a, b))
        keys = ApiKeys([KEY, *(f"other-key-{i}" for i in range(20)), "another-key"])
        assert keys.admits({"authorization": f"Bearer {given}"}) == (given in (KEY, "another-key"))
        assert len(compared) == 22
        assert {len(digest) for pair in compared for digest in pair} == {32}  # whatever the keys' lengths

    @pytest.mark.parametrize("wrong", ["short", "with space in it", "schlüssel-lang"])
    def test_what_can_be_no_key_is_refused(self, wrong, tmp_path):
        (tmp_path / "keys").write_text(f"# ours\n\n{wrong}\n", encoding="utf-8")
        with pytest.raises(ValueError, match="API key"):
            ApiKeys.read(str(tmp_path / "keys"))

    def test_they_are_read_from_a_file_and_the_environment(self, tmp_path, monkeypatch):
        (tmp_path / "keys").write_text(f"# ours\n{KEY}\n")
        monkeypatch.setenv("LATE_RERANK_API_KEYS", "from-outside, and-another")
        keys = ApiKeys.read(str(tmp_path / "keys"))
        assert [keys.admits({"x-api-key": key}) for key in (KEY, "from-outside", "and-another", "# ours")] == [True] * 3 + [
            False
        ]
        (tmp_path / "empty").write_text("# none\n")
        with pytest.raises(ValueError, match="holds no API keys"):
            ApiKeys.read(str(tmp_path / "empty"))

    def test_a_variable_without_one_is_a_mistake_not_an_open_server(self, monkeypatch):
        monkeypatch.setenv("LATE_RERANK_API_KEYS", ",")
        with pytest.raises(ValueError, match="holds no API key"):
            ApiKeys.read(None)

    def test_who_has_none_keeps_nobody_out(self, served):
        url = served(keys=ApiKeys([KEY]), limits=Limits(in_flight=2))
        port = int(url.rpartition(":")[2])
        head = b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
        stalled = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        try:
            for each in stalled:
                each.sendall(head)
            refused = 'late_rerank_rejected_total{reason="401"}'
            until(lambda: counts(url, **{"x-api-key": KEY}).get(refused) == 5, "not all have come")
            answer = httpx.post(f"{url}/rerank", json=QUESTION, headers={"x-api-key": KEY}, timeout=60)
            assert answer.status_code == 200
            for each in stalled:
                each.settimeout(60)
                assert b" 401 " in each.recv(65536)
        finally:
            for each in stalled:
                each.close()


class TestNames:
    def test_a_page_in_another_sites_name_is_refused(self, served):
        url = served(hosts=("reranker.example",))
        port = url.rpartition(":")[2]
        for host, status in (
            ("evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("127.evil.example", 421),
            ("localhost.evil.example", 421),
            ("reranker.example", 200),
            (f"localhost:{port}", 200),
            (f"[::1]:{port}", 200),
        ):
            answer = httpx.get(f"{url}/info", headers={"host": host})
            assert answer.status_code == status
            assert status == 200 or f"unknown Host '{host}'; allow it with --allowed-host" in answer.json()["message"]

    @pytest.mark.parametrize("host", ["evil.example", "10.1.2.3:8000", ""])
    def test_a_probe_is_answered_under_any_name_and_told_the_state_alone(self, served, host):
        """Proxies' checks have no Host, and Kubernetes' probes have the pod's address."""
        url = served(hosts=("reranker.example",), keys=ApiKeys([KEY]))
        answers = [httpx.get(f"{url}{path}", headers={"host": host}) for path in ("/health", "/ready", "/v1/ready/")]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert [answer.json() for answer in answers] == [{"status": "ok"}, {"status": "ready"}, {"status": "ready"}]
        assert httpx.get(f"{url}/metrics", headers={"host": host, "x-api-key": KEY}).status_code == 421

    def test_haproxys_check_without_a_host_is_answered(self, served):
        address = httpx.URL(served(hosts=()))
        with socket.create_connection((address.host, address.port), 60) as connection:
            connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")

    def test_other_sites_pages_may_ask_only_where_that_was_said(self, url, served):
        preflight = {"origin": "https://app.example", "access-control-request-method": "POST"}
        assert "access-control-allow-origin" not in httpx.options(f"{url}/rerank", headers=preflight).headers
        allowed = served(cors_origins=("https://app.example",))
        assert (
            httpx.options(f"{allowed}/rerank", headers=preflight).headers["access-control-allow-origin"]
            == "https://app.example"
        )
        other = httpx.options(f"{allowed}/rerank", headers={**preflight, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


class TestOtherEndpoints:
    def test_index_reports_what_it_did(self, served):
        url = served()
        told = httpx.post(f"{url}/v1/index", json={"documents": [*DOCUMENTS, {"text": DOCUMENTS[0]}]}).json()
        assert (told["n_documents"], told["n_encoded"], told["n_cached"]) == (4, 3, 1)
        assert httpx.post(f"{url}/rerank", json=QUESTION).json()["meta"]["cache"] == {"hits": 3, "misses": 0}

    def test_a_context_comes_with_its_citations(self, url):
        told = httpx.post(f"{url}/context", json={**QUESTION, "budget_tokens": 20}).json()
        assert told["text"].startswith("[1] cats sleep all day")
        assert (told["parts"][0]["number"], told["parts"][0]["index"]) == (1, 1)
        assert told["n_tokens"] <= 20
        assert {left["reason"] for left in told["dropped"]}
        assert httpx.post(f"{url}/context", json={**QUESTION, "min_relevance": 1.0, "query": "what is it"}).json()["text"] == ""

    def test_an_explanation_is_a_page(self, url):
        told = httpx.post(f"{url}/v1/explain", json={"query": "cats <b>", "text": "<script>x</script> cats"}).json()
        assert "&lt;script&gt;" in told["html"]
        assert "<script" not in told["html"]

    def test_a_folder_can_be_searched(self, url):
        told = httpx.post(f"{url}/v1/search", json={"query": "cats sleep", "folder": "animals", "top_n": 1}).json()
        assert told["results"][0]["document"]["text"] == DOCUMENTS[1]
        assert httpx.post(f"{url}/v1/search", json={"query": "cats", "folder": "../etc"}).status_code == 404

    def test_info_says_what_runs_and_no_path(self, url):
        told = httpx.get(f"{url}/info").json()
        assert (told["model"], told["codec"], told["store"], told["folders"]) == (
            "FakeEncoder",
            "int8",
            "MemoryStore",
            ["animals"],
        )

    def test_metrics_count_what_was_done(self, served):
        url = served()
        for _ in range(3):
            httpx.post(f"{url}/rerank", json=QUESTION)
        httpx.post(f"{url}/rerank", json={})
        found = counts(url)
        assert found['late_rerank_requests_total{endpoint="/rerank",status="200"}'] == 3
        assert found['late_rerank_requests_total{endpoint="/rerank",status="422"}'] == 1
        assert found['late_rerank_documents_total{model="FakeEncoder",vectors="miss"}'] == 3
        assert found['late_rerank_documents_total{model="FakeEncoder",vectors="hit"}'] == 6
        assert found['late_rerank_stage_seconds_count{model="FakeEncoder",stage="maxsim"}'] == 3
        assert found["late_rerank_requests_in_flight"] == 1

    def test_it_is_alive_before_it_is_ready(self):
        go = threading.Event()

        async def asked():
            def made():
                go.wait(60)
                return Reranker(FakeEncoder())

            app = create_app(made)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
                lifespan = lifespan_of(app)
                await lifespan.__aenter__()
                before = [(await client.get(path)).status_code for path in ("/health", "/ready")]
                refused = await client.post("/rerank", json=QUESTION)
                go.set()
                while (await client.get("/ready")).status_code != 200:
                    await asyncio.sleep(0.01)
                after = await client.post("/rerank", json=QUESTION)
                await lifespan.__aexit__(None, None, None)
                return before, refused, after

        before, refused, after = asyncio.run(asked())
        assert before == [200, 503]
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert after.status_code == 200

    def test_a_model_that_can_not_be_loaded_is_told(self, caplog):
        async def asked():
            def made():
                raise ModelError("no such model")

            app = create_app(made)
            transport = httpx.ASGITransport(app)
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
                lifespan_of(app),
            ):
                while "being loaded" in (await client.get("/ready")).text:
                    await asyncio.sleep(0.01)
                return [await client.get(path) for path in ("/health", "/ready")]

        alive, ready = asyncio.run(asked())
        assert (alive.status_code, ready.status_code) == (200, 503)
        assert "can't be loaded (ModelError)" in ready.json()["message"]
        assert "no such model" in caplog.text

    def test_one_whose_store_was_away_is_tried_again(self, monkeypatch):
        monkeypatch.setattr(loading, "_RETRY_S", (0.05,))
        failures = iter([StoreConnectionError("away"), StoreConnectionError("still away")])

        def made():
            for failure in failures:
                raise failure
            return Reranker(FakeEncoder())

        with running(create_app(made)) as url:
            assert httpx.post(f"{url}/rerank", json=QUESTION).status_code == 200

    def test_before_it_listens_it_gives_up_some_time(self, monkeypatch):
        monkeypatch.setattr(loading, "_RETRY_S", (0.05, 0.05))

        async def started():
            def made():
                raise ModelError("no such model")

            app = create_app(made, Settings(load_first=True))
            async with lifespan_of(app):
                pass

        with pytest.raises(RuntimeError, match="can't be loaded"):
            asyncio.run(started())
