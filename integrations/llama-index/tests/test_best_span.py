"""The best passage of a node, as its metadata say it: in characters of the node's content, and hidden from models."""

import json

import pytest
from helpers import BEST, QUERY, TEXTS
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode
from llama_index.postprocessor.late_rerank import LateRerank, LateRerankRetriever

NEEDLE = TEXTS[BEST[0]]
LONG = "The harbour is old. " * 60 + f"{NEEDLE}. " + "The sea is calm today. " * 60
READ = (MetadataMode.EMBED, MetadataMode.LLM)


@pytest.fixture
def by_passage(encoder):
    return LateRerank(model=encoder, scoring="proximity")


def node(text=LONG, **metadata):
    return NodeWithScore(node=TextNode(text=text, id_="n", metadata={"title": "About harbours", **metadata}), score=0.5)


def ranked(rerank, given, query=QUERY):
    (found,) = rerank.postprocess_nodes([given], query_str=query)
    return found.node


@pytest.mark.parametrize("mode", ["embed", "none", "all"])
@pytest.mark.parametrize("text", [LONG, f"\n {LONG}\n"])
def test_it_counts_the_contents_characters_whatever_metadata_are_ranked(encoder, mode, text):
    found = ranked(LateRerank(model=encoder, scoring="proximity", metadata_mode=mode), node(text))
    start, end = found.metadata["best_span"]

    assert NEEDLE in found.text[start:end]
    assert end - start < len(LONG) / 2
    assert found.text == text
    assert json.loads(found.to_json())["metadata"]["best_span"] == [start, end]


def test_a_retriever_tells_it_too_and_takes_the_scoring(encoder):
    index = VectorStoreIndex([node().node])
    retriever = LateRerankRetriever(index.as_retriever(), model=encoder, scoring="proximity")
    (found,) = retriever.retrieve(QUERY)

    assert NEEDLE in found.node.text[slice(*found.node.metadata["best_span"])]


def test_it_is_hidden_from_models_and_the_given_node_stays_as_it_was(by_passage):
    given = node()
    before = given.model_copy(deep=True)
    found = ranked(by_passage, given)

    assert [found.get_content(mode) for mode in READ] == [given.node.get_content(mode) for mode in READ]
    assert found.excluded_embed_metadata_keys == found.excluded_llm_metadata_keys == ["best_span"]
    assert given == before


def test_ranking_twice_encodes_once_and_the_last_query_counts(encoder):
    by_passage = LateRerank(model=encoder, scoring="proximity", metadata_mode="all")
    once = ranked(by_passage, node())
    twice = ranked(by_passage, NodeWithScore(node=once), "the calm sea")

    assert encoder.n_documents == 1
    assert "sea is calm" in twice.text[slice(*twice.metadata["best_span"])]
    assert twice.metadata["best_span"] != once.metadata["best_span"]


def test_a_node_that_is_one_passage_tells_none(by_passage):
    for text in (NEEDLE, f"{NEEDLE} " * 20):
        assert ranked(by_passage, node(text)).metadata == {"title": "About harbours"}


def test_maxsim_tells_none_and_takes_no_old_one_for_its_own(encoder):
    given, rerank = node(best_span=[1, 2]), LateRerank(model=encoder, scoring="maxsim")

    assert ranked(rerank, given).metadata == {"title": "About harbours"}
    assert given.node.metadata["best_span"] == [1, 2]
    assert ranked(rerank, node()).metadata == {"title": "About harbours"}


def test_a_passage_outside_the_content_is_not_told(by_passage):
    found = ranked(by_passage, node("The sea is calm today. " * 60, summary=LONG, best_span=[1, 2]))

    assert "best_span" not in found.metadata


def test_of_a_node_that_a_budget_cut_it_counts_what_is_left(encoder):
    found = ranked(LateRerank(model=encoder, scoring="proximity", budget_tokens=60), node())

    assert len(found.text) < 500
    assert NEEDLE in found.text[slice(*found.metadata["best_span"])]
    assert "harbours" not in found.text
