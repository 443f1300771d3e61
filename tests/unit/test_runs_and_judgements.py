"""Runs and judgements as other tools write them mean what trec_eval takes them for."""

import gzip
import io
import json
import math
import tempfile
from pathlib import Path

import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate
from late_rerank.corpus import absent_text, read_collection, read_judged, read_qrels, read_queries
from late_rerank.evaluate import read_run, write_run
from late_rerank.evaluate.evaluation import measure

DOCUMENTS = {
    name: Candidate(f"text of {name}", name) for name in ("d1", "d2", "d3", "my doc", "a\u00a0b", "1", "d1 1", 'a "b" c')
}
THEIR_MEASURES = {"ndcg_cut.10", "recip_rank", "recall.100"}


def run_of(tmp_path, text, k=100, tell=None):
    """Query id -> document ids in order."""
    path = tmp_path / "run"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return {name: [each.id for each in found] for name, found in read_run(path, DOCUMENTS, k, tell=tell).items()}


def qrels_of(folder, text):
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / "test.tsv").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_qrels(folder, "test")


class TestJudgements:
    @pytest.mark.parametrize(
        "text",
        [
            "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n",
            "q1\td1\t2\nq1\td2\t0\n",
            "query-id\tcorpus-id\tscore\r\nq1\td1\t2\r\nq1\td2\t0\r\n",
            "q1\td1\t2\rq1\td2\t0\r",
            "q1 0 d1 2\nq1 0 d2 0\n",
            "q1\t0\td1\t2\nq1\t0\td2\t0",
            "  q1 Q0   d1  2 \n\n q1 Q0 d2 0\t\n",
            "qid iter docno rel\nq1 0 d1 2\nq1 0 d2 0\n",
            "\n\nquery-id\tcorpus-id\tscore\n\nq1\td1\t2\t\nq1\td2\t0 \n\n",
            "# judged by two\nq1\td1\t2\n#\nq1\td2\t0\n",
            "q1\td1\t2.0\nq1\td2\t0.\n",
            "q1\td1\t+2\nq1\td2\t-0\n",
            "q1\td1\t2\nq1\td2\t0\nq1\td1\t2\n",
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gzip"])
    def test_every_form_of_the_same_judgements_is_read_alike(self, tmp_path, text, encoding):
        held = gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding)
        assert qrels_of(tmp_path, held) == {"q1": {"d1": 2, "d2": 0}}

    @pytest.mark.parametrize("query", ["my query", "a\u00a0b", "x\u2028y", "x\x85y", "e\u0301", "#1", "Q1"])
    def test_ids_are_kept_letter_by_letter(self, tmp_path, query):
        assert qrels_of(tmp_path, f"{query}\td 1\t1\n") == {query: {"d 1": 1}}

    def test_ids_with_quotation_marks_are_read_as_beir_writes_them(self, tmp_path):
        written = io.StringIO(newline="")
        import csv  # as BEIR does

        rows = [['5" pipe', '"all"', 1], ['"', "plain", 2]]
        csv.writer(written, delimiter="\t", quoting=csv.QUOTE_MINIMAL).writerows([["query-id", "corpus-id", "score"], *rows])
        assert qrels_of(tmp_path, written.getvalue()) == {'5" pipe': {'"all"': 1}, '"': {"plain": 2}}
        assert qrels_of(tmp_path, 'q1\t"one\t1\n') == {"q1": {'"one': 1}}  # by hand

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "holds no judgements"),
            ("query-id\tcorpus-id\tscore\n", "holds no judgements"),
            ("q1 d1 2\n", "line 1 must be query-id"),
            ("q1\td1\t2\nq1\t0\td1\t2\n", "line 2 must be query-id"),
            ("q1\td1\t0.5\n", "line 1 must be query-id, corpus-id, score"),
            ("q1\td1\t1e2\n", "line 1 must be"),
            ("q1\td1\tyes\n", "line 1 must be"),
            ("q1\td1\t1\nquery-id\tcorpus-id\tscore\n", "line 2 must be"),
            ("q1\t\t1\n", "line 1 must be"),
            ("q1 0 d1 1 more\n", "line 1 must be"),
            ("q1\td1\t1\nq1\td1\t2\n", "line 2: 'd1' is judged 2 for 'q1', and 1 further up"),
            ("q1\td1\t1000001\n", "line 1: the judgement must be at most 1000000"),
            (b"q1\td\x93\xfa\t1\n", "not UTF-8 at byte 4"),
            (b"q1\t\x00d1\t1\n", "binary, not text"),
            (gzip.compress(b"q1\td1\t1\n", mtime=0)[:-4], "damaged gzip"),
            (b"\xff\xfeq", "not UTF-16"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, tmp_path, text, complaint):
        with pytest.raises(ValueError, match=complaint) as told:
            qrels_of(tmp_path, text)
        assert str(tmp_path / "qrels" / "test.tsv") in str(told.value)

    def test_a_judged_query_without_a_text_is_told_with_what_it_is_like(self, tmp_path):
        (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "caf\u00e9", "text": "x"}))
        (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d1", "text": "x"}))
        qrels_of(tmp_path, "Cafe\u0301\td1\t1\ncaf\u00e9\td1\t1\n")
        for read in (read_judged, read_collection):
            with pytest.raises(ValueError, match=r"1 judged queries of qrels/test\.tsv have no text.*there is 'caf\u00e9'"):
                read(tmp_path, "test")

    def test_judged_documents_outside_the_corpus_are_told(self, tmp_path):
        (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "x"}))
        (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d1", "text": "x"}))
        qrels_of(tmp_path, "q1\td1\t1\nq1\tD1\t1\n")
        found = read_collection(tmp_path, "test")
        assert found.qrels == {"q1": {"d1": 1, "D1": 1}}
        told = absent_text(found.documents, found.qrels, "test")
        assert "1 of 2 documents judged in qrels/test.tsv are not in the corpus, 'D1' first (there is 'd1'" in told
        assert absent_text(found.documents, {"q1": {"d1": 1}}, "test") is None

    def test_two_queries_of_one_id_must_have_one_text(self, tmp_path):
        path = tmp_path / "queries.jsonl"
        lines = [json.dumps({"_id": "q1", "text": text}) for text in ("x", "x", "y")]
        path.write_text("\n".join(lines[:2]))
        assert read_queries(tmp_path) == {"q1": "x"}
        path.write_text("\n".join(lines))
        with pytest.raises(ValueError, match="'q1' is the id of two queries"):
            read_queries(tmp_path)

    @pytest.mark.parametrize("text", ["", " \n", "\u200b\u2060", "\ufeff"])
    def test_a_query_that_shows_nothing_is_refused(self, tmp_path, text):
        (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": text}))
        with pytest.raises(ValueError, match="the query 'q1' is blank"):
            read_queries(tmp_path)


class TestRuns:
    @pytest.mark.parametrize(
        "text",
        [
            "q1\td1\t1\t3.5\nq1\td2\t2\t2\n",
            "query-id\tcorpus-id\trank\tscore\nq1\td2\t2\t2\nq1\td1\t1\t3.5\n",
            "q1 Q0 d1 1 3.5 tag\nq1 Q0 d2 2 2e0 tag\n",
            "q1 Q0 d1 0 3.5 beir\r\nq1 Q0 d2 0 2 beir\r\n",
            "q1 Q0 d1 - 3.5 tag\n\n \nq1 Q0\td2\t-  2 tag\n",
            "# a run\nq1\tQ0\td2\t2\t2\ttag\nq1\tQ0\td1\t1\t+3.5\ttag\n",
            "q1 Q0 d1 1 inf my tag\nq1 Q0 d2 2 -inf my tag\n",
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gzip"])
    def test_every_form_of_the_same_run_is_read_alike(self, tmp_path, text, encoding):
        held = gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding)
        assert run_of(tmp_path, held) == {"q1": ["d1", "d2"]}

    def test_scores_decide_where_ranks_contradict_them(self, tmp_path):
        for text in ("q1 Q0 d1 1 1.0 t\nq1 Q0 d2 2 2.0 t\n", "q1\td1\t1\t1.0\nq1\td2\t2\t2.0\n"):
            told = []
            assert run_of(tmp_path, text, tell=told.append) == {"q1": ["d2", "d1"]}
            assert "ranks contradict scores for 1 of 1 queries, 'q1' first" in told[0]

    def test_equal_scores_are_ordered_as_in_trec_eval_and_by_rank_in_four_columns(self, tmp_path):
        """As floats of 32 bits 1.00000001 is 1.0."""
        trec = "".join(f"q1 Q0 {name} {rank} {score} t\n" for rank, (name, score) in enumerate([("d1", 1.00000001), ("d3", 1)]))
        assert run_of(tmp_path, trec) == {"q1": ["d3", "d1"]}
        assert run_of(tmp_path, "q1\td3\t2\t1.0\nq1\td1\t1\t1.0\n") == {"q1": ["d1", "d3"]}

    def test_a_document_that_stands_twice_counts_once_at_its_better_place(self, tmp_path):
        text = "q1 Q0 d1 1 3 t\nq1 Q0 d1 2 2 t\nq1 Q0 d2 3 1 t\n"
        told = []
        assert run_of(tmp_path, text, k=2, tell=told.append) == {"q1": ["d1", "d2"]}
        assert "1 lines name a document that their query has already, 'd1' of query 'q1'" in told[0]

    def test_ids_that_hold_spaces_are_found(self, tmp_path):
        """BEIR writes them into TREC's columns, and reads them again."""
        assert run_of(tmp_path, "q1 Q0 my doc 0 1.5 beir\nq1 Q0 d1 0 1 beir\n") == {"q1": ["my doc", "d1"]}
        assert run_of(tmp_path, "q 1\tmy doc\t1\t1.5\nq 1\ta\u00a0b\t2\t1\n") == {"q 1": ["my doc", "a\u00a0b"]}
        assert run_of(tmp_path, "q1 Q0 a\u00a0b 0 1.5 t\n") == {"q1": ["a\u00a0b"]}

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "holds no candidates"),
            ("q1\td1\t1\n", "line 1: expected query id"),
            ("q1 Q0 d1 1 nan t\n", "line 1: rank must be a whole number and score a number, got '1' and 'nan'"),
            ("q1 Q0 d1 1 1,5 t\n", "line 1: rank must be a whole number and score a number"),
            ("q1 Q0 d9 1 1.5 t\n", "line 1: document 'd9' is not in the corpus"),
            ("q1 Q0 None 1 1.5 t\n", "document 'None' is not in the corpus"),
            (b"q1 Q0 d\x93\xfa 1 1 t\n", "not UTF-8 at byte 7"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, tmp_path, text, complaint):
        with pytest.raises(ValueError, match=complaint) as told:
            run_of(tmp_path, text)
        assert str(tmp_path / "run") in str(told.value)

    def test_a_document_is_written_once(self, tmp_path):
        path = tmp_path / "run"
        write_run(path, {"q1": [("d1", 3.0), ("d2", 2.0), ("d1", 1.0)]}, "t")
        with path.open() as file:
            assert pytrec_eval.parse_run(file) == {"q1": {"d1": 3.0, "d2": 2.0}}


def test_judgements_below_zero_are_not_relevant():
    """TREC's web tracks give -2 to spam. It crashes pytrec_eval 0.5.11 where a query has it beside nothing but zeros."""
    found = [measure({"q": ["d1", "d2", "d3"]}, {"q": {"d1": spam, "d2": spam, "d3": 0, "z": spam}}) for spam in (-2, -3, 0)]
    assert found[0] == found[1] == found[2]
    ranked = {"q": ["d1", "d2"]}
    assert measure(ranked, {"q": {"d1": -2, "d2": 1}})["RR@10"] == {"q": 0.5}


def theirs(qrels, run):
    """Query id -> our names of pytrec_eval's measures. What would crash it (see above) is 0."""
    qrels = {
        query: {name: -1 if grade == -1 else max(grade, 0) for name, grade in found.items()} for query, found in qrels.items()
    }
    found = pytrec_eval.RelevanceEvaluator(qrels, THEIR_MEASURES).evaluate(run)
    return {
        name: {
            "nDCG@10": each["ndcg_cut_10"],
            "RR@10": each["recip_rank"] if each["recip_rank"] >= 0.1 - 1e-9 else 0.0,
            "R@100": each["recall_100"],
        }
        for name, each in found.items()
    }


def ours(folder):
    """The same, from the files of a folder."""
    qrels = read_qrels(folder, "test")
    documents = {name: Candidate(name, name) for name in POSSIBLE}
    run = {name: [each.id for each in found] for name, found in read_run(folder / "run", documents, 1000).items()}
    found = measure({name: run.get(name, []) for name in qrels}, qrels)
    return {name: {of: by_query[name] for of, by_query in found.items()} for name in qrels}


POSSIBLE = [
    "d1",
    "D1",
    "d2",
    "10",
    "9",
    "2",
    "caf\u00e9",
    "cafe\u0301",
    "\u6771\u4eac",
    "#3",
    "z",
    'a"b',
    "-",
    "0.5",
    "\U0001f600",
    "A",
    "a",
]
NAMES = st.sampled_from(POSSIBLE)
SCORES = st.sampled_from(
    ["1", "1.0", "1e0", "1.00000001", "1.0000001", "-1", "2.5e-3", "1e300", "inf", "-inf", "0", "-0.0", "16777217"]
)
SPACE = st.sampled_from([" ", "  ", "\t", " \t "])
END = st.sampled_from(["\n", "\r\n", " \n", "\t\n"])


@st.composite
def files(draw, *columns):
    """Lines of unique query and document, as text."""
    pairs = draw(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=40, unique=True))
    lines = []
    for query, document in pairs:
        cells = [{"query": query, "document": document}.get(cell, cell) for cell in columns]
        cells = [draw(cell) if isinstance(cell, st.SearchStrategy) else cell for cell in cells]
        if draw(st.integers(0, 150)) == 0:  # a damaged line
            cells = draw(st.sampled_from([cells[:-1], [*cells, "x"], [*cells[:-2], "?", "?"], []]))
        lines.append(draw(SPACE).join(cells) + draw(END))
    return "".join(lines)


@settings(max_examples=200, deadline=None)
@given(
    files("query", st.sampled_from(["0", "Q0"]), "document", st.sampled_from(["0", "1", "2", "3", "-1", "-2"])),
    files("query", "Q0", "document", st.sampled_from(["0", "1", "7", "-"]), SCORES, "tag"),
)
def test_measures_are_those_of_pytrec_eval(qrels, run):
    """Where it reads the files; where it doesn't, we name the line, unless trec_eval passes over it, or over its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "qrels").mkdir()
        (folder / "qrels" / "test.tsv").write_text(qrels, newline="")
        (folder / "run").write_text(run, newline="")
        try:
            with (folder / "qrels" / "test.tsv").open() as judged, (folder / "run").open() as ranked:
                expected = theirs(dict(pytrec_eval.parse_qrel(judged)), dict(pytrec_eval.parse_run(ranked)))
        except (ValueError, AssertionError):
            lines = [*qrels.splitlines(), *run.splitlines()]
            passed_over = any(not line.strip() or line.lstrip().startswith("#") for line in lines)
            beirs = all(len(line.split()) == 3 for line in qrels.splitlines())
            if not passed_over and not beirs and not any(len(line.split()) == 7 for line in lines):
                with pytest.raises(ValueError, match=r"line [0-9]+"):
                    ours(folder)
            return
        found = ours(folder)
    nothing = {"nDCG@10": 0, "RR@10": 0, "R@100": 0}
    assert found == {query: pytest.approx(expected.get(query, nothing), abs=1e-6) for query in found}
    assert set(expected) <= set(found)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.lists(st.tuples(NAMES, st.floats(width=32, allow_nan=False)), max_size=12), max_size=4))
def test_a_written_run_is_read_again_in_the_same_order_by_us_and_by_pytrec_eval(ranked):
    ranked = {query: sorted(found, key=lambda each: -each[1]) for query, found in ranked.items() if found}
    if not ranked or any(math.isinf(score) for found in ranked.values() for _, score in found):
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "run"
        write_run(path, ranked, "tag")
        with path.open(encoding="utf-8") as file:
            read = pytrec_eval.parse_run(file)
        again = read_run(path, {name: Candidate(name, name) for name in POSSIBLE}, 100, ignore_identical_ids=False)
    expected = {query: list(dict.fromkeys(document for document, _ in found)) for query, found in ranked.items()}
    assert {query: [each.id for each in found] for query, found in again.items()} == expected
    for query, documents in expected.items():
        for rank, document in enumerate(documents, start=1):
            found = pytrec_eval.RelevanceEvaluator({query: {document: 1}}, {"recip_rank"}).evaluate({query: read[query]})
            assert found[query]["recip_rank"] == pytest.approx(1 / rank)
