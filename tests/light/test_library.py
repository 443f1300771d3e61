"""The library: the README's examples, scores as torch gives them, a store that a second process reads."""

import subprocess
import sys
from pathlib import Path

import pytest
from readmes.pages import blocks, printed_by

from late_rerank import Reranker
from late_rerank.retrieve import DenseRetriever

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = [block.text for block in blocks(README) if block.language == "python"]

QUERY = "wait for several threads"
DOCUMENTS = [
    "A barrier makes threads wait until all of them have arrived.",
    "The cat sat on the mat.",
    "A queue hands items from one thread to another.",
]
# Of backend="torch" in float32, in the order of DOCUMENTS.
MAXSIM = {"minilm": [3.7682, 0.8690, 2.9965], "minilm-late": [3.9660, 0.9017, 3.1980]}
# The same of query_encoder="fast": of its own weights.
FAST = [4.2128, 0.8259, 3.2361]
# Of sentence-transformers' SentenceTransformer.
COSINES = [0.5386, -0.0099, 0.4509]


@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_readmes_examples_print_what_they_say(code, tmp_path):
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.rstrip("\n").splitlines() == printed_by(code)


def scores(reranker):
    ranked = reranker.rerank(QUERY, DOCUMENTS)
    return [document.score for document in sorted(ranked, key=lambda document: document.index)]


@pytest.mark.parametrize("model", MAXSIM)
def test_a_built_in_model_scores_as_by_torch(model):
    with Reranker(model, codec="float32") as reranker:
        assert reranker.stats()["backend"] == "onnx"
        assert scores(reranker) == pytest.approx(MAXSIM[model], abs=1e-3)


def test_the_fast_query_encoder_finds_what_the_full_one_stored():
    with Reranker(store="store", codec="float32") as full:
        expected = scores(full)
    with Reranker(store="store", codec="float32", query_encoder="fast", on_missing="raise") as fast:
        assert fast.encoder.describe()["query_encoder"]["backend"] == "onnx"
        assert scores(fast) == pytest.approx(FAST, abs=1e-3)
        assert sorted(range(3), key=FAST.__getitem__) == sorted(range(3), key=expected.__getitem__)


def test_dense_vectors_are_those_of_sentence_transformers():
    found = DenseRetriever(DOCUMENTS).retrieve(QUERY)
    assert [(document.text, document.score) for document in found] == [
        (DOCUMENTS[i], pytest.approx(COSINES[i], abs=1e-3)) for i in (0, 2, 1)
    ]


@pytest.mark.parametrize("model", MAXSIM)
def test_a_compiled_model_is_loaded_from_its_folder(model, run):
    run("compile", model, "--out", "compiled")
    with Reranker("compiled", codec="float32") as reranker:
        assert scores(reranker) == pytest.approx(MAXSIM[model], abs=1e-3)


def test_a_second_process_finds_what_the_first_one_stored():
    code = (
        "import sys; from late_rerank import Reranker\n"
        "with Reranker(store='store') as reranker:\n"
        f"    ranking = reranker.rerank({QUERY!r}, {DOCUMENTS!r})\n"
        "    print(ranking.n_hits, ranking.n_misses, [document.index for document in ranking])"
    )
    told = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert told == ["0 3 [0, 2, 1]\n", "3 0 [0, 2, 1]\n"]
