"""What clients may write, and how: numbers as strings, paths, parts of text, unknown fields, several queries, pairs."""

import math

import httpx
import pytest
from serving import DOCUMENTS, QUERY, counts, running

from late_rerank import Reranker
from late_rerank.retrieve import BM25Retriever
from late_rerank.serve.app import create_app
from late_rerank.serve.limits import Limits
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

QUESTION = {"query": QUERY, "documents": DOCUMENTS}


@pytest.fixture(scope="module")
def url():
    settings = Settings(folders={"animals": BM25Retriever(DOCUMENTS)}, limits=Limits(n_documents=50, n_queries=4, n_pairs=20))
    with running(create_app(lambda: Reranker(FakeEncoder()), settings)) as url:
        yield url


def ranked(query=QUERY, documents=DOCUMENTS):
    return [(d.index, d.relevance) for d in Reranker(FakeEncoder()).rerank(query, documents)]


def post(url, path, body):
    return httpx.post(url + path, json=body, timeout=60)


def results(answer):
    assert answer.status_code == 200, answer.text
    return [(r["index"], r["relevance_score"]) for r in answer.json()["results"]]


class TestNumbersAndBooleans:
    @pytest.mark.parametrize("n", ["2", 2.0, " 2 ", "2.0"])
    @pytest.mark.parametrize("name", ["top_n", "top_k"])
    def test_a_number_may_be_a_string(self, url, name, n):
        assert results(post(url, "/rerank", {**QUESTION, name: n})) == ranked()[:2]

    @pytest.mark.parametrize(("given", "shown"), [("true", True), ("True", True), (1, True), ("false", False), (0, False)])
    def test_so_may_a_boolean(self, url, given, shown):
        told = post(url, "/rerank", {**QUESTION, "return_documents": given}).json()["results"]
        assert all(("document" in each) == shown for each in told)

    def test_every_body_takes_them(self, url):
        texts = {"query": QUERY, "texts": DOCUMENTS, "return_text": "true", "raw_scores": "false", "truncate": "true"}
        assert post(url, "/rerank", texts).json()[0]["text"] == DOCUMENTS[1]
        context = {**QUESTION, "budget_tokens": "20", "compress": "false", "top_n": "1", "min_relevance": "0.1"}
        assert [part["index"] for part in post(url, "/context", context).json()["parts"]] == [1]
        found = post(url, "/v1/search", {"query": "cats", "folder": "animals", "k": "3", "top_n": "1"})
        assert [index for index, _ in results(found)] == [0]
        assert results(post(url, "/rerank", {**QUESTION, "deadline_s": "30", "max_tokens_per_doc": "100"})) == ranked()

    @pytest.mark.parametrize(
        ("name", "given", "words"),
        [
            ("return_documents", "yes please", "return_documents: Input should be a valid boolean"),
            ("return_documents", 2, "return_documents: Input should be a valid boolean"),
            ("top_n", 3.5, "top_n: Input should be a valid integer"),
            ("top_n", "3.5", "top_n: Input should be a valid integer"),
            ("top_n", "three", "top_n: Input should be a valid integer"),
            ("top_n", True, "Input should be a number, not a boolean"),
            ("top_n", "-1", "top_n: Input should be greater than or equal to 0"),
            ("min_relevance", 1.5, "min_relevance: Input should be less than or equal to 1"),
            ("score_threshold", 80, "score_threshold: Input should be less than or equal to 1"),
            ("score_threshold", "high", "score_threshold: Input should be a valid number"),
            ("score_threshold", True, "score_threshold: Value error, Input should be a number, not a boolean"),
            ("min_relevance", "nan", "min_relevance: Input should be a finite number"),
            ("deadline_s", "soon", "deadline_s: Input should be a valid number"),
        ],
    )
    def test_what_is_neither_is_told(self, url, name, given, words):
        answer = post(url, "/rerank", {**QUESTION, name: given})
        assert answer.status_code == 422
        assert words in answer.json()["message"]

    @pytest.mark.parametrize(
        "body", [{**QUESTION, "query": 5}, {"query": "5", "documents": [5]}, {"query": "5", "texts": [True]}]
    )
    def test_texts_stay_texts(self, url, body):
        assert post(url, "/rerank", body).status_code == 422


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/v1/rerank/",
            "//rerank",
            "/v1//rerank//",
            "/v1/v2/rerank",
            "/v2/v1/rerank",
            "/v1/v1/rerank",
            "/reranking",
            "/v1/reranking",
            "/v1/reranks",
            "/api/rerank",
            "/api/v1/rerank",
            "/v1/rerank/v1/rerank",
            "/a/proxy/v2/rerank",
            "/v3/openai/rerank",
            "/v1/ranking",
        ],
    )
    def test_all_of_these_are_a_rerank(self, url, path):
        answer = post(url, path, {**QUESTION, "top_n": 2})
        assert results(answer) == ranked()[:2]

    def test_the_last_version_in_a_path_counts(self, url):
        versions = {
            path: post(url, path, QUESTION).json()["meta"]["api_version"]["version"]
            for path in ("/v1/rerank/", "/v1/v2/rerank", "/v2/v1/rerank", "/rerank")
        }
        assert versions == {"/v1/rerank/": "1", "/v1/v2/rerank": "2", "/v2/v1/rerank": "1", "/rerank": "2"}

    @pytest.mark.parametrize(
        "path", ["/v1/health", "/health/", "//ready", "/v1/info", "/v1/v1/models", "/models", "/proxy/docs"]
    )
    def test_other_paths_may_have_something_before_them_too(self, url, path):
        assert httpx.get(url + path).status_code == 200

    @pytest.mark.parametrize("path", ["/inference/v1/models", "/inference/health", "/models/health", "/inference/v1/rerank"])
    def test_words_of_other_paths_may_stand_before_too(self, url, path):
        is_rerank = path.endswith("rerank")
        answer = post(url, path, QUESTION) if is_rerank else httpx.get(url + path)
        assert answer.status_code == 200

    def test_a_model_may_be_called_as_a_path_is(self, url):
        assert "no such model" in httpx.get(f"{url}/v1/models/rerank").text

    @pytest.mark.parametrize("host", ["localhost:8000[", "localhost:8000/score?", "[::1].example.com"])
    def test_the_host_header_chooses_nothing(self, host):
        with running(create_app(lambda: Reranker(FakeEncoder()))) as url:
            answer = httpx.post(f"{url}/v1/rerank", json=QUESTION, headers={"host": host})
        assert answer.status_code == 200
        assert results(answer) == ranked()

    @pytest.mark.parametrize(
        "path", ["/v1", "/api", "/v1/embeddings", "/embed", "/rerank/x", "/v1/chat/completions", "/page/x.js"]
    )
    def test_what_is_not_there_is_not_there(self, url, path):
        assert httpx.get(url + path).status_code == 404

    def test_a_path_of_a_thousand_words_is_none(self, url):
        assert httpx.get(url + "/a" * 1000 + "/health").status_code == 404

    def test_metrics_know_few_names(self):
        with running(create_app(lambda: Reranker(FakeEncoder()))) as url:
            for path in ("/v1/v2/rerank", "/v2/rerank/", "/v2/rerank"):
                post(url, path, QUESTION)
            for i in range(5):
                httpx.get(f"{url}/nowhere/{i}")
                httpx.get(f"{url}/v1/models/{i}")
            found = counts(url)
        labels = {name: n for name, n in found.items() if name.startswith("late_rerank_requests_total")}
        assert labels['late_rerank_requests_total{endpoint="/v2/rerank",status="200"}'] == 3
        assert labels['late_rerank_requests_total{endpoint="other",status="404"}'] == 5
        assert labels['late_rerank_requests_total{endpoint="/v1/models/{name:path}",status="404"}'] == 5
        assert found['late_rerank_rejected_total{reason="404"}'] == 10
        assert len(labels) == 4  # with /ready


class TestParts:
    """Queries and documents as vLLM, Dify and Jina write what may hold images."""

    @pytest.mark.parametrize("query", [{"text": QUERY}, {"content": [{"type": "text", "text": QUERY}]}])
    def test_text_is_ranked(self, url, query):
        documents = [{"content": [{"type": "text", "text": text}]} for text in DOCUMENTS]
        assert results(post(url, "/rerank", {"query": query, "documents": documents})) == ranked()
        assert results(post(url, "/rerank", {"query": query, "documents": [{"text": text} for text in DOCUMENTS]})) == ranked()

    def test_several_parts_are_one_text(self, url):
        words = [{"type": "text", "text": text} for text in ("cats", "sleep", "all day")]
        found = results(post(url, "/rerank", {"query": QUERY, "documents": ["rivers", {"content": words}]}))
        assert found[0][0] == 1
        assert found == ranked(documents=["rivers", "cats\nsleep\nall day"])

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"query": QUERY, "documents": ["a", {"image": "data:secret"}]}, "documents[1] has an image without text"),
            (
                {"query": QUERY, "documents": [{"content": [{"type": "image_url", "image_url": {"url": "secret"}}]}]},
                "documents[0] has an image without text",
            ),
            ({"query": {"image": "data:secret"}, "documents": ["a"]}, "query: Value error, it has an image"),
            (
                {"query": {"content": [{"type": "text"}]}, "documents": ["a"]},
                "it has a part that is neither a text nor an image",
            ),
            ({"query": {"title": "secret"}, "documents": ["a"]}, 'must have "text"'),
            ({"query": QUERY, "documents": [{"content": "secret"}]}, "documents[0] has no text"),
        ],
    )
    def test_anything_else_is_refused(self, url, body, words):
        answer = post(url, "/rerank", body)
        assert answer.status_code == 422
        assert words in answer.json()["message"]
        assert "secret" not in answer.text

    def test_a_field_of_that_name_is_a_field(self, url):
        documents = [{"content": "rivers", "image": "u"}, {"content": "cats sleep", "image": "u"}]
        told = post(url, "/v1/rerank", {"query": "cats", "documents": documents, "rank_fields": ["content"]})
        assert results(told)[0][0] == 1


class TestMinRelevance:
    @pytest.mark.parametrize("name", ["min_relevance", "score_threshold"])
    @pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
    def test_what_is_below_is_left_out_and_counted(self, url, path, name):
        bar = ranked()[0][1]
        answer = post(url, path, {**QUESTION, name: bar})
        assert results(answer) == ranked()[:1]
        assert answer.json()["meta"]["n_below_min_relevance"] == 2
        assert "ignored" not in answer.json()["meta"]

    @pytest.mark.parametrize("bar", [0, -0.0, -1, -1e9, "-1"])
    @pytest.mark.parametrize("name", ["min_relevance", "score_threshold"])
    def test_zero_and_less_keep_all(self, url, name, bar):
        answer = post(url, "/rerank", {**QUESTION, name: bar})
        assert results(answer) == ranked()
        assert answer.json()["meta"]["n_below_min_relevance"] == 0
        assert [part["index"] for part in post(url, "/context", {**QUESTION, "min_relevance": bar}).json()["parts"]]

    def test_it_goes_before_top_n(self, url):
        told = post(url, "/rerank", {**QUESTION, "min_relevance": ranked()[1][1], "top_n": 1})
        assert results(told) == ranked()[:1]
        assert told.json()["meta"]["n_below_min_relevance"] == 1

    def test_texts_clients_may_ask_for_it(self, url):
        told = post(url, "/rerank", {"query": QUERY, "texts": DOCUMENTS, "min_relevance": ranked()[0][1]})
        assert [(r["index"], r["score"]) for r in told.json()] == ranked()[:1]

    def test_without_it_nothing_is_counted(self, url):
        assert "n_below_min_relevance" not in post(url, "/rerank", QUESTION).json()["meta"]


class TestIgnored:
    def test_fields_that_would_change_the_answer_are_named(self, url):
        more = {"instruction": "find cats", "max_chunks_per_doc": 3, "overlap_tokens": 80, "weights": [1, 2]}
        answer = post(url, "/rerank", {**QUESTION, **more})
        assert answer.json()["meta"]["ignored"] == list(more)
        assert answer.headers["x-late-rerank-ignored"] == ", ".join(more)

    def test_fields_that_change_nothing_are_not(self, url):
        of_clients = {"user": "u1", "encoding_format": "float", "metadata": {"a": 1}, "priority": 3, "truncation": True}
        unset = {"instruction": None, "max_chunks_per_doc": None, "kwargs": "{}", "extra": [], "stream": False}
        nothing = of_clients | unset | {"return_len": "true"}
        answer = post(url, "/rerank", {**QUESTION, **nothing})
        assert "ignored" not in answer.json()["meta"]
        assert "x-late-rerank-ignored" not in answer.headers

    @pytest.mark.parametrize(
        ("path", "name"), [("/rerank", "documents"), ("/v1/reranking", "input"), ("/v1/ranking", "passages")]
    )
    def test_an_image_beside_a_text_is_named_once(self, url, path, name):
        images = [{"image": "data:secret"}, {"image_url": {"url": "secret"}, "image": "data:secret"}, {"image": None}]
        documents = [{"text": text, **image} for text, image in zip(DOCUMENTS, images, strict=True)]
        answer = post(url, path, {"query": QUERY, name: documents, "instruction": "x"})
        assert answer.json()["meta"]["ignored"] == ["instruction", "image", "image_url"]
        assert answer.headers["x-late-rerank-ignored"] == "instruction, image, image_url"
        texts = post(url, path, {"query": QUERY, name: [{"text": text} for text in DOCUMENTS]})
        assert "ignored" not in texts.json()["meta"]
        scores = {"documents": "results", "input": "data", "passages": "rankings"}[name]
        assert answer.json()[scores] == texts.json()[scores]

    def test_an_image_is_no_part_of_named_fields(self, url):
        documents = [{"text": text, "image": "u"} for text in DOCUMENTS]
        answer = post(url, "/rerank", {"query": QUERY, "documents": documents, "rank_fields": ["text"]})
        assert "ignored" not in answer.json()["meta"]

    @pytest.mark.parametrize(
        ("path", "name"),
        [("/rerank", "documents"), ("/v1/index", "documents"), ("/v1/reranking", "input"), ("/ranking", "passages")],
    )
    def test_an_image_without_a_text_is_refused_by_its_place(self, url, path, name):
        answer = post(url, path, {"query": QUERY, name: ["a", {"image": "data:secret"}]})
        assert (answer.status_code, f"{name}[1] has an image" in answer.text, "secret" in answer.text) == (422, True, False)

    def test_texts_clients_are_told_in_a_header(self, url):
        answer = post(url, "/rerank", {"query": QUERY, "texts": DOCUMENTS, "instruction": "x", "naïve, name": 1})
        assert answer.headers["x-late-rerank-ignored"] == "instruction, ?"

    def test_names_have_a_bound(self, url):
        answer = post(url, "/rerank", {**QUESTION, **{f"{i}" + "x" * 1000: 1 for i in range(100)}})
        named = answer.json()["meta"]["ignored"]
        assert (len(named), {len(name) for name in named}) == (20, {64})

    @pytest.mark.parametrize(
        ("model", "is_ignored"),
        [("FakeEncoder", False), ("owner/FakeEncoder", False), ("default", False), (None, False), ("rerank-v3.5", True)],
    )
    def test_another_model_is_named_too(self, url, model, is_ignored):
        answer = post(url, "/v2/rerank", {**QUESTION, "model": model}).json()
        assert answer["model"] == "FakeEncoder"
        assert answer["meta"].get("ignored", []) == (["model"] if is_ignored else [])


class TestSeveralQueries:
    QUERIES = ("when do cats sleep", "where do rivers run", "dogs at night")

    def test_each_gets_its_answer_in_order(self, url):
        told = post(url, "/rerank", {"queries": self.QUERIES, "documents": DOCUMENTS, "top_n": 2}).json()
        assert told["object"] == "list"
        assert [each["index"] for each in told["data"]] == [0, 1, 2]
        for query, each in zip(self.QUERIES, told["data"], strict=True):
            alone = post(url, "/rerank", {"query": query, "documents": DOCUMENTS, "top_n": 2}).json()
            assert each["results"] == alone["results"]
            assert each["usage"] == alone["usage"]
            assert each["meta"]["cache"] == {"hits": 3, "misses": 0}
        assert told["usage"]["total_tokens"] == sum(each["usage"]["total_tokens"] for each in told["data"])
        assert told["meta"]["cache"] == {"hits": 9, "misses": 0}

    @pytest.mark.parametrize("stored", [True, False])
    def test_they_are_encoded_in_one_call_and_each_document_once(self, served, stored):
        calls = []
        encoder = FakeEncoder(before_query=lambda texts: calls.append(list(texts)))
        url = served(encoder)
        if stored:
            post(url, "/v1/index", {"documents": DOCUMENTS})
        assert post(url, "/rerank", {"queries": self.QUERIES, "documents": DOCUMENTS}).status_code == 200
        assert calls == [["warm"], list(self.QUERIES)]
        assert encoder.n_documents == 3

    def test_options_hold_for_each(self, url):
        body = {"queries": self.QUERIES[:2], "documents": DOCUMENTS, "min_relevance": 0.5, "return_documents": True}
        told = post(url, "/rerank", body).json()
        for query, each in zip(self.QUERIES, told["data"], strict=False):
            kept = [(index, relevance) for index, relevance in ranked(query) if relevance >= 0.5]
            assert [(r["index"], r["relevance_score"]) for r in each["results"]] == kept
            assert each["meta"]["n_below_min_relevance"] == 3 - len(kept)
            assert all(r["document"]["text"] == DOCUMENTS[r["index"]] for r in each["results"])

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            ({"queries": [], "documents": DOCUMENTS}, 422, "queries"),
            ({"queries": ["a", " "], "documents": DOCUMENTS}, 400, "queries[1] is blank"),
            ({"queries": ["a"], "query": "a", "documents": DOCUMENTS}, 422, "either query"),
            ({"documents": DOCUMENTS}, 422, "either query"),
            ({"queries": "a", "documents": DOCUMENTS}, 422, "queries: Input should be a valid"),
            ({"queries": ["a"] * 5, "documents": DOCUMENTS}, 413, "5 queries: at most 4"),
            ({"queries": ["a"] * 4, "documents": ["b"] * 6}, 413, "24 pairs: at most 20"),
        ],
    )
    def test_wrong_ones_are_told(self, url, body, status, words):
        answer = post(url, "/rerank", body)
        assert answer.status_code == status
        assert words in answer.json()["message"]

    def test_documents_that_would_come_back_once_a_query_have_a_bound(self, served):
        url = served(limits=Limits(body_bytes=20_000))
        body = {"queries": ["cats"] * 4, "documents": ["b" * 9_000], "return_documents": True}
        answer = post(url, "/rerank", body)
        assert (answer.status_code, "once for each query" in answer.json()["message"]) == (413, True)
        assert post(url, "/rerank", body | {"return_documents": False}).status_code == 200


class TestPairs:
    """/score, as vLLM has it."""

    def scores(self, answer):
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["object"] == "list"
        assert [(each["index"], each["object"]) for each in told["data"]] == [(i, "score") for i in range(len(told["data"]))]
        return [each["score"] for each in told["data"]]

    @pytest.mark.parametrize("path", ["/score", "/v1/score"])
    @pytest.mark.parametrize(
        "names", [("text_1", "text_2"), ("queries", "documents"), ("data_1", "data_2"), ("queries", "items")]
    )
    def test_one_text_beside_many_in_their_order(self, url, path, names):
        found = self.scores(post(url, path, {"model": "m", names[0]: QUERY, names[1]: DOCUMENTS}))
        assert found == [score for _, score in sorted(ranked())]

    def test_one_beside_one(self, url):
        assert self.scores(post(url, "/score", {"text_1": QUERY, "text_2": DOCUMENTS[1]})) == [dict(ranked())[1]]

    def test_pairs(self, url):
        queries = [QUERY, "rivers", QUERY]
        expected = [dict(ranked(query))[i] for i, query in enumerate(queries)]
        assert self.scores(post(url, "/score", {"text_1": queries, "text_2": DOCUMENTS})) == expected

    def test_raw_ones_are_maxsim(self, url):
        expected = [d.score for d in sorted(Reranker(FakeEncoder()).rerank(QUERY, DOCUMENTS), key=lambda d: d.index)]
        for raw in ({"use_activation": False}, {"raw_scores": True}):
            assert self.scores(post(url, "/score", {"text_1": QUERY, "text_2": DOCUMENTS, **raw})) == expected

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            ({"text_1": ["a", "b"], "text_2": DOCUMENTS}, 422, "2 first texts and 3 second texts"),
            ({"text_1": "a", "text_2": []}, 400, "documents is empty"),
            ({"text_1": [], "text_2": []}, 400, "the first text is missing"),
            ({"text_1": " ", "text_2": ["a"]}, 400, "blank"),
            ({"text_1": "a"}, 422, "text_2"),
            ({"text_1": "a", "text_2": [5]}, 422, "text_2"),
            ({"text_1": "a", "text_2": ["a"] * 51}, 413, "at most 50"),
        ],
    )
    def test_wrong_ones_are_told(self, url, body, status, words):
        answer = post(url, "/score", body)
        assert answer.status_code == status
        assert words in answer.json()["message"]


class TestModels:
    def test_one_that_a_path_names_is_told_if_it_is_another(self, url):
        answer = post(url, "/v1/inference/BAAI/bge-reranker-large", {"queries": ["cats"], "documents": ["cats"]})
        assert answer.headers["x-late-rerank-ignored"] == "model"

    @pytest.mark.parametrize("path", ["/v1/models", "/models"])
    def test_they_are_listed_as_openai_does(self, url, path):
        told = httpx.get(url + path).json()
        assert told["object"] == "list"
        assert [(each["id"], each["object"]) for each in told["data"]] == [("FakeEncoder", "model")]

    @pytest.mark.parametrize("name", ["FakeEncoder", "owner/FakeEncoder"])
    def test_one_says_that_it_is_a_reranker(self, url, name):
        assert httpx.get(f"{url}/v1/models/{name}").json()["model_type"] == "rerank"

    def test_another_is_404_and_names_the_ones_there_are(self, url):
        answer = httpx.get(f"{url}/v1/models/bge")
        assert answer.status_code == 404
        assert "known: FakeEncoder" in answer.json()["message"]


def test_a_logit_turns_into_relevance_again(url):
    told = post(
        url, "/v1/ranking", {"query": {"text": QUERY}, "passages": [{"text": text} for text in [*DOCUMENTS, ""]]}
    ).json()
    found = [(each["index"], 1 / (1 + math.exp(-each["logit"]))) for each in told["rankings"]]
    assert [index for index, _ in found] == [index for index, _ in ranked(documents=[*DOCUMENTS, ""])]
    assert all(math.isclose(a[1], b[1], abs_tol=2e-6) for a, b in zip(found, ranked(documents=[*DOCUMENTS, ""]), strict=True))
