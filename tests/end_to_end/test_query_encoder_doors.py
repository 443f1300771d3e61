"""The fast query encoder of minilm through the command line and the server, and a folder in its place."""

import json
from pathlib import Path

import httpx
import pytest
from serving import QUERY, counts, serving

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.cli.compare import compared_rows
from late_rerank.encode.builtin import FAST_FOLDERS
from late_rerank.encode.query_side.fast import fast_student
from late_rerank.encode.query_side.writing import write_query_encoder

TEXTS = [
    "Kittens sleep for up to twenty hours a day.",
    "Bread keeps longer in a stone jar.",
    "Trains were late all winter.",
    "Wool is washed in cold water.",
]
ASKED = "how long does a young cat rest"


@pytest.fixture(autouse=True)
def _model(minilm):
    """Skips where the model isn't installed."""


@pytest.fixture(scope="module")
def student():
    return fast_student("minilm")


@pytest.fixture(scope="module")
def digest(student):
    return student.fingerprint


@pytest.fixture(scope="module")
def folder(minilm, tmp_path_factory):
    """The fast query encoder as a folder of its own, as `distil-query` writes one."""
    out = tmp_path_factory.mktemp("query-encoders") / "student"
    write_query_encoder(fast_student("minilm").compiled.graph.parent, out, minilm)
    return out


@pytest.fixture
def candidates(tmp_path):
    file = tmp_path / "candidates.jsonl"
    file.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    return str(file)


@pytest.fixture
def printed(capsys):
    """Runs a command that prints JSON; gives it."""

    def run(*words):
        assert main([*map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def scores(report):
    return {result["id"]: result["score"] for result in report["results"]}


class TestRerank:
    def test_one_store_serves_both(self, printed, candidates, folder, tmp_path):
        store = tmp_path / "store"
        full = printed("rerank", ASKED, candidates, "--store", store)
        fast = printed("rerank", ASKED, candidates, "--store", store, "--query-encoder", "fast")
        by_folder = printed("rerank", ASKED, candidates, "--store", store, "--query-encoder", folder)

        assert [report["store"]["misses"] for report in (full, fast, by_folder)] == [len(TEXTS), 0, 0]
        assert scores(full) != scores(fast) == scores(by_folder)
        expected = Reranker(query_encoder="fast").rerank(ASKED, TEXTS)
        assert scores(fast) == pytest.approx({str(document.index): document.score for document in expected}, abs=1e-3)

    def test_a_model_without_a_fast_one_is_told_what_to_do(self, candidates, capsys):
        assert main(["rerank", ASKED, candidates, "--model", "minilm-late", "--query-encoder", "fast"]) == 1
        assert "late-rerank distil-query minilm-late --out DIR" in capsys.readouterr().err

    def test_another_models_query_encoder_is_refused(self, candidates, folder, capsys):
        assert main(["rerank", ASKED, candidates, "--model", "minilm-late", "--query-encoder", str(folder)]) == 1
        assert "matches documents of minilm" in capsys.readouterr().err

    def test_a_folder_that_is_none_is_refused(self, candidates, tmp_path, capsys):
        assert main(["rerank", ASKED, candidates, "--query-encoder", str(tmp_path)]) == 1
        assert "without query-encoder.json" in capsys.readouterr().err

    @pytest.mark.parametrize("command", ["rerank", "search", "doctor"])
    def test_the_packages_part_of_the_built_in_one_is_refused_with_its_name(self, command, candidates, capsys):
        words = {"rerank": [ASKED, candidates], "search": [candidates, ASKED], "doctor": ["minilm"]}[command]
        assert main([command, *words, "--query-encoder", str(FAST_FOLDERS["minilm"])]) == 1
        assert 'use query_encoder="fast" with the model minilm' in capsys.readouterr().err

    def test_a_second_model_keeps_its_own(self, printed, tmp_path):
        documents = tmp_path / "documents.jsonl"
        documents.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
        found = printed("search", documents, ASKED, "--query-encoder", "fast", "--fuse", "minilm-late")
        assert found["results"][0]["text"] == TEXTS[0]


def test_explain_tells_the_score_that_the_ranking_gives(printed):
    for name in ("full", "fast"):
        explained = printed("explain", ASKED, "--text", TEXTS[0], "--query-encoder", name)
        (document,) = Reranker(query_encoder=name, codec="float32").rerank(ASKED, TEXTS[:1])
        assert explained["score"] == pytest.approx(document.score, abs=0.01)


class TestDoctor:
    def test_it_tells_the_query_encoder(self, printed, student, capsys):
        told = printed("doctor", "--query-encoder", "fast")["query_encoder"]
        expected = ("fast", "minilm", student.n_layers, student.fingerprint)
        assert (told["name"], told["teacher"], told["layers"], told["fingerprint"]) == expected
        assert 0 < told["layers"] < 6
        assert told["least_cosine_to_torch"] >= 0.999
        assert main(["doctor", "--query-encoder", "fast"]) == 0
        assert f"fast: {student.n_layers} layers, " in capsys.readouterr().out

    def test_without_one_the_model_is_named(self, printed, capsys):
        assert printed("doctor")["query_encoder"] is None
        assert main(["doctor"]) == 0
        assert "full: the model itself" in capsys.readouterr().out

    def test_a_query_encoders_folder_says_what_it_is(self, printed, folder, student, minilm, capsys):
        told = printed("doctor", folder)
        assert (told["of_model"], told["fingerprint"]) == ("minilm", minilm.fingerprint)
        assert (told["query_fingerprint"], told["layers"], told["dim"]) == (student.fingerprint, student.n_layers, 384)
        assert told["use"] == f'Reranker("minilm", query_encoder="{folder}")'
        assert main(["doctor", str(folder)]) == 0
        assert told["use"] in capsys.readouterr().out

    def test_a_query_encoders_folder_takes_no_query_encoder(self, folder, capsys):
        assert main(["doctor", str(folder), "--query-encoder", "fast"]) == 1
        told = capsys.readouterr()
        assert "`late-rerank doctor minilm --query-encoder fast`" in told.err
        assert not told.out

    def test_the_home_of_nobody_is_no_model(self, capsys):
        assert main(["doctor", "~no-such-user"]) == 1
        assert "~no-such-user" in capsys.readouterr().err

    def test_a_damaged_one_is_refused(self, folder, tmp_path, capsys):
        damaged = tmp_path / "damaged"
        damaged.mkdir()
        for file in folder.iterdir():
            (damaged / file.name).write_bytes(file.read_bytes())
        (damaged / "model.onnx").write_bytes(b"no graph")
        assert main(["doctor", str(damaged)]) == 1
        assert "model.onnx" in capsys.readouterr().err


@pytest.fixture(scope="module")
def beir(tmp_path_factory):
    """Subjects and facts, and questions in nearly the documents' words."""
    subjects, facts = ("cats", "rivers", "bread", "trains", "stars"), ("are old", "need water", "cost much", "sleep", "sing")
    path = tmp_path_factory.mktemp("beir")
    (path / "qrels").mkdir()
    texts = [f"{subject} {fact}" for subject in subjects for fact in facts]
    (path / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(texts))
    )
    asked = "".join(json.dumps({"_id": f"q{i}", "text": f"which {text}?"}) + "\n" for i, text in enumerate(texts))
    (path / "queries.jsonl").write_text(asked)
    judged = "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(len(texts)))
    for split in ("test", "train"):
        (path / "qrels" / f"{split}.tsv").write_text(judged)
    return str(path)


class TestEvaluation:
    def test_both_are_rows_with_the_time_of_a_query(self, beir, printed, tmp_path, capsys):
        store = tmp_path / "store"
        report = printed("eval", beir, "--compare", "query_encoder=fast", "--store", store)
        rows = report["compared"]
        assert [row["query_encoder"] for row in rows] == ["full", "fast"]
        assert rows[1]["difference"]["mean"] == pytest.approx(
            rows[1]["measures"]["nDCG@10"] - rows[0]["measures"]["nDCG@10"], abs=2e-4
        )
        assert all(0 < row["latency_ms"]["encode_query"] < row["latency_ms"]["p99"] for row in rows)
        alone = printed("eval", beir, "--query-encoder", "fast", "--store", store)
        assert (alone["query_encoder"], alone["measures"]["reranked"]) == ("fast", rows[1]["measures"])
        cells = compared_rows(report)
        assert [row[0] for row in cells] == ["full query encoder", "fast query encoder"]
        assert [row[-1] for row in cells] == [f"{row['latency_ms']['encode_query']:.1f} ms" for row in rows]
        assert main(["eval", beir, "--compare", "query_encoder=fast", "--store", str(store)]) == 0
        assert "query" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "given",
        [
            ["--compare", "model=minilm,minilm-late", "query_encoder=fast"],
            ["--model", "minilm-late", "--query-encoder", "fast"],
        ],
    )
    def test_a_model_without_it_is_told_before_any_work(self, given, beir, capsys, monkeypatch):
        monkeypatch.setattr("late_rerank.cli.evaluate._judged", None)  # reads and retrieves
        assert main(["eval", beir, *given]) == 1
        told = capsys.readouterr()
        assert "late-rerank distil-query minilm-late --out DIR" in told.err
        assert not told.out

    def test_single_vectors_have_none(self, beir, capsys):
        with pytest.raises(SystemExit, match="2"):
            main(["eval", beir, "--rerank-with", "single-vector", "--query-encoder", "fast"])
        assert "--query-encoder is about token vectors" in capsys.readouterr().err

    def test_what_tune_prints_names_it(self, beir, printed):
        quick = ["--split", "train", "--k", "10", "--codec", "int8", "--pooling", "1", "--first-stage-weight", "0,1"]
        report = printed("tune", beir, *quick, "--query-encoder", "fast")
        assert report["query_encoder"] == "fast"
        if report["picked"] is not None:
            assert 'query_encoder="fast"' in report["python"]
            assert "--query-encoder fast" in report["command"]

    def test_a_calibration_is_of_its_query_encoder(self, beir, printed, candidates, digest, tmp_path, capsys):
        out = tmp_path / "calibration.json"
        report = printed("calibrate", beir, "--query-encoder", "fast", "--out", out)
        assert (report["query_encoder"], report["calibration"]["query_fingerprint"]) == ("fast", digest)
        given = ["--calibration", str(out)]
        ranked = printed("rerank", ASKED, candidates, "--query-encoder", "fast", *given)
        assert all(0 <= result["relevance"] <= 1 for result in ranked["results"])
        for words in (["rerank", ASKED, candidates, *given], ["serve", "--port", "0", *given]):
            assert main(words) == 1
            assert f'fitted to queries of query_encoder="fast" ({digest})' in capsys.readouterr().err
        full = tmp_path / "full.json"
        assert printed("calibrate", beir, "--out", full)["calibration"]["query_fingerprint"] is None
        assert main(["rerank", ASKED, candidates, "--query-encoder", "fast", "--calibration", str(full)]) == 1
        assert 'fitted to queries of query_encoder="full"' in capsys.readouterr().err


class TestServer:
    def test_info_and_metrics_tell_it_and_no_path(self, folder, digest):
        models = ("--model", "quick=minilm", "--model", "own=minilm", "--query-encoder", f"own={folder}")
        with serving("--query-encoder", "fast", *models, env={"LATE_RERANK_BACKEND": "onnx"}) as (url, _, _log):
            told = httpx.get(f"{url}/info").json()
            assert (told["query_encoder"], told["query_fingerprint"]) == ("fast", digest)
            answers = {
                name: httpx.post(f"{url}/rerank", json={"model": name, "query": QUERY, "documents": TEXTS}, timeout=60).json()
                for name in ("quick", "own")
            }
            measured = counts(url)
        found = [[result["relevance_score"] for result in answers[name]["results"]] for name in ("quick", "own")]
        assert found[0] == found[1]
        assert [answer["model"] for answer in answers.values()] == ["quick", "own"]
        for name, query_encoder in (("quick", "fast"), ("own", "student")):
            assert measured[f'late_rerank_model_info{{model="{name}",query_encoder="{query_encoder}"}}'] == 1

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (["--model", "minilm-late", "--query-encoder", "fast"], "distil-query minilm-late"),
            (["--query-encoder", "other=fast"], "no --model is called 'other'; known: minilm"),
        ],
    )
    def test_a_wrong_one_ends_the_command_before_it_serves(self, given, message, capsys):
        assert main(["serve", "--port", "0", *given]) == 1
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize("command", [["serve", "--port", "0"], ["mcp"]], ids=lambda command: command[0])
    def test_another_models_folder_ends_the_command_before_it_serves(self, command, folder, capsys):
        assert main([*command, "--model", "minilm-late", "--query-encoder", str(folder)]) == 1
        assert "matches documents of minilm" in capsys.readouterr().err

    @pytest.mark.slow("a server of two processes, 10 s")
    def test_every_worker_has_it(self):
        options = ("--workers", 2, "--backend", "onnx")
        with serving(*options, env={"LATE_RERANK_QUERY_ENCODER": "fast"}) as (url, _, _log):
            told = [httpx.get(f"{url}/info").json()["query_encoder"] for _ in range(20)]
            measured = counts(url)
        assert set(told) == {"fast"}
        assert measured['late_rerank_model_info{model="minilm",query_encoder="fast"}'] == 1

    def test_a_folders_path_stays_here(self, folder):
        from late_rerank.serve.loading import _about

        told = _about(Reranker(query_encoder=folder), "")
        assert told["query_encoder"] == "student"
        assert str(Path(folder).parent) not in json.dumps(told)
