"""Voyage's SDK, rerankers and LiteLLM, unchanged: only the base URL is ours."""

import gc
import warnings

import pytest
from serving import DOCUMENTS, KEY, QUERY, running

from late_rerank import Reranker
from late_rerank.serve.access import ApiKeys
from late_rerank.serve.app import create_app
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

# Clients that leave their connections to the garbage collector, and warn of what they use.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def no_connections_left():
    yield
    gc.collect()  # here they are let be; at the end of all tests they would count


@pytest.fixture(scope="module")
def url():
    with running(create_app(lambda: Reranker(FakeEncoder()), Settings(keys=ApiKeys([KEY])))) as url:
        yield url


def imported(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"needs the package {name}: pip install {name}")


@pytest.mark.process  # it asks `uname` what machine this is
class TestVoyage:
    """The official SDK."""

    @pytest.mark.parametrize("base", ["", "/v1", "/v1/"])
    def test_documents_come_in_order_with_their_scores(self, url, expected, base):
        client = imported("voyageai").Client(api_key=KEY, base_url=url + base)
        found = client.rerank(QUERY, DOCUMENTS, model="rerank-2", top_k=2)
        assert [(r.index, r.relevance_score, r.document) for r in found.results] == [
            (i, s, DOCUMENTS[i]) for i, s in expected[:2]
        ]
        assert found.total_tokens > 0


@pytest.mark.slow("rerankers imports torch, 28 s")
class TestRerankers:
    """AnswerDotAI's library, all of its providers over HTTP."""

    @pytest.mark.parametrize(
        ("provider", "path"),
        [
            ("cohere", "/v1/rerank"),
            ("jina", "/v1/rerank"),
            ("voyage", "/v1/rerank"),
            ("pinecone", "/rerank"),
            ("mixedbread.ai", "/v1/reranking"),
            ("text-embeddings-inference", "/rerank"),
        ],
    )
    def test_each_provider(self, url, expected, provider, path):
        rerankers = imported("rerankers")
        ranker = rerankers.Reranker("m", model_type="APIRanker", api_provider=provider, api_key=KEY, verbose=0, url=url + path)
        found = ranker.rank(QUERY, DOCUMENTS)
        assert [(r.document.doc_id, r.score) for r in found.results] == expected


@pytest.mark.slow("LiteLLM is imported, 8 s")
class TestLiteLLM:
    """LiteLLM's SDK, with each of its providers that takes a base URL. `api_base` may end in /v1."""

    @pytest.fixture(scope="class")
    @classmethod
    def litellm(cls):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it is downloaded
            module = imported("litellm")
        module.suppress_debug_info = True
        return module

    @pytest.fixture
    def ranked(self, litellm, url):
        def ranked(provider, base, **more):
            asked = {"api_base": url + base, "api_key": KEY, "query": QUERY, "documents": DOCUMENTS, **more}
            return litellm.rerank(model=f"{provider}/m", **asked).results

        return ranked

    @pytest.mark.parametrize("base", ["", "/v1"])
    @pytest.mark.parametrize(
        "provider",
        [
            "cohere",
            "jina_ai",
            "hosted_vllm",
            "together_ai",
            "azure_ai",
            "litellm_proxy",
            "huggingface",
            "voyage",
            "fireworks_ai",
            "dashscope",
        ],
    )
    def test_documents_come_back_in_order(self, ranked, expected, provider, base):
        found = ranked(provider, base)
        assert [(r["index"], r["relevance_score"], r["document"]["text"]) for r in found] == [
            (i, s, DOCUMENTS[i]) for i, s in expected
        ]

    @pytest.mark.parametrize("provider", ["cohere", "hosted_vllm", "voyage", "fireworks_ai", "scaleway", "infinity"])
    def test_the_best_without_documents(self, ranked, expected, provider):
        found = ranked(provider, "", top_n=2, return_documents=False)
        assert [(r["index"], r["relevance_score"]) for r in found] == expected[:2]

    @pytest.mark.parametrize("base", ["/infinity", "/infinity/v1"])
    def test_infinity_on_a_path_of_its_own(self, ranked, expected, base):
        found = ranked("infinity", base)
        assert [(r["index"], r["relevance_score"], r["document"]["text"]) for r in found] == [
            (i, s, DOCUMENTS[i]) for i, s in expected
        ]

    def test_infinity_elsewhere_can_not_be_told_from_cohere(self, ranked, litellm):
        with pytest.raises(litellm.APIConnectionError, match="valid string"):
            ranked("infinity", "")

    @pytest.mark.parametrize("base", ["", "/v1"])
    def test_nvidia_gives_logits(self, ranked, expected, base):
        found = ranked("nvidia_nim", base, top_n=2)
        assert [r["index"] for r in found] == [i for i, _ in expected[:2]]

    @pytest.mark.parametrize("base", ["", "/v1"])
    def test_deepinfra_gives_scores_in_the_documents_order(self, ranked, expected, base):
        assert [(r["index"], r["relevance_score"]) for r in ranked("deepinfra", base)] == sorted(expected)

    def test_errors_are_its_own(self, litellm, url, ranked):
        with pytest.raises(litellm.BadRequestError, match="query is blank"):
            ranked("cohere", "", query=" ")
        with pytest.raises(litellm.AuthenticationError):
            litellm.rerank(model="cohere/m", api_base=url, api_key="wrong-key", query=QUERY, documents=DOCUMENTS)
