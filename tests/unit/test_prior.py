"""Numbers that users add to the order: `prior=` of a rerank."""

import asyncio
import json
import pickle
import re
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, FusedReranker, Reranker, Searcher, explain
from late_rerank.ranking import from_metadata, recency, sum_of
from late_rerank.ranking.wanted import Wanted
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder
from late_rerank.types import RankedBy, RankedDocument, Ranking
from late_rerank.wrapping import Choice, choose, read_prior, written_prior

QUERY = "cat mat"
TEXTS = ["a cat on a mat", "the cat sat", "dogs and cats", "nothing of the kind", "cat cat cat", "a mat"]
PRIOR = [0.0, -1.0, 3.0, 0.5, 9.0, 0.25]

WORDS = st.lists(st.sampled_from(["cat", "mat", "dog", "sat", "on", "the", "hat"]), min_size=1, max_size=6).map(" ".join)
# Quarters, which floats add up exactly.
NUMBERS = st.integers(-40, 40).map(lambda number: number / 4)
GIVEN = st.lists(st.tuples(WORDS, NUMBERS), min_size=1, max_size=25)
METHODS = ("maxsim", "zscore", "rrf")


def order(ranking):
    return [document.index for document in ranking]


def by_index(ranking):
    return sorted(ranking, key=lambda document: document.index)


def ranker(method="maxsim"):
    if method == "maxsim":
        return Reranker(FakeEncoder(), codec="float32")
    encoders = FakeEncoder(), FakeEncoder(dim=32)
    return FusedReranker([Reranker(encoder, codec="float32") for encoder in encoders], method=method)


def z(values):
    values = np.array(values, dtype=np.float64)
    return (values - values.mean()) / values.std()


class TestOrder:
    @pytest.mark.parametrize("method", METHODS)
    def test_it_is_by_the_standard_score_and_the_prior(self, method):
        ranking = ranker(method).rerank(QUERY, TEXTS, prior=PRIOR)
        sums = z([document.score for document in by_index(ranking)]) + PRIOR

        assert order(ranking) == np.argsort(-sums).tolist()
        assert order(ranking) != order(ranker(method).rerank(QUERY, TEXTS))

    def test_the_first_stage_counts_beside_it(self, exact):
        scores = [1.0, 5.0, 2.0, 9.0, 0.0, 4.0]
        candidates = [Candidate(text, score=score) for text, score in zip(TEXTS, scores, strict=True)]
        ranking = exact.rerank(QUERY, candidates, first_stage_weight=0.7, prior=PRIOR)
        sums = z([document.score for document in by_index(ranking)]) + 0.7 * z(scores) + PRIOR

        assert order(ranking) == np.argsort(-sums).tolist()

    @pytest.mark.parametrize("method", METHODS)
    def test_score_and_relevance_stay_and_min_relevance_knows_no_prior(self, method):
        plain, ranking = (ranker(method).rerank(QUERY, TEXTS, **more) for more in ({}, {"prior": PRIOR}))
        assert [(each.score, each.relevance) for each in by_index(ranking)] == [
            (each.score, each.relevance) for each in by_index(plain)
        ]
        bar = sorted(document.relevance for document in plain)[3]
        left = ranker(method).rerank(QUERY, TEXTS, prior=PRIOR, min_relevance=bar)
        assert order(left) == [document.index for document in ranking if document.relevance >= bar]

    @pytest.mark.parametrize("method", METHODS)
    def test_blank_and_unscored_documents_stay_last_and_do_not_count(self, method):
        reranker = ranker(method)
        for each in getattr(reranker, "rerankers", (reranker,)):
            each.on_missing = "skip"
            each.index(TEXTS)
        without = order(reranker.rerank(QUERY, TEXTS, prior=PRIOR))
        more = ["", "not stored", " "]
        ranking = reranker.rerank(QUERY, [*more, *TEXTS], prior=[1e6, 1e7, 1e5, *PRIOR])

        assert order(ranking) == [*(i + 3 for i in without), 0, 2, 1]
        assert [document.prior for document in ranking[-3:]] == [1e6, 1e5, 1e7]
        assert [document.ranked_by for document in ranking[-3:]] == [None] * 3

    @pytest.mark.parametrize("text", ["a cat", "a dog", ""])
    def test_of_one_candidate_and_of_equal_ones_the_prior_alone_decides(self, exact, text):
        assert order(exact.rerank("cat", [text], prior=[5.0])) == [0]
        found = order(exact.rerank("cat", [text] * 3, prior=[0.1, 0.3, 0.2]))
        assert found == ([1, 2, 0] if text else [0, 1, 2])

    def test_equal_sums_keep_the_given_order(self, exact):
        assert order(exact.rerank("cat", ["cat", "dog", "dog"] * 10, prior=[0.0, 0.5, 0.5] * 10)) == [
            *range(0, 30, 3),
            *(i for i in range(30) if i % 3),
        ]

    def test_there_may_be_no_candidates(self, exact):
        assert exact.rerank("cat", [], prior=[]) == []
        assert exact.rerank("cat", [], prior=len) == []


class TestLaws:
    @given(documents=GIVEN, constant=st.one_of(st.just(0.0), st.floats(-1e300, 1e300)), method=st.sampled_from(METHODS))
    @settings(max_examples=40, deadline=None)
    def test_one_prior_for_all_changes_nothing(self, documents, constant, method):
        texts = [text for text, _ in documents]
        plain = ranker(method).rerank(QUERY, texts)
        ranking = ranker(method).rerank(QUERY, texts, prior=[constant] * len(texts))

        assert [(each.index, each.score, each.relevance, each.rank) for each in ranking] == [
            (each.index, each.score, each.relevance, each.rank) for each in plain
        ]

    @given(documents=GIVEN, constant=st.integers(-1000, 1000), method=st.sampled_from(METHODS))
    @settings(max_examples=40, deadline=None)
    def test_only_differences_count(self, documents, constant, method):
        texts, prior = zip(*documents, strict=True)
        shifted = [value + constant for value in prior]

        assert order(ranker(method).rerank(QUERY, texts, prior=shifted)) == order(
            ranker(method).rerank(QUERY, texts, prior=prior)
        )

    @given(documents=GIVEN, method=st.sampled_from(METHODS))
    @settings(max_examples=40, deadline=None)
    def test_a_prior_larger_than_all_scores_decides(self, documents, method):
        texts, prior = zip(*documents, strict=True)
        ranking = ranker(method).rerank(QUERY, texts, prior=[1e4 * value for value in prior])

        assert all(left.prior >= right.prior for left, right in pairwise(ranking))

    @given(documents=GIVEN, method=st.sampled_from(METHODS), seed=st.randoms(use_true_random=False))
    @settings(max_examples=40, deadline=None)
    def test_candidates_with_their_priors_may_come_in_any_order(self, documents, method, seed):
        shuffled = list(documents)
        seed.shuffle(shuffled)
        totals = []
        for each in (documents, shuffled):
            texts, prior = zip(*each, strict=True)
            ranking = ranker(method).rerank(QUERY, texts, prior=prior)
            totals.append([document.ranked_by.total for document in ranking])

        np.testing.assert_allclose(totals[0], totals[1], atol=1e-4)
        assert (np.diff(totals[0]) <= 1e-5).all()

    @given(documents=GIVEN, stored=st.integers(0, 25))
    @settings(max_examples=30, deadline=None)
    def test_what_the_store_held_changes_nothing(self, documents, stored):
        texts, prior = zip(*documents, strict=True)
        reranker = ranker()
        reranker.index(texts[:stored])

        assert order(reranker.rerank(QUERY, texts, prior=prior)) == order(ranker().rerank(QUERY, texts, prior=prior))

    @given(documents=GIVEN)
    @settings(max_examples=30, deadline=None)
    def test_of_one_text_the_higher_prior_comes_first(self, documents):
        texts, prior = zip(*documents, strict=True)
        seen = {}
        for document in ranker().rerank(QUERY, texts, prior=prior):
            assert document.prior <= seen.setdefault(document.text, document.prior)
            seen[document.text] = document.prior

    @pytest.mark.parametrize("prior", [[1e308, -1e308], [-1e15, 0.0], [1e-300, 0.0]])
    def test_huge_and_tiny_priors_do_no_harm(self, exact, prior):
        ranking = exact.rerank(QUERY, TEXTS, prior=[*prior, *[prior[1]] * 4])
        assert sorted(order(ranking)) == list(range(6))


class TestGiven:
    @pytest.mark.parametrize(
        "make",
        [
            tuple,
            np.array,
            lambda numbers: np.array(numbers, dtype=np.float32),
            lambda numbers: (number for number in numbers),
            lambda numbers: [np.float64(number) for number in numbers],
            lambda numbers: [np.array(number) for number in numbers],
            lambda numbers: pytest.importorskip("pandas").Series(numbers, index=list("fedcba")),
            lambda numbers: pytest.importorskip("torch").tensor(numbers),
            lambda numbers: lambda candidate: numbers[TEXTS.index(candidate.text)],
            lambda numbers: lambda candidate: np.float32(numbers[TEXTS.index(candidate.text)]),
            lambda numbers: lambda candidate: pytest.importorskip("torch").tensor(numbers[TEXTS.index(candidate.text)]),
        ],
    )
    def test_numbers_of_any_library_and_functions_are_taken(self, exact, make):
        ranking = exact.rerank(QUERY, TEXTS, prior=make(PRIOR))
        assert [document.prior for document in by_index(ranking)] == PRIOR
        assert {type(document.prior) for document in ranking} == {float}
        assert order(ranking) == order(exact.rerank(QUERY, TEXTS, prior=PRIOR))

    def test_whole_numbers_are_taken(self, exact):
        for prior in ([3, 1, 2, 0, 0, 0], np.array([3, 1, 2, 0, 0, 0])):
            assert [document.prior for document in by_index(exact.rerank(QUERY, TEXTS, prior=prior))] == [3, 1, 2, 0, 0, 0]

    def test_a_function_sees_candidates_also_of_a_generator_of_texts(self, exact):
        seen = []
        given_ = [Candidate("a cat", "x", 2.0, {"source": "wiki"}), "a dog"]
        exact.rerank("cat", (each for each in given_), prior=lambda candidate: seen.append(candidate) or 0.0)
        assert seen == [given_[0], Candidate("a dog")]
        assert seen[0] is given_[0]

    def test_inputs_are_not_changed(self, exact):
        prior = np.array(PRIOR)
        candidates = [Candidate(text, metadata={"n": 1}) for text in TEXTS]
        exact.rerank(QUERY, candidates, prior=prior)
        assert prior.tolist() == PRIOR
        assert candidates == [Candidate(text, metadata={"n": 1}) for text in TEXTS]

    @pytest.mark.parametrize(
        ("prior", "error", "message"),
        [
            ([1.0, 2.0], ValueError, "prior has 2 numbers for 6 candidates: give one for each"),
            ([[1.0] * 6, [2.0] * 6], ValueError, "got 2 lists for 1"),
            ([0, 1, float("nan"), 0, 0, 0], ValueError, r"prior\[2\] must be a finite number, got nan"),
            (np.array([0, 1, 2, np.inf, 0, 0]), ValueError, r"prior\[3\] must be a finite number, got inf"),
            ([0, 1, "2", 0, 0, 0], TypeError, r"prior\[2\] must be a finite number, got '2'"),
            ([0, 1, None, 0, 0, 0], TypeError, r"prior\[2\] must be a finite number, got None"),
            ([True] * 6, TypeError, r"prior\[0\] must be a finite number, got True"),
            (np.array([True] * 6), TypeError, r"prior\[0\] must be a finite number, got True"),
            (np.array(["a"] * 6), TypeError, r"prior\[0\] must be a finite number, got 'a'"),
            ("popularity", TypeError, r"prior must be .*, got str: 'popularity'.*from_metadata\(field\)"),
            (
                {"a": 1.0},
                TypeError,
                "prior must be one finite number for each candidate, or a function of a Candidate, got dict",
            ),
            ({1.0, 2.0}, TypeError, "got set"),
            (0.5, TypeError, r"got float: 0\.5"),
            (np.float64(0.5), TypeError, r"got one number: 0\.5"),
            (lambda _: float("nan"), ValueError, r"prior of candidates\[0\] must be a finite number, got nan"),
            (lambda _: "high", TypeError, r"prior of candidates\[0\] must be a finite number, got 'high'"),
            (lambda _: None, TypeError, r"prior of candidates\[0\] must be a finite number, got None"),
            (lambda _: np.zeros(2), TypeError, r"prior of candidates\[0\] must be a finite number"),
            (lambda each: 1 / TEXTS.index(each.text), ValueError, r"failed for candidates\[0\]: ZeroDivisionError: division"),
            (lambda each: each.metadata["date"], ValueError, r"prior failed for candidates\[0\]: KeyError: 'date'"),
        ],
    )
    @pytest.mark.parametrize("method", ["maxsim", "zscore"])
    def test_a_wrong_one_is_told_before_anything_is_encoded(self, method, prior, error, message):
        reranker = ranker(method)
        with pytest.raises(error, match=message):
            reranker.rerank(QUERY, TEXTS, prior=prior)
        assert all(each.encoder.n_documents == 0 for each in getattr(reranker, "rerankers", (reranker,)))

    def test_a_failing_function_keeps_its_own_error(self, exact):
        with pytest.raises(ValueError, match=re.escape("candidates[4]")) as raised:
            exact.rerank(QUERY, TEXTS, prior=lambda candidate: 1 / (4 - TEXTS.index(candidate.text)))
        assert isinstance(raised.value.__cause__, ZeroDivisionError)


class TestShown:
    def test_a_result_tells_its_prior_and_what_ordered_it(self, exact):
        candidates = [Candidate(text, score=float(i)) for i, text in enumerate(TEXTS)]
        ranking = exact.rerank(QUERY, candidates, first_stage_weight=0.5, prior=PRIOR)
        scores, first = z([document.score for document in by_index(ranking)]), z(range(6))
        for i, document in enumerate(by_index(ranking)):
            assert document.prior == document.ranked_by.prior == PRIOR[i]
            assert document.ranked_by.score == pytest.approx(scores[i])
            assert document.ranked_by.first_stage == pytest.approx(0.5 * first[i])
        totals = [document.ranked_by.total for document in ranking]
        assert totals == sorted(totals, reverse=True)

    def test_a_first_stage_alone_is_told_too_and_a_score_alone_is_not(self, exact):
        candidates = [Candidate(text, score=float(i)) for i, text in enumerate(TEXTS)]
        weighed = exact.rerank(QUERY, candidates, first_stage_weight=0.5)
        assert {document.prior for document in weighed} == {None}
        assert all(document.ranked_by.prior == 0 for document in weighed)
        assert {(document.prior, document.ranked_by) for document in exact.rerank(QUERY, candidates)} == {(None, None)}

    def test_repr_dict_table_and_slices_show_it(self, exact):
        ranking = exact.rerank(QUERY, TEXTS, prior=PRIOR)
        assert "prior=9.0" in repr(ranking[0])
        assert "<th>prior</th>" in ranking._repr_html_()
        assert "9.000" in ranking._repr_html_()
        assert ranking[:2][0].prior == 9.0
        held = json.loads(json.dumps(asdict(ranking[0])))
        assert (held["prior"], held["ranked_by"]["prior"]) == (9.0, 9.0)
        plain = exact.rerank(QUERY, TEXTS)
        assert "prior" not in repr(plain) + plain._repr_html_()

    def test_pickles_keep_it_and_those_without_are_as_before(self, exact):
        ranking = exact.rerank(QUERY, TEXTS, prior=PRIOR)
        assert pickle.loads(pickle.dumps(ranking)) == ranking
        assert isinstance(pickle.loads(pickle.dumps(ranking))[0].ranked_by, RankedBy)
        assert b"prior" not in pickle.dumps(exact.rerank(QUERY, TEXTS))

    def test_an_earlier_releases_pickle_is_read(self, exact):
        (_, state) = exact.rerank(QUERY, TEXTS)[0].__getstate__()
        document = RankedDocument.__new__(RankedDocument)
        document.__setstate__((None, {name: value for name, value in state.items() if name not in ("image", "token_vectors")}))
        assert (document.prior, document.ranked_by, document.image) == (None, None, None)
        assert isinstance(pickle.loads(pickle.dumps(Ranking([document])))[0], RankedDocument)

    def test_parts_are_json_with_their_sum(self):
        assert RankedBy(1.0, 0.5, -0.25).to_dict() == {"score": 1.0, "first_stage": 0.5, "prior": -0.25, "total": 1.25}


class TestExplained:
    def test_a_ranked_documents_explanation_tells_how_its_place_came_about(self):
        reranker = Reranker(FakeEncoder())
        candidates = [Candidate(text, score=float(i)) for i, text in enumerate(TEXTS)]
        (first, *_) = reranker.rerank(QUERY, candidates, first_stage_weight=0.5, prior=PRIOR)
        explanation = explain(reranker, QUERY, first)
        assert (explanation.rank, explanation.ranked_by) == (1, first.ranked_by)
        assert explanation.to_dict()["ranked_by"] == first.ranked_by.to_dict()
        html = explanation.to_html()
        assert f"Rank 1: {first.ranked_by.score:+.2f} by its score" in html
        assert f"{first.ranked_by.first_stage:+.2f} by the first stage, +9.00 by the prior. Together" in html

    def test_another_querys_place_is_not_told_as_this_ones(self):
        reranker = Reranker(FakeEncoder())
        (first, *_) = reranker.rerank(QUERY, TEXTS, prior=PRIOR)
        assert explain(reranker, "nothing of the kind", first).ranked_by is None
        assert explain(reranker, QUERY, first).rank == 1

    def test_no_prior_is_shown_where_none_was_given(self):
        reranker = Reranker(FakeEncoder())
        candidates = [Candidate(text, score=float(i)) for i, text in enumerate(TEXTS)]
        html = explain(reranker, QUERY, reranker.rerank(QUERY, candidates, first_stage_weight=0.5)[0]).to_html()
        assert "by the first stage" in html
        assert "by the prior" not in html

    def test_a_pages_explanation_tells_it_too(self):
        image = pytest.importorskip("PIL.Image")
        reranker = Reranker(FakeVisualEncoder())
        pages = [Candidate(image=image.new("RGB", (64, 64), colour)) for colour in ("red", "white")]
        (first, *_) = reranker.rerank("red", pages, prior=[0.0, 5.0])
        explanation = explain(reranker, "red", first)
        assert (first.index, explanation.ranked_by.prior) == (1, 5.0)
        assert "+5.00 by the prior" in explanation.to_html()
        assert explanation.to_dict()["rank"] == 1

    def test_one_that_its_score_alone_placed_says_nothing_of_it(self):
        reranker = Reranker(FakeEncoder())
        explanation = explain(reranker, QUERY, reranker.rerank(QUERY, TEXTS)[0])
        assert "ranked_by" not in explanation.to_dict()
        assert "by the prior" not in explanation.to_html()


class TestEverywhere:
    @pytest.mark.parametrize("method", METHODS)
    def test_a_batch_takes_a_function_or_a_list_for_each_query(self, method):
        reranker = ranker(method)
        first, second = reranker.rerank(QUERY, TEXTS, prior=PRIOR), reranker.rerank("dogs", TEXTS[:3], prior=[0, 0, 9])
        lists = [TEXTS, TEXTS[:3]]
        for prior in ([PRIOR, [0, 0, 9]], [np.array(PRIOR), (0, 0, 9)]):
            found = reranker.rerank_batch([QUERY, "dogs"], lists, prior=prior)
            assert list(map(order, found)) == [order(first), order(second)]
        numbers = dict(zip(TEXTS, PRIOR, strict=True))
        found = reranker.rerank_batch([QUERY, "dogs"], lists, prior=lambda candidate: numbers[candidate.text])
        assert order(found[0]) == order(first)
        square = reranker.rerank_batch([QUERY, "dogs"], [TEXTS, TEXTS], prior=np.array([PRIOR, PRIOR]))
        assert order(square[0]) == order(first)

    def test_a_batch_names_what_is_wrong(self, exact):
        lists = [TEXTS, TEXTS]
        with pytest.raises(ValueError, match="one list of numbers for each of 2 queries; got one list"):
            exact.rerank_batch(["cat", "dog"], lists, prior=PRIOR)
        with pytest.raises(ValueError, match="for each of 2 queries; got an empty list"):
            exact.rerank_batch(["cat", "dog"], [[], []], prior=[])
        assert exact.rerank_batch([], [], prior=[]) == []
        assert exact.rerank_batch(["cat", "dog"], [[], []], prior=[[], []]) == [[], []]
        with pytest.raises(ValueError, match="got 3 lists for 2"):
            exact.rerank_batch(["cat", "dog"], lists, prior=[PRIOR] * 3)
        with pytest.raises(ValueError, match=r"prior\[1\]\[0\] must be a finite number"):
            exact.rerank_batch(["cat", "dog"], lists, prior=[PRIOR, [float("inf")] * 6])

    @pytest.mark.parametrize("method", ["maxsim", "zscore"])
    def test_arerank_is_rerank(self, method):
        reranker = ranker(method)
        found = asyncio.run(reranker.arerank(QUERY, TEXTS, prior=PRIOR))
        assert order(found) == order(reranker.rerank(QUERY, TEXTS, prior=PRIOR))

    def test_a_searcher_takes_a_function_or_a_field_for_all_searches_or_one(self, exact):
        documents = [Candidate(text, metadata={"n": number}) for text, number in zip(TEXTS, PRIOR, strict=True)]
        retriever = BM25Retriever(documents)
        expected = [each.text for each in exact.rerank(QUERY, retriever.retrieve(QUERY, 10), prior=from_metadata("n"))]
        assert [each.text for each in Searcher(retriever, exact, prior="n").search(QUERY)] == expected
        searcher = Searcher(retriever, exact)
        assert [each.text for each in searcher.search(QUERY, prior=lambda candidate: candidate.metadata["n"])] == expected
        assert [each.text for each in searcher.search(QUERY)] != expected
        context = searcher.context(QUERY, 1000, strategy="relevance", prior="n")
        assert context.parts[0].text == expected[0]
        for wrong in ([1.0], 5):
            with pytest.raises(TypeError, match="a function of a Candidate, or the name of a metadata field"):
                searcher.search(QUERY, prior=wrong)
            with pytest.raises(TypeError, match="prior must be"):
                Searcher(retriever, exact, prior=wrong)
        with pytest.raises(ValueError, match="prior must be"):
            searcher.search(QUERY, prior=" ")

    def test_options_with_a_prior_can_be_compared_and_hashed(self):
        assert Wanted(prior=np.array([1, 2])) == Wanted(prior=[1.0, 2.0])
        assert len({Wanted(prior=[1.0]), Wanted(prior=(1.0,)), Wanted(prior=from_metadata("n"))}) == 2


class TestWrapped:
    def chosen(self, choice, **more):
        candidates = [Candidate(text, str(i), metadata={"n": PRIOR[i]}) for i, text in enumerate(TEXTS)]
        return [each.document.index for each in choose(Reranker(FakeEncoder()), QUERY, candidates, choice, **more)]

    def test_a_choice_takes_a_field_or_a_function(self):
        expected = order(Reranker(FakeEncoder()).rerank(QUERY, TEXTS, prior=PRIOR))
        assert self.chosen(Choice(prior="n")) == expected
        assert self.chosen(Choice(prior=lambda candidate: candidate.metadata["n"])) == expected
        assert self.chosen(Choice(prior="n", top_k=2)) == expected[:2]
        assert self.chosen(Choice(prior="other")) == order(Reranker(FakeEncoder()).rerank(QUERY, TEXTS))
        assert self.chosen(Choice(prior="n", budget_tokens=1000, order="relevance"))[0] == expected[0]

    def test_it_sees_the_documents_as_they_are_described(self):
        described = [Candidate(metadata={"m": number}) for number in PRIOR]
        assert self.chosen(Choice(prior="m"), described=described) == self.chosen(Choice(prior="n"))

    def test_of_copies_the_better_ranked_stays(self):
        copies = [Candidate("a cat", "a", metadata={"n": n}) for n in (0.0, 5.0)]
        (best, other) = choose(Reranker(FakeEncoder()), "cat", [*copies, Candidate("cat", "b")], Choice(prior="n"))
        assert (best.document.index, best.document.prior, other.document.index) == (1, 5.0, 2)

    def test_a_file_may_hold_dates_as_text_and_names_in_sums(self):
        held = {"sum_of": ["views", {"recency": {"field": "date", "half_life_days": 30, "now": "2026-11-30"}}]}
        prior = read_prior(held)
        assert prior == sum_of(from_metadata("views"), recency("date", half_life_days=30, now="2026-11-30"))
        assert read_prior(written_prior(prior)) == prior
        assert prior(Candidate("a", metadata={"views": 2, "date": "2026-11-30"})) == 3.0

    @pytest.mark.parametrize(
        "wrong",
        [
            {"recency": {"field": "date", "half_life_days": 30, "now": "soon"}},
            {"recency": {"field": "date", "half_life_days": float("nan")}},
            {"recency": {"field": "date", "half_life_days": 30, "weigth": 1}},
            {"from_metadata": {"field": "views", "weight": float("nan")}},
            {"from_metadata": {"field": ""}},
            {"sum_of": ["views", None]},
            {"sum_of": [0.5]},
            {"sum_of": "views"},
        ],
        ids=str,
    )
    def test_a_wrong_prior_of_a_file_is_told_when_it_is_read(self, wrong):
        with pytest.raises(ValueError, match="a prior that is read back must be the name of a metadata field, or a mapping"):
            read_prior(wrong)

    @pytest.mark.parametrize("wrong", [[1.0, 2.0], 0.5, ("n",)])
    def test_numbers_are_refused_since_documents_are_not_known_beforehand(self, wrong):
        with pytest.raises(TypeError, match="which documents will be found isn't known beforehand"):
            Choice(prior=wrong)
