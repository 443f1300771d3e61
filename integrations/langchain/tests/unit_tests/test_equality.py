"""Two copies of one document are equal, whatever queries they were ranked for."""

import copy
import json
import pickle

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumps, loads
from langchain_late_rerank import LateRerankCompressor
from support import BEST, QUERY, documents

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder


def ranked(query, found=None, **options):
    found = documents() if found is None else found
    compressor = LateRerankCompressor(reranker=Reranker(FakeEncoder()), top_n=99, **options)
    return sorted(compressor.compress_documents(found, query), key=lambda document: document.metadata.get("n", 0))


def test_one_document_ranked_for_two_queries_is_equal_to_itself():
    first, second = ranked(QUERY), ranked("rivers and bread")
    assert first == second
    assert (first[0] != second[0]) is False
    assert (first[0].metadata != second[0].metadata) is False
    assert [document.metadata["relevance_score"] for document in first] != [
        document.metadata["relevance_score"] for document in second
    ]
    assert first[0] != first[1]
    assert first[0].metadata != second[1].metadata


def test_one_document_with_two_best_spans_is_equal_to_itself():
    long = Document(f"{BEST} " * 60 + "Rivers and bread. " * 90, metadata={"n": 0})
    by_passage = LateRerankCompressor(reranker=Reranker(FakeEncoder(), scoring="proximity"))
    first, second = (by_passage.compress_documents([long], query)[0] for query in (QUERY, "rivers and bread"))
    assert first.metadata["best_span"] != second.metadata["best_span"]
    assert first == second


@pytest.mark.parametrize("change", [{"page_content": "Other."}, {"id": "other"}, {"metadata": {"n": 99}}])
def test_any_other_difference_counts(change):
    (document,) = ranked(QUERY, documents()[:1])
    (other,) = ranked(QUERY, [documents()[0].model_copy(update=change)])
    assert document != other


def test_with_any_other_dict_all_entries_are_compared():
    (found,) = ranked(QUERY, [Document(BEST, metadata={"n": 1})])
    said = dict(found.metadata)
    assert found.metadata == said
    assert said == found.metadata
    assert found.metadata != {**said, "relevance_score": 0.0}
    assert found.metadata != {"n": 1}
    assert found != Document(BEST, metadata={"n": 1})
    with pytest.raises(TypeError, match="unhashable"):
        hash(found.metadata)


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_metadata_are_a_dict_for_whoever_stores_them():
    (found,) = ranked(QUERY, documents()[:1])
    assert isinstance(found.metadata, dict)
    assert json.loads(json.dumps(found.metadata)) == found.metadata
    assert type(found.model_dump()["metadata"]) is dict
    assert loads(dumps(found), allowed_objects=[Document]) == found
    assert [type(again.metadata) for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found))] == [dict] * 2
    assert repr(found.metadata).startswith("{'n': 0")


def test_without_scores_documents_stay_as_they_came():
    given = documents()
    given[0].metadata["score"] = 0.5
    found = ranked(QUERY, given, keep_scores=False)
    assert found == given
    again = ranked("rivers", given, keep_scores=False)
    assert {dumps(document) for document in found} == {dumps(document) for document in again}
    assert all(document.metadata is not old.metadata for document, old in zip(found, given, strict=True))
