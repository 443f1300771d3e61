"""What users give by mistake, and what they give of other kinds: an answer, or an error that says what to give."""

import io
from collections import ChainMap, OrderedDict
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

from late_rerank import Candidate, Reranker, pack_context
from late_rerank.arguments.given import finite
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder

TEXTS = ["cats sleep", "dogs bark"]


@pytest.fixture(scope="module")
def reranker():
    with Reranker(FakeEncoder()) as made:
        yield made


class Frame:
    """What pandas and polars have in common."""

    def __init__(self, *columns):
        self.columns = list(columns)

    def __iter__(self):
        return iter(self.columns)


class Table(Frame):
    """What a table of arrow, or a Dataset, says of itself."""

    def __init__(self, *columns):
        super().__init__(*columns)
        self.column_names, self.columns = self.columns, [[], []]


WRONG_LISTS = [
    (None, "got None"),
    (5, "got int"),
    ("cats", "got one str; wrap it in a list"),
    (b"cats", "got bytes; decode it"),
    (Candidate("cats"), "got one Candidate; wrap it in a list"),
    ({"a.txt": "cats"}, r"got dict; give its texts, list\(mapping.values\(\)\), or Candidate\(text, id=key\)"),
    (MappingProxyType({}), "got mappingproxy; give its texts"),
    (Frame("source", "text"), "got Frame; give one of its columns as a list of str, that of 'text'"),
    (Frame("body"), ".*that of 'body'"),
    (Frame(), "got Frame; give one of its columns"),
    (Table("title", "text"), "got Table; give one of its columns as a list of str, that of 'text'"),
    (io.StringIO("cats\n"), "got StringIO; read it"),
]
WRONG_ITEMS = [
    (None, "got NoneType: None"),
    ({"text": "cats"}, r'got dict: .*; make a Candidate of it: Candidate\(row\["text"\]'),
    (b"cats", "got bytes: b'cats'; decode it"),
    (("cats", 0.5), "got tuple"),
    (float("nan"), "got float: nan"),
    (SimpleNamespace(as_py=str), r"got SimpleNamespace.*; give (candidates|documents).to_pylist\(\)"),
]


class TestLists:
    @pytest.mark.parametrize(("given", "told"), WRONG_LISTS)
    def test_what_is_no_list_is_refused_with_what_to_give(self, reranker, given, told):
        with pytest.raises(TypeError, match=f"candidates must be a list of str, Picture or Candidate, {told}"):
            reranker.rerank("cats", given)
        with pytest.raises(TypeError, match=f"candidates must be a list of str, Picture or Candidate, {told}"):
            reranker.rerank_batch(["cats"], [given])
        for takes in (reranker.index, BM25Retriever):
            with pytest.raises(TypeError, match=f"documents must be a list of str, Picture or Candidate, {told}"):
                takes(given)

    @pytest.mark.parametrize(("item", "told"), WRONG_ITEMS)
    def test_what_is_no_text_is_named_with_what_to_give(self, reranker, item, told):
        with pytest.raises(TypeError, match=rf"candidates\[1\] must be a str, a Picture or a Candidate, {told}"):
            reranker.rerank("cats", ["cats", item])
        with pytest.raises(TypeError, match=rf"documents\[1\] must be a str, a Picture or a Candidate, {told}"):
            reranker.index(["cats", item])

    @pytest.mark.parametrize("kind", [tuple, iter, np.array, lambda texts: np.array(texts, object), OrderedDict.fromkeys])
    def test_other_lists_of_texts_are_taken(self, reranker, kind):
        given = kind(TEXTS)
        given = given.keys() if isinstance(given, dict) else given
        assert [d.text for d in reranker.rerank("dogs", given)] == TEXTS[::-1]

    def test_frames_of_libraries_are_told_from_their_columns(self, reranker):
        pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
        frame = pandas.DataFrame({"text": TEXTS, "source": ["a", "b"]})
        assert [d.text for d in reranker.rerank("dogs", frame["text"])] == TEXTS[::-1]
        table = arrow.table({"source": ["a", "b"], "text": TEXTS})
        for wrong in (frame, table):
            with pytest.raises(TypeError, match="that of 'text' for one"):
                reranker.rerank("dogs", wrong)
        with pytest.raises(TypeError, match=r"candidates.to_pylist\(\)"):
            reranker.rerank("dogs", table["text"])

    def test_a_batch_takes_generators(self, reranker):
        rankings = reranker.rerank_batch((q for q in ("cats", "dogs")), (iter(TEXTS) for _ in range(2)))
        assert [ranking[0].text for ranking in rankings] == TEXTS

    @pytest.mark.parametrize(
        ("queries", "lists", "told"),
        [
            ("cats", [TEXTS], "queries must be a list of str, got one str; use rerank"),
            (None, [TEXTS], "queries must be a list of str, got NoneType"),
            (["cats"], None, "candidate_lists must be a list of lists of candidates, one a query, got NoneType"),
            (["cats"], {"cats": TEXTS}, "candidate_lists must be a list of lists of candidates, one a query, got dict"),
            (["cats"], TEXTS[:1], "candidates must be a list of str, Picture or Candidate, got one str"),
        ],
    )
    def test_a_batch_says_what_it_takes(self, reranker, queries, lists, told):
        with pytest.raises(TypeError, match=told):
            reranker.rerank_batch(queries, lists)


class TestScores:
    @pytest.mark.parametrize(
        "score", ["n/a", "1.5", True, np.bool_(1), 1j, [1.0], float("nan"), -np.inf, 10**400, Decimal("NaN")]
    )
    def test_with_a_weight_a_score_that_is_no_number_is_named(self, reranker, score):
        with pytest.raises(ValueError, match=r"candidates\[1\] has the score .*: first_stage_weight needs .* a finite number"):
            reranker.rerank("cats", [Candidate("a", score=1.0), Candidate("b", score=score)], first_stage_weight=1)
        assert len(reranker.rerank("cats", [Candidate("b", score=score)])) == 1

    @pytest.mark.parametrize("kind", [int, np.float32, np.int8, Decimal, Fraction])
    def test_numbers_of_any_kind_count(self, reranker, kind):
        candidates = [Candidate("cats", id="a", score=kind(1)), Candidate("cats", id="b", score=kind(2))]
        assert [d.id for d in reranker.rerank("cats", candidates, first_stage_weight=1)] == ["b", "a"]

    def test_finite_gives_floats_of_python(self):
        given = [1, np.float32(0.5), Decimal("0.25"), Fraction(1, 8), 2.0]
        assert [finite(number) for number in given] == [1, 0.5, 0.25, 0.125, 2.0]
        assert {type(finite(number)) for number in given} == {float}


def circular():
    made = {}
    made["self"] = made
    return made


class TestMetadata:
    class Odd(dict):
        __hash__ = None

    @pytest.mark.parametrize(
        "metadata",
        [
            None,
            {},
            Odd(page=1),
            MappingProxyType({"path": "a"}),
            ChainMap({"start": 1}, {"end": 2}),
            {1: 2, None: [], ("a",): {1}, b"": ...},
            {"path": ["a"], "start": "0", "end": {}},
            {"path": {}, "start": float("nan"), "end": 1e400},
            {"path": "", "start": -1, "end": True},
            {"path": "a", "start": 10**400, "end": 10**401},
            {"path": np.zeros(3), "start": np.int64(0), "end": np.float32(10)},
            {"path": "\ud83d", "start": 0, "end": 10},
            circular(),
        ],
    )
    def test_any_mapping_is_carried_along_and_none_is_an_empty_one(self, reranker, metadata):
        candidates = [Candidate(text, metadata=metadata) for text in TEXTS]
        ranking = reranker.rerank("cats", candidates)
        assert all(d.metadata is metadata if metadata is not None else d.metadata == {} for d in ranking)
        context = pack_context("cats", ranking, reranker=reranker, budget_tokens=100)
        assert {part.index for part in context.parts} <= {0, 1}

    @pytest.mark.parametrize("metadata", [["page"], "page", 5, float("nan"), ("a", 1), {"a"}, np.zeros(2)])
    def test_what_is_no_mapping_is_refused(self, metadata):
        with pytest.raises(TypeError, match=r"Candidate\.metadata must be a mapping such as a dict, or None, got "):
            Candidate("cats", metadata=metadata)


def test_an_id_of_any_type_is_carried_along(reranker):
    ids = [7, None, "7", (1, 2), 0]
    assert [d.id for d in reranker.rerank("cats", [Candidate("cats", id=name) for name in ids])] == ids
