import math
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from late_rerank import Candidate, FusedReranker, Reranker
from late_rerank.evaluate import Judged, evaluate, evaluate_fused, read_run, retrieve_run, write_run
from late_rerank.evaluate.evaluation import evaluate_judged, longest_first, means, measure
from late_rerank.evaluate.judged import retrieve_judged
from late_rerank.evaluate.single_vector import SingleVectorReranker
from late_rerank.ranking.wanted import Wanted
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder

DOCUMENTS = {
    name: Candidate(text, name) for name, text in [("a", "cats sat"), ("b", "the cat sat"), ("c", "a dog"), ("d", "cat")]
}
QUERIES = {"q1": "cat sat", "q2": "dog", "unjudged": "x"}
QRELS = {"q1": {"b": 2, "d": 1}, "q2": {"c": 1}}


def test_measures_are_the_textbooks():
    found = means(measure({"q1": ["a", "b", "d"], "q2": ["c"]}, QRELS))
    ideal = 2 + 1 / 1.5849625
    q1 = (2 / 1.5849625 + 1 / 2) / ideal  # linear gain

    assert found == {
        "nDCG@10": pytest.approx((q1 + 1) / 2, abs=1e-4),
        "RR@10": pytest.approx(0.75),
        "R@100": pytest.approx(1.0),
    }


def test_a_query_without_candidates_counts_as_zero():
    assert measure({"q1": [], "q2": ["c"]}, QRELS)["nDCG@10"] == {"q1": 0, "q2": pytest.approx(1)}


def test_ties_and_ids_never_decide():
    """trec_eval sorts equal scores by id; the order of the ranking must count alone."""
    ranked = [f"{i:03d}" for i in range(100)]
    qrels = {"q": {"000": 1}}

    assert measure({"q": ranked}, qrels)["RR@10"] == {"q": 1.0}
    assert measure({"q": ranked[::-1]}, qrels)["RR@10"] == {"q": 0.0}


def test_a_run_is_measured_before_and_after():
    run = {"q1": [DOCUMENTS[name] for name in "acbd"], "q2": [DOCUMENTS[name] for name in "abc"]}
    result = evaluate(Reranker(FakeEncoder()), run, QUERIES, QRELS)

    assert result.n_queries == 2
    assert result.measures["first_stage"]["RR@10"] == pytest.approx(1 / 3, abs=1e-4)
    assert result.measures["reranked"]["RR@10"] == pytest.approx(1)
    assert result.measures["reranked"]["nDCG@10"] > result.measures["first_stage"]["nDCG@10"]
    assert result.latency_ms["p99"] >= result.latency_ms["p50"] > 0
    added = result.differences["RR@10"]
    assert added.mean == pytest.approx(1 - 1 / 3)
    assert added.low <= added.mean <= added.high
    for query, best in (("q1", "b"), ("q2", "c")):
        documents, scores = zip(*result.ranked[query], strict=True)
        assert documents[0] == best
        assert sorted(documents) == sorted(candidate.id for candidate in run[query])
        assert sorted(scores, reverse=True) == list(scores)


def test_runs_from_retrievers_and_files_agree(tmp_path):
    retriever = BM25Retriever(list(DOCUMENTS.values()))
    run = retrieve_run(retriever, QUERIES, 3)
    rows = [(name, candidate, rank) for name in run for rank, candidate in enumerate(run[name], 1)]
    (tmp_path / "run.tsv").write_text("".join(f"{q}\t{c.id}\t{rank}\t{c.score}\n" for q, c, rank in reversed(rows)))
    (tmp_path / "run.trec").write_text("".join(f"{q} Q0 {c.id} {rank} {c.score} tag\n" for q, c, rank in rows))

    assert read_run(tmp_path / "run.tsv", DOCUMENTS, 3) == run
    equal_scores_by_id = {  # trec_eval's order, from the last id to the first
        name: sorted(sorted(found, key=lambda each: each.id, reverse=True), key=lambda each: -each.score)
        for name, found in run.items()
    }
    assert read_run(tmp_path / "run.trec", DOCUMENTS, 3) == equal_scores_by_id != run
    assert [len(found) for found in read_run(tmp_path / "run.trec", DOCUMENTS, 2).values()] == [2, 2, 2]


def test_a_written_run_measures_the_same_elsewhere(tmp_path):
    """Equal scores, whatever the ids, and scores that differ in no digit of 32 bits: the order must stay."""
    ranked = {"q1": [("a", 2.0), ("d", 2.0), ("b", 2.0 - 1e-12), ("c", -1e9)], "q2": [("b", 0.1), ("c", 0.1)]}
    write_run(tmp_path / "run.trec", ranked, "ours")
    lines = [line.split() for line in (tmp_path / "run.trec").read_text().splitlines()]
    assert [line[:4] for line in lines[:2]] == [["q1", "Q0", "a", "1"], ["q1", "Q0", "d", "2"]]
    found = read_run(tmp_path / "run.trec", DOCUMENTS, 10)
    assert {query: [candidate.id for candidate in run] for query, run in found.items()} == {"q1": [*"adbc"], "q2": [*"bc"]}

    (tmp_path / "qrels").write_text("".join(f"{q} 0 {d} {n}\n" for q, judged in QRELS.items() for d, n in judged.items()))
    command = [sys.executable, "-m", "ir_measures", tmp_path / "qrels", tmp_path / "run.trec", "nDCG@10", "RR@10"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = dict(line.split() for line in printed.splitlines())
    ours = means(measure({query: [document for document, _ in run] for query, run in ranked.items()}, QRELS))
    assert {name: float(value) for name, value in theirs.items()} == {name: ours[name] for name in theirs}


@pytest.mark.parametrize("name", ["two words", "", "line\n"])
def test_a_name_that_a_run_can_not_hold_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="can't hold the name"):
        write_run(tmp_path / "run", {"q": [(name, 1.0)]}, "ours")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [("q1\ta\t1", "expected query id"), ("q1\tz\t1\t2.0", "'z' is not in the corpus"), ("q1\ta\tone\t2.0", "rank must be")],
)
def test_a_damaged_run_names_the_line(tmp_path, line, complaint):
    (tmp_path / "run.tsv").write_text(f"query-id\tcorpus-id\trank\tscore\n{line}\n")
    with pytest.raises(ValueError, match=f"line 2.*{complaint}"):
        read_run(tmp_path / "run.tsv", DOCUMENTS, 3)


def test_what_cannot_be_measured_is_refused():
    reranker = Reranker(FakeEncoder())
    with pytest.raises(ValueError, match="nothing to measure"):
        evaluate(reranker, {}, QUERIES, {})
    with pytest.raises(ValueError, match="have no text, 'q1' first"):
        evaluate(reranker, {}, {}, QRELS)
    with pytest.raises(ValueError, match="no id"):
        evaluate(reranker, {"q1": [Candidate("x")]}, QUERIES, QRELS)
    with pytest.raises(ValueError, match="none of the 2 judged queries"):
        evaluate(reranker, {"unjudged": [DOCUMENTS["a"]], "q1": []}, QUERIES, QRELS)


ZOOS = {
    name: Candidate(text, name)
    for name, text in [
        ("zoo-a", "Zoos protect endangered animals from hunters."),
        ("zoo-b", "Zoos cannot protect endangered animals from loss of habitat."),
        ("tax-a", "A carbon tax makes companies burn less coal."),
        ("tax-b", "A carbon tax moves companies that burn coal abroad."),
    ]
}
ARGUMENTS = {name: ZOOS[name].text for name in ("zoo-a", "tax-a")}
COUNTERARGUMENTS = {"zoo-a": {"zoo-b": 1}, "tax-a": {"tax-b": 1}}


def test_a_querys_own_document_is_left_out_as_beir_does_and_counted():
    run = retrieve_run(BM25Retriever(list(ZOOS.values())), ARGUMENTS, 4)
    assert {name: found[0].id for name, found in run.items()} == {"zoo-a": "zoo-a", "tax-a": "tax-a"}
    result = evaluate(Reranker(FakeEncoder()), run, ARGUMENTS, COUNTERARGUMENTS)

    assert result.n_own_documents_left_out == 2
    others = {name: [each.id for each in found if each.id != name] for name, found in run.items()}
    assert result.by_query["first_stage"] == measure(others, COUNTERARGUMENTS)
    assert all(name not in dict(found) for name, found in result.ranked.items())
    kept = evaluate(Reranker(FakeEncoder()), run, ARGUMENTS, COUNTERARGUMENTS, ignore_identical_ids=False)
    assert kept.n_own_documents_left_out == 0
    assert kept.by_query["first_stage"]["RR@10"]["zoo-a"] == 0.5 < result.by_query["first_stage"]["RR@10"]["zoo-a"] == 1.0


def test_answers_that_have_their_questions_ids_are_not_measured_as_lost():
    run = {name: list(ZOOS.values()) for name in ARGUMENTS}
    answers = {name: {name: 1, "zoo-b": 0} for name in ARGUMENTS}
    with pytest.raises(
        ValueError, match=r"all 2 relevant documents have their query's id, 'zoo-a' first.*--keep-identical-ids"
    ):
        evaluate(Reranker(FakeEncoder()), run, ARGUMENTS, answers)
    kept = evaluate(Reranker(FakeEncoder()), run, ARGUMENTS, answers, ignore_identical_ids=False)
    assert kept.measures["first_stage"]["R@100"] == 1.0


def test_a_query_with_only_its_own_document_counts_as_zero():
    run = {"zoo-a": [ZOOS["zoo-a"]], "tax-a": [ZOOS["tax-b"]]}
    result = evaluate(Reranker(FakeEncoder()), run, ARGUMENTS, COUNTERARGUMENTS)
    assert result.by_query["reranked"]["RR@10"] == {"zoo-a": 0.0, "tax-a": 1.0}
    assert result.ranked["zoo-a"] == []


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_first_stage_gives_k_candidates_beside_a_querys_own(tmp_path, k):
    retriever = BM25Retriever([*ZOOS.values(), Candidate(ARGUMENTS["zoo-a"], "zoo-a")])
    (found,) = retrieve_run(retriever, {"zoo-a": ARGUMENTS["zoo-a"]}, k).values()
    others = [each.id for each in found if each.id != "zoo-a"]
    assert len(others) == k
    assert others[0] == "zoo-b"
    assert [each.id for each in found[:2]] == ["zoo-a", "zoo-a"]
    assert retrieve_run(retriever, {"x": ARGUMENTS["zoo-a"]}, k)["x"] == retriever.retrieve(ARGUMENTS["zoo-a"], k)

    (tmp_path / "run").write_text("".join(f"zoo-a Q0 {name} {i} {9 - i} t\n" for i, name in enumerate(ZOOS)))
    (stored,) = read_run(tmp_path / "run", ZOOS, k).values()
    assert [each.id for each in stored] == [*ZOOS][: k + 1]
    (plain,) = read_run(tmp_path / "run", ZOOS, k, ignore_identical_ids=False).values()
    assert [each.id for each in plain] == [*ZOOS][:k]


def test_two_documents_of_one_id_count_once_at_the_better_place():
    """Pieces of a document share its id: the better piece is what the measures count, and what a run holds."""
    run = {"q1": [Candidate("a dog", "d"), Candidate("cats sat", "a"), Candidate("cat sat", "d")]}
    result = evaluate(Reranker(FakeEncoder()), run, QUERIES, {"q1": {"d": 1}})
    assert [document for document, _ in result.ranked["q1"]] == ["d", "a"]
    assert result.by_query["reranked"]["RR@10"] == {"q1": 1.0}


def test_a_run_is_retrieved_and_measured_in_two_calls():
    """As `late-rerank eval` does it."""
    retriever = BM25Retriever(list(DOCUMENTS.values()))
    queries = {name: QUERIES[name] for name in QRELS}
    judged = retrieve_judged(retriever, queries, QRELS, 3)
    assert judged == Judged(retrieve_run(retriever, queries, 3), queries, QRELS)
    result = evaluate_judged(Reranker(FakeEncoder()), judged, Wanted(first_stage_weight=0.5))

    expected = evaluate(Reranker(FakeEncoder()), judged.run, queries, QRELS, first_stage_weight=0.5)
    assert result == replace(expected, latency_ms=result.latency_ms)


def test_a_models_slow_first_pass_is_not_timed():
    def load(texts):
        if not encoder.n_queries:
            time.sleep(0.5)

    encoder = FakeEncoder(before_query=load)
    assert evaluate(Reranker(encoder), {"q1": list(DOCUMENTS.values())}, QUERIES, QRELS).latency_ms["p99"] < 400


def test_a_cut_run_has_the_judged_queries_and_the_candidates_that_count():
    run = {"zoo-a": list(ZOOS.values()), "unjudged": [ZOOS["tax-a"]]}
    judged = Judged(run, ARGUMENTS, {"zoo-a": {"zoo-b": 1}, "tax-a": {"tax-b": 1}})

    assert [each.id for each in judged.cut(2).run["zoo-a"]] == ["zoo-a", "zoo-b", "tax-a"]
    assert judged.cut(2).run.keys() == {"zoo-a", "tax-a"}
    assert [each.id for each in replace(judged, ignore_identical_ids=False).cut(2).run["zoo-a"]] == ["zoo-a", "zoo-b"]


class TestSingleVectors:
    """A SingleVectorReranker over an encoder of numbers, in place of a model."""

    class Encoder:
        dim = 2

        def encode_document(self, texts, *, progress=False):
            angles = [float(text.split()[-1]) for text in texts]
            return np.array([[math.cos(angle), math.sin(angle)] for angle in angles], np.float32).reshape(-1, 2)

        encode_query = encode_document

    @pytest.fixture
    def reranker(self, monkeypatch):
        monkeypatch.setattr("late_rerank.evaluate.single_vector.SingleVectorEncoder", lambda *_, **__: self.Encoder())
        return SingleVectorReranker()

    CANDIDATES = tuple(Candidate(f"angle {angle}", str(i), score) for i, (angle, score) in enumerate([(1, 3), (0, 1), (2, 2)]))

    def test_the_candidates_own_scores_count_where_they_are_asked_to(self, reranker):
        (weighed,) = reranker.rank(["angle 0"], [self.CANDIDATES], Wanted(first_stage_weight=9.0))
        (by_cosine,) = reranker.rank(["angle 0"], [self.CANDIDATES])

        assert [each.id for each in weighed] == ["0", "2", "1"]
        assert [each.id for each in by_cosine] == ["1", "0", "2"]

    def test_a_prior_counts_as_in_a_reranker_and_is_told(self, reranker):
        (lifted,) = reranker.rank(["angle 0"], [self.CANDIDATES], Wanted(prior=[0.0, 0.0, 9.0]))
        (both,) = reranker.rank(["angle 0"], [self.CANDIDATES], Wanted(first_stage_weight=9.0, prior=lambda each: each.score))

        assert [(each.id, each.prior) for each in lifted] == [("2", 9.0), ("1", 0.0), ("0", 0.0)]
        assert [each.id for each in both] == ["0", "2", "1"]
        assert both[0].ranked_by.prior == 3.0
        (plain,) = reranker.rank(["angle 0"], [self.CANDIDATES])
        assert [(each.prior, each.ranked_by) for each in plain] == [(None, None)] * 3

    def test_it_leaves_out_what_a_reranker_leaves_out(self, reranker):
        (best,) = reranker.rank(["angle 0"], [self.CANDIDATES], Wanted(top_k=1))
        (relevant,) = reranker.rank(["angle 0"], [self.CANDIDATES], Wanted(min_relevance=0.5))

        assert [each.id for each in best] == ["1"]
        assert [(each.id, each.rank) for each in relevant] == [("1", 1), ("0", 2)]
        with pytest.raises(ValueError, match="max_tokens must be None for single vectors"):
            reranker.rank(["angle 0"], [self.CANDIDATES], Wanted(max_tokens=3))

    def test_what_shows_nothing_is_blank_as_it_is_to_a_reranker(self, reranker):
        (ranking,) = reranker.rank(["angle 0"], [[Candidate("\u200b\u2060"), self.CANDIDATES[0]]])

        assert [(each.index, each.score > -1) for each in ranking] == [(1, True), (0, False)]


class TestFused:
    def test_models_together_are_measured_beside_each_alone(self):
        judged = Judged({"q1": [DOCUMENTS[name] for name in "acbd"], "q2": [DOCUMENTS[name] for name in "abc"]}, QUERIES, QRELS)
        encoders = [FakeEncoder(), FakeEncoder(dim=32)]
        fused = FusedReranker([Reranker(encoder) for encoder in encoders])
        result = evaluate_fused(fused, judged, Wanted())

        assert list(result.alone) == ["FakeEncoder", "FakeEncoder (2)"] == list(result.to_dict())
        assert result.fused.by_query["reranked"] == evaluate_judged(fused, judged, Wanted()).by_query["reranked"]
        for name, reranker in zip(fused.names, fused.rerankers, strict=True):
            alone = evaluate_judged(reranker, judged, Wanted())
            assert result.alone[name].by_query == alone.by_query
            expected = result.fused.measures["reranked"]["nDCG@10"] - alone.measures["reranked"]["nDCG@10"]
            assert result.differences[name]["nDCG@10"].mean == pytest.approx(expected, abs=1e-4)
        assert [encoder.n_documents for encoder in encoders] == [4, 4]

    def test_pages_without_text_are_told_apart(self):
        pages = [Candidate(id=colour, image=Image.new("RGB", (32, 32), colour)) for colour in ("red", "blue")]
        judged = Judged({"q1": pages}, {"q1": "blue"}, {"q1": {"blue": 1}})
        encoder = FakeVisualEncoder()
        result = evaluate_judged(Reranker(encoder), judged, Wanted())

        assert longest_first(judged.run) == pages
        assert encoder.n_documents == 2
        assert result.ranked["q1"][0][0] == "blue"
