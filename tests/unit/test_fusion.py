import asyncio
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker, Searcher
from late_rerank.ranking.fusion import AUTO_MOST, auto_weight, fused, fused_order, standardised
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder

QUERY = "cat mat"
TEXTS = ["a cat on a mat", "the cat sat", "dogs and cats", "nothing of the kind", "cat cat cat", "a mat"]

WORDS = st.lists(st.sampled_from(["cat", "mat", "dog", "sat", "on", "the", "hat"]), min_size=1, max_size=6).map(" ".join)
WEIGHTS = st.one_of(st.just("auto"), st.floats(0.01, 5))
# Whole numbers, so that a scale or shift parts nothing and makes nothing equal.
SCORED = st.lists(st.tuples(WORDS, st.integers(-50, 50)), min_size=1, max_size=25)


def candidates(scores, texts=TEXTS):
    return [Candidate(text, str(i), score) for i, (text, score) in enumerate(zip(texts, scores, strict=True))]


def order(ranking):
    return [document.index for document in ranking]


def ranked(scored, weight, **more):
    given_ = [Candidate(text, score=score) for text, score in scored]
    return Reranker(FakeEncoder(), codec="float32").rerank(QUERY, given_, first_stage_weight=weight, **more)


class TestOrder:
    def test_it_is_by_standard_scores_of_both(self, exact):
        scores = [1.0, 5.0, 2.0, 9.0, 0.0, 4.0]
        ranking = exact.rerank(QUERY, candidates(scores), first_stage_weight=0.7)
        maxsim = np.array([document.score for document in sorted(ranking, key=lambda document: document.index)])
        values = (maxsim - maxsim.mean()) / maxsim.std() + 0.7 * (np.array(scores) - np.mean(scores)) / np.std(scores)

        assert order(ranking) == np.argsort(-values).tolist()
        assert order(ranking) != order(exact.rerank(QUERY, candidates(scores)))

    def test_a_large_weight_gives_the_first_stage_s_order(self, exact):
        assert order(exact.rerank(QUERY, candidates([1, 2, 3, 4, 5, 6]), first_stage_weight=1e6)) == [5, 4, 3, 2, 1, 0]

    def test_scores_are_never_overwritten(self, exact):
        given_ = candidates([1.0, 5.0, 2.0, 9.0, 0.0, 4.0])
        plain = {document.index: document for document in exact.rerank(QUERY, given_)}
        for document in exact.rerank(QUERY, given_, first_stage_weight=1):
            before = plain[document.index]
            assert (document.score, document.relevance) == (before.score, before.relevance)
            assert document.candidate_score == given_[document.index].score

    def test_ranks_count_in_the_new_order(self, exact):
        ranking = exact.rerank(QUERY, candidates([1, 2, 3, 4, 5, 6]), first_stage_weight=1e6, top_k=3)

        assert [document.rank for document in ranking] == [1, 2, 3]
        assert order(ranking) == [5, 4, 3]

    def test_ties_keep_the_first_stage_s_order(self, exact):
        texts, scores = ["cat", "mat", "dog"] * 20, [2.0, 2.0, 1.0] * 20
        found = order(exact.rerank("cat mat", candidates(scores, texts), first_stage_weight=0.5))
        both = [i for i in range(60) if i % 3 < 2]

        assert found == [*both, *range(2, 60, 3)]

    def test_candidates_of_one_score_are_ranked_by_maxsim(self, exact):
        assert order(exact.rerank(QUERY, candidates([3.0] * 6), first_stage_weight=5)) == order(exact.rerank(QUERY, TEXTS))

    def test_documents_of_one_maxsim_are_ranked_by_the_first_stage(self, exact):
        given_ = candidates([1.0, 3.0, 2.0], ["a dog"] * 3)

        assert order(exact.rerank("cat", given_, first_stage_weight=0.1)) == [1, 2, 0]

    def test_blank_documents_stay_last_and_don_t_count(self, exact):
        scores = [1.0, 5.0, 2.0, 9.0, 0.0, 4.0]
        without = order(exact.rerank(QUERY, candidates(scores), first_stage_weight=0.7))
        with_ = order(
            exact.rerank(
                QUERY, [*candidates(scores), Candidate("", score=1e6), Candidate(" ", score=2e6)], first_stage_weight=0.7
            )
        )

        assert with_ == [*without, 6, 7]

    def test_what_the_store_lacks_follows_the_scored_and_doesn_t_count(self):
        reranker = Reranker(FakeEncoder(), on_missing="skip")
        reranker.index(TEXTS)
        scores = [1.0, 5.0, 2.0, 9.0, 0.0, 4.0]
        new = [Candidate("not stored", score=1e6), Candidate("not stored either", score=2e6), Candidate("", score=3e6)]
        without = order(reranker.rerank(QUERY, candidates(scores), first_stage_weight=0.7))

        ranking = reranker.rerank(QUERY, [*new, *candidates(scores)], first_stage_weight=0.7)
        assert order(ranking) == [*(i + 3 for i in without), 2, 0, 1]
        assert [document.score for document in ranking[-2:]] == [None, None]

    def test_no_scored_document_at_all(self):
        reranker = Reranker(FakeEncoder(), on_missing="skip")

        assert order(reranker.rerank("cat", candidates([1, 2, 3], ["a", "", "b"]), first_stage_weight="auto")) == [1, 0, 2]
        assert reranker.rerank("cat", [], first_stage_weight="auto") == []

    def test_min_relevance_leaves_out_by_relevance_whatever_the_rank(self, exact):
        given_ = candidates([1, 2, 3, 9, 5, 6])
        everything = exact.rerank(QUERY, given_, first_stage_weight=1e6)
        bar = sorted(document.relevance for document in everything)[3]
        ranking = exact.rerank(QUERY, given_, first_stage_weight=1e6, min_relevance=bar)

        assert order(everything)[0] == 3
        assert order(ranking) == [document.index for document in everything if document.relevance >= bar]
        assert [document.rank for document in ranking] == [1, 2, 3]
        assert order(exact.rerank(QUERY, given_, first_stage_weight=1e6, min_relevance=bar, top_k=2)) == order(ranking)[:2]


class TestLaws:
    @given(scored=SCORED)
    @settings(max_examples=30, deadline=None)
    def test_weight_0_is_the_plain_ranking(self, scored):
        plain = Reranker(FakeEncoder(), codec="float32").rerank(QUERY, [text for text, _ in scored])

        assert order(ranked(scored, 0)) == order(plain)
        assert [document.score for document in ranked(scored, 0)] == [document.score for document in plain]

    @given(scored=SCORED, weight=WEIGHTS, scale=st.sampled_from([1e-12, 0.25, 3.0, 1e200]), shift=st.integers(-100, 100))
    @settings(max_examples=60, deadline=None)
    def test_scale_and_shift_of_the_first_stage_change_nothing(self, scored, weight, scale, shift):
        moved = [(text, scale * (score + shift)) for text, score in scored]

        assert order(ranked(moved, weight)) == order(ranked(scored, weight))

    @given(scored=SCORED, weight=WEIGHTS, seed=st.randoms(use_true_random=False))
    @settings(max_examples=60, deadline=None)
    def test_the_order_given_only_parts_ties(self, scored, weight, seed):
        shuffled = list(scored)
        seed.shuffle(shuffled)
        values = [(document.score, document.candidate_score) for document in ranked(scored, weight)]
        other = [(document.score, document.candidate_score) for document in ranked(shuffled, weight)]

        np.testing.assert_allclose(_fused(other, weight), _fused(values, weight), atol=1e-4)
        assert (np.diff(_fused(values, weight)) <= 1e-5).all()

    @given(scored=SCORED, weight=st.floats(0.01, 5))
    @settings(max_examples=30, deadline=None)
    def test_a_higher_first_stage_score_never_ranks_one_of_the_same_text_lower(self, scored, weight):
        seen = {}
        for rank, document in enumerate(ranked(scored, weight)):
            assert document.candidate_score <= seen.setdefault(document.text, document.candidate_score), rank
            seen[document.text] = document.candidate_score

    @given(scored=SCORED, weight=WEIGHTS, stored=st.integers(0, 25))
    @settings(max_examples=30, deadline=None)
    def test_what_the_store_held_changes_nothing(self, scored, weight, stored):
        reranker = Reranker(FakeEncoder(), codec="float32")
        reranker.index([text for text, _ in scored[:stored]])
        given_ = [Candidate(text, score=score) for text, score in scored]

        assert order(reranker.rerank(QUERY, given_, first_stage_weight=weight)) == order(ranked(scored, weight))


def _fused(pairs, weight):
    maxsim, first = np.array(pairs, dtype=np.float64).T
    return fused(maxsim.astype(np.float32), first, weight)


class TestArithmetic:
    @given(scores=st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=50).map(np.array))
    def test_standard_scores_have_mean_0_and_deviation_1(self, scores):
        z = standardised(scores)

        assert abs(z.mean()) < 1e-6
        assert z.std() == pytest.approx(1, abs=1e-6) or not z.any()

    @pytest.mark.parametrize("scores", [[], [7.0], [0.0, 0.0], [0.1] * 3, [0.7, 0.7 + 3e-8, 0.7], [5e-324] * 2])
    def test_scores_that_are_the_same_but_for_rounding_contribute_nothing(self, scores):
        assert not standardised(np.array(scores)).any()
        assert len(standardised(np.array(scores))) == len(scores)

    def test_auto_counts_a_first_stage_that_is_sure_and_no_other(self):
        sure = standardised(np.array([30.0, 25, *np.linspace(2, 1, 60)]))
        even = standardised(np.linspace(2, 1, 62))
        reversed_ = standardised(-np.array([30.0, 25, *np.linspace(2, 1, 60)]))

        assert auto_weight(sure) == AUTO_MOST
        assert auto_weight(even) == pytest.approx(0, abs=1e-9)
        assert auto_weight(reversed_) == 0
        assert auto_weight(np.empty(0)) == 0

    def test_auto_is_a_tenth_of_the_skewness(self):
        scores = np.array([4.0, 3, 2, 1, 1, 0.5, 0.2])
        z = (scores - scores.mean()) / scores.std()

        assert 0 < auto_weight(standardised(scores)) < AUTO_MOST
        assert auto_weight(standardised(scores)) == pytest.approx((z**3).mean() / 10)

    @given(values=st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=30), weight=WEIGHTS)
    def test_fused_is_the_sum(self, values, weight):
        maxsim, first = np.array(values, dtype=np.float64).T
        assume(np.ptp(first) > 0)
        found = fused(maxsim.astype(np.float32), first, weight)
        z = standardised(first)

        np.testing.assert_allclose(
            found - standardised(maxsim), (auto_weight(z) if weight == "auto" else weight) * z, atol=1e-9
        )

    @given(scores=st.lists(st.integers(0, 1000), min_size=2, max_size=40), scale=st.floats(0.1, 10))
    def test_sums_that_rounding_alone_parts_tie(self, scores, scale):
        maxsim = np.array(scores, dtype=np.float32) / 7
        opposed = 3.0 - scale * maxsim.astype(np.float64)

        assert fused_order(maxsim, opposed, 1.0).tolist() == list(range(len(scores)))


class TestWrongInput:
    @pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), -float("inf"), np.float32("nan")])
    def test_a_weight_that_is_none(self, reranker, weight):
        with pytest.raises(ValueError, match="first_stage_weight must be 0 or more and finite"):
            reranker.rerank("cat", candidates([1] * 6), first_stage_weight=weight)
        with pytest.raises(ValueError, match="first_stage_weight"):
            Searcher(BM25Retriever(TEXTS), reranker, first_stage_weight=weight)

    @pytest.mark.parametrize("weight", [True, "0.5", "Auto", None, [0.5]])
    def test_a_weight_of_another_type(self, reranker, weight):
        with pytest.raises(TypeError, match=r'must be a number or "auto"'):
            reranker.rerank("cat", candidates([1] * 6), first_stage_weight=weight)

    @pytest.mark.parametrize("weight", [0.5, "auto"])
    def test_candidates_without_a_score(self, reranker, fake, weight):
        with pytest.raises(ValueError, match=re.escape("candidates[2] has no score")):
            reranker.rerank("cat", [*candidates([1, 2], TEXTS[:2]), "no score", "neither"], first_stage_weight=weight)
        assert fake.n_documents == 0

    @pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
    def test_candidates_whose_score_is_no_number(self, reranker, score):
        with pytest.raises(ValueError, match=re.escape("candidates[1] has the score")):
            reranker.rerank("cat", candidates([1, score], TEXTS[:2]), first_stage_weight=1)

    def test_without_a_weight_any_score_will_do(self, reranker):
        assert len(reranker.rerank("cat", [Candidate("a", score=float("nan")), "b"], first_stage_weight=0)) == 2


class TestEverywhere:
    SCORES = (1.0, 5.0, 2.0, 9.0, 0.0, 4.0)

    def test_rerank_batch_and_arerank_are_rerank(self, exact):
        given_ = candidates(self.SCORES)
        expected = order(exact.rerank(QUERY, given_, first_stage_weight=0.7))
        batch = exact.rerank_batch([QUERY, "dogs"], [given_, given_], first_stage_weight=0.7)

        assert order(batch[0]) == expected
        assert order(batch[1]) == order(exact.rerank("dogs", given_, first_stage_weight=0.7))
        assert order(asyncio.run(exact.arerank(QUERY, given_, first_stage_weight=0.7))) == expected

    def test_a_searcher_fuses_its_retriever_s_scores(self, exact):
        class Retriever:
            def retrieve(self, query, k):
                return candidates(TestEverywhere.SCORES)

        plain, fusing = Searcher(Retriever(), exact), Searcher(Retriever(), exact, first_stage_weight=1e6)
        assert order(plain.search(QUERY)) == order(exact.rerank(QUERY, TEXTS))
        assert order(fusing.search(QUERY, top_k=3)) == [3, 1, 5]
        assert [part.rank for part in fusing.context(QUERY, 1000, strategy="relevance").parts] == [1, 2, 3, 4, 5, 6]
        assert fusing.context(QUERY, 1000, strategy="relevance").parts[0].index == 3
