"""Commands as they are installed, each to its end."""

import json
import os
import re

import pytest

QUERY = "how does a stream get to the sea"


def test_the_demo_answers(run):
    done = run("demo", env={**os.environ, "COLUMNS": "80"})
    best = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  reranked ")]
    names = ["tempfile.TemporaryDirectory", "subprocess.run", "queue.PriorityQueue", "html.escape", "bisect.insort_right"]
    assert [re.sub(r"[\[\]]", "", name) for name in best] == names
    assert "the process [takes] [too] [long]" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("first_stage", ["bm25", "dense", "hybrid"])
def test_search_puts_the_answer_first(first_stage, run, notes):
    found = json.loads(run("search", notes, QUERY, "--first-stage", first_stage, "--json").stdout)
    assert found["results"][0]["id"] == "rivers.txt#0"
    assert found["store"] == {"hits": 0, "misses": len(found["results"])}


def test_a_file_in_another_encoding_is_read_and_told(run, notes):
    (notes / "mice.txt").write_bytes("Mäuse fliehen über die Straße vor der großen Katze.".encode("latin-1"))
    done = run("search", notes, "Mäuse", "--json")
    assert "1 file was read as Windows-1252" in done.stderr
    assert "mice.txt#0" in {result["id"] for result in json.loads(done.stdout)["results"]}


def test_a_search_finds_what_was_indexed(run, notes):
    assert "3 encoded" in run("index", notes, "--store", "store").stdout
    found = json.loads(run("search", notes, QUERY, "--first-stage", "dense", "--store", "store", "--json").stdout)
    assert found["results"][0]["id"] == "rivers.txt#0"
    assert found["store"] == {"hits": 3, "misses": 0}


def test_a_context_cites_the_answer_first(run, notes):
    assert run("context", notes, QUERY, "--first-stage", "dense").stdout.startswith("[1] Rivers run downhill")


def test_an_explanation_names_the_match(run):
    told = json.loads(run("explain", "a stream", "--text", "Cats like rivers.", "--json").stdout)
    (word,) = [word for word in told["words"] if word["text"] == "stream"]
    assert word["document_word"]["text"] == "rivers"
    run("explain", "a stream", "--text", "Cats like rivers.", "--html", "page.html")


def test_rerank_reads_candidates_from_stdin(run):
    texts = ["Cats sleep most of the day.", "Rivers run to the coast."]
    given = "\n".join(json.dumps({"text": text}) for text in texts)
    for model in ("minilm", "minilm-late"):
        found = json.loads(run("rerank", QUERY, "--model", model, "--json", input=given).stdout)
        assert [row["index"] for row in found["results"]] == [1, 0]


@pytest.mark.parametrize(("model", "dim"), [("minilm", 384), ("minilm-late", 256)])
def test_doctor_describes_the_model(model, dim, run):
    told = json.loads(run("doctor", model, "--json").stdout)
    assert (told["backend"], told["precision"], told["format"], told["dim"]) == ("onnx", "f32", "built in", dim)
    assert told["least_cosine_to_torch"] >= 0.9999
    assert told["kernel"].startswith("native:")
    assert set(told["versions"]) == {"late-rerank", "onnxruntime", "numpy"}


def test_a_compiled_model_is_checked_and_searches(run, notes):
    told = json.loads(run("compile", "minilm", "--out", "compiled", "--json").stdout)
    assert json.loads(run("doctor", "compiled", "--json").stdout)["fingerprint"] == told["fingerprint"]
    found = json.loads(run("search", notes, QUERY, "--model", "compiled", "--first-stage", "dense", "--json").stdout)
    assert found["results"][0]["id"] == "rivers.txt#0"
