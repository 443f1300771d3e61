"""Clients that people have, unchanged: only the base URL is ours."""

import asyncio
import gc
import json
import shutil
import subprocess
import warnings

import pytest
from serving import DOCUMENTS, KEY, QUERY, running

from late_rerank import Reranker
from late_rerank.serve.access import ApiKeys
from late_rerank.serve.app import create_app
from late_rerank.serve.limits import Limits
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

# Clients that leave their connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def no_connections_left():
    yield
    gc.collect()  # here they are let be; at the end of all tests they would count


@pytest.fixture(scope="module")
def url():
    settings = Settings(keys=ApiKeys([KEY]), limits=Limits(n_documents=50))
    with running(create_app(lambda: Reranker(FakeEncoder()), settings)) as url:
        yield url


@pytest.fixture(scope="module")
def cohere():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("cohere", reason="needs the package cohere: pip install cohere")


class TestCohere:
    """The official SDK."""

    @pytest.fixture(params=["Client", "ClientV2"])
    def client(self, request, cohere, url):
        return lambda key=KEY: getattr(cohere, request.param)(api_key=key, base_url=url)

    def test_documents_come_in_order_with_their_scores(self, client, expected):
        found = client().rerank(model="rerank-v3.5", query=QUERY, documents=DOCUMENTS, top_n=2)
        assert [(r.index, r.relevance_score) for r in found.results] == expected[:2]
        assert found.id
        assert found.meta.api_version.version in ("1", "2")

    def test_an_async_client_too(self, cohere, url, expected):
        async def asked():
            async with cohere.AsyncClientV2(api_key=KEY, base_url=url) as client:
                return await client.rerank(model="any", query=QUERY, documents=DOCUMENTS)

        assert [(r.index, r.relevance_score) for r in asyncio.run(asked()).results] == expected

    def test_version_1_takes_objects_and_gives_documents_back(self, cohere, url):
        client = cohere.Client(api_key=KEY, base_url=url)
        documents = [{"text": text} for text in DOCUMENTS]
        found = client.rerank(query=QUERY, documents=documents, return_documents=True, max_chunks_per_doc=3)
        assert [r.document.text for r in found.results] == [DOCUMENTS[r.index] for r in found.results]

    def test_version_1_keeps_each_field_of_a_document(self, cohere, url):
        client = cohere.Client(api_key=KEY, base_url=url)
        rows = [{"title": "Cats", "body": "sleep", "url": "u/1", "id": 7}, {"title": "Rivers", "body": "run", "text": ""}]
        texts = [{"text": "Cats sleep.", "id": 7, "title": "Cats"}, {"text": "Rivers run.", "title": "Rivers"}]
        for documents, fields in ((texts, None), (rows, ["title", "body"]), (texts, ["title"])):
            found = client.rerank(query=QUERY, documents=documents, rank_fields=fields, return_documents=True).results
            shown = {r.index: r.document.model_dump() for r in found}
            assert [{name: shown[i][name] for name in sent} for i, sent in enumerate(documents)] == documents

    def test_what_is_wrong_is_an_error_of_its_own(self, client, cohere):
        with pytest.raises(cohere.BadRequestError, match="query is blank"):
            client().rerank(model="any", query=" ", documents=DOCUMENTS)
        with pytest.raises(cohere.BadRequestError, match="documents is empty"):
            client().rerank(model="any", query=QUERY, documents=[])
        with pytest.raises(cohere.UnauthorizedError, match="no valid API key"):
            client("wrong-key").rerank(model="any", query=QUERY, documents=DOCUMENTS)
        with pytest.raises(cohere.UnprocessableEntityError, match="top_n"):
            client().rerank(model="any", query=QUERY, documents=DOCUMENTS, top_n=-1)
        with pytest.raises(cohere.core.api_error.ApiError, match="at most 50") as too_many:
            client().rerank(model="any", query=QUERY, documents=["a"] * 51)
        assert too_many.value.status_code == 413


class TestLangChain:
    @pytest.fixture
    def compressor(self, url, cohere):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = pytest.importorskip("langchain_cohere", reason="needs the package langchain-cohere")
        return lambda key=KEY: module.CohereRerank(cohere_api_key=key, base_url=url, model="rerank-v3.5", top_n=2)

    def test_documents_are_compressed_to_the_best(self, compressor, expected):
        from langchain_core.documents import Document

        given = [Document(text, metadata={"n": i}) for i, text in enumerate(DOCUMENTS)]
        found = compressor().compress_documents(given, QUERY)
        assert [(d.metadata["n"], d.metadata["relevance_score"]) for d in found] == expected[:2]

    def test_errors_are_coheres(self, compressor, cohere):
        from langchain_core.documents import Document

        assert compressor().compress_documents([], QUERY) == []
        with pytest.raises(cohere.BadRequestError, match="query is blank"):
            compressor().compress_documents([Document("a")], " ")
        with pytest.raises(cohere.UnauthorizedError):
            compressor("wrong-key").compress_documents([Document("a")], QUERY)


class TestLlamaIndex:
    @pytest.fixture
    def nodes(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schema = pytest.importorskip("llama_index.core.schema", reason="needs the package llama-index-core")
        return lambda texts=DOCUMENTS: [
            schema.NodeWithScore(node=schema.TextNode(text=text, id_=str(i))) for i, text in enumerate(texts)
        ]

    def found(self, postprocessor, nodes, query=QUERY):
        return [(int(n.node.node_id), n.score) for n in postprocessor.postprocess_nodes(nodes, query_str=query)]

    def test_its_cohere_reranker(self, url, nodes, expected, cohere):
        rerank = pytest.importorskip("llama_index.postprocessor.cohere_rerank", reason="needs that package")
        made = lambda key=KEY: rerank.CohereRerank(api_key=key, base_url=url, top_n=2)  # noqa: E731
        assert self.found(made(), nodes()) == expected[:2]
        assert self.found(made(), []) == []
        with pytest.raises(cohere.BadRequestError, match="query is blank"):
            self.found(made(), nodes(), " ")
        with pytest.raises(cohere.UnauthorizedError):
            self.found(made("wrong-key"), nodes())

    def test_its_jina_reranker(self, url, nodes, expected):
        rerank = pytest.importorskip("llama_index.postprocessor.jinaai_rerank", reason="needs that package")
        made = lambda key=KEY: rerank.JinaRerank(api_key=key, base_url=f"{url}/v1", top_n=2)  # noqa: E731
        assert self.found(made(), nodes()) == expected[:2]
        with pytest.raises(RuntimeError, match="query is blank"):
            self.found(made(), nodes(), " ")
        with pytest.raises(RuntimeError, match="no valid API key"):
            self.found(made("wrong-key"), nodes())

    def test_its_text_embeddings_inference_reranker(self, url, nodes, expected):
        rerank = pytest.importorskip("llama_index.postprocessor.tei_rerank", reason="needs that package")
        made = lambda key=KEY: rerank.TextEmbeddingInference(base_url=url, auth_token=f"Bearer {key}", top_n=2)  # noqa: E731
        assert self.found(made(), nodes()) == expected[:2]
        # It looks at no status; it asserts that there is an answer for each node.
        with pytest.raises(AssertionError):
            self.found(made(), nodes(), " ")
        with pytest.raises(AssertionError):
            self.found(made("wrong-key"), nodes())


class TestCurl:
    @pytest.fixture
    def curl(self, url):
        if shutil.which("curl") is None:
            pytest.skip("needs curl: apt-get install curl")

        def curls(body, key=KEY):
            command = [
                "curl",
                "-sS",
                f"{url}/rerank",
                "-H",
                f"Authorization: Bearer {key}",
                "--json",
                body,
                "-w",
                "\n%{http_code}",
            ]
            told, _, status = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.rpartition(
                "\n"
            )
            return json.loads(told), int(status)

        return curls

    def test_it_gets_the_order_and_errors_with_their_status(self, curl, expected):
        told, status = curl(json.dumps({"query": QUERY, "documents": DOCUMENTS}))
        assert ([(r["index"], r["relevance_score"]) for r in told["results"]], status) == (expected, 200)
        assert curl('{"query": "", "documents": ["a"]}')[1] == 400
        assert curl('{"query": "a", "documents": []}')[1] == 400
        assert curl("{", KEY)[1] == 400
        assert curl('{"query": "a", "documents": ["a"]}', "wrong-key")[1] == 401
