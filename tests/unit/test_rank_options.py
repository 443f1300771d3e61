"""Every door passes the rank options that it offers: a table of doors and fields, checked against `Wanted` itself."""

import asyncio
import inspect
import json
from dataclasses import fields
from unittest.mock import patch

import pytest

from late_rerank import Candidate, Reranker, Searcher
from late_rerank.cli import options as shared_options
from late_rerank.cli.main import main, parser
from late_rerank.maxsim import DEFAULT_SCORING, MAXSIM, PROXIMITY, SCORINGS
from late_rerank.ranking.wanted import Wanted
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.wrapping import Choice, choose

FIELDS = {field.name for field in fields(Wanted)}


def shorter_first(candidate):
    return -0.1 * len(candidate.text)


VALUES = {
    "top_k": 2,
    "min_relevance": 0.25,
    "first_stage_weight": 0.5,
    "deadline_s": 30.0,
    "max_tokens": 3,
    "prior": shorter_first,
}
QUERY = "cats sleep"
DOCUMENTS = [Candidate("cats sleep all day", score=2.0), Candidate("rivers run", score=1.0), Candidate("cats eat", score=0.5)]
TEXTS = [document.text for document in DOCUMENTS]
RERANKER = Reranker(FakeEncoder())


def rerank(**options):
    RERANKER.rerank(QUERY, DOCUMENTS, **options)


def rerank_batch(**options):
    RERANKER.rerank_batch([QUERY], [DOCUMENTS], **options)


def arerank(**options):
    asyncio.run(RERANKER.arerank(QUERY, DOCUMENTS, **options))


def search(first_stage_weight=0.0, **options):
    Searcher(BM25Retriever(TEXTS), RERANKER, first_stage_weight=first_stage_weight).search(QUERY, **options)


def wrapped(**options):
    choose(RERANKER, QUERY, DOCUMENTS, Choice(**options))


def langchain(top_k, **options):
    wrapper = pytest.importorskip("langchain_late_rerank")
    documents = [wrapper.retrievers.Document(each.text, metadata={"score": each.score}) for each in DOCUMENTS]
    wrapper.LateRerankCompressor(top_n=top_k, reranker=RERANKER, **options).compress_documents(documents, QUERY)


def langchain_retriever(top_k, **options):
    wrapper = pytest.importorskip("langchain_late_rerank")
    documents = [wrapper.retrievers.Document(each.text, metadata={"score": each.score}) for each in DOCUMENTS]
    base = pytest.importorskip("langchain_core.runnables").RunnableLambda(lambda _: documents)
    wrapper.LateRerankRetriever(base_retriever=base, k=top_k, reranker=RERANKER, **options).invoke(QUERY)


def llama_index(top_k, **options):
    wrapper = pytest.importorskip("llama_index.postprocessor.late_rerank")
    schema = pytest.importorskip("llama_index.core.schema")
    nodes = [schema.NodeWithScore(node=schema.TextNode(text=each.text), score=each.score) for each in DOCUMENTS]
    wrapper.LateRerank(top_n=top_k, reranker=RERANKER, **options).postprocess_nodes(nodes, query_str=QUERY)


def haystack(**options):
    wrapper = pytest.importorskip("haystack_integrations.components.rankers.late_rerank")
    documents = [pytest.importorskip("haystack").Document(content=each.text, score=each.score) for each in DOCUMENTS]
    wrapper.LateRerankRanker(reranker=RERANKER, **options).run(QUERY, documents)


def http(path, **body):
    testclient = pytest.importorskip("starlette.testclient")
    from late_rerank.serve.app import Settings, create_app

    app = create_app(lambda: Reranker(FakeEncoder()), Settings(load_first=True))  # which it closes
    with testclient.TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.post(path, json={"query": QUERY, "documents": TEXTS, **body})
    assert answer.status_code == 200, answer.text


def http_rerank(deadline_s, max_tokens):
    http("/v1/rerank", deadline_s=deadline_s, max_tokens_per_doc=max_tokens)


def http_context(min_relevance):
    http("/context", min_relevance=min_relevance)


def mcp(method, top_k, **options):
    tools = pytest.importorskip("late_rerank.mcp.tools")

    class Model:
        async def work(self, call):
            return call(RERANKER)

    made = tools.Tools(Model(), {"folder": BM25Retriever(TEXTS)}, 100, Wanted(**options))
    arguments = {"documents": TEXTS} if method == "rerank" else {}
    asyncio.run(getattr(made, method)(query=QUERY, top_n=top_k, **arguments))


def mcp_rerank(**options):
    mcp("rerank", **options)


def mcp_search(**options):
    mcp("search", **options)


@pytest.fixture
def command(tmp_path):
    """Runs a command with options after its arguments, over a file of the documents."""

    def run(name, arguments, options):
        file = tmp_path / "documents.jsonl"
        lines = [json.dumps({"id": str(i), "text": each.text, "score": each.score}) for i, each in enumerate(DOCUMENTS)]
        file.write_text("\n".join(lines))
        words = [str(file) if each == "FILE" else each for each in arguments]
        given = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        with patch("late_rerank.reranker.as_encoder", lambda *_: FakeEncoder()):
            assert main([name, *words, *given]) in (0, None)

    return run


MOST = {"top_k", "min_relevance", "first_stage_weight"}
FOUND = MOST | {"prior"}
DOORS = {
    rerank: FIELDS,
    rerank_batch: FIELDS,
    arerank: FIELDS,
    search: FIELDS,
    wrapped: FIELDS,
    langchain: FOUND,
    langchain_retriever: FOUND,
    llama_index: FOUND,
    haystack: FOUND,
    http_rerank: {"deadline_s", "max_tokens"},
    http_context: {"min_relevance"},
    mcp_rerank: {"top_k", "min_relevance"},
    mcp_search: FOUND,
}
COMMANDS = {
    ("search", ("FILE", QUERY)): MOST,
    ("rerank", (QUERY, "FILE")): MOST,
    ("context", ("FILE", QUERY)): {"min_relevance", "first_stage_weight"},
}


_WITH_SCORING = {
    "search": ["search", ".", "q"],
    "rerank": ["rerank", "q"],
    "context": ["context", ".", "q"],
    "eval": ["eval", "."],
    "calibrate": ["calibrate", "."],
    "mcp": ["mcp"],
    "serve": ["serve"],
}


@pytest.fixture
def asked(monkeypatch):
    """What `Reranker.rank` was asked for, call by call."""
    calls = []
    rank = Reranker.rank

    def watched(self, queries, candidate_lists, wanted, **more):
        calls.append(wanted)
        return rank(self, queries, candidate_lists, wanted, **more)

    monkeypatch.setattr(Reranker, "rank", watched)
    return calls


def passed(calls, offered):
    """Which of the offered fields arrived, in any call."""
    return {name for name in offered if any(is_passed(name, getattr(wanted, name)) for wanted in calls)}


def is_passed(name, value):
    if name == "prior" and isinstance(value, tuple):  # a wrapper passes on what a prior gives for its documents
        return value == tuple(map(shorter_first, DOCUMENTS))
    # A server passes on what is left of a request's time.
    return 0 < (value or 0) <= VALUES[name] if name == "deadline_s" else value == VALUES[name]


def test_each_field_has_a_value_here_that_is_no_default():
    assert VALUES.keys() == FIELDS
    assert all(getattr(Wanted(), name) != value for name, value in VALUES.items())


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_door_passes_every_option_that_it_offers(door, asked):
    offered = DOORS[door]
    door(**{name: VALUES[name] for name in offered})

    assert passed(asked, offered) == offered


@pytest.mark.parametrize(("name", "arguments"), COMMANDS, ids=lambda given: given if isinstance(given, str) else "")
def test_a_command_passes_every_option_that_it_offers(name, arguments, command, asked, capsys):
    offered = COMMANDS[name, arguments]
    command(name, arguments, {each: VALUES[each] for each in offered})

    assert passed(asked, offered) == offered


@pytest.mark.parametrize(("name", "arguments"), COMMANDS, ids=lambda given: given if isinstance(given, str) else "")
def test_a_command_scores_as_it_is_told(name, arguments, command, monkeypatch, capsys):
    made = []
    close = Reranker.close
    monkeypatch.setattr(Reranker, "close", lambda self: made.append(self.scoring) or close(self))
    command(name, arguments, {"scoring": "maxsim"})
    command(name, arguments, {})

    assert made == [MAXSIM, PROXIMITY]


def test_the_command_line_knows_all_scorings_and_the_rerankers_default():
    assert set(shared_options.SCORINGS) == set(SCORINGS)
    assert DEFAULT_SCORING.name == shared_options.DEFAULT_SCORING
    default = inspect.signature(Reranker).parameters["scoring"].default
    typed = {name: parser().parse_args([*words]) for name, words in _WITH_SCORING.items()}
    assert {name: given.scoring for name, given in typed.items()} == dict.fromkeys(_WITH_SCORING, default)


class TestWanted:
    @pytest.mark.parametrize("name", sorted(FIELDS))
    def test_a_wrong_value_names_its_field(self, name):
        with pytest.raises(TypeError if name == "prior" else ValueError, match=f"{name} must be"):
            Wanted(**{name: -1})
        with pytest.raises(TypeError, match=f"{name} must be"):
            Wanted(**{name: "many"})

    def test_a_choice_is_one_with_a_budget(self):
        assert {field.name for field in fields(Choice)} == FIELDS | {"budget_tokens", "order", "count_tokens"}
