"""The benchmark of query encoders: what it asks, what it makes of what it measured, and its chart."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from benchmarks import query_encoder, query_encoder_tables
from benchmarks.judged_folders import chosen, judged
from benchmarks.query_encoder_quality import DEVELOPMENT, TEST, asked, mean_with_range, overall, row
from benchmarks.query_encoder_tables import BARS, COLLECTIONS, bars, chart
from benchmarks.query_encoder_times import CALLS, in_turns, labels, texts_of, with_ratios

from late_rerank.evaluate.evaluation import Evaluation
from late_rerank.ranking.relevance import Calibration
from late_rerank.train.minilm_fast import chosen_by_of


class TestQueryEncoders:
    def test_the_full_one_comes_first_whether_asked_for_or_not(self):
        assert list(labels(["fast", "full"])) == ["full", "fast"]

    def test_a_folder_is_called_by_its_name(self):
        assert labels(["/tmp/tried/three-layers/"]) == {"full": "full", "three-layers": "/tmp/tried/three-layers/"}

    def test_two_folders_of_one_name_are_refused(self):
        with pytest.raises(ValueError, match="'same': a/same and b/same"):
            labels(["a/same", "b/same"])


class TestTurns:
    def test_each_contender_has_as_many_calls_and_all_get_the_same_turns(self):
        got = {"full": [], "fast": []}
        rows = in_turns({name: turns.append for name, turns in got.items()}, 3)
        assert got["full"] == got["fast"] == [turn for turn in range(3) for _ in range(1 + CALLS)]
        assert {name: len(found) for name, found in rows.items()} == {"full": 3 * CALLS, "fast": 3 * CALLS}

    def test_what_is_told_is_what_the_calls_gave(self):
        rows = in_turns({"full": lambda turn: turn * 10}, 2)
        assert [given for given, _, _ in rows["full"]] == [0] * CALLS + [10] * CALLS
        assert all(clock >= 0 and cpu >= 0 for _, clock, cpu in rows["full"])

    def test_ratios_are_to_the_full_query_encoder(self):
        found = with_ratios({"full": {"median_ms": 5.0, "cpu_ms": 4.0}, "fast": {"median_ms": 2.0, "cpu_ms": 1.0}})
        assert found["fast"]["of_full"] == {"median_ms": 0.4, "cpu_ms": 0.25}
        assert "of_full" not in found["full"]

    def test_texts_have_exactly_as_many_tokens_as_asked(self):
        words = [letter * length for letter in "abcdefgh" for length in (1, 3, 2, 5, 4)] * 4

        def count(text):
            return 2 + len(text.replace(" ", ""))

        found = texts_of(words, 12, count, 5)
        assert [count(text) for text in found] == [12] * 5
        assert len(set(found)) == 5

    def test_too_few_words_are_told(self):
        with pytest.raises(ValueError, match="3 words make 1 texts of 5 tokens; 2 are needed"):
            texts_of(["a", "b", "c"], 5, lambda text: 2 + len(text.split()), 2)


@pytest.fixture
def collection(tmp_path):
    """A folder with test and train queries, and a stored first stage."""
    folder = tmp_path / "scifact"
    (folder / "qrels").mkdir(parents=True)
    (folder / "candidates").mkdir()
    texts = {"a": "cats sleep all day", "b": "dogs bark at night", "c": "rivers run to the sea"}
    lines = [json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = {"1": "cats", "2": "dogs", "3": "rivers", "4": "sea"}
    (folder / "queries.jsonl").write_text("\n".join(json.dumps({"_id": name, "text": text}) for name, text in queries.items()))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t1\n")
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n3\tc\t1\n4\tc\t1\n")
    (folder / "candidates" / "BM25.tsv").write_text("1\tc\t1\t2.0\n1\ta\t2\t1.0\n2\tb\t1\t1.0\n")
    return folder


class TestCollections:
    def test_a_stored_first_stage_is_that_of_test_queries_alone(self, collection):
        def first(split):
            return {name: [each.id for each in found] for name, found in judged(collection, split, engine="bm25s").run.items()}

        assert first("test") == {"1": ["c", "a"], "2": ["b"]}
        assert {name: found[0] for name, found in first("train").items()} == {"3": "c", "4": "c"}

    def test_no_development_query_is_a_test_query(self):
        assert "test" not in DEVELOPMENT.values()
        assert set(TEST.values()) == {"test"}
        assert set(TEST) == COLLECTIONS

    def test_train_queries_are_asked_only_if_they_were_held_out(self, collection, tmp_path, monkeypatch):
        monkeypatch.setattr("late_rerank.train.minilm_fast._N_CHOSEN_BY", 1)
        left_out = chosen_by_of(collection).held_out.queries
        assert asked(collection.parent, {"scifact": "train"})["scifact"].queries == left_out
        assert len(left_out) == 1
        (tmp_path / "held.json").write_text("[]")
        with pytest.raises(ValueError, match="expected ids of train queries"):
            asked(collection.parent, {"scifact": "train"}, held_out=tmp_path / "held.json")
        (tmp_path / "held.json").write_text('["4"]')
        found = asked(collection.parent, {"scifact": "train"}, held_out=tmp_path / "held.json")
        assert list(found["scifact"].qrels) == ["4"]

    def test_a_held_out_query_that_is_not_there_is_told(self):
        with pytest.raises(ValueError, match="1 of 2 queries aren't judged in this split, '9' first"):
            chosen({"1": {}, "2": {}}, ["1", "9"])

    def test_a_sample_is_the_same_each_time_in_any_order(self):
        names = [str(i) for i in range(100)]
        drawn = chosen(dict.fromkeys(names), n_queries=10)
        assert len(drawn) == 10
        assert set(chosen(dict.fromkeys(reversed(names)), n_queries=10)) == set(drawn)
        assert chosen(dict.fromkeys(names), n_queries=1000) == names


def evaluation(ndcg, score):
    """Two queries with such figures, and one candidate each that scores so."""
    figures = {name: dict(zip("ab", ndcg, strict=True)) for name in ("nDCG@10", "RR@10", "R@100")}
    means = {name: sum(ndcg) / 2 for name in figures}
    runs = {"first_stage": means, "reranked": means}
    by_query = {"first_stage": figures, "reranked": figures}
    ranked = {name: [("x", score), ("y", score / 2)] for name in "ab"}
    return Evaluation(2, runs, {"p50": 1.0, "p99": 2.0}, {}, by_query, ranked)


def vectors(angle):
    """Two queries of two tokens, turned by an angle."""
    return {name: np.array([[np.cos(angle), np.sin(angle)]] * 2, dtype=np.float32) for name in "ab"}


MEASURED = {
    "one": {"full": (evaluation([0.5, 0.7], 1.2), vectors(0)), "fast": (evaluation([0.5, 0.5], 1.0), vectors(np.pi / 3))},
    "two": {"full": (evaluation([0.2, 0.4], 1.2), vectors(0)), "fast": (evaluation([0.4, 0.4], 1.2), vectors(0))},
}


class TestQuality:
    def test_a_collection_tells_loss_and_cosine_and_what_relevance_becomes(self):
        found = row(MEASURED["one"], Calibration("any", -5.0, 8.0, 0.0))["query_encoders"]
        assert found["fast"]["nDCG@10"] == 0.5
        assert found["fast"]["difference"]["mean"] == -0.1
        assert found["fast"]["token_cosine"] == 0.5
        assert found["full"]["relevance"]["clipped_mean"] == {"best": 0.6, "all": 0.45}
        assert found["fast"]["relevance"]["clipped_mean"] == {"best": 0.5, "all": 0.375}
        assert found["fast"]["relevance"]["calibrated"]["best"] == round(1 / (1 + np.exp(5 - 8 * 0.5)), 4)
        assert "difference" not in found["full"]

    def test_without_a_calibration_none_is_told(self):
        assert set(row(MEASURED["one"], None)["query_encoders"]["fast"]["relevance"]) == {"clipped_mean"}

    def test_the_mean_counts_each_collection_once_and_names_the_worst(self):
        rows = {name: row(found, None) for name, found in MEASURED.items()}
        found = overall(rows, MEASURED)
        assert found["full"] == {"nDCG@10": 0.45}
        assert found["fast"]["difference"]["mean"] == 0.0
        assert found["fast"]["worst"] == {"collection": "one", "difference": -0.1}

    def test_the_range_of_a_mean_lies_around_it(self):
        changes = [np.array([-0.1, 0.1, 0.0, -0.2]), np.array([0.0, 0.05])]
        found = mean_with_range(changes)
        assert found["mean"] == round((-0.05 + 0.025) / 2, 4)
        assert found["low"] < found["mean"] < found["high"]
        assert mean_with_range([np.zeros(3)] * 2) == {"mean": 0, "low": 0, "high": 0}


def turn(rate, **more):
    return {"requests_per_second": rate, "requests_per_cpu_second": rate / 2, "p50_ms": 4.0, "p99_ms": 8.0, **more}


class TestServers:
    def test_are_told_by_the_median_of_their_turns(self):
        good = {"failed": 0, "not_200": 0}
        turns = {
            "full": [turn(rate, **good) for rate in (90, 100, 170)],
            "fast": [turn(rate, **good) for rate in (180, 100, 190)],
        }
        found = query_encoder.served(turns)
        assert found["full"]["requests_per_second"] == 100
        assert found["fast"]["of_full"]["requests_per_second"] == 1.8

    def test_that_failed_requests_are_no_measurement(self):
        with pytest.raises(RuntimeError, match="requests failed with query_encoder='full'"):
            query_encoder.served({"full": [turn(100, failed=0, not_200=1)]})


def timed(ratio):
    figures = {"median_ms": 5.0, "p99_ms": 9.0, "cpu_ms": 5.0, "encode_query_ms": 4.0, "maxsim_ms": 0.5}
    fast = {name: value * ratio for name, value in figures.items()}
    by_label = with_ratios({"full": dict(figures), "fast": fast})
    return {"engines": {"onnx": {"n_tokens": {"16": by_label, "32": by_label}}}}


def ranked(change, worst, collections=COLLECTIONS):
    relevance = {kind: {"best": 0.6, "all": 0.3} for kind in ("clipped_mean", "calibrated")}
    told = {"difference": {"mean": change, "low": -0.02, "high": 0.02}, "nDCG@10": 0.55 + change, "token_cosine": 0.9}
    worst = {"collection": "cranfield", "difference": worst}
    full = {"nDCG@10": 0.55, "relevance": relevance}
    by_label = {"full": full, "fast": {**told, "difference": {**told["difference"], "p": 0.5}, "relevance": relevance}}
    mean = {"full": {"nDCG@10": 0.55}, "fast": {**told, "worst": worst}}
    return {"collections": {name: {"query_encoders": by_label} for name in collections}, "mean": mean}


class TestBars:
    @pytest.mark.parametrize(("ratio", "holds"), [(0.39, True), (0.41, False)])
    def test_time_must_not_be_above_its_bar(self, ratio, holds):
        (found,) = bars("encode", timed(ratio))
        assert found["where"] == "onnx"
        assert found["holds"] is holds

    @pytest.mark.parametrize(("change", "worst", "hold"), [(-0.007, -0.016, [True, False]), (-0.009, -0.014, [False, True])])
    def test_quality_must_not_be_below_its_bars(self, change, worst, hold):
        assert [each["holds"] for each in bars("quality", ranked(change, worst))] == hold

    def test_quality_has_bars_for_all_collections_only(self):
        assert bars("quality", ranked(0, 0, ["scifact"])) == []

    def test_requests_must_not_be_below_theirs(self):
        report = {"engines": {"onnx": {"query_encoders": {"full": {}, "fast": {"of_full": {"requests_per_second": 1.59}}}}}}
        assert [each["holds"] for each in bars("serve", report)] == [False]

    def test_other_parts_have_none(self):
        assert bars("development", ranked(0, 0)) == []


class TestReports:
    def test_a_part_is_kept_beside_the_others(self, tmp_path):
        path = tmp_path / "kept.json"
        query_encoder.keep(path, "encode", {"turns": 1})
        query_encoder.keep(path, "rerank", {"turns": 2})
        query_encoder.keep(path, "encode", {"turns": 3})
        assert json.loads(path.read_text()) == {"encode": {"turns": 3}, "rerank": {"turns": 2}}

    def test_a_command_names_no_path_of_the_machine(self):
        command = query_encoder.command(["quality", "/data/all", "--query-encoder", "fast", "--held-out", "/data/held.json"])
        assert command == "python tests/benchmarks/query_encoder.py quality PATH --query-encoder fast --held-out PATH"

    def test_tables_have_as_many_cells_as_their_header(self):
        served = query_encoder.served({label: [turn(100, failed=0, not_200=0)] for label in ("full", "fast")})
        reports = {
            "encode": timed(0.4),
            "rerank": timed(0.4),
            "quality": ranked(0, 0),
            "serve": {"engines": {"onnx": {"query_encoders": served}}},
        }
        tables = [table for table in query_encoder_tables.TABLES.values() if table[0] in reports]
        assert len(tables) == 5
        for part, header, rows in tables:
            found = rows(reports[part])
            assert found
            assert {line.count("|") for line in found} == {header.count("|")}


REPORT = {"encode": timed(0.4), "quality": ranked(-0.01, -0.02)}


class TestChart:
    def test_shows_each_query_encoder_and_the_bars(self):
        drawn = ElementTree.fromstring(chart(REPORT))
        spaces = {"svg": "http://www.w3.org/2000/svg"}
        texts = [each.text for each in drawn.findall("svg:text", spaces)]
        assert {"full", "fast"} <= set(texts)
        assert len(drawn.findall("svg:path", spaces)) == 2
        full, fast = drawn.findall("svg:circle", spaces)
        assert float(fast.get("cx")) < float(full.get("cx"))  # faster
        assert float(fast.get("cy")) > float(full.get("cy"))  # worse

    def test_leaves_out_what_has_no_figure_of_both(self):
        report = {**REPORT, "quality": {"mean": {"full": {"nDCG@10": 0.55}}}}
        assert "fast" not in chart(report)

    def test_is_the_committed_one(self):
        report = json.loads(query_encoder_tables.RESULT.read_text(encoding="utf-8"))
        assert query_encoder_tables.CHART.read_text(encoding="utf-8") == chart(report)

    def test_a_name_can_have_any_letters(self):
        by_label = timed(0.4)["engines"]["onnx"]["n_tokens"]["32"]
        times = {"engines": {"onnx": {"n_tokens": {"32": {**by_label, "a<b&c": by_label["fast"]}}}}}
        mean = {**ranked(0, 0)["mean"], "a<b&c": {"nDCG@10": 0.5}}
        assert ElementTree.fromstring(chart({"encode": times, "quality": {"mean": mean}})).tag.endswith("svg")

    def test_bars_are_those_that_were_asked(self):
        assert list(BARS["encode"].values()) == [0.4]
        assert list(BARS["quality"].values()) == [-0.008, -0.015]
