import json

import numpy as np
import pytest

from late_rerank import Candidate, Reranker
from late_rerank.cli import main
from late_rerank.evaluate.calibration import ScoredQuery, best_candidates, fit_calibration, label_queries, score_queries
from late_rerank.evaluate.calibration_measures import area_under_curve, calibrate, measure_calibration, reliability
from late_rerank.ranking.relevance import Calibration
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder

DOCUMENTS = [
    Candidate(text, name)
    for name, text in [("a", "cats sat"), ("b", "the cat sat"), ("c", "a dog"), ("d", "cat"), ("e", "owl")]
]
QUERIES = {"q1": "cat sat", "q2": "dog cat", "blank in the judgements": "x", "q3": "zebra"}
QRELS = {"q1": {"b": 2, "d": 0}, "q2": {"e": 1}, "blank in the judgements": {"a": 0}, "q3": {"gone": 1}, "no text": {"a": 1}}


def drawn(n_queries, *, weights=(-8.0, 12.0, 0.5), seed=0):
    """Queries of one candidate a list, whose relevance is drawn from a known curve."""
    random = np.random.default_rng(seed)
    queries = []
    while len(queries) < n_queries:
        n, (first, second) = int(random.integers(4, 40)), random.uniform(0.2, 1, 2)
        chance = 1 / (1 + np.exp(-(weights[0] + weights[1] * np.array([first, second]) + weights[2] * np.log(n))))
        relevant = random.random(2) < chance
        if relevant.tolist() == [True, False]:
            queries.append(ScoredQuery(n, np.array([first * n], np.float32), np.array([second * n], np.float32)))
    return queries


class TestLabels:
    def test_others_are_the_first_stages_best_that_nobody_judged_relevant(self):
        first, second = sorted(label_queries(BM25Retriever(DOCUMENTS), DOCUMENTS, QUERIES, QRELS, k=3), key=lambda q: q.text)

        assert (first.text, [document.id for document in first.relevant]) == ("cat sat", ["b"])
        assert len(first.others) == 3
        assert "b" not in {document.id for document in first.others}
        assert (second.text, [document.id for document in second.relevant]) == ("dog cat", ["e"])  # not found: the judged one

    def test_the_same_queries_are_drawn_each_time_and_fewer_are_the_first_of_more(self):
        queries = {str(i): f"cat {i}" for i in range(50)}
        qrels = {str(i): {"b": 1} for i in range(50)}

        def names(n, judgements=qrels):
            return [q.text for q in label_queries(BM25Retriever(DOCUMENTS), DOCUMENTS, queries, judgements, n_queries=n)]

        assert names(20) == names(20) == names(None)[:20] != sorted(names(None))[:20]
        assert names(20, dict(reversed(qrels.items()))) == names(20)

    def test_a_querys_own_document_is_left_out(self):
        queries, qrels = {"b": "the cat sat"}, {"b": {"b": 1, "a": 1}}
        (labelled,) = label_queries(BM25Retriever(DOCUMENTS), DOCUMENTS, queries, qrels, k=3)
        assert [document.id for document in labelled.relevant] == ["a"]
        assert "b" not in {document.id for document in labelled.others}
        assert (len(labelled.others), labelled.n_own_documents_left_out) == (3, 1)
        (kept,) = label_queries(BM25Retriever(DOCUMENTS), DOCUMENTS, queries, qrels, k=3, ignore_identical_ids=False)
        assert "b" in {document.id for document in kept.relevant}

    def test_scores_are_those_of_rerank(self, fake):
        labelled = label_queries(BM25Retriever(DOCUMENTS), DOCUMENTS, QUERIES, QRELS, k=3)
        for query, scored in zip(labelled, score_queries(Reranker(fake), labelled), strict=True):
            ranked = Reranker(fake).rerank(query.text, [*query.relevant, *query.others])
            expected = [document.score for document in sorted(ranked, key=lambda document: document.index)]
            np.testing.assert_allclose([*scored.relevant, *scored.others], expected, atol=1e-5)
            assert (scored.n_query_tokens, len(scored.relevant)) == (2, len(query.relevant))

    def test_both_lists_are_equally_long_and_one_has_no_relevant_document(self):
        query = ScoredQuery(2, np.array([9], np.float32), np.array([5, 7, 6], np.float32))

        assert [scores.tolist() for scores in query.lists()] == [[9, 5, 7], [5, 7, 6]]
        means, lengths, relevant = best_candidates([query])
        assert (means.tolist(), lengths.tolist(), relevant.tolist()) == ([4.5, 3.5], [2, 2], [1, 0])

    def test_an_answerable_list_whose_best_is_not_the_relevant_one_counts_as_not_relevant(self):
        _, _, relevant = best_candidates([ScoredQuery(2, np.array([6], np.float32), np.array([5, 7], np.float32))])
        assert relevant.tolist() == [1, 0]
        _, _, relevant = best_candidates([ScoredQuery(2, np.array([6], np.float32), np.array([7, 5], np.float32))])
        assert relevant.tolist() == [0, 0]


class TestFit:
    def test_it_is_the_maximum_of_the_likelihood(self):
        queries = drawn(400)
        fitted = fit_calibration(queries, "x", "maxsim")
        means, lengths, relevant = best_candidates(queries)

        def surprise(intercept, weight, length):
            said = 1 / (1 + np.exp(-(intercept + weight * means + length * np.log(lengths))))
            return -np.log(np.where(relevant == 1, said, 1 - said)).sum()

        best = np.array([fitted.intercept, fitted.mean_weight, fitted.length_weight])
        for step in [*np.eye(3), *-np.eye(3)]:
            assert surprise(*best) < surprise(*(best + 0.1 * step))

    def test_what_it_says_comes_true_on_other_queries(self):
        fitted = fit_calibration(drawn(1500), "x", "maxsim")

        assert measure_calibration(drawn(1500, seed=1), fitted).calibration_error < 0.05
        assert measure_calibration(drawn(1500, seed=1), None).calibration_error > 0.1

    def test_scores_that_part_both_kinds_entirely_still_give_a_finite_curve(self):
        apart = [ScoredQuery(8, np.array([7], np.float32), np.array([2], np.float32))] * 30
        fitted = fit_calibration(apart, "x", "maxsim")

        assert fitted.relevance(np.array([7, 2], np.float32), 8) == pytest.approx([1, 0], abs=0.05)

    def test_scores_that_say_nothing_or_the_contrary_are_refused(self):
        for relevant, other in ((2, 7), (5, 5)):
            queries = [ScoredQuery(8, np.array([relevant], np.float32), np.array([other], np.float32))] * 30
            with pytest.raises(ValueError, match="don't score above others"):
                fit_calibration(queries, "x", "maxsim")

    def test_it_names_the_query_encoder_that_made_the_scores(self):
        assert fit_calibration(drawn(60), "x", "maxsim", "student").query_fingerprint == "student"
        assert calibrate(drawn(60), "x", "maxsim", "student").calibration.query_fingerprint == "student"
        for own in (None, "x"):  # the encoder itself
            assert fit_calibration(drawn(60), "x", "maxsim", own).query_fingerprint is None

    def test_too_few_queries_are_refused(self):
        with pytest.raises(ValueError, match="got 19 judged queries with candidates; a calibration needs at least 20"):
            fit_calibration(drawn(19), "x", "maxsim")


class TestMeasures:
    def test_area_under_the_curve_counts_pairs_and_ties_half(self):
        assert area_under_curve(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == pytest.approx(3.5 / 4)

    def test_bins_hold_what_was_said_and_what_came_true(self):
        found = reliability(np.array([0.0, 0.04, 0.55, 1.0]), np.array([0.0, 1, 1, 1]))

        assert found == [pytest.approx((0.02, 0.5, 2)), pytest.approx((0.55, 1, 1)), pytest.approx((1, 1, 1))]

    def test_a_report_counted_by_hand(self):
        scored = [  # clipped means: best .9 relevant, .4 without; best .6 is not the relevant one, .6 without
            ScoredQuery(10, np.array([9], np.float32), np.array([4, 2], np.float32)),
            ScoredQuery(10, np.array([3], np.float32), np.array([6, 2], np.float32)),
        ]
        report = measure_calibration(scored, None)

        assert report.n_queries == 2
        assert (report.abstained["0.5"], report.kept["0.5"]) == (0.5, 1.0)
        assert report.kept["0.75"] == 0.5
        assert report.area_under_curve == pytest.approx((2 + 1.5) / 4)
        assert report.calibration_error == pytest.approx((0.1 + 0.4 + 0.6 + 0.6) / 4, abs=1e-4)
        assert report.bins == [(0.4, 0.0, 1), (0.6, 0.0, 2), (0.9, 1.0, 1)]

    def test_a_relevance_that_equals_the_bar_is_kept_as_rerank_keeps_it(self):
        report = measure_calibration([ScoredQuery(10, np.array([5], np.float32), np.array([5], np.float32))], None)

        assert (report.kept["0.5"], report.abstained["0.5"]) == (1.0, 0.0)

    def test_no_query_is_refused(self):
        with pytest.raises(ValueError, match="nothing to measure"):
            measure_calibration([], None)


class TestCalibrate:
    def test_every_fifth_query_is_measured_on_and_the_last_fit_is_of_all(self):
        scored = drawn(60)
        found = calibrate(scored, "f", "maxsim")

        held_out = [query for i, query in enumerate(scored) if i % 5 == 0]
        others = [query for i, query in enumerate(scored) if i % 5]
        assert found.calibration == fit_calibration(scored, "f", "maxsim") != fit_calibration(others, "f", "maxsim")
        assert found.clipped_mean == measure_calibration(held_out, None)
        assert found.calibrated == measure_calibration(held_out, fit_calibration(others, "f", "maxsim"))

    def test_it_keeps_the_scoring(self):
        assert calibrate(drawn(60), "f", "proximity").calibration == fit_calibration(drawn(60), "f", "proximity")

    def test_what_is_left_to_fit_to_must_be_enough(self):
        with pytest.raises(ValueError, match="got 19 judged queries with candidates; a calibration needs at least 20"):
            calibrate(drawn(24), "f", "maxsim")


class TestCommand:
    @pytest.fixture
    def beir(self, tmp_path, monkeypatch):
        """A folder in which the relevant document holds all of a query's words and others some, and a model without weights."""
        monkeypatch.setattr("late_rerank.reranker.as_encoder", lambda *_: FakeEncoder())
        folder = tmp_path / "beir"
        (folder / "qrels").mkdir(parents=True)
        documents = [f"alpha{i} beta{i} gamma{i} and more" for i in range(60)] + [f"alpha{i} beta{i} only" for i in range(60)]
        (folder / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": str(i), "text": t}) for i, t in enumerate(documents)))
        queries = [json.dumps({"_id": f"q{i}", "text": f"alpha{i} beta{i} gamma{i}"}) for i in range(60)]
        (folder / "queries.jsonl").write_text("\n".join(queries))
        lines = [f"q{i}\t{i}\t1" for i in range(60)]
        (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
        return folder

    def test_it_fits_measures_and_writes_what_a_reranker_takes(self, beir, tmp_path, capsys):
        out = tmp_path / "calibration.json"
        assert main(["calibrate", str(beir), "--out", str(out), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)

        assert (report["datasets"], report["n_queries"], report["out"]) == (["beir"], 60, str(out))
        assert report["held_out"]["calibrated"]["n_queries"] == 12
        assert report["held_out"]["calibrated"]["abstained"]["0.5"] == 1
        assert report["held_out"]["clipped_mean"]["abstained"]["0.5"] == 0
        assert Calibration.load(out) == Calibration(**report["calibration"])
        texts = ["alpha1 beta1 only", "alpha1 beta1 gamma1 and more"]
        reranker = Reranker(FakeEncoder(), calibration=out)
        assert [document.index for document in reranker.rerank("alpha1 beta1 gamma1", texts, min_relevance=0.5)] == [1]
        assert reranker.rerank("alpha1 beta1 gamma1", texts[:1], min_relevance=0.5) == []

    def test_it_prints_a_table_and_the_line_of_python_that_uses_it(self, beir, tmp_path, capsys):
        assert main(["calibrate", str(beir), str(beir), "--n-queries", "30", "--out", str(tmp_path / "c.json")]) == 0
        out = capsys.readouterr().out

        assert "12 queries held out of 60" in out
        assert "expected calibration error" in out
        assert f"calibration={str(tmp_path / 'c.json')!r}" in out

    def test_it_is_fitted_to_the_scoring_that_is_named_and_refused_with_another(self, beir, tmp_path, capsys):
        out, documents = tmp_path / "c.json", str(beir / "corpus.jsonl")
        assert main(["calibrate", str(beir), "--scoring", "proximity", "--out", str(out)]) == 0
        assert f"calibration={str(out)!r})" in capsys.readouterr().out
        assert Calibration.load(out).scoring == "proximity"
        for named in (["--scoring", "proximity"], []):
            assert main(["search", documents, "alpha1", "--calibration", str(out), *named]) == 0
        capsys.readouterr()
        for command in (["search", documents, "alpha1"], ["rerank", "alpha1", documents], ["mcp"], ["serve"]):
            assert main([*command, "--calibration", str(out), "--scoring", "maxsim"]) == 1
            told = capsys.readouterr().err
            assert "the calibration was fitted to scoring='proximity', this Reranker has scoring='maxsim'" in told
            assert told.count("\n") == 1

    def test_a_byte_order_mark_costs_no_query_and_a_query_without_a_text_is_told_as_by_eval(self, beir, capsys):
        qrels = beir / "qrels" / "train.tsv"
        lines = qrels.read_bytes().partition(b"\n")[2]
        qrels.write_bytes(b"\xef\xbb\xbf" + lines)
        assert main(["calibrate", str(beir), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["n_queries"] == 60
        qrels.write_bytes(lines + b"q99\t1\t1\n")
        for command in ("calibrate", "tune", "eval"):
            assert main([command, str(beir), "--split", "train"]) == 1
            assert "1 judged queries of qrels/train.tsv have no text in queries.jsonl, 'q99' first" in capsys.readouterr().err

    def test_a_querys_own_document_is_neither_relevant_nor_another(self, beir, capsys):
        """Query i is named as the document that holds half of its words, which was judged relevant beside the right one."""
        queries = [json.dumps({"_id": str(60 + i), "text": f"alpha{i} beta{i} gamma{i}"}) for i in range(60)]
        (beir / "queries.jsonl").write_text("\n".join(queries))
        rows = [f"{60 + i}\t{i}\t1\n{60 + i}\t{60 + i}\t{int(i == 0)}\n" for i in range(60)]
        (beir / "qrels" / "train.tsv").write_text("".join(rows))
        assert main(["calibrate", str(beir), "--json"]) == 0
        printed = capsys.readouterr()
        assert json.loads(printed.out)["n_own_documents_left_out"] == 60
        assert "1 of 60 queries have a document judged relevant that has the query's id, '60' first" in printed.err
        assert main(["calibrate", str(beir), "--keep-identical-ids", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["n_own_documents_left_out"] == 0

    def test_what_cannot_be_written_or_read_is_told_at_once(self, beir, tmp_path, capsys):
        assert main(["calibrate", str(beir), "--out", str(tmp_path / "none" / "c.json")]) == 1
        assert "there is no folder" in capsys.readouterr().err
        assert main(["calibrate", str(tmp_path)]) == 1
        assert "no corpus.jsonl" in capsys.readouterr().err
        assert main(["calibrate", str(beir), "--split", "test"]) == 1
        assert "its splits: train" in capsys.readouterr().err
        assert main(["calibrate", str(beir), "--n-queries", "10"]) == 1
        assert "needs at least" in capsys.readouterr().err
