"""Several models over one list of candidates: the order, what each model says, and every door of a Reranker."""

import asyncio
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from late_rerank import Candidate, FusedReranker, Ranking, Reranker, Searcher
from late_rerank.context import pack_context
from late_rerank.errors import IncompatibleError, MissingDocumentsError
from late_rerank.pictures import ImagePicture, PictureError
from late_rerank.ranking.fused_ranking import FusedRanking
from late_rerank.ranking.fusion import standardised
from late_rerank.ranking.together import together
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder, Gate

TEXTS = ["cats sleep", "red cats", "dogs bark", "red dogs sleep all day", "birds", "cats", "red"]
QUERY = "red cats sleep"
NAN = float("nan")


def page(colour):
    return Image.new("RGB", (32, 32), colour)


def scan(colour):
    return Candidate(image=page(colour))


def text_model(**more):
    return Reranker(FakeEncoder(**more), codec="float32")


def page_model(**more):
    return Reranker(FakeVisualEncoder(**more), codec="float32")


@pytest.fixture
def fused():
    return FusedReranker([text_model(), page_model()])


PAGES = [
    Candidate("birds sing", "a", 3.0, {"page": 1}, page((250, 0, 0))),
    Candidate("red cats sleep", "b", 2.0, {"page": 2}, page("blue")),
    Candidate("dogs bark", "c", 1.0, {"page": 3}, page("green")),
    Candidate("red cats", "d", 0.5, {"page": 4}, page("red")),
]


class TestOrder:
    def test_it_is_by_the_sum_of_standard_scores(self, fused):
        ranking = fused.rerank(QUERY, PAGES)
        alone = [{document.index: document.score for document in reranker.rerank(QUERY, PAGES)} for reranker in fused.rerankers]
        sums = sum(standardised(np.array([scores[i] for i in range(4)])) for scores in alone)

        assert [document.index for document in ranking] == (-sums).argsort(kind="stable").tolist()
        assert [document.score for document in ranking] == pytest.approx(sorted(sums, reverse=True))
        assert ranking.scores_by_model == {
            name: [scores[i] for i in range(4)] for name, scores in zip(fused.names, alone, strict=True)
        }
        assert fused.rerank(QUERY, PAGES)[0].id == "d"
        assert [reranker.rerank(QUERY, PAGES)[0].id for reranker in fused.rerankers] == ["b", "a"]

    def test_weights_say_how_much_each_counts(self):
        models = [text_model(), page_model()]
        assert FusedReranker(models, weights=[9, 1]).rerank(QUERY, PAGES)[0].id == "b"
        assert FusedReranker(models, weights=[1, 9]).rerank(QUERY, PAGES)[0].id == "d"

    def test_ranks_may_count_instead_of_distances(self):
        ranking = FusedReranker([text_model(), page_model()], method="rrf").rerank(QUERY, PAGES)
        by_index = {document.index: document.score for document in ranking}

        assert by_index[3] == pytest.approx(1 / 62 + 1 / 61)
        assert by_index[0] in (pytest.approx(1 / 63 + 1 / 61), pytest.approx(1 / 64 + 1 / 61))
        assert ranking[0].id == "d"

    def test_equal_documents_keep_the_candidates_order_among_many(self, fused):
        candidates = [Candidate("red cats", str(i), image=page("red")) for i in range(40)]
        ranking = fused.rerank(QUERY, [PAGES[2], *candidates])

        assert [document.index for document in ranking] == [*range(1, 41), 0]
        assert len({document.score for document in ranking[:40]}) == 1

    def test_the_first_stage_counts_where_it_is_asked_for(self, fused):
        candidates = [
            Candidate(each.text, score=score, image=each.image) for each, score in zip(PAGES, (0, 0, 99, 0), strict=True)
        ]
        assert fused.rerank(QUERY, candidates)[0].index == 3
        assert fused.rerank(QUERY, candidates, first_stage_weight=9.0)[0].index == 2
        weight = fused.rerank(QUERY, candidates, first_stage_weight="auto")
        assert weight[-1].score > fused.rerank(QUERY, candidates)[-1].score
        with pytest.raises(ValueError, match=r"candidates\[0\] has no score"):
            fused.rerank(QUERY, ["a text that nobody encoded"], first_stage_weight=1.0)
        assert fused.rerank(QUERY, ["a text that nobody encoded"]).n_misses == 2

    @settings(max_examples=60)
    @given(st.lists(st.sampled_from([*TEXTS, "", " \n", "..."]), max_size=8), st.sampled_from(["zscore", "rrf"]))
    def test_it_depends_neither_on_the_models_order_nor_on_the_store(self, texts, method):
        one, other = text_model(), text_model(dim=32)
        first = FusedReranker([one, other], method=method).rerank(QUERY, texts)
        again = FusedReranker([other, one], method=method).rerank(QUERY, texts)

        assert [document.index for document in first] == [document.index for document in again]
        assert [document.score for document in first] == pytest.approx([document.score for document in again])
        assert sorted(document.index for document in first) == list(range(len(texts)))
        assert [document.rank for document in first] == list(range(1, len(texts) + 1))
        relevances = [document.relevance for document in first]
        assert all(0 <= relevance <= 1 for relevance in relevances)
        blank = [i for i, text in enumerate(texts) if not text.strip(" \n.")]
        assert [document.index for document in first if document.score == -1e9] == blank
        assert [document.index for document in first[len(texts) - len(blank) :]] == blank
        assert all(document.relevance == 0 for document in first[len(texts) - len(blank) :])


class TestUnscored:
    def test_a_page_without_text_counts_as_the_text_models_worst(self, fused):
        ranking = fused.rerank(QUERY, [*PAGES, scan("red")])
        by_index = {document.index: document for document in ranking}
        worst = min(range(4), key=ranking.scores_by_model["FakeEncoder"].__getitem__)

        assert ranking.scores_by_model["FakeEncoder"][4] is None
        assert ranking.scores_by_model["FakeVisualEncoder"][4] == ranking.scores_by_model["FakeVisualEncoder"][0]
        assert worst == 2
        assert by_index[4].score == pytest.approx(
            by_index[2].score
            + standardised(np.array(ranking.scores_by_model["FakeVisualEncoder"]))[4]
            - standardised(np.array(ranking.scores_by_model["FakeVisualEncoder"]))[2]
        )
        assert by_index[4].relevance == pytest.approx(page_model().rerank(QUERY, [scan("red")])[0].relevance)

    def test_a_text_without_image_counts_as_the_worst_of_a_model_of_images_alone(self):
        models = [text_model(), page_model(only_pictures=True)]
        ranking = FusedReranker(models).rerank(QUERY, ["red cats sleep", PAGES[2]])

        assert ranking.scores_by_model["FakeVisualEncoder"][0] is None
        assert {document.index for document in ranking} == {0, 1}

    def test_what_no_model_can_encode_is_refused_by_name(self):
        fused = FusedReranker([text_model(), text_model(dim=32)])
        for call in (lambda documents: fused.rerank(QUERY, documents), fused.index):
            with pytest.raises(
                IncompatibleError, match=r"\[1\] is an image without text, which none of the models FakeEncoder, "
            ):
                call(["cats", scan("red")])
        with pytest.raises(IncompatibleError, match=r"documents\[129\] is an image"):
            fused.index(scan("red") if i == 129 else f"cats {i}" for i in range(200))

    def test_what_no_model_scored_comes_last_in_the_candidates_order(self):
        models = [Reranker(FakeEncoder(), on_missing="skip"), Reranker(FakeVisualEncoder(), on_missing="skip")]
        models[0].index(["dogs bark"])
        models[1].index([PAGES[3]])
        ranking = FusedReranker(models).rerank(QUERY, [PAGES[0], PAGES[2], PAGES[3], ""])

        assert [document.index for document in ranking] == [1, 2, 3, 0]
        assert [document.score is None for document in ranking] == [False, False, False, True]
        assert (ranking[2].score, ranking[3].relevance) == (-1e9, None)
        assert ranking.n_unscored == 1

    def test_missing_documents_are_refused_where_a_model_refuses_them(self):
        with pytest.raises(MissingDocumentsError):
            FusedReranker([text_model(), Reranker(FakeVisualEncoder(), on_missing="raise")]).rerank(QUERY, PAGES)

    def test_a_deadline_is_shared_and_stored_documents_are_scored_by_both(self):
        gate = Gate()
        slow = Reranker(FakeEncoder(before_document=gate), codec="float32")
        pictures = page_model()
        pictures.index(PAGES)
        ranking = FusedReranker([slow, pictures]).rerank(QUERY, PAGES, deadline_s=0.01)
        gate.open()

        assert ranking.scores_by_model["FakeEncoder"] == [None] * 4
        assert None not in ranking.scores_by_model["FakeVisualEncoder"]
        assert ranking[0].id == "a"
        slow.close()

    def test_no_share_of_a_deadline_is_more_than_what_is_left(self, fused, monkeypatch):
        shares = []
        rank = Reranker.rank
        monkeypatch.setattr(
            Reranker, "rank", lambda self, *args, **more: shares.append(args[2].deadline_s) or rank(self, *args, **more)
        )
        fused.rerank(QUERY, PAGES, deadline_s=60.0)
        fused.rerank(QUERY, PAGES)

        assert 0 < shares[0] <= 30
        assert shares[0] < shares[1] <= 60
        assert shares[2:] == [None, None]


class TestOptions:
    def test_relevance_is_the_weighted_mean_over_the_models_that_scored(self):
        models = [text_model(), page_model()]
        ranking = FusedReranker(models, weights=[3, 1]).rerank(QUERY, PAGES)
        alone = [{document.index: document.relevance for document in model.rerank(QUERY, PAGES)} for model in models]

        for document in ranking:
            assert document.relevance == pytest.approx((3 * alone[0][document.index] + alone[1][document.index]) / 4, abs=1e-6)

    def test_top_k_and_min_relevance_keep_what_they_say(self, fused):
        ranking = fused.rerank(QUERY, PAGES)
        bar = sorted(document.relevance for document in ranking)[2]
        kept = fused.rerank(QUERY, PAGES, min_relevance=bar)

        assert [document.index for document in kept] == [d.index for d in ranking if d.relevance >= bar]
        assert [document.index for document in fused.rerank(QUERY, PAGES, top_k=2)] == [d.index for d in ranking[:2]]
        assert fused.rerank(QUERY, PAGES, top_k=2).scores_by_model == ranking.scores_by_model

    def test_max_tokens_reaches_each_model(self, fused):
        ranking = fused.rerank(QUERY, ["cats sleep red"] * 2, max_tokens=1)
        assert all(document.truncated for document in ranking)
        assert all(document.truncated is False for document in fused.rerank(QUERY, ["cats sleep red"] * 2))

    def test_no_candidates_give_an_empty_ranking(self, fused):
        ranking = fused.rerank(QUERY, [])
        assert (list(ranking), ranking.n_unscored) == ([], 0)
        assert ranking.scores_by_model == {"FakeEncoder": [], "FakeVisualEncoder": []}

    @pytest.mark.parametrize(("queries", "error"), [([" "], ValueError), ([1], TypeError), ("red", TypeError)])
    def test_queries_are_checked_as_a_reranker_checks_them(self, fused, queries, error):
        with pytest.raises(error):
            fused.rerank_batch(queries, [["cats"]])


class TestDoors:
    def test_a_batch_gives_what_each_query_gives_alone(self, fused):
        lists = [PAGES, PAGES[1:], ["red", "cats"]]
        queries = [QUERY, "dogs bark", "red"]
        together_ = fused.rerank_batch(queries, lists, top_k=2)

        for query, candidates, ranking in zip(queries, lists, together_, strict=True):
            alone = fused.rerank(query, candidates, top_k=2)
            assert [(d.index, d.score, d.relevance) for d in ranking] == [(d.index, d.score, d.relevance) for d in alone]
            assert ranking.scores_by_model == alone.scores_by_model

    def test_arerank_never_blocks_the_event_loop(self):
        gate = Gate()
        fused = FusedReranker([Reranker(FakeEncoder(before_query=gate)), page_model()])
        ranking = asyncio.run(gate.opened_during(fused.arerank(QUERY, PAGES, top_k=1)))

        assert [document.id for document in ranking] == ["d"]
        assert isinstance(ranking, FusedRanking)
        fused.close()

    def test_results_hold_the_candidates_own_parts(self, fused):
        picture = ImagePicture(page("red"))
        candidate = Candidate("red", "a", 1.5, {"x": 1}, picture)
        document = fused.rerank(QUERY, [candidate])[0]

        assert (document.text, document.id, document.candidate_score, document.metadata) == ("red", "a", 1.5, {"x": 1})
        assert document.image is picture

    def test_the_best_passage_is_the_text_models(self, fused):
        text = "nothing here " * 30 + "red cats sleep " + "nothing there " * 30
        for candidate in (Candidate(text, image=page("red")), text):
            start, end = fused.rerank(QUERY, ["birds", candidate])[0].best_span
            assert "red cats sleep" in text[start:end]
        assert fused.rerank(QUERY, [scan("red")])[0].best_span is None

    def test_index_stores_documents_for_each_model_that_can_encode_them(self, fused):
        report = fused.index(iter([*PAGES, scan("yellow"), "birds", ""]))

        assert (report.n_documents, report.n_encoded, report.n_cached) == (7, 11, 0)
        assert fused.index([*PAGES, scan("yellow")]).n_cached == 9
        ranking = fused.rerank(QUERY, [*PAGES, scan("yellow"), "birds"])
        assert (ranking.n_hits, ranking.n_misses) == (11, 0)

    def test_stats_are_those_of_each_model(self, fused):
        fused.rerank(QUERY, PAGES)
        stats = fused.stats()

        assert stats["model"] == fused.model_name == "FakeEncoder + FakeVisualEncoder"
        assert (stats["method"], stats["weights"]) == ("zscore", [1.0, 1.0])
        assert [stats["models"][name]["misses"] for name in fused.names] == [4, 4]

    def test_timings_are_sums_with_a_total_of_its_own(self, fused):
        ranking = fused.rerank(QUERY, PAGES)
        assert set(ranking.timings_ms) == {"encode_query", "fetch", "encode_missing", "maxsim", "total"}
        assert ranking.timings_ms["total"] > ranking.timings_ms["encode_query"] > 0
        assert ranking.n_tokens > 0

    def test_slices_and_pickles_keep_what_each_model_said(self, fused):
        ranking = fused.rerank(QUERY, PAGES)
        for other in (ranking[:2], pickle.loads(pickle.dumps(ranking)), copy.deepcopy(ranking)):
            assert isinstance(other, FusedRanking)
            assert other.scores_by_model == ranking.scores_by_model
            assert [document.score for document in other] == [document.score for document in ranking[: len(other)]]
        assert len(ranking.vectors) == 2
        assert len(pickle.loads(pickle.dumps(ranking)).vectors) == 0

    def test_it_closes_its_rerankers_at_the_end(self, tmp_path):
        with FusedReranker([Reranker(FakeEncoder(), store=tmp_path), Reranker(FakeEncoder(dim=32), store=tmp_path)]) as fused:
            fused.index(["cats"])
        for reranker in fused.rerankers:
            with pytest.raises(Exception, match="closed"):
                reranker.rerank("cats", ["cats"])

    def test_copies_share_the_rerankers(self, fused):
        assert copy.deepcopy(fused).rerankers == fused.rerankers


def damaged(n, text=""):
    return Candidate(text, image=b"no image %d" % n)


class TestDamagedPictures:
    def test_index_names_them_by_their_places_when_all_others_are_stored(self):
        fused = FusedReranker([text_model(), page_model(only_pictures=True)])
        with pytest.raises(PictureError, match=r"^documents\[3\]: [^:]*no whole image[^:]*\(all other documents are stored\)$"):
            fused.index(["t0", "t1", "t2", damaged(0)])

        documents = ["t0", damaged(1, "words"), scan("red"), *[f"t{i}" for i in range(3, 6)], damaged(2), scan("blue"), "t8"]
        with pytest.raises(PictureError, match=r"^documents\[1\]: [^:]*; documents\[6\]: [^:]* \(all other") as told:
            fused.index(iter(documents), batch_size=2)
        assert list(told.value.damaged) == [1, 6]
        assert [error.picture for error in told.value.damaged.values()] == [documents[1].image, documents[6].image]
        stored = fused.index([*documents[:1], "words", *documents[2:6], *documents[7:]])
        assert (stored.n_encoded, stored.n_cached) == (0, 8)

    def test_two_models_name_one_picture_once(self):
        fused = FusedReranker([page_model(), page_model(dim=32)])
        with pytest.raises(PictureError) as told:
            fused.index([scan("red"), damaged(1), "red"])
        assert str(told.value).count("documents[1]") == 1
        assert fused.index([scan("red"), "red"]).n_cached == 4

    def test_a_page_is_ranked_by_its_text_alone(self, fused):
        cut = damaged(1, "red cats sleep")
        ranking = fused.rerank(QUERY, [PAGES[0], cut, PAGES[2], cut, damaged(2, "birds")])

        assert [score is None for score in ranking.scores_by_model["FakeVisualEncoder"]] == [False, True, False, True, True]
        assert None not in ranking.scores_by_model["FakeEncoder"]
        assert ranking.n_unscored == 0
        text_score = text_model().rerank(QUERY, ["red cats sleep"])[0].relevance
        assert next(each for each in ranking if each.index == 1).relevance == pytest.approx(text_score)

    def test_another_model_may_take_the_picture_that_one_refuses(self):
        class Narrow(FakeVisualEncoder):
            def _colours(self, picture):
                raise ValueError("the aspect ratio must be below 200")

        for models in ([Narrow(dim=32), FakeVisualEncoder()], [FakeVisualEncoder(), Narrow(dim=32)]):
            ranking = FusedReranker([Reranker(each) for each in models]).rerank("red", [scan("blue"), scan("red")])
            assert [document.index for document in ranking] == [1, 0]
            assert ranking.scores_by_model["Narrow"] == [None, None]

    def test_one_that_no_model_can_rank_is_named_by_its_place(self, fused):
        """Its text is no other candidate's: the same picture with a text may come first."""
        lists = [["a"], [PAGES[0], damaged(1, "words"), damaged(1)]]
        with pytest.raises(PictureError, match=r"^candidates\[2\]: the image is no whole image"):
            fused.rerank(QUERY, lists[1])
        with pytest.raises(PictureError, match=r"^candidate_lists\[1\]\[2\]: the image is no whole image"):
            fused.rerank_batch([QUERY, QUERY], lists)
        with pytest.raises(PictureError, match=r"^candidates\[1\]: the image is no whole image"):
            FusedReranker([page_model(), page_model(dim=32)]).rerank(QUERY, [PAGES[0], damaged(1, "words")])


class TestInAContext:
    def test_a_searcher_takes_it(self, fused):
        searcher = Searcher(BM25Retriever(PAGES), fused)
        ranking = searcher.search(QUERY, top_k=2)

        assert ranking[0].id == "d"
        assert set(ranking.scores_by_model) == {"FakeEncoder", "FakeVisualEncoder"}
        assert ranking.timings_ms["total"] >= ranking.timings_ms["first_stage"] > 0
        assert "[1] red cats\n" in searcher.context(QUERY, 100, strategy="relevance").text

    @pytest.mark.parametrize("strategy", ["coverage", "relevance", "mmr"])
    def test_texts_are_compared_by_the_text_model_without_encoding_the_query_again(self, strategy):
        encoders = [FakeEncoder(), FakeVisualEncoder()]
        fused = FusedReranker([Reranker(each, codec="float32") for each in encoders])
        ranking = fused.rerank(QUERY, PAGES)
        context = pack_context(QUERY, ranking, reranker=fused, budget_tokens=100, strategy=strategy, compress=True)

        assert [each.n_queries for each in encoders] == [1, 1]
        assert context.coverage.well == [0, 1, 2]
        assert fused.matching(ranking) is fused.rerankers[0]
        assert len(context.parts) == 4

    @pytest.mark.parametrize("strategy", ["coverage", "relevance", "mmr"])
    def test_with_pages_without_text_they_are_compared_by_the_page_model(self, fused, strategy):
        ranking = fused.rerank("red", [PAGES[1], scan("red")])
        context = pack_context("red", ranking, reranker=fused, budget_tokens=100, images="keep", strategy=strategy)

        assert fused.matching(ranking) is fused.rerankers[1]
        assert {part.index: part.covers for part in context.parts} == {1: (0,), 0: ()}
        assert pack_context("red", ranking, reranker=fused, budget_tokens=100).text == "[1] red cats sleep"

    @pytest.mark.parametrize("strategy", ["coverage", "relevance", "mmr"])
    def test_what_the_chosen_model_cannot_encode_is_matched_by_nothing_but_taken(self, strategy):
        fused = FusedReranker([text_model(), page_model(only_pictures=True)])
        ranking = fused.rerank("red", ["red words", "blue words", scan("red")])
        context = pack_context("red", ranking, reranker=fused, budget_tokens=100, images="keep", strategy=strategy)

        assert fused.matching(ranking) is fused.rerankers[0]
        assert len(context.parts) == 3
        assert context.coverage.well == [0]

    def test_relevance_stands_for_scores_where_likeness_is_weighed(self, fused):
        """Standard scores are below 0 for half of the candidates; mean matches aren't."""
        ranking = fused.rerank(QUERY, PAGES)
        context = pack_context(QUERY, ranking, reranker=fused, budget_tokens=100, strategy="mmr", top_k=1)
        assert context.parts[0].index == max(ranking, key=lambda document: document.relevance).index


class TestTogether:
    def test_models_that_scored_nothing_or_all_alike_add_nothing(self):
        scores = np.array([[1.0, 2.0, 3.0], [NAN, NAN, NAN], [5.0, 5.0, NAN]])
        assert together(scores, [1, 1, 1], "zscore").tolist() == pytest.approx(standardised(scores[0]).tolist())

    def test_a_document_that_only_one_model_scored_has_the_others_worst(self):
        scores = np.array([[1.0, 2.0, NAN, NAN], [4.0, 8.0, 6.0, NAN]])
        total = together(scores, [1, 1], "zscore")
        assert total[2] == pytest.approx(-1.0)
        assert np.isnan(total[3])

    def test_scores_of_any_scale_count_the_same(self):
        scores = np.array([[1.0, 2.0, 4.0], [3.0, 1.0, 2.0]])
        for method in ("zscore", "rrf"):
            expected = together(scores, [1, 1], method)
            assert together(scores * [[1000], [0.001]] + [[7], [-9]], [1, 1], method) == pytest.approx(expected)

    def test_equal_scores_have_one_rank(self):
        assert together(np.array([[2.0, 3.0, 2.0, 1.0]]), [1], "rrf").tolist() == pytest.approx(
            [1 / 62, 1 / 61, 1 / 62, 1 / 64]
        )


class TestArguments:
    @pytest.mark.parametrize(
        ("more", "error", "says"),
        [
            ({"weights": [1]}, ValueError, "weights must be one a Reranker, got 1 for 2"),
            ({"weights": [1, 0]}, ValueError, r"weights must be above 0, got \[1.0, 0.0\]: leave out a Reranker"),
            ({"weights": [1, -1]}, ValueError, r"weights\[1\] must be 0 or more and finite, got -1"),
            ({"weights": [1, "a"]}, TypeError, r"weights\[1\] must be a number"),
            ({"method": "borda"}, ValueError, "method must be one of zscore, rrf, got 'borda'"),
        ],
    )
    def test_wrong_ones_are_refused(self, more, error, says):
        with pytest.raises(error, match=says):
            FusedReranker([text_model(), page_model()], **more)

    def test_fewer_than_two_and_others_than_rerankers_are_refused(self):
        with pytest.raises(ValueError, match="rerankers must be 2 or more, got 1"):
            FusedReranker([text_model()])
        with pytest.raises(TypeError, match=r"rerankers\[1\] must be a Reranker, got str: 'minilm'"):
            FusedReranker([text_model(), "minilm"])
        with pytest.raises(TypeError, match="rerankers must be a list of Rerankers"):
            FusedReranker(text_model())
        with pytest.raises(TypeError, match="reranker must be a Reranker or a FusedReranker"):
            Searcher(BM25Retriever(TEXTS), "minilm")

    def test_models_of_one_name_are_told_apart(self):
        fused = FusedReranker([text_model(), text_model(dim=32), page_model()])
        assert fused.names == ("FakeEncoder", "FakeEncoder (2)", "FakeVisualEncoder")
        assert set(fused.rerank(QUERY, ["cats"]).scores_by_model) == set(fused.names)

    def test_a_ranking_is_a_ranking(self, fused):
        assert isinstance(fused.rerank(QUERY, PAGES), Ranking)
