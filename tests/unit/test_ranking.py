"""A Ranking: a list that carries what it cost and its query's vectors, and shows itself briefly."""

import copy
import pickle

import numpy as np
import pytest

from late_rerank import Candidate, Ranking, Reranker
from late_rerank.ranking.wanted import Wanted
from late_rerank.testing.fakes import FakeEncoder

TEXTS = ["cats sleep all day", "rivers run", "cats eat fish", "a cat", "planes fly"]


class Counting(FakeEncoder):
    """Counts the queries that it encodes."""

    def encode_query(self, texts):
        self.queries = [*getattr(self, "queries", ()), *texts]
        return super().encode_query(texts)


@pytest.fixture
def counting():
    return Reranker(Counting())


@pytest.fixture
def ranking():
    return Reranker(FakeEncoder()).rerank("cats", TEXTS)


class TestSlices:
    def test_a_slice_is_a_ranking_with_timings_and_hits(self, ranking):
        best = ranking[:2]
        assert isinstance(best, Ranking)
        assert list(best) == list(ranking)[:2]
        assert vars(best) == vars(ranking)

    def test_its_timings_are_its_own(self, ranking):
        ranking[:2].timings_ms["total"] = -1
        assert ranking.timings_ms["total"] >= 0

    def test_one_item_is_a_document(self, ranking):
        assert ranking[0] is next(iter(ranking))
        assert ranking[-1].rank == len(TEXTS)

    def test_other_documents_may_take_the_place_of_its_own(self, ranking):
        other = ranking.with_documents([ranking[1]])
        assert (len(other), other.n_misses, other.query_vectors) == (1, 5, ranking.query_vectors)


class TestQueryVectors:
    def test_they_are_those_of_its_query(self, counting):
        first, second = counting.rerank_batch(["cats", "a river"], [TEXTS, TEXTS])
        for ranking, query in ((first, "cats"), (second, "a river")):
            expected = counting.encoder.encode_query([query])
            np.testing.assert_array_equal(ranking.query_vectors.vectors.values, expected.values)
            assert (ranking.query_vectors.query, ranking.query_vectors.fingerprint) == (query, counting.encoder.fingerprint)

    def test_what_comes_with_a_ranking_is_not_encoded_again(self, counting):
        first, second = counting.rerank_batch(["cats", "a river"], [TEXTS, TEXTS])
        again = counting.rank(
            ["a river", "cats", "planes"],
            [TEXTS] * 3,
            Wanted(),
            query_vectors=[second.query_vectors, first.query_vectors, None],
        )
        assert counting.encoder.queries == ["cats", "a river", "planes"]
        assert [list(ranking) for ranking in again[:2]] == [list(second), list(first)]

    def test_a_ranking_of_another_query_or_model_does_not_count(self, counting):
        other = Reranker(Counting(dim=16)).rerank("cats", TEXTS)
        mine = counting.rerank("cats", TEXTS)
        assert counting.query_vectors("cats", mine) is mine.query_vectors
        assert counting.query_vectors("dogs", mine).query == "dogs"
        assert counting.query_vectors("cats", other).vectors.dim == counting.encoder.dim
        assert counting.query_vectors("cats", list(mine)).query == "cats"
        assert counting.encoder.queries == ["cats", "dogs", "cats", "cats"]

    def test_matches_of_a_query_take_them(self, counting):
        ranking = counting.rerank("cats sleep", TEXTS)
        maxima = counting.token_maxima("cats sleep", TEXTS, query_vectors=ranking.query_vectors)
        assert counting.encoder.queries == ["cats sleep"]
        np.testing.assert_array_equal(maxima, counting.token_maxima("cats sleep", TEXTS))

    def test_they_are_left_out_of_pickles_and_of_equality(self, ranking):
        plain = Reranker(FakeEncoder()).rerank("cats", TEXTS)
        found = pickle.loads(pickle.dumps(ranking))
        assert found == ranking == plain
        assert (found.query_vectors, found.n_misses, found.timings_ms) == (None, 5, ranking.timings_ms)
        assert ranking.query_vectors is not None
        assert copy.deepcopy(ranking) == ranking

    def test_no_candidates_need_none(self, counting):
        assert counting.rerank("cats", []).query_vectors is None


class TestShown:
    def test_a_document_shows_the_beginning_of_a_long_text(self):
        (document,) = Reranker(FakeEncoder()).rerank("cats", [Candidate("cats " * 20_000, id="a")])
        assert len(repr(document)) < 200
        assert "rank=1" in repr(document)
        assert "id='a'" in repr(document)

    def test_a_ranking_shows_its_best_documents_and_how_many_more_there_are(self, ranking):
        assert repr(ranking).count("RankedDocument(") == 3
        assert repr(ranking).endswith(", ... 2 more])")
        assert repr(Ranking()) == "Ranking([])"

    def test_a_notebook_shows_a_table_without_markup_of_documents(self):
        found = Reranker(FakeEncoder()).rerank("cats", [Candidate(f"<b>cats</b> {i}", id="<i>") for i in range(30)])
        html = found._repr_html_()
        assert html.count("<tr>") == 21
        assert "<b>" not in html
        assert "<i>" not in html
        assert "&lt;b&gt;cats" in html
        assert "20 of 30 documents, 0 hits, 30 misses" in html
