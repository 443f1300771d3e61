"""Applications and clients that aren't installed here: each sends what its public code sends, and reads the answer as it does.

A test is named by the client, and by the version or commit whose code was read.
"""

import httpx
import pytest
from serving import DOCUMENTS, KEY, QUERY, running

from late_rerank import Reranker
from late_rerank.serve.access import ApiKeys
from late_rerank.serve.app import create_app
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

MODEL = "FakeEncoder"
BEARER = {"Authorization": f"Bearer {KEY}"}
PINECONE = {"Api-Key": KEY, "X-Pinecone-API-Version": "2025-10"}


@pytest.fixture(scope="module")
def url():
    with running(create_app(lambda: Reranker(FakeEncoder()), Settings(keys=ApiKeys([KEY])))) as url:
        yield url


def posted(url, body, headers=BEARER):
    answer = httpx.post(url, json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def read(entries, score="relevance_score"):
    return [(each["index"], each[score]) for each in entries]


class TestOpenWebUI:
    """Engine "external", 0.6."""

    def test_its_external_engine(self, url, expected):
        body = {"model": "m", "query": QUERY, "documents": DOCUMENTS, "top_n": len(DOCUMENTS)}
        told = posted(f"{url}/v1/rerank", body, {**BEARER, "X-OpenWebUI-User-Name": "A"})
        found = sorted(told["results"], key=lambda each: each["index"])
        assert [each["relevance_score"] for each in found] == [score for _, score in sorted(expected)]


class TestDify:
    """dify-official-plugins 7af2283."""

    @pytest.mark.parametrize("base", ["", "/v1"])
    def test_openai_api_compatible(self, url, expected, base):
        body = {"model": "m", "query": QUERY, "documents": DOCUMENTS, "top_n": 2, "return_documents": True}
        told = posted(f"{url}{base}/rerank", body)
        assert read(told["results"]) == expected[:2]
        assert [each["document"]["text"] for each in told["results"]] == [DOCUMENTS[i] for i, _ in expected[:2]]

    def test_huggingface_tei(self, url, expected):
        assert httpx.get(f"{url}/info", headers=BEARER).json()["model_type"] == {"reranker": {}}
        told = posted(f"{url}/rerank", {"query": QUERY, "texts": DOCUMENTS, "return_text": True, "truncate": True})
        assert read(told, "score") == expected

    @pytest.mark.parametrize("base", ["", "/"])
    def test_xinference(self, url, expected, base):
        """It looks at the model when it is added, then ranks by xinference-client."""
        told = httpx.get(f"{url}{base}/v1/models/{MODEL}", headers=BEARER)
        assert (told.status_code, told.json()["model_type"]) == (200, "rerank")
        body = {
            "model": MODEL,
            "documents": DOCUMENTS,
            "query": QUERY,
            "top_n": 2,
            "max_chunks_per_doc": None,
            "return_documents": True,
            "return_len": None,
            "kwargs": "{}",
        }
        assert read(posted(f"{url}/v1/rerank", body)["results"]) == expected[:2]

    def test_ollama(self, url, expected):
        """a6d0753: it adds /api/rerank to the base URL."""
        told = posted(f"{url}/api/rerank", {"model": "m", "query": QUERY, "documents": DOCUMENTS, "top_n": 2})
        assert read(told["results"]) == expected[:2]
        assert all("document" not in each for each in told["results"])  # else it takes it for a string

    def test_documents_that_may_hold_images(self, url, expected):
        documents = [{"content": [{"type": "text", "text": text}]} for text in DOCUMENTS]
        body = {"model": "m", "query": {"content": [{"type": "text", "text": QUERY}]}, "documents": documents, "top_n": 3}
        assert read(posted(f"{url}/rerank", body)["results"]) == expected


class TestRagflow:
    """infiniflow/ragflow b1b8cd6."""

    @pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
    def test_jina_localai_and_openai_api_compatible(self, url, expected, path):
        told = posted(url + path, {"model": "m", "query": QUERY, "documents": DOCUMENTS, "top_n": 3})
        assert read(told["results"]) == expected
        assert told["usage"]["total_tokens"] > 0

    def test_xinference_writes_booleans_as_strings(self, url, expected):
        body = {"model": "m", "query": QUERY, "return_documents": "true", "return_len": "true", "documents": DOCUMENTS}
        assert read(posted(f"{url}/v1/rerank", body)["results"]) == expected

    def test_siliconflow_reads_tokens(self, url, expected):
        body = {"model": "m", "query": QUERY, "documents": DOCUMENTS, "top_n": 3, "return_documents": False}
        told = posted(f"{url}/v1/rerank", {**body, "max_chunks_per_doc": 1024, "overlap_tokens": 80})
        assert read(told["results"]) == expected
        assert told["meta"]["tokens"]["input_tokens"] + told["meta"]["tokens"]["output_tokens"] > 0
        assert told["meta"]["ignored"] == ["max_chunks_per_doc", "overlap_tokens", "model"]

    @pytest.mark.parametrize(
        "path", ["/v1/nv-rerankqa-mistral-4b-v3/reranking", "/v1/retrieval/nvidia/reranking", "/reranking"]
    )
    def test_nvidia(self, url, expected, path):
        passages = [{"text": text} for text in DOCUMENTS]
        body = {"model": "m", "query": {"text": QUERY}, "passages": passages, "truncate": "END", "top_n": 3}
        assert [each["index"] for each in posted(url + path, body)["rankings"]] == [i for i, _ in expected]

    def test_hugging_face(self, url, expected):
        body = {"query": QUERY, "texts": DOCUMENTS, "raw_scores": False, "truncate": True}
        assert read(posted(f"{url}/rerank", body), "score") == expected


class TestLibreChat:
    """danny-avila/agents 44d265f, JINA_API_URL."""

    def test_it_reads_documents(self, url, expected):
        model = "jina-reranker-v2-base-multilingual"
        body = {"model": model, "query": QUERY, "top_n": 2, "documents": DOCUMENTS, "return_documents": True}
        told = posted(f"{url}/v1/rerank", body)
        assert [(r["document"]["text"], r["relevance_score"]) for r in told["results"]] == [
            (DOCUMENTS[i], s) for i, s in expected[:2]
        ]
        assert "data" not in told  # documents aren't sent twice


class TestContinue:
    """continuedev/continue 16b4895; its adapters 023111d, vllm 040f21c, huggingface-tei 26952c4.

    It puts a slash behind `apiBase`, and `rerank` behind that.
    """

    @pytest.mark.parametrize("client", ["openai", "voyage"])
    def test_openai_and_voyage_read_data(self, url, expected, client):
        """Nothing in the request tells who asks; it sends the key twice."""
        body = {"model": "m", "query": QUERY, "documents": DOCUMENTS}
        told = posted(f"{url}/v1/rerank", body, {**BEARER, "x-api-key": KEY})
        assert read(told["data"]) == expected

    @pytest.mark.parametrize("more", [{}, {"x-api-key": KEY}], ids=["cohere and siliconflow", "jina and vllm"])
    def test_the_others_read_results(self, url, expected, more):
        told = posted(f"{url}/v1/rerank", {"model": "m", "query": QUERY, "documents": DOCUMENTS}, {**BEARER, **more})
        assert read(told["results"]) == expected

    def test_huggingface_tei(self, url, expected):
        """It asks for /info first, and goes on where that is refused: it sends no key then."""
        assert httpx.get(f"{url}/v1/info").status_code == 401
        told = httpx.get(f"{url}/v1/info", headers=BEARER).json()
        assert (told["model_id"], told["max_client_batch_size"]) == (MODEL, 1000)
        body = {"query": QUERY, "return_text": False, "raw_scores": False, "texts": DOCUMENTS}
        found = posted(f"{url}/v1/rerank", {**body, "truncation_direction": "Right", "truncate": True})
        assert read(found, "score") == expected

    def test_vllm_lists_models_at_the_start(self, url):
        assert [each["id"] for each in httpx.get(f"{url}/v1/models", headers=BEARER).json()["data"]] == [MODEL]


class TestLightRAG:
    """HKUDS/LightRAG 08d65b3: the URL is a setting."""

    @pytest.mark.parametrize("more", [{}, {"return_documents": False}], ids=["cohere", "jina"])
    def test_cohere_and_jina(self, url, expected, more):
        told = posted(f"{url}/v1/rerank", {"model": "m", "query": QUERY, "documents": DOCUMENTS, "top_n": 2, **more})
        assert read(told["results"]) == expected[:2]

    @pytest.mark.parametrize("path", ["/api/v1/services/rerank/text-rerank/text-rerank", "/rerank"])
    def test_aliyun(self, url, expected, path):
        asked = {"query": QUERY, "documents": DOCUMENTS}
        told = posted(url + path, {"model": "m", "input": asked, "parameters": {"top_n": 2, "return_documents": False}})
        assert read(told["output"]["results"]) == expected[:2]


class TestDashScope:
    """dashscope 2.0.2."""

    def test_documents_come_back(self, url, expected):
        asked = {"query": QUERY, "documents": DOCUMENTS}
        body = {"model": "gte-rerank", "input": asked, "parameters": {"return_documents": True, "instruct": "find cats"}}
        told = posted(f"{url}/api/v1/services/rerank/text-rerank/text-rerank", body)
        assert [r["document"]["text"] for r in told["output"]["results"]] == [DOCUMENTS[i] for i, _ in expected]
        assert told["usage"]["total_tokens"] > 0
        assert told["meta"]["ignored"] == ["instruct", "model"]

    def test_without_parameters_all_come_back(self, url, expected):
        told = posted(
            f"{url}/api/v1/services/rerank/text-rerank/text-rerank", {"input": {"query": QUERY, "documents": DOCUMENTS}}
        )
        assert read(told["output"]["results"]) == expected


class TestInfinity:
    """infinity-client 0.0.78 and Infinity's own answer: a document is a string."""

    def test_on_its_own_path_documents_are_strings(self, url, expected):
        for path in ("/infinity/rerank", "/infinity/v1/rerank"):
            told = posted(
                url + path, {"model": "m", "query": QUERY, "documents": DOCUMENTS, "return_documents": True, "top_n": 2}
            )
            assert [(r["document"], r["relevance_score"]) for r in told["results"]] == [
                (DOCUMENTS[i], s) for i, s in expected[:2]
            ]
            assert told["object"] == "rerank"

    def test_elsewhere_they_are_objects_as_coheres(self, url):
        told = posted(
            f"{url}/rerank", {"model": "m", "query": QUERY, "documents": DOCUMENTS, "return_documents": True, "top_n": 1}
        )
        assert told["results"][0]["document"] == {"text": DOCUMENTS[1]}


class TestPinecone:
    """pinecone 10.2: its header tells it from the others, and it brings its key as `Api-Key`."""

    def test_data_has_scores_and_documents(self, url, expected):
        documents = [{"text": text, "id": str(i)} for i, text in enumerate(DOCUMENTS)]
        body = {
            "model": "m",
            "query": QUERY,
            "documents": documents,
            "rank_fields": ["text"],
            "return_documents": True,
            "top_n": 2,
        }
        told = posted(f"{url}/rerank", body, PINECONE)
        assert read(told["data"], "score") == [(i, pytest.approx(s, abs=0.2)) for i, s in expected[:2]]
        assert [each["document"] for each in told["data"]] == [documents[i] for i, _ in expected[:2]]
        assert told["usage"]["rerank_units"] == 1
        assert "results" not in told

    def test_without_documents(self, url):
        body = {"model": "m", "query": QUERY, "documents": [{"text": text} for text in DOCUMENTS], "return_documents": False}
        assert all("document" not in each for each in posted(f"{url}/rerank", body, PINECONE)["data"])


class TestMixedbread:
    """mixedbread 0.54."""

    def test_data_has_scores_and_input(self, url, expected):
        body = {"model": "m", "query": QUERY, "input": DOCUMENTS, "top_k": 2, "return_input": True}
        told = posted(f"{url}/v1/reranking", body)
        assert read(told["data"], "score") == expected[:2]
        assert [each["input"] for each in told["data"]] == [DOCUMENTS[i] for i, _ in expected[:2]]
        assert (told["top_k"], told["return_input"]) == (2, True)

    def test_objects_by_their_fields(self, url):
        rows = [{"title": "rivers"}, {"title": "cats sleep"}]
        told = posted(f"{url}/v1/reranking", {"model": "m", "query": QUERY, "input": rows, "rank_fields": ["title"]})
        assert [each["index"] for each in told["data"]] == [1, 0]
        assert all("input" not in each for each in told["data"])
        answer = httpx.post(f"{url}/v1/reranking", json={"query": QUERY, "input": [{"title": "x"}]}, headers=BEARER)
        assert (answer.status_code, "input[0] has no text" in answer.text) == (422, True)


class TestNvidia:
    """langchain-nvidia-ai-endpoints 1.5.0 and llama-index-postprocessor-nvidia-rerank 0.7.0, base_url=B/v1."""

    def test_the_model_is_found_then_it_ranks(self, url, expected):
        assert MODEL in [each["id"] for each in httpx.get(f"{url}/v1/models", headers=BEARER).json()["data"]]
        passages = [{"text": text} for text in DOCUMENTS]
        told = posted(f"{url}/v1/ranking", {"model": MODEL, "query": {"text": QUERY}, "passages": passages, "truncate": "END"})
        assert [each["index"] for each in told["rankings"]] == [i for i, _ in expected]
        assert all(isinstance(each["logit"], float) for each in told["rankings"])

    def test_a_passage_without_text_is_told(self, url):
        body = {"query": {"text": QUERY}, "passages": [{"text": "a"}, {"image": "data:x"}]}
        assert httpx.post(f"{url}/v1/ranking", json=body, headers=BEARER).status_code == 422


class TestXinference:
    """xinference-client 4.1.0: it asks whether a key is needed before it sends its own."""

    def test_whether_a_key_is_needed(self, url):
        assert httpx.get(f"{url}/v1/cluster/auth").json() == {"auth": True}
        with running(create_app(lambda: Reranker(FakeEncoder()))) as opened:
            assert httpx.get(f"{opened}/v1/cluster/auth").json() == {"auth": False}

    def test_multimodal_query(self, url, expected):
        body = {
            "model": MODEL,
            "query": {"text": QUERY},
            "documents": [{"text": text} for text in DOCUMENTS],
            "return_len": True,
        }
        assert read(posted(f"{url}/v1/rerank", body)["results"]) == expected


class TestLlamaCpp:
    """llama.cpp's server: /reranking and /v1/reranking beside /rerank."""

    @pytest.mark.parametrize("path", ["/reranking", "/v1/reranking", "/rerank"])
    def test_both_of_its_bodies(self, url, expected, path):
        assert read(posted(url + path, {"query": QUERY, "documents": DOCUMENTS, "top_n": 3})["results"]) == expected
        assert read(posted(url + path, {"query": QUERY, "texts": DOCUMENTS}), "score") == expected


class TestCohereVersion1:
    """cohere 5.21.1, v1: every field of a document comes back (F6 of the tables)."""

    def test_documents_with_fields(self, url):
        documents = [{"title": "cats", "text": "t", "url": "u"}]
        told = posted(
            f"{url}/v1/rerank", {"query": "cats", "documents": documents, "rank_fields": ["title"], "return_documents": True}
        )
        assert told["results"][0]["document"] == documents[0]


class TestKeys:
    @pytest.mark.parametrize("headers", [{"api-key": KEY}, {"x-api-key": KEY}, BEARER])
    def test_azures_header_too(self, url, headers):
        assert posted(f"{url}/rerank", {"query": QUERY, "documents": DOCUMENTS}, headers)

    def test_a_wrong_one_there_is_none(self, url):
        answer = httpx.post(f"{url}/rerank", json={"query": QUERY, "documents": DOCUMENTS}, headers={"api-key": "wrong-key"})
        assert answer.status_code == 401
