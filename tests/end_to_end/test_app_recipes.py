"""The recipes for apps in serve/README.md: each app of the table has its test, and what the recipes say fits the server."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from readmes.pages import ROOT, blocks
from serving import DOCUMENTS, KEY, QUERY, running

from late_rerank import Reranker
from late_rerank.serve.access import ApiKeys
from late_rerank.serve.app import create_app
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

SERVE = ROOT / "late_rerank" / "serve"
APPS = (SERVE / "README.md").read_text(encoding="utf-8").split("\n## Apps\n")[1]
COMPOSE = SERVE / "docker" / "compose.ollama.yaml"
# Onyx has no setting any more.
WITHOUT_A_TEST = {"Onyx"}


@pytest.fixture(scope="module")
def url():
    with running(create_app(lambda: Reranker(FakeEncoder()), Settings(keys=ApiKeys([KEY])))) as url:
        yield url


def apps():
    """The names in the table's first column."""
    rows = re.findall(r"^\| \[([^\]]+)\]\(#[\w-]+\)", APPS, re.MULTILINE)
    assert len(rows) > 5
    return rows


@pytest.mark.parametrize("app", apps())
def test_every_app_of_the_table_has_a_test_of_its_name(app):
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    name = re.sub(r"\W", "", app).lower()
    assert app in WITHOUT_A_TEST or re.search(rf"^class test{name}\b", tests.lower(), re.MULTILINE)


def test_every_url_of_the_recipes_is_a_path_of_the_server(url):
    paths = {urlsplit(found).path for found in re.findall(r"http://[\w.]+:8000[\w/]*", APPS)}
    assert paths == {"", "/v1", "/rerank", "/v1/rerank"}  # the server would take others too
    for path in paths:
        # Where a recipe gives a base URL, the app adds the rest.
        whole = path if path.endswith("rerank") else f"{path}/rerank"
        answer = httpx.post(
            url + whole, json={"query": QUERY, "documents": DOCUMENTS}, headers={"Authorization": f"Bearer {KEY}"}
        )
        assert answer.status_code == 200, whole


class TestFlowise:
    """Azure Rerank Retriever, 0914b4f."""

    def test_its_endpoint_is_asked_with_azures_key(self, url, expected):
        body = {
            "model": "Cohere-rerank-v4.0-fast",
            "top_n": 2,
            "max_chunks_per_doc": 10,
            "query": QUERY,
            "return_documents": False,
            "documents": DOCUMENTS,
        }
        answer = httpx.post(f"{url}/v1/rerank", json=body, headers={"api-key": KEY, "Accept": "application/json"})
        assert [(each["index"], each["relevance_score"]) for each in answer.json()["results"]] == expected[:2]


class TestN8n:
    """The node HTTP Request, with the body of the recipe."""

    def test_the_recipes_body_is_answered(self, url, expected):
        (body,) = re.findall(r"`(\{\"query\": \.\.\.[^`]*\})`", APPS)
        filled = json.loads(body.replace("...", json.dumps(QUERY), 1).replace("[...]", json.dumps(DOCUMENTS)))
        answer = httpx.post(f"{url}/v1/rerank", json=filled, headers={"Authorization": f"Bearer {KEY}"})
        assert [each["index"] for each in answer.json()["results"]] == [index for index, _ in expected]


class TestHaystack:
    """CohereRanker of cohere-haystack, 083fe15."""

    def test_its_cohere_ranker(self, url, expected):
        cohere = pytest.importorskip("cohere")
        with httpx.Client() as http:  # its own is left to the garbage collector
            client = cohere.ClientV2(api_key=KEY, base_url=url, client_name="haystack", httpx_client=http)
            answer = client.rerank(model="minilm", query=QUERY, documents=DOCUMENTS, max_tokens_per_doc=4096, top_n=2)
        assert [(each.index, each.relevance_score) for each in answer.results] == expected[:2]


class TestContinuesConfiguration:
    def test_it_is_yaml_with_the_role(self):
        yaml = pytest.importorskip("yaml")
        (text,) = (block.text for block in blocks(APPS) if block.language == "yaml" and "roles" in block.text)
        (model,) = yaml.safe_load(text)["models"]
        assert (model["provider"], model["roles"]) == ("cohere", ["rerank"])


class TestLibreChatsConfiguration:
    """LibreChat adcb532: a private address is refused unless its host and port are allowed."""

    def test_the_address_of_the_recipe_is_allowed(self):
        yaml = pytest.importorskip("yaml")
        (text,) = (block.text for block in blocks(APPS) if block.language == "yaml" and "webSearch" in block.text)
        configured = yaml.safe_load(text)["webSearch"]
        (address,) = re.findall(r"^JINA_API_URL=(\S+)$", APPS, re.MULTILINE)
        assert (configured["rerankerType"], configured["allowedAddresses"]) == ("jina", [urlsplit(address).netloc])


class TestBesideOllama:
    @pytest.fixture(scope="class")
    @classmethod
    def services(cls):
        yaml = pytest.importorskip("yaml")
        return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]

    def test_open_webui_asks_the_reranker_of_this_network(self, services):
        setting = services["open-webui"]["environment"]
        url = urlsplit(setting["RAG_EXTERNAL_RERANKER_URL"])
        assert url.hostname in services
        assert (url.port, url.path) == (8000, "/v1/rerank")
        assert setting["RAG_EXTERNAL_RERANKER_API_KEY"] == "${LATE_RERANK_API_KEYS}"

    def test_the_recipe_and_the_file_name_the_same_settings(self, services):
        (recipe,) = (block.text for block in blocks(APPS) if "RAG_RERANKING_ENGINE" in block.text)
        told = dict(line.split("=", 1) for line in recipe.splitlines())
        given = services["open-webui"]["environment"]
        assert {name: value for name, value in told.items() if "URL" not in name and "KEY" not in name}.items() <= given.items()

    def test_what_it_builds_is_there(self, services):
        build = services["late-rerank"]["build"]
        assert (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve().exists()
