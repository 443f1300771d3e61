"""What is written into documents, what is kept, and what nobody touches."""

import copy
import json

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_late_rerank import LateRerankCompressor
from support import BEST, QUERY, TEXTS, documents, texts

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder


def compress(found, reranker=None, **options):
    return LateRerankCompressor(reranker=reranker or Reranker(FakeEncoder()), top_n=99, **options).compress_documents(
        found, QUERY
    )


def test_the_best_document_comes_first_and_scores_fall():
    found = compress(documents())
    assert found[0].page_content == BEST
    assert len(found) == len(TEXTS)
    scores = [document.metadata["late_rerank_score"] for document in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 2.9


def test_relevance_score_is_a_python_float_between_0_and_1_and_late_rerank_score_is_maxsim():
    reranker = Reranker(FakeEncoder())
    for document, ranked in zip(compress(documents(), reranker), reranker.rerank(QUERY, TEXTS), strict=True):
        assert type(document.metadata["relevance_score"]) is float
        assert type(document.metadata["late_rerank_score"]) is float
        assert document.metadata["relevance_score"] == ranked.relevance
        assert document.metadata["late_rerank_score"] == ranked.score
        assert 0 <= document.metadata["relevance_score"] <= 1


def test_ids_and_other_metadata_are_kept():
    given = {document.id: document for document in documents()}
    for document in compress(documents()):
        original = given[document.id]
        assert document.page_content == original.page_content
        assert {key: document.metadata[key] for key in original.metadata} == original.metadata


def test_given_documents_are_never_changed():
    given = documents()
    before = copy.deepcopy(given)
    found = compress(given)
    assert given == before
    assert not {id(document) for document in found} & {id(document) for document in given}
    assert not {id(document.metadata) for document in found} & {id(document.metadata) for document in given}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"score": 4.5}, 4.5),
        ({"score": 7}, 7.0),
        ({"score": np.float32(0.5)}, 0.5),
        ({"relevance_score": 0.25, "score": 4.5}, 0.25),
        ({"relevance_score": "high", "score": 4.5}, 4.5),
        ({"score": "4.5"}, None),
        ({"score": True}, None),
        ({"score": float("nan")}, None),
        ({"score": 10**400}, None),
        ({"retrieval_score": 0.75, "relevance_score": 0.25}, 0.75),
    ],
)
def test_retrieval_score_is_the_first_stages_score_where_it_left_a_number(metadata, expected):
    (document,) = compress([Document(BEST, metadata=metadata)])
    assert document.metadata.get("retrieval_score") == expected
    assert expected is None or type(document.metadata["retrieval_score"]) is float
    assert document.metadata["relevance_score"] > 0.9


def test_a_retrieval_score_that_is_there_already_is_kept_whatever_it_is():
    (document,) = compress([Document(BEST, metadata={"retrieval_score": "bm25: 3", "score": 4.5})])
    assert document.metadata["retrieval_score"] == "bm25: 3"


def test_reranking_twice_gives_the_same_order_and_scores_and_keeps_the_first_score():
    once = compress([Document(text, metadata={"score": float(i)}) for i, text in enumerate(TEXTS)])
    again = compress(once)
    assert [dict(document.metadata) for document in again] == [dict(document.metadata) for document in once]
    assert again == once


def test_another_rerankers_score_becomes_the_retrieval_score():
    (document,) = compress([Document(BEST, metadata={"relevance_score": 0.125})])
    assert document.metadata["retrieval_score"] == 0.125
    assert document.metadata["relevance_score"] > 0.9


def test_equal_scores_keep_the_base_order():
    found = compress([Document(BEST, id=str(i)) for i in range(40)])
    assert [document.id for document in found] == [str(i) for i in range(40)]


def test_a_document_found_twice_takes_one_place():
    for name in ("same", None):
        found = [Document(text, id=name and name + text, metadata={"of": ["a"]}) for text in TEXTS]
        again = [Document(text, id=name and name + text, metadata={"of": ["a"], "score": 0.5}) for text in TEXTS[::-1]]
        assert sorted(texts(compress([*found, *again, *found]))) == sorted(TEXTS)
        three = LateRerankCompressor(top_n=3, reranker=Reranker(FakeEncoder()))
        assert texts(three.compress_documents([*found, *again], QUERY)) == texts(three.compress_documents(found, QUERY))
        assert next(each["index"] for each in three.rerank([*found, *again], QUERY)) == 3


def test_documents_of_one_text_and_different_ids_or_metadata_each_get_a_result():
    found = compress([Document(BEST, id="a"), Document(BEST, id="b"), Document(BEST, metadata={"page": 2})])
    assert [document.id for document in found] == ["a", "b", None]
    assert len({id(document.metadata) for document in found}) == 3


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "n/a", True, None, 10**400, [1]])
def test_a_score_that_is_no_number_is_no_retrieval_score(score):
    (document,) = compress([Document(BEST, metadata={"score": score})])
    assert "retrieval_score" not in document.metadata
    assert document.metadata["score"] is score


def test_blank_documents_come_last_with_relevance_0():
    found = compress([Document(""), Document(" \n"), Document(BEST)])
    assert texts(found) == [BEST, "", " \n"]
    assert [document.metadata["relevance_score"] for document in found[1:]] == [0.0, 0.0]
    assert ["late_rerank_score" in document.metadata for document in found] == [True, False, False]
    again = compress([Document("", metadata={"late_rerank_score": 9.0})])
    assert again[0].metadata == {"relevance_score": 0.0}


def test_an_unscored_document_has_relevance_0_and_no_late_rerank_score():
    reranker = Reranker(FakeEncoder(), on_missing="skip")
    reranker.index([BEST])
    stale = Document("Not in the store.", metadata={"late_rerank_score": 9.0, "retrieval_score": 1.0})
    found = compress([stale, Document(BEST)], reranker)
    assert texts(found) == [BEST, "Not in the store."]
    assert found[1].metadata == {"retrieval_score": 1.0, "relevance_score": 0.0}
    assert stale.metadata["late_rerank_score"] == 9.0


def test_ids_that_are_no_text_are_kept():
    coerced = Document(BEST, id=7)  # LangChain makes it "7"
    odd = Document.model_construct(page_content="Rivers run.", id=("a", 1), metadata={})
    assert [document.id for document in compress([odd, coerced])] == ["7", ("a", 1)]


def test_documents_of_a_subclass_stay_of_it():
    class Page(Document):
        number: int = 0

    (found,) = compress([Page(BEST, id="p", number=12)])
    assert type(found) is Page
    assert (found.number, found.id) == (12, "p")


LONG = "The harbour is old. " * 60 + f"{BEST} " + "The sea is calm today. " * 60


def by_passage(found, **options):
    return compress(found, Reranker(FakeEncoder(), scoring="proximity"), **options)


def test_the_best_span_of_a_long_document_counts_the_contents_characters():
    given = [Document(LONG, id="long", metadata={"title": "About harbours"}), Document(TEXTS[0])]
    for text in (None, ["title"], lambda document: f"{document.metadata.get('title')}: {document.page_content}"):
        long, short = by_passage(given, text=text)
        start, end = long.metadata["best_span"]
        assert BEST in LONG[start:end]
        assert end - start < len(LONG) / 2
        assert long.page_content == LONG
        assert json.loads(json.dumps(long.metadata))["best_span"] == [start, end]
        assert short.metadata["best_span"] == [0, len(TEXTS[0])]


def test_maxsim_tells_no_best_span_and_takes_no_old_one_for_its_own():
    stale = Document(LONG, metadata={"best_span": [1, 2]})
    (found,) = compress([stale], reranker=Reranker(FakeEncoder(), scoring="maxsim"))
    assert set(found.metadata) == {"relevance_score", "late_rerank_score"}
    assert stale.metadata == {"best_span": [1, 2]}
    (again,) = by_passage([stale])
    assert BEST in LONG[slice(*again.metadata["best_span"])]
    (blank,) = by_passage([Document("", metadata={"best_span": [1, 2]})])
    assert blank.metadata == {"relevance_score": 0.0}


def test_a_passage_that_is_not_in_the_content_has_no_best_span():
    def summary(document):
        return document.metadata["summary"]

    (found,) = by_passage([Document("Rivers run.", metadata={"summary": BEST})], text=summary)
    assert found.metadata["late_rerank_score"] > 2.9
    assert "best_span" not in found.metadata


def test_the_best_span_of_a_document_that_a_budget_cut_counts_what_is_left():
    (found,) = by_passage([Document(LONG)], budget_tokens=60)
    assert len(found.page_content) < 500
    assert BEST in found.page_content[slice(*found.metadata["best_span"])]
    (bare,) = by_passage([found.model_copy(update={"page_content": LONG})], budget_tokens=60, keep_scores=False)
    assert bare.page_content == found.page_content
    assert "best_span" not in bare.metadata


def test_without_scores_no_best_span_is_written():
    given = [Document(LONG, metadata={"n": 1})]
    assert by_passage(given, keep_scores=False) == given
