"""`late-rerank eval` on a small BEIR folder with a tiny checkpoint: several setups, pooling, single vectors."""

import json
import shutil

import pytest
from checkpoints import native

from late_rerank.cli import main

TEXTS = ["the cat sat on the mat", "late interaction keeps one vector per token", "what is the cat", "a dog sat", "one token"]
QUERIES = {"q1": "the cat", "q2": "one vector", "q3": "what is the mat"}
QRELS = {"q1": {"0": 2, "2": 1}, "q2": {"1": 1}, "q3": {"2": 1}}
PLAIN = {
    *("dataset", "split", "n_queries", "k", "first_stage", "measures", "differences", "latency_ms", "bytes_per_token", "model"),
    *(
        "codec",
        "backend",
        "pooling",
        "scoring",
        "rerank_with",
        "query_encoder",
        "first_stage_weight",
        "n_own_documents_left_out",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("beir")
    (path / "qrels").mkdir()
    (path / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(TEXTS)))
    (path / "queries.jsonl").write_text("\n".join(json.dumps({"_id": name, "text": text}) for name, text in QUERIES.items()))
    rows = [f"{query}\t{document}\t{n}" for query, judged in QRELS.items() for document, n in judged.items()]
    (path / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(native(tmp_path_factory.mktemp("checkpoints") / "tiny"))


@pytest.fixture
def evaluated(folder, model, capsys):
    def run(*options):
        assert main(["eval", str(folder), "--model", model, *options, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_a_wrong_model_among_several_is_told_before_any_is_run(folder, model, tmp_path, capsys):
    store = tmp_path / "store"
    assert main(["eval", str(folder), "--compare", f"model={model},nowhere", "--store", str(store)]) == 1
    assert "model='nowhere'" in capsys.readouterr().err
    assert not store.exists()


def test_compared_setups_are_rows_beside_the_first_ones_report(evaluated, model):
    report = evaluated("--compare", "codec=int8,binary", "k=2,5", "--pooling", "2")
    rows = report["compared"]

    assert set(report) == PLAIN | {"compared"}
    assert [(row["model"], row["pooling"], row["codec"], row["k"]) for row in rows] == [
        (model, 2, codec, k) for codec in ("int8", "binary") for k in (2, 5)
    ]
    assert (report["codec"], report["k"], report["pooling"]) == ("int8", 2, 2)
    assert report["measures"] == {"first_stage": rows[0]["first_stage"], "reranked": rows[0]["measures"]}
    assert rows[0]["difference"] is None
    for row in rows[1:]:
        assert set(row["difference"]) == {"mean", "low", "high", "p"}
        assert row["difference"]["mean"] == pytest.approx(row["measures"]["nDCG@10"] - rows[0]["measures"]["nDCG@10"], abs=2e-4)
        assert row["latency_ms"]["p99"] >= row["latency_ms"]["p50"] > 0
    assert [row["bytes_per_token"] for row in rows] == [10.0, 10.0, 3.0, 3.0]


def test_a_row_is_what_eval_gives_for_it_alone(evaluated, tmp_path):
    rows = evaluated("--compare", "k=5,2", "pooling=2,1")["compared"]
    alone = evaluated("--k", "2", "--pooling", "2")

    row = next(row for row in rows if (row["k"], row["pooling"]) == (2, 2))
    assert set(alone) == PLAIN
    assert row["measures"] == alone["measures"]["reranked"]
    assert row["first_stage"] == alone["measures"]["first_stage"]
    assert (row["bytes_per_token"], row["backend"]) == (alone["bytes_per_token"], alone["backend"])


def test_scorings_are_compared_and_one_is_chosen(evaluated, folder, model, tmp_path, capsys):
    rows = evaluated("--compare", "scoring=maxsim,proximity", "--first-stage-weight", "0")["compared"]
    assert [row["scoring"] for row in rows] == ["maxsim", "proximity"]
    for row in rows:
        alone = evaluated("--scoring", row["scoring"], "--write-run", str(tmp_path / row["scoring"]))
        assert (alone["scoring"], alone["measures"]["reranked"]) == (row["scoring"], row["measures"])
    runs = [(tmp_path / row["scoring"]).read_text() for row in rows]
    assert runs[0].split()[-1] == "late-rerank-int8-maxsim"
    assert runs[1].split()[-1] == "late-rerank-int8"
    assert main(["eval", str(folder), "--model", model, "--scoring", "maxsim"]) == 0
    assert "k=100, maxsim" in capsys.readouterr().out


def test_scorings_are_compared_with_pooling(evaluated):
    rows = evaluated("--compare", "scoring=maxsim,proximity", "pooling=1,2")["compared"]
    expected = [(1, "maxsim"), (1, "proximity"), (2, "maxsim"), (2, "proximity")]
    assert [(row["pooling"], row["scoring"]) for row in rows] == expected
    for row in rows[2:]:
        alone = evaluated("--pooling", "2", "--scoring", row["scoring"])
        assert (alone["scoring"], alone["measures"]["reranked"]) == (row["scoring"], row["measures"])


def test_models_are_compared_and_their_vectors_kept(evaluated, model, minilm, tmp_path):
    from late_rerank.stores import DiskStore

    rows = evaluated("--compare", f"model={model},minilm", "--store", str(tmp_path / "store"))["compared"]

    assert [row["model"] for row in rows] == [model, "minilm"]
    assert [row["bytes_per_token"] for row in rows] == [20, 388]
    with DiskStore(tmp_path / "store") as store:
        assert store.stats()["n_documents"] == 2 * len(TEXTS)


def test_models_are_fused_and_each_is_measured_alone(evaluated, folder, model, minilm, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    report = evaluated("--fuse", "minilm", "--fuse-method", "rrf", "--store", str(tmp_path / "store"), "--write-run", str(run))

    assert set(report) == PLAIN | {"fused_with", "fuse_method", "alone"}
    assert (report["model"], report["fused_with"], report["fuse_method"]) == (model, ["minilm"], "rrf")
    assert report["bytes_per_token"] == 20 + 388
    for name, row in report["alone"].items():
        assert row["measures"] == evaluated("--model", name)["measures"]["reranked"]
        added = report["measures"]["reranked"]["nDCG@10"] - row["measures"]["nDCG@10"]
        assert row["differences"]["nDCG@10"]["mean"] == pytest.approx(added, abs=2e-4)
    assert run.read_text().split()[-1] == "late-rerank-int8-fused"
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["eval", str(folder), "--model", model, "--fuse", "minilm"]) == 0
    out = capsys.readouterr().out
    assert "k=100, zscore" in out
    assert "fused" in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--fuse-method", "rrf"], "--fuse-method says how --fuse fuses: name a second model"),
        (["--fuse", "minilm", "--compare", "k=2,5"], "--fuse can't be given with --compare"),
        (["--fuse", "minilm", "--rerank-with", "single-vector"], "leave it out with --rerank-with single-vector"),
    ],
)
def test_fusing_is_refused_where_it_has_no_effect(folder, options, says, capsys):
    with pytest.raises(SystemExit) as end:
        main(["eval", str(folder), *options])
    assert end.value.code == 2
    assert says in capsys.readouterr().err


def test_the_table_names_what_varies(folder, model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["eval", str(folder), "--model", model, "--compare", "codec=int8,binary", "k=2,5"]) == 0
    out = capsys.readouterr().out

    for label in ("int8, k=2", "int8, k=5", "binary, k=2", "binary, k=5"):
        assert label in out
    assert out.count("p = ") == 3
    assert "bm25 alone, best 5: nDCG@10" in out


def test_single_vectors_are_the_dense_first_stages(folder, capsys, tmp_path, minilm):
    """Its order of all documents is DenseRetriever's."""
    from late_rerank.corpus import read_corpus
    from late_rerank.retrieve import DenseRetriever

    run = tmp_path / "run"
    assert main(["eval", str(folder), "--rerank-with", "single-vector", "--json", "--write-run", str(run)]) == 0
    report = json.loads(capsys.readouterr().out)
    dense = DenseRetriever(read_corpus(folder).documents)
    rows = [line.split() for line in run.read_text().splitlines()]

    assert set(report) == PLAIN | {"bytes_per_document"}
    assert (report["rerank_with"], report["bytes_per_document"], report["bytes_per_token"]) == ("single-vector", 1536, None)
    for name, text in QUERIES.items():
        found = {c.id: c.score for c in dense.retrieve(text, 5)}
        ordered = [(row[2], float(row[4])) for row in rows if row[0] == name]
        assert [document for document, _ in ordered] == [document for document in found if document in dict(ordered)]
        assert all(score == pytest.approx(found[document], abs=1e-5) for document, score in ordered)
    assert {row[5] for row in rows} == {"late-rerank-single-vector"}
    assert main(["eval", str(folder), "--rerank-with", "single-vector"]) == 0
    assert "1536 bytes a document" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["picture.png", "picture.svg"])
def test_a_picture_is_written(evaluated, tmp_path, name, capsys):
    pytest.importorskip("matplotlib", reason='needs matplotlib: pip install "late-rerank[plot]"')
    evaluated("--compare", "codec=int8,binary", "k=2,5", "--plot", str(tmp_path / name))

    assert (tmp_path / name).read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_what_keeps_a_picture_from_being_drawn_is_told_before_the_work(folder, tmp_path, capsys, monkeypatch):
    options = ["eval", str(folder), "--model", "/nowhere", "--compare", "k=2,5", "--plot"]
    assert main([*options, str(tmp_path / "no" / "x.png")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    monkeypatch.setattr("late_rerank.evaluate.plot.find_spec", lambda name: None)
    assert main([*options, str(tmp_path / "x.png")]) == 1
    assert capsys.readouterr().err.endswith('Install it: pip install "late-rerank[plot]"\n')


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--compare"], "expected at least one argument"),
        (
            ["--compare", "depth=1"],
            "AXIS one of model, pooling, query_encoder, codec, scoring, k, first_stage_weight; got 'depth=1'",
        ),
        (["--compare", "codec"], "expected AXIS=VALUE"),
        (["--compare", "codec=int3"], "codec must be one of float32"),
        (["--compare", "scoring=maxsim,best"], "scoring must be one of maxsim, proximity, got 'best'"),
        (["--compare", "k=10,0"], "k must be a whole number of at least 1, got '0'"),
        (["--compare", "pooling="], "pooling must be a whole number"),
        (["--compare", "k=10,10"], "k names 10 twice"),
        (["--compare", "k=10", "codec=int8", "k=20"], "k is given twice"),
        (["--compare", "k=10", "--compare", "k=20"], "k is given twice"),
        (["--compare", "k=10", "--write-run", "x"], "--write-run can't be given with --compare"),
        (["--compare", "k=10", "--rerank-with", "single-vector"], "--rerank-with single-vector can't be given with --compare"),
        (["--compare", "k=10", "--plot", "x.pdf"], "must end in .png or .svg"),
        (["--plot", "x.png"], "--plot draws what --compare compares"),
        (["--rerank-with", "single-vector", "--store", "x"], "--store is about token vectors"),
        (["--rerank-with", "single-vector", "--pooling", "2"], "--pooling is about token vectors"),
        (["--rerank-with", "cross-encoder"], "invalid choice"),
        (["--pooling", "0"], "at least 1"),
    ],
)
def test_wrong_use_is_told_before_any_work(folder, options, complaint, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["eval", str(folder), *options])
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_run_that_can_not_be_written_is_told_before_the_work_or_after_the_figures(folder, model, tmp_path, capsys):
    assert main(["eval", str(folder), "--model", "no/such", "--write-run", str(tmp_path / "no" / "run")]) == 1
    assert "there is no folder" in capsys.readouterr().err

    spaced = tmp_path / "spaced"
    shutil.copytree(folder, spaced)
    for path in (spaced / "corpus.jsonl", spaced / "qrels" / "test.tsv"):
        path.write_text(path.read_text().replace('"_id": "0"', '"_id": "id 0"').replace("\t0\t", "\tid 0\t"))
    assert main(["eval", str(spaced), "--model", model, "--json", "--write-run", str(tmp_path / "run")]) == 1
    printed = capsys.readouterr()
    assert "can't hold the name 'id 0'" in printed.err
    assert json.loads(printed.out)["n_queries"] == len(QUERIES)


@pytest.mark.parametrize(
    "unheard",
    [["--codec", "binary"], ["--backend", "torch"], ["--pooling", "2"], ["--store", "there"], ["--scoring", "proximity"]],
)
def test_single_vectors_take_no_option_of_token_vectors(folder, unheard, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["eval", str(folder), "--rerank-with", "single-vector", *unheard])
    assert caught.value.code == 2
    assert f"{unheard[0]} is about token vectors" in capsys.readouterr().err


@pytest.mark.parametrize("rerank_with", ["maxsim", "single-vector"])
def test_a_first_stage_that_counts_above_all_decides(evaluated, rerank_with, tmp_path, minilm):
    options = ["--rerank-with", rerank_with, *([] if rerank_with == "maxsim" else ["--model", "minilm"])]
    plain = evaluated(*options)
    fused = evaluated(*options, "--first-stage-weight", "1e6", "--write-run", str(tmp_path / "run"))

    assert (plain["first_stage_weight"], fused["first_stage_weight"]) == (0, 1e6)
    assert fused["measures"]["reranked"] == fused["measures"]["first_stage"] == plain["measures"]["first_stage"]
    assert plain["measures"]["reranked"] != plain["measures"]["first_stage"]


def test_weights_of_the_first_stage_are_compared(evaluated):
    report = evaluated("--compare", "first_stage_weight=0,auto,1e6")

    assert [row["first_stage_weight"] for row in report["compared"]] == [0, "auto", 1e6]
    assert report["compared"][2]["measures"] == report["compared"][2]["first_stage"]
    assert report["first_stage_weight"] == 0


@pytest.fixture
def arguments(tmp_path):
    """As BEIR's ArguAna: queries are documents of the corpus, and what is relevant is what argues against them."""
    texts = {
        "zoo-a": "Zoos protect endangered animals from hunters.",
        "zoo-b": "Zoos cannot protect endangered animals from loss of habitat.",
        "tax-a": "A carbon tax makes companies burn less coal.",
        "tax-b": "A carbon tax moves companies that burn coal abroad.",
    }
    rows = {name: json.dumps({"_id": name, "title": "", "text": text}) + "\n" for name, text in texts.items()}
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("".join(rows.values()))
    (tmp_path / "queries.jsonl").write_text(rows["zoo-a"] + rows["tax-a"])
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nzoo-a\tzoo-b\t1\ntax-a\ttax-b\t1\n")
    return tmp_path


def test_a_querys_own_document_is_left_out_as_beir_does_and_told(arguments, tmp_path, minilm, capsys):
    command = ["eval", str(arguments), "--model", "minilm"]
    assert main([*command, "--json", "--write-run", str(tmp_path / "run")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["measures"]["reranked"] == {"nDCG@10": 1.0, "RR@10": 1.0, "R@100": 1.0}
    assert report["n_own_documents_left_out"] == 2
    assert not [line for line in (tmp_path / "run").read_text().splitlines() if line.split()[0] == line.split()[2]]

    assert main([*command, "--k", "1"]) == 0  # one other candidate
    printed = capsys.readouterr()
    assert "left out 2 candidates of the query's own id, as BEIR does" in printed.out
    assert printed.err == ""
    assert main([*command, "--compare", "k=1,3", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["compared"]
    assert [(row["n_own_documents_left_out"], row["first_stage"]["RR@10"]) for row in rows] == [(2, 0.5), (2, 0.6667)]
    assert main([*command, "--compare", "k=1,3"]) == 0
    assert capsys.readouterr().out.count("left out 2 candidates") == 1

    assert main([*command, "--keep-identical-ids"]) == 0
    assert "left out" not in capsys.readouterr().out
    assert main([*command, "--keep-identical-ids", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["reranked"]["RR@10"] == 0.5


def test_numbers_that_queries_and_documents_share_by_chance_are_told(arguments, model, capsys):
    (arguments / "qrels" / "test.tsv").write_text("zoo-a\tzoo-a\t1\nzoo-a\tzoo-b\t1\n")
    (arguments / "queries.jsonl").write_text('{"_id": "zoo-a", "text": "zoos"}')
    command = ["eval", str(arguments), "--model", model]
    assert main(command) == 0
    assert "1 of 1 queries have a document judged relevant that has the query's id, 'zoo-a' first" in capsys.readouterr().err
    assert main([*command, "--keep-identical-ids"]) == 0
    assert capsys.readouterr().err == ""


def test_a_stored_run_is_read_as_trec_eval_reads_it_and_written_without_repetition(folder, model, tmp_path, capsys):
    (tmp_path / "bm25.trec").write_text("q1 Q0 0 1 3 t\nq1 Q0 0 2 2 t\nq1 Q0 2 3 1 t\nq2 Q0 1 1 1 t\n")
    options = ["--model", model, "--first-stage", str(tmp_path / "bm25.trec"), "--write-run", str(tmp_path / "run"), "--json"]
    assert main(["eval", str(folder), *options]) == 0
    printed = capsys.readouterr()
    assert "1 lines name a document that their query has already, '0' of query 'q1' first" in printed.err
    assert "has no candidates for 1 of 3 queries, 'q3' first: each counts as 0" in printed.err
    pairs = [tuple(line.split()[::2][:2]) for line in (tmp_path / "run").read_text().splitlines()]
    assert sorted(pairs) == [("q1", "0"), ("q1", "2"), ("q2", "1")]
