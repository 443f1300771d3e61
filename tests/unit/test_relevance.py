import asyncio
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank import Reranker, Searcher
from late_rerank.errors import IncompatibleError
from late_rerank.maxsim import DEFAULT_SCORING, MAXSIM, PROXIMITY, SCORINGS
from late_rerank.ranking.relevance import (
    FITTED,
    FITTED_FAST,
    Calibration,
    check_calibration,
    relevance,
    scoring_and_calibration,
)
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.types import NO_TOKENS_SCORE

TEXTS = ["the cat sat", "dogs and cats", "a cat on a mat", "nothing of the kind", " ", "cat cat cat"]
FAKE = FakeEncoder().fingerprint
STEEP = Calibration(FAKE, -10.0, 20.0, 0.1)

finite = st.floats(-50, 50, allow_nan=False)


class TestCalibration:
    def test_it_is_the_logistic_of_mean_and_length(self):
        scores = np.array([2.0, 4.0], np.float32)
        expected = [1 / (1 + np.exp(-(-1 + 3 * mean + 0.5 * np.log(4)))) for mean in (0.5, 1.0)]

        np.testing.assert_allclose(Calibration("x", -1, 3, 0.5).relevance(scores, 4), expected, rtol=1e-6)

    @given(finite, st.floats(0.01, 50), finite, st.lists(st.floats(-1e9, 500, width=32), min_size=2), st.integers(0, 500))
    def test_it_never_contradicts_the_order_by_score_and_stays_in_0_to_1(self, intercept, weight, length, scores, n):
        found = relevance(np.sort(np.array(scores, np.float32)), n, Calibration("x", intercept, weight, length))

        assert found.dtype == np.float32
        assert (np.diff(found) >= 0).all()
        assert ((found >= 0) & (found <= 1)).all()

    def test_a_document_without_tokens_has_exactly_0(self):
        assert relevance(np.array([NO_TOKENS_SCORE], np.float32), 30, Calibration("x", 50, 0.5, 50)).tolist() == [0]

    def test_what_is_saved_is_read_again(self, tmp_path):
        (tmp_path / "c.json").write_text("older")
        STEEP.save(tmp_path / "c.json")

        assert Calibration.load(tmp_path / "c.json") == STEEP
        assert [path.name for path in tmp_path.iterdir()] == ["c.json"]

    @pytest.mark.parametrize(
        "held",
        [
            "",
            "[]",
            "{}",
            "[" * 100_000,
            json.dumps({"format": "late-rerank calibration 2", **vars(STEEP)}),
            json.dumps({"format": "late-rerank calibration 1", "fingerprint": "x"}),
            json.dumps({"format": "late-rerank calibration 1", **vars(STEEP), "more": 1}),
            json.dumps({"format": "late-rerank calibration 1", **vars(STEEP), "intercept": "1"}),
        ],
    )
    def test_a_file_that_is_none_is_refused_by_name(self, tmp_path, held):
        (tmp_path / "c.json").write_text(held)

        with pytest.raises(ValueError, match=r"c\.json is no calibration"):
            Calibration.load(tmp_path / "c.json")

    @pytest.mark.parametrize(
        ("numbers", "words"),
        [
            ((0.0, 0.0, 0.0), "mean_weight must be above 0"),
            ((0.0, -1.0, 0.0), "mean_weight must be above 0"),
            ((float("nan"), 1.0, 0.0), "intercept must be a finite number"),
            ((0.0, 1.0, float("inf")), "length_weight must be a finite number"),
        ],
    )
    def test_numbers_that_make_no_relevance_are_refused(self, numbers, words):
        with pytest.raises(ValueError, match=words):
            Calibration("x", *numbers)


class TestReranker:
    def test_without_a_calibration_relevance_is_the_clipped_mean(self, fake):
        ranked = Reranker(fake).rerank("cat mat", TEXTS)

        assert Reranker(fake).calibration is None
        assert [document.relevance for document in ranked] == pytest.approx(
            [min(max(document.score / 2, 0), 1) for document in ranked], abs=1e-6
        )

    def test_a_calibration_changes_relevance_and_neither_scores_nor_order(self, fake, tmp_path):
        STEEP.save(tmp_path / "c.json")
        plain = Reranker(fake, scoring=STEEP.scoring).rerank("cat mat", TEXTS)
        for calibration in (STEEP, tmp_path / "c.json", str(tmp_path / "c.json")):
            ranked = Reranker(fake, calibration=calibration).rerank("cat mat", TEXTS)
            assert [(document.index, document.score) for document in ranked] == [(d.index, d.score) for d in plain]
            expected = STEEP.relevance(np.array([document.score for document in ranked], np.float32), 2)
            assert [document.relevance for document in ranked] == expected.tolist()
            assert ranked[-1].relevance == 0

    def test_it_depends_on_no_other_candidate(self, fake):
        reranker = Reranker(fake, calibration=STEEP)
        together = {document.text: document.relevance for document in reranker.rerank("cat mat", TEXTS)}

        for text in TEXTS:
            assert reranker.rerank("cat mat", [text])[0].relevance == pytest.approx(together[text], abs=1e-5)

    @pytest.mark.parametrize("codec", ["float32", "int8", "int4"])
    def test_codecs_share_it(self, fake, codec):
        assert Reranker(fake, codec=codec, calibration=STEEP).calibration == STEEP

    def test_another_models_is_refused_with_both_sides(self):
        with pytest.raises(IncompatibleError, match=rf"fitted to the encoder {FAKE}, this one is fake-32-None"):
            Reranker(FakeEncoder(32), calibration=STEEP)

    def test_a_wrong_one_is_told_before_the_model_is_loaded_and_leaves_no_store(self, tmp_path):
        for wrong, error in ((tmp_path / "none.json", FileNotFoundError), (0.5, TypeError)):
            with pytest.raises(error):
                Reranker("no such model", store=tmp_path / "store", calibration=wrong)
        assert not (tmp_path / "store").exists()

    def test_it_brings_the_scoring_that_it_was_fitted_to(self, fake, tmp_path):
        STEEP.save(tmp_path / "c.json")  # names no scoring, as files of earlier releases
        assert Reranker(fake, calibration=tmp_path / "c.json").scoring == MAXSIM
        assert Reranker(fake, calibration=replace(STEEP, scoring="proximity")).scoring == PROXIMITY
        assert Reranker(fake).scoring == DEFAULT_SCORING
        with pytest.raises(IncompatibleError, match="fitted to scoring='maxsim', this Reranker has scoring='proximity'"):
            Reranker(fake, calibration=STEEP, scoring="proximity")
        with pytest.raises(ValueError, match="scoring='mine' is not known"):
            Reranker(fake, calibration=replace(STEEP, scoring="mine"))

    @pytest.mark.parametrize("scoring", [None, *SCORINGS])
    def test_a_name_has_a_calibration_of_each_scoring(self, scoring):
        asked, found = scoring_and_calibration(scoring, "minilm")
        assert found == FITTED["minilm"][asked.name]
        assert asked.name == found.scoring == (scoring or DEFAULT_SCORING.name)

    @pytest.mark.parametrize("scoring", [None, *SCORINGS])
    def test_a_name_has_calibrations_of_the_fast_query_encoder(self, scoring, monkeypatch):
        name = scoring or DEFAULT_SCORING.name
        fast = {each: replace(found, query_fingerprint="student") for each, found in FITTED["minilm"].items()}
        monkeypatch.setitem(FITTED_FAST, "minilm", fast)
        assert scoring_and_calibration(scoring, "minilm", "student")[1] == fast[name]
        assert scoring_and_calibration(scoring, "minilm", "another")[1] == FITTED["minilm"][name]

    def test_without_one_of_the_query_encoder_the_full_ones_is_found_and_refused(self):
        found = scoring_and_calibration(None, "minilm", "student")[1]
        assert found == FITTED["minilm"][DEFAULT_SCORING.name]
        with pytest.raises(
            IncompatibleError, match=r'of query_encoder="full", this Reranker has query_encoder="mine" \(student'
        ):
            check_calibration(found, found.fingerprint, found.scoring, "student", model="minilm", query_encoder="mine")

    def test_the_advice_can_be_typed(self):
        fast = FITTED_FAST["minilm"]["maxsim"]
        told = rf'of query_encoder="fast" \({fast.query_fingerprint}\), .* calibrate BEIR_FOLDER --model minilm --out FILE$'
        with pytest.raises(IncompatibleError, match=told):
            check_calibration(fast, fast.fingerprint, model="minilm")
        told = "calibrate BEIR_FOLDER --model minilm --query-encoder mine --out FILE$"
        with pytest.raises(IncompatibleError, match=told):
            check_calibration(fast, fast.fingerprint, query_fingerprint="x", model="minilm", query_encoder="mine")

    def test_a_name_is_chosen_by_the_digest_of_what_encodes_queries(self, fake):
        found = FITTED_FAST["minilm"]["maxsim"]
        fake.fingerprint, fake.query_encoder, fake.query_fingerprint = found.fingerprint, "a/copy", found.query_fingerprint
        assert Reranker(fake, calibration="minilm", scoring="maxsim").calibration == found

    def test_a_pickled_reranker_keeps_it(self, fake):
        assert pickle.loads(pickle.dumps(Reranker(fake, calibration=STEEP))).calibration == STEEP

    def test_ours_is_the_committed_benchmarks(self):
        fitted = json.loads((Path(__file__).parents[1] / "benchmarks" / "calibration.json").read_text())["fitted"]
        assert FITTED["minilm"][DEFAULT_SCORING.name] == Calibration(**fitted)


class TestMinRelevance:
    def test_documents_below_it_are_left_out_and_the_others_stay_as_they_are(self, reranker):
        everything = reranker.rerank("cat mat", TEXTS)
        bar = everything[1].relevance
        ranked = reranker.rerank("cat mat", TEXTS, min_relevance=bar)

        assert list(ranked) == [document for document in everything if document.relevance >= bar]
        assert 1 < len(ranked) < len(everything)
        assert (ranked.n_hits + ranked.n_misses, ranked.timings_ms.keys()) == (5, everything.timings_ms.keys())

    def test_no_good_document_means_none(self, reranker):
        assert reranker.rerank("zebra", TEXTS, min_relevance=0.9) == []
        assert reranker.rerank("zebra", TEXTS)

    def test_the_ends_are_allowed(self, reranker):
        assert len(reranker.rerank("cat", TEXTS, min_relevance=0)) == len(TEXTS)
        assert reranker.rerank("cat", TEXTS, min_relevance=1) == [
            document for document in reranker.rerank("cat", TEXTS) if document.relevance == 1
        ]

    def test_what_a_caller_reads_is_what_was_compared(self, reranker):
        """As float32 both numbers would be the same."""
        best = reranker.rerank("cat mat zebra", TEXTS)[0].relevance

        assert len(reranker.rerank("cat mat zebra", TEXTS, min_relevance=best)) == 1
        assert reranker.rerank("cat mat zebra", TEXTS, min_relevance=best + 1e-10) == []

    def test_it_goes_with_top_k(self, reranker):
        for top_k in (1, 2, 9):
            assert (
                list(reranker.rerank("cat", TEXTS, top_k=top_k, min_relevance=0.5))
                == list(reranker.rerank("cat", TEXTS, min_relevance=0.5))[:top_k]
            )

    @pytest.mark.parametrize("wrong", [-0.01, 1.01, float("nan"), float("inf")])
    def test_a_value_outside_0_to_1_is_a_value_error(self, reranker, wrong):
        with pytest.raises(ValueError, match="min_relevance must be from 0 to 1"):
            reranker.rerank("cat", TEXTS, min_relevance=wrong)
        with pytest.raises(ValueError, match="min_relevance must be from 0 to 1"):
            reranker.rerank("cat", [], min_relevance=wrong)

    @pytest.mark.parametrize("wrong", ["0.5", True, [0.5]])
    def test_what_is_no_number_is_a_type_error(self, reranker, wrong):
        with pytest.raises(TypeError, match="min_relevance must be a number"):
            reranker.rerank("cat", TEXTS, min_relevance=wrong)

    def test_unscored_documents_count_as_0(self, fake):
        reranker = Reranker(fake, on_missing="skip")
        reranker.index(TEXTS[:2])

        assert {document.index for document in reranker.rerank("cat", TEXTS, min_relevance=0.5)} == {0}
        assert len(reranker.rerank("cat", TEXTS, min_relevance=0)) == len(TEXTS)

    def test_all_four_doors_have_it(self, reranker):
        expected = reranker.rerank("cat mat", TEXTS, min_relevance=0.6)
        batch = reranker.rerank_batch(["cat mat", "zebra"], [TEXTS, TEXTS], min_relevance=0.6)
        searcher = Searcher(BM25Retriever(TEXTS), reranker)

        assert expected
        assert [list(ranking) for ranking in batch] == [expected, []]
        assert asyncio.run(reranker.arerank("cat mat", TEXTS, min_relevance=0.6)) == expected
        assert [document.text for document in searcher.search("cat mat", min_relevance=0.6)] == [d.text for d in expected]
        assert searcher.search("zebra", min_relevance=0.6) == []
