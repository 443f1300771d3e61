"""`late-rerank tune`, from a folder or a log to what it says."""

import json
import shlex

import pytest

import late_rerank.retrieve
from late_rerank import Reranker, Searcher
from late_rerank.cli import main
from late_rerank.retrieve import BM25Retriever

SUBJECTS = ["cats", "rivers", "bread", "trains", "stars", "bees", "salt", "wool", "glass", "maps"]
FACTS = ["are older than writing", "were measured in Paris", "cost more in winter", "need much water"]
QUICK = ["--k", "10,20", "--codec", "int8", "--pooling", "1", "--first-stage-weight", "0,auto"]


@pytest.fixture(autouse=True)
def _model(minilm):
    """Skips where the model isn't installed."""


@pytest.fixture
def beir(tmp_path):
    """Forty documents, and a question for each in nearly its words."""
    rows = [(f"d{i}", f"{subject} {fact}") for i, (subject, fact) in enumerate((s, f) for s in SUBJECTS for f in FACTS)]
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": i, "text": text}) + "\n" for i, text in rows))
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{i}", "text": f"which {text}?"}) + "\n" for i, text in rows)
    )
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\t{i}\t1\n" for i, _ in rows))
    return folder


def test_that_reranking_does_not_help_is_an_answer(beir, capsys):
    assert main(["tune", str(beir), *QUICK, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)

    assert report["picked"] is report["python"] is report["command"] is None
    assert report["verdict"].startswith("Reranking does not help here")
    assert not report["helps"]
    assert report["nDCG@10"]["first_stage"] == report["nDCG@10"]["picked"] == 1.0
    assert (report["n_tuning"], report["n_reporting"], report["n_settings"]) == (20, 20, 9)


@pytest.mark.parametrize("scoring", ["maxsim", "proximity"])
def test_what_it_prints_can_be_used(beir, tmp_path, capsys, scoring):
    """A log in words that the documents don't have: BM25 finds nothing, the model does."""
    asked = {"cats": "kittens", "rivers": "streams", "bread": "loaves", "trains": "railways", "stars": "suns"}
    rows = [json.loads(line) for line in (beir / "corpus.jsonl").read_text().splitlines()]
    chosen = [
        {"query": f"{asked[subject]} {number}", "id": row["_id"]}
        for row in rows
        for subject in [row["text"].split()[0]]
        if subject in asked
        for number in (1, 2)
    ]
    log = tmp_path / "log.jsonl"
    log.write_text(
        "".join(json.dumps(row) + "\n" for row in [*chosen, *[{**row, "query": row["query"] + " old"} for row in chosen]])
    )
    store, quick = str(tmp_path / "store"), [*QUICK, "--scoring", scoring]
    assert main(["tune", str(beir / "corpus.jsonl"), "--log", str(log), "--store", store, *quick, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)

    assert (report["log"], report["split"], report["helps"]) == (str(log), None, True)
    assert report["verdict"].startswith("Reranking helps: +0.")
    names = {name: getattr(late_rerank.retrieve, name) for name in late_rerank.retrieve.__all__}
    documents = [row["text"] for row in rows]
    searcher = eval(report["python"], {"Searcher": Searcher, "Reranker": Reranker, "documents": documents, **names})
    assert (searcher.k, searcher.first_stage_weight) == (report["picked"]["k"], report["picked"]["first_stage_weight"])
    assert isinstance(searcher.retriever, BM25Retriever)
    assert searcher.reranker.scoring.name == report["picked"]["scoring"] == scoring
    words = shlex.split(report["command"])
    assert ("--scoring" in words) is (scoring == "maxsim")
    assert words[0] == "late-rerank"
    assert main([word if word != "QUERY" else "kittens" for word in words[1:]]) == 0
    assert "cats" in capsys.readouterr().out
    assert main(["tune", str(beir / "corpus.jsonl"), "--log", str(log), "--store", store, *quick]) == 0
    printed = capsys.readouterr().out
    assert report["python"] in printed
    assert report["command"] in printed
    assert ('scoring="maxsim"' in printed) is (scoring == "maxsim")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{beir}", "--split", "test"], "no qrels/test.tsv"),
        (["{beir}", "--k", "5"], "k must be at least 10"),
        (["{beir}", "--log", "{log}"], "line 1: document 'd99' is not in the corpus"),
        (["{beir}", "--log", "nothing.jsonl"], "nothing.jsonl"),
        (["{beir}/nothing"], "does not exist"),
    ],
)
def test_what_is_wrong_is_said(beir, tmp_path, capsys, arguments, message):
    log = tmp_path / "log.jsonl"
    log.write_text('{"query": "a", "id": "d99"}\n')

    assert main(["tune", *(argument.format(beir=beir, log=log) for argument in arguments)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--k", "0,10"],
        ["--codec", "int3"],
        ["--first-stage-weight", "some"],
        ["--pooling", ""],
        ["--scoring", "maxsim,best"],
        ["--n-queries", "19"],
        ["--log", "log.jsonl", "--split", "dev"],
    ],
)
def test_values_that_are_none_are_wrong_use(beir, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["tune", str(beir), *arguments])

    assert caught.value.code == 2


def test_it_never_takes_test_judgements_unasked(beir, capsys):
    (beir / "qrels" / "dev.tsv").rename(beir / "qrels" / "test.tsv")
    assert main(["tune", str(beir), *QUICK]) == 1
    assert "has neither dev nor train judgements; its splits: test" in capsys.readouterr().err
    assert main(["tune", str(beir), "--split", "test", *QUICK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "test"


def test_the_numbers_of_a_logs_questions_are_no_ids_of_documents(tmp_path, capsys):
    """Documents are numbered as questions are; question 1 chose document 1, and so on."""
    texts = {str(i + 1): f"{subject} {fact}" for i, (subject, fact) in enumerate((s, f) for s in SUBJECTS for f in FACTS)}
    corpus, log = tmp_path / "corpus.jsonl", tmp_path / "log.jsonl"
    corpus.write_text("".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in texts.items()))
    log.write_text("".join(json.dumps({"query": f"which {text}?", "id": name}) + "\n" for name, text in texts.items()))
    assert main(["tune", str(corpus), "--log", str(log), *QUICK, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)

    assert (report["n_own_documents_left_out"], report["nDCG@10"]["first_stage"]) == (0, 1.0)


def test_judgements_that_eval_would_count_otherwise_are_told(beir, capsys):
    with (beir / "qrels" / "dev.tsv").open("a") as file:
        file.write("qd0\tgone\t1\n")
    rows = (beir / "queries.jsonl").read_text()
    (beir / "queries.jsonl").write_text(rows + json.dumps({"_id": "unanswered", "text": "which?"}) + "\n")
    with (beir / "qrels" / "dev.tsv").open("a") as file:
        file.write("unanswered\td1\t0\n")
    assert main(["tune", str(beir), *QUICK, "--json"]) == 0
    told = capsys.readouterr().err

    assert "1 of 41 documents judged in qrels/dev.tsv are not in the corpus, 'gone' first" in told
    assert "1 of 41 judged queries have no document judged relevant, 'unanswered' first: `tune` passes over them" in told
