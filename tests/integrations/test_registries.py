"""What registries and hubs read of us: the MCP registry, Haystack's and LangChain's pages, LlamaHub, PyPI."""

import json
import re
from pathlib import Path

import pytest

import late_rerank
from late_rerank.cli.main import parser

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / "integrations"


def front_matter(path):
    yaml = pytest.importorskip("yaml")
    _, head, page = path.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), page


def printed(page, capsys, names):
    """What the page's blocks print, and what the page says they print."""
    pieces = re.findall(r"```(python|text)\n(.*?)```", page, re.DOTALL)
    for kind, block in pieces:
        if kind == "python":
            exec(compile(block, "page", "exec"), names)
    return capsys.readouterr().out, "".join(block for kind, block in pieces if kind == "text")


@pytest.fixture
def server():
    return json.loads((REPOSITORY / "server.json").read_text(encoding="utf-8"))


class TestMCP:
    def test_it_is_within_the_registrys_bounds(self, server):
        assert re.fullmatch(
            r"https://static\.modelcontextprotocol\.io/schemas/\d{4}-\d\d-\d\d/server\.schema\.json", server["$schema"]
        )
        assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", server["name"])
        assert 1 <= len(server["description"]) <= 100
        assert 1 <= len(server["title"]) <= 100
        (package,) = server["packages"]
        known = {"registryType", "registryBaseUrl", "identifier", "version", "transport", "runtimeHint"}
        assert set(package) == known | {"runtimeArguments", "packageArguments"}
        assert (package["registryType"], package["transport"], package["runtimeHint"]) == ("pypi", {"type": "stdio"}, "uvx")
        for argument in (*package["runtimeArguments"], *package["packageArguments"]):
            assert argument["type"] in ("named", "positional")
            assert argument.keys() & {"named": {"name"}, "positional": {"value", "valueHint"}}[argument["type"]]

    def test_its_versions_are_the_packages(self, server):
        (package,) = server["packages"]
        assert server["version"] == package["version"] == late_rerank.__version__
        (argument,) = package["runtimeArguments"]
        extras, _, version = argument["value"].partition("==")
        assert version == late_rerank.__version__
        assert package["identifier"] == extras.partition("[")[0] == "late-rerank"
        for extra in extras.partition("[")[2].rstrip("]").split(","):
            assert re.search(rf"^{extra} = \[", (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)

    @pytest.mark.parametrize("readme", ["README.md", "late_rerank/mcp/README.md"])
    def test_the_readmes_name_it_as_the_registry_wants(self, server, readme):
        text = (REPOSITORY / readme).read_text(encoding="utf-8")
        assert re.findall(r"<!-- mcp-name: (\S+) -->", text) == [server["name"]]

    def test_the_command_takes_its_arguments(self, server, tmp_path):
        (package,) = server["packages"]
        given = []
        for argument in package["packageArguments"]:
            value = {"--folder": f"docs={tmp_path}", "--store": str(tmp_path / "vectors")}.get(argument.get("name"))
            given += [argument["value"]] if argument["type"] == "positional" else [argument["name"], value]
        options = parser().parse_args(given)
        assert (options.command, options.store) == ("mcp", str(tmp_path / "vectors"))

    def test_the_readmes_uvx_line_names_extras_and_command_that_exist(self):
        text = (REPOSITORY / "late_rerank" / "mcp" / "README.md").read_text(encoding="utf-8")
        line = re.search(r'^uvx --from "late-rerank\[offline,mcp\]" late-rerank (mcp .*)$', text, re.MULTILINE)
        assert parser().parse_args(line[1].split()).command == "mcp"
        (block,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
        (client,) = json.loads(block)["mcpServers"].values()
        assert client["args"][:4] == ["--from", "late-rerank[offline,mcp]", "late-rerank", "mcp"]
        assert parser().parse_args(client["args"][3:]).command == "mcp"


@pytest.mark.model
@pytest.mark.process  # Haystack asks the system for its name
def test_haystacks_page_says_what_it_must_and_its_code_runs(capsys, monkeypatch):
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    pytest.importorskip("haystack")
    page, text = front_matter(ROOT / "haystack" / "docs" / "late-rerank.md")
    assert {"layout", "name", "description", "authors", "pypi", "type", "version", "toc"} == set(page)
    assert (page["layout"], page["type"]) == ("integration", "Ranker")
    project = (ROOT / "haystack" / "pyproject.toml").read_text(encoding="utf-8")
    assert f'name = "{page["pypi"].rsplit("/", 1)[1]}"' in project
    assert f"haystack-ai>={page['version'].removeprefix('Haystack ')}" in project
    assert page["authors"][0]["name"] in project
    assert [name for name in re.findall(r"\]\(#(\w+)\)", text) if f"## {name.capitalize()}\n" not in text] == []
    shown, said = printed(text, capsys, {})
    assert shown == said != ""


@pytest.mark.model
def test_langchains_page_has_the_details_and_its_code_runs(capsys):
    wrapper = pytest.importorskip("langchain_late_rerank")
    pytest.importorskip("langchain_classic")
    page, text = front_matter(ROOT / "langchain" / "docs" / "late_rerank.mdx")
    assert page["title"].endswith(" integration")
    details = text.split("### Integration details\n")[1].split("\n## ")[0]
    classes = re.findall(r"^\| `(\w+)` \| \[langchain-late-rerank\]", details, re.MULTILINE)
    assert classes == ["LateRerankRetriever", "LateRerankCompressor"]
    assert all(hasattr(wrapper, name) for name in classes)
    expected = ["Overview", "Setup", "Instantiation", "Usage", "API reference"]
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == expected
    shown, said = printed(text, capsys, {})
    assert shown == said != ""


def test_langchains_provider_page_names_the_classes_and_the_other_page():
    pytest.importorskip("langchain_late_rerank")
    page, text = front_matter(ROOT / "langchain" / "docs" / "provider.mdx")
    assert page["title"].startswith("late-rerank")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, {})
    assert set(re.findall(r"/oss/integrations/retrievers/(\w+)", text)) == {"late_rerank"}


def test_the_hub_of_llamaindex_is_told_module_and_classes():
    text = (ROOT / "llama-index" / "pyproject.toml").read_text(encoding="utf-8")
    table = text.split("[tool.llamahub]\n")[1]
    assert "contains_example = true" in table
    assert 'import_path = "llama_index.postprocessor.late_rerank"' in table
    assert re.findall(r"^(LateRerank\w*) = ", table, re.MULTILINE) == ["LateRerank", "LateRerankRetriever"]


def test_the_package_says_whose_it_is_and_what_it_runs_on():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    authors = re.search(r"^authors = .*$", text, re.MULTILINE)[0]
    for other in ROOT.glob("*/pyproject.toml"):
        assert authors in other.read_text(encoding="utf-8")
    assert "\n[project.urls]\nHomepage = " in text
    builds = re.search(r'^build = "(.*)"$', text, re.MULTILINE)[1]
    versions = [f"3.{minor}" for minor in re.findall(r"cp3(\d+)-", builds)]
    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text) == versions
