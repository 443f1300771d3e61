"""A server that adds its clients' own numbers to the order: `prior`."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import running

from late_rerank import Reranker
from late_rerank.serve.app import create_app
from late_rerank.serve.bodies import AskingWithPrior
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

httpx = pytest.importorskip("httpx")

QUERY = "cats sleep"
TEXTS = ["rivers run to the sea", "cats sleep all day", "cats eat fish", "dogs sleep"]
PRIOR = [0.0, -1.0, 0.25, 9.0]


@pytest.fixture(scope="module")
def url():
    with running(create_app(lambda: Reranker(FakeEncoder()), Settings(load_first=True))) as server:
        yield server


def post(url, body, path="/v1/rerank", **more):
    return httpx.post(f"{url}{path}", json={"query": QUERY, **body}, timeout=30, **more)


def objects(priors=PRIOR):
    given = zip(TEXTS, priors, strict=True)
    return [{"text": text} | ({} if prior is None else {"prior": prior}) for text, prior in given]


def ranked(prior=PRIOR):
    return Reranker(FakeEncoder()).rerank(QUERY, TEXTS, prior=prior)


@pytest.mark.parametrize("body", [{"documents": TEXTS, "prior": PRIOR}, {"documents": objects()}], ids=["list", "objects"])
def test_documents_are_ordered_with_their_priors_and_keep_their_relevance(url, body):
    found = post(url, body).json()["results"]
    expected = ranked()
    assert [each["index"] for each in found] == [document.index for document in expected]
    assert [each["prior"] for each in found] == [document.prior for document in expected]
    assert [each["relevance_score"] for each in found] == pytest.approx([document.relevance for document in expected])
    assert [each["index"] for each in found] != [document.index for document in ranked(None)]


def test_answers_without_a_prior_say_nothing_of_it(url):
    assert "prior" not in post(url, {"documents": TEXTS}).text


def test_some_documents_may_have_none_which_counts_as_0(url):
    found = post(url, {"documents": [*objects([None, None, None, 9.0])[1:], TEXTS[0]]}).json()["results"]
    assert {each["index"]: each["prior"] for each in found} == {0: 0.0, 1: 0.0, 2: 9.0, 3: 0.0}
    assert found[0]["index"] == 2


def test_all_queries_of_a_request_and_pinecones_clients_are_answered_so(url):
    several = post(url, {"query": None, "queries": [QUERY, "fish"], "documents": TEXTS, "prior": PRIOR}).json()["data"]
    assert [each["results"][0]["index"] for each in several] == [3, 3]
    data = post(url, {"documents": objects(), "top_n": 1}, headers={"X-Pinecone-API-Version": "2025-01"}).json()["data"]
    assert [(each["index"], each["prior"]) for each in data] == [(3, 9.0)]


def test_documents_are_given_back_as_they_were_sent(url):
    found = post(url, {"documents": objects(), "return_documents": True, "top_n": 1}).json()["results"]
    assert found[0]["document"] == {"text": TEXTS[3], "prior": 9.0}


def test_a_context_is_read_in_that_order(url):
    body = {"documents": objects(), "strategy": "relevance", "budget_tokens": 500}
    parts = post(url, body, "/context").json()["parts"]
    assert [part["index"] for part in parts] == [document.index for document in ranked()]
    parts = post(url, {**body, "documents": TEXTS, "prior": PRIOR}, "/context").json()["parts"]
    assert parts[0]["index"] == 3


def test_requests_with_and_without_priors_that_come_together_do_not_mix():
    app = create_app(lambda: Reranker(FakeEncoder()), Settings(load_first=True))
    with running(app) as server, ThreadPoolExecutor(8) as threads:
        bodies = [{"documents": TEXTS, "prior": prior} for prior in (PRIOR, None, PRIOR[::-1])] * 8
        found = list(threads.map(lambda body: post(server, body).json()["results"], bodies))
    for body, results in zip(bodies, found, strict=True):
        assert [each["index"] for each in results] == [document.index for document in ranked(body["prior"])]


@pytest.mark.parametrize("path", ["/v1/rerank", "/context"])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"documents": TEXTS, "prior": [1.0]}, "prior has 1 numbers for 4 documents: give one for each"),
        ({"documents": objects(), "prior": PRIOR}, "give prior either as a list or with the documents, not both"),
        ({"documents": TEXTS, "prior": [0, 1, "high", 2]}, "valid number"),
        ({"documents": TEXTS, "prior": [0, 1, True, 2]}, "not a boolean"),
        ({"documents": TEXTS, "prior": 5}, "valid array"),
        ({"documents": objects([0, 10**400, 0, 0])}, "documents[1].prior: Input"),
    ],
)
def test_a_wrong_prior_is_told(url, path, body, told):
    answer = post(url, body, path)
    assert answer.status_code == 422
    assert told in answer.text


@pytest.mark.parametrize("path", ["/v1/rerank", "/context"])
@pytest.mark.parametrize("own", ["Smith v. Jones", {"case": 7}, ["a"], True])
def test_a_documents_own_field_of_that_name_stays_as_sent_and_is_named(url, path, own):
    more = {"return_documents": True} if path == "/v1/rerank" else {}
    answer = post(url, {"documents": objects([own] * 4), **more}, path)
    assert (answer.status_code, answer.headers["x-late-rerank-ignored"]) == (200, "prior")
    assert answer.json()["meta"]["ignored"] == ["prior"]
    if path == "/v1/rerank":
        assert [each["index"] for each in answer.json()["results"]] == [document.index for document in ranked(None)]
        assert answer.json()["results"][0]["document"]["prior"] == own
    answer = post(url, {"documents": objects([own] * 4), "prior": PRIOR}, path)
    assert answer.status_code == 200


def test_languages_without_a_place_for_it_name_it_as_ignored(url):
    answer = post(url, {"texts": TEXTS, "prior": PRIOR})
    assert answer.headers["x-late-rerank-ignored"] == "prior"


def test_the_description_tells_of_it(url):
    schemas = httpx.get(f"{url}/openapi.json", timeout=30).json()["components"]["schemas"]
    assert "prior" in schemas["RerankBody"]["properties"]
    assert "prior" in schemas["DocumentBody"]["properties"]
    assert AskingWithPrior.model_fields["prior"].description.startswith("One number for each document")
