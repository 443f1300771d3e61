"""A server whose scoring has windows: what it says of that, and where it tells the best passages of documents."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from serving import DOCUMENTS, QUERY, running, serving

from late_rerank import Reranker
from late_rerank.explanation import explain
from late_rerank.retrieve import BM25Retriever
from late_rerank.serve.app import create_app
from late_rerank.serve.limits import Limits
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder, Gate

NEEDLE = "cats sleep all day"
SMILES = " ".join(["\U0001f642 smile"] * 200)
LONG = f"{SMILES} {' '.join(f'w{i}' for i in range(600))} {NEEDLE} {' '.join(f'x{i}' for i in range(600))}"
ASKED = {"query": QUERY, "documents": ["rivers run to the sea", LONG]}
ONNX = ("--backend", "onnx")
OTHER_CLIENTS = [
    ("/rerank", {"query": QUERY, "texts": [LONG]}),
    ("/v1/reranking", {"query": QUERY, "input": [LONG]}),
    ("/v1/ranking", {"query": {"text": QUERY}, "passages": [{"text": LONG}]}),
    ("/text-rerank", {"input": {"query": QUERY, "documents": [LONG]}, "parameters": {"best_span": True}}),
    ("/score", {"text_1": QUERY, "text_2": [LONG]}),
    ("/inference/any", {"queries": [QUERY], "documents": [LONG]}),
]


class Looking(FakeEncoder):
    """Counts how often it is asked where tokens stand, and waits for a gate if it has one."""

    def __init__(self, gate=None):
        super().__init__()
        self.looked = []
        self.gate = gate

    def tokens(self, text, kind):
        if self.gate is not None:
            self.gate()
        self.looked.append(text)
        return super().tokens(text, kind)


@pytest.fixture
def encoder():
    return Looking()


@pytest.fixture
def start(encoder):
    """Begins to serve; gives a server with its URL."""

    def begin(scoring="proximity", **settings):
        folders = {"reports": BM25Retriever([*DOCUMENTS, LONG])}
        app = create_app(lambda: Reranker(encoder, scoring=scoring), Settings(**{"folders": folders} | settings))
        return running(app)

    return begin


@pytest.fixture
def url(start):
    with start() as url:
        yield url


def post(url, body, path="/v1/rerank", **headers):
    answer = httpx.post(url + path, json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def spans(url, documents, **more):
    """Index -> best_span."""
    found = post(url, {"query": QUERY, "documents": documents, "best_span": True, **more}).json()
    return {each["index"]: each["best_span"] for each in found["results"]}


def ranked(documents=ASKED["documents"], query=QUERY):
    return Reranker(FakeEncoder(), scoring="proximity").rerank(query, documents)


class TestWhatItSays:
    def test_info_names_the_scoring_and_its_windows(self, start):
        with start() as url:
            told = httpx.get(f"{url}/info").json()
            listed = httpx.get(f"{url}/v1/models").json()["data"]
        assert (told["scoring"], told["window_tokens"]) == ("proximity", [24, 144, 288])
        with start("maxsim") as url:
            told = httpx.get(f"{url}/info").json()
            assert [sorted(model) for model in httpx.get(f"{url}/v1/models").json()["data"]] == [
                sorted(each) for each in listed
            ]
        assert (told["scoring"], told["window_tokens"]) == ("maxsim", [])

    def test_scores_are_the_scorings(self, url):
        results = post(url, ASKED | {"raw_scores": True}).json()["results"]
        assert [(each["index"], each["relevance_score"]) for each in results] == [(d.index, d.score) for d in ranked()]

    def test_a_match_is_explained_by_it(self, url, start):
        told = post(url, {"query": QUERY, "text": LONG}, "/v1/explain").json()
        (document,) = ranked([LONG])
        assert told["score"] == pytest.approx(document.score, abs=0.02)  # the store's vectors are int8
        assert told["best_span"] == list(document.best_span)
        with start("maxsim") as plain:
            told = post(plain, {"query": QUERY, "text": LONG}, "/v1/explain").json()
        assert sorted(told) == ["html", "score", "unmatched"]
        assert told["score"] == explain(Reranker(FakeEncoder(), scoring="maxsim"), QUERY, LONG).score


class TestBestSpan:
    @pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/infinity/rerank"])
    @pytest.mark.parametrize("asked", [True, "true", 1])
    def test_each_result_has_it_in_code_points(self, url, path, asked):
        told = post(url, ASKED | {"best_span": asked, "top_n": 2}, path)
        found = {each["index"]: each["best_span"] for each in told.json()["results"]}
        start, end = found[1]
        assert found == {document.index: list(document.best_span) for document in ranked()}
        assert found[0] == [0, len(DOCUMENTS[0])]
        assert NEEDLE in LONG[start:end]
        assert end - start < len(LONG) / 2
        assert "x-late-rerank-ignored" not in told.headers

    @pytest.mark.parametrize("more", [{}, {"best_span": False}, {"best_span": "false"}, {"best_span": None}])
    def test_without_the_field_there_is_none_and_no_tokenizer_is_called(self, url, encoder, more):
        told = post(url, ASKED | more)
        (first, second) = told.json()["results"]
        assert list(first) == list(second) == ["index", "relevance_score"]
        assert "ignored" not in told.json()["meta"]
        assert encoder.looked == []

    def test_only_documents_that_are_shown_are_looked_at(self, url, encoder):
        others = [f"{LONG} {i}" for i in range(5)]
        assert len(spans(url, [*others, LONG], top_n=2)) == 2
        assert len(encoder.looked) == 2

    def test_it_is_null_where_the_scoring_looks_for_none(self, start, encoder):
        with start("maxsim") as url:
            assert spans(url, ASKED["documents"]) == {0: None, 1: None}
        assert encoder.looked == []

    def test_it_is_null_for_what_is_not_scored(self):
        with running(create_app(lambda: Reranker(FakeEncoder(), scoring="proximity", on_missing="skip"))) as url:
            assert spans(url, ASKED["documents"]) == {0: None, 1: None}

    def test_a_text_that_was_put_together_has_none(self, url, encoder):
        named = {"title": "cats", "body": LONG}
        assert spans(url, [named, {"text": LONG}], rank_fields=["title", "body"]) == {
            0: None,
            1: list(ranked([LONG])[0].best_span),
        }
        looked = len(encoder.looked)
        assert (
            spans(url, [{"content": [{"type": "text", "text": LONG}]}, {"text": LONG, **named}], rank_fields=["title"])[1]
            is None
        )
        assert spans(url, [{"content": [{"type": "text", "text": LONG}]}]) == {0: None}
        assert len(encoder.looked) == looked == 1

    def test_objects_with_a_text_have_it(self, url):
        document = {"text": LONG, "id": 7, "title": "cats"}
        told = post(url, ASKED | {"documents": [document], "best_span": True, "return_documents": True}).json()
        assert told["results"][0]["document"] == document
        assert told["results"][0]["best_span"] == list(ranked([LONG])[0].best_span)

    def test_half_an_emoji_is_one_code_point(self, url):
        text = f"\ud83d {LONG}"
        body = json.dumps({"query": QUERY, "documents": [text], "best_span": True})
        told = httpx.post(f"{url}/rerank", content=body, headers={"content-type": "application/json"}).json()
        start, end = told["results"][0]["best_span"]
        assert NEEDLE in text[start:end]

    def test_several_queries_each_have_their_own(self, url):
        body = {"queries": [QUERY, "smile \U0001f642"], "documents": [LONG], "best_span": True}
        data = post(url, body).json()["data"]
        (first,), (second,) = (each["results"] for each in data)
        assert [first["best_span"], second["best_span"]] == [
            list(ranked([LONG], query)[0].best_span) for query in body["queries"]
        ]
        assert first["best_span"] != second["best_span"]

    def test_documents_that_would_be_looked_at_once_a_query_have_a_bound(self, start):
        body = {"queries": ["cats", "dogs", "rivers"], "documents": [LONG]}
        with start(limits=Limits(body_bytes=2 * len(json.dumps(body)))) as url:
            assert post(url, body).status_code == 200
            refused = httpx.post(f"{url}/rerank", json=body | {"best_span": True})
        assert refused.status_code == 413
        assert refused.json()["message"].startswith("best_span: these documents, once for each query")

    def test_clients_whose_answer_has_data_get_it_there_too(self, url):
        expected = [list(document.best_span) for document in ranked()]
        voyage = post(url, ASKED | {"best_span": True}).json()["data"]
        pinecone = post(url, ASKED | {"best_span": True}, **{"X-Pinecone-API-Version": "2025-01"}).json()["data"]
        assert [each["best_span"] for each in voyage] == [each["best_span"] for each in pinecone] == expected
        assert [list(each) for each in post(url, ASKED, **{"X-Pinecone-API-Version": "2025-01"}).json()["data"]] == [
            ["index", "score"]
        ] * 2

    @pytest.mark.parametrize(("path", "body"), OTHER_CLIENTS)
    def test_in_other_clients_words_it_is_unknown(self, url, encoder, path, body):
        told = post(url, body if "parameters" in body else body | {"best_span": True}, path)
        assert told.headers["x-late-rerank-ignored"].split(", ")[0] == "best_span"
        assert "best_span" not in json.dumps({**told.json(), "meta": None} if isinstance(told.json(), dict) else told.json())
        assert encoder.looked == []

    def test_what_is_no_boolean_is_refused(self, url):
        refused = httpx.post(f"{url}/rerank", json=ASKED | {"best_span": "yes, please"})
        assert (refused.status_code, "best_span" in refused.json()["message"]) == (422, True)

    def test_a_folders_documents_have_it(self, url, encoder):
        asked = {"query": "cats sleep", "folder": "reports", "top_n": 3}
        plain = post(url, asked, "/v1/search").json()["results"]
        assert [list(each) for each in plain] == [["index", "relevance_score", "document"]] * 3
        assert encoder.looked == []
        found = post(url, asked | {"best_span": "true"}, "/v1/search").json()["results"]
        assert [{name: value for name, value in each.items() if name != "best_span"} for each in found] == plain
        (long,) = (each for each in found if each["document"]["text"] == LONG)
        assert NEEDLE in LONG[slice(*long["best_span"])]
        assert encoder.looked == [LONG]

    def test_nobody_else_waits_while_it_is_looked_for(self, start, encoder):
        encoder.gate = Gate()
        with start() as url, ThreadPoolExecutor(1) as pool:
            asked = pool.submit(spans, url, ASKED["documents"])
            encoder.gate.wait_until_reached()
            assert httpx.get(f"{url}/health", timeout=20).status_code == 200
            assert len(post(url, ASKED).json()["results"]) == 2
            encoder.gate.open()
            assert asked.result(60)[1] is not None

    def test_it_is_described(self, url):
        described = httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]
        assert "code points" in described["RerankBody"]["properties"]["best_span"]["description"]
        assert "best_span" in described["SearchBody"]["properties"]
        assert "best_span" not in described["TextsBody"]["properties"]


class TestTheCommand:
    """With the real command: the scoring reaches each model and each process."""

    def told(self, url, **more):
        assert httpx.get(f"{url}/info").json()["scoring"] == "proximity"
        found = post(url, ASKED | {"best_span": True} | more).json()
        (long,) = (each for each in found["results"] if each["index"] == 1)
        return found["model"], found["meta"]["cache"]["misses"] > 0, long["best_span"]

    @pytest.mark.slow("a server that loads two models, 10 s")
    def test_every_model_has_it(self, tiny):
        _, folder, *backend = tiny
        models = ("--model", f"small={folder}", "--model", f"other={folder}")
        with serving("--scoring", "proximity", *models, *backend) as (url, _, _log):
            answers = [self.told(url, model=name) for name in ("small", "other")]
        assert [answer[0] for answer in answers] == ["small", "other"]
        assert all(0 < end - start < len(LONG) for _, _, (start, end) in answers)

    @pytest.mark.slow("servers of two processes, 25 s")
    @pytest.mark.parametrize("kind", ["spawned", "forked"])
    def test_every_worker_has_it(self, kind, tiny, minilm):
        """Without a store, each process encodes the documents once: two misses are two processes."""
        given = tiny if kind == "spawned" else ONNX
        with serving("--workers", 2, *given, env={"LATE_RERANK_SCORING": "proximity"}) as (url, _, _log):
            answers = []
            while sum(is_first for _, is_first, _ in answers) < 2:
                answers.append(self.told(url))
                assert len(answers) < 200, "one process answers all"
        assert len({tuple(span) for *_, span in answers}) == 1
        if kind == "forked":  # a model that understands
            assert NEEDLE in LONG[slice(*answers[0][2])]
