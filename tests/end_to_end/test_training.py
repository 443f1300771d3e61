"""Adapting a tiny checkpoint with sentence-transformers' own trainer, to the model's folder and back."""

import json
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
from checkpoints import native, pylate

from late_rerank import Candidate, Reranker
from late_rerank.cli import main
from late_rerank.errors import MissingDependencyError
from late_rerank.retrieve import BM25Retriever
from late_rerank.train import Example, HeldOut, Recipe, adapt, adaptation, fit

pytest.importorskip("peft", reason='pip install "late-rerank[train]"')


def run_command(*arguments):
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "late_rerank", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["late", "keeps", "one", "vector", "per", "token", "cat", "sat", "on", "mat"]


def pairs(n=48):
    """Queries of three letters; the answer holds the next three of the alphabet, which no word overlap tells."""
    chance = random.Random(0)
    found = {}
    for i in range(n):
        asked = chance.sample(range(25), 3)
        query = " ".join(LETTERS[j] for j in asked)
        found[f"q{i}"] = (query, f"the {' '.join(LETTERS[j + 1] for j in asked)} token {i}")
    return found


PAIRS = pairs()
DOCUMENTS = [Candidate(text, name) for name, (_, text) in PAIRS.items()]
EXAMPLES = {name: Example(query, (text,)) for name, (query, text) in PAIRS.items()}
RECIPE = Recipe(
    epochs=4, batch_size=8, n_negatives=1, negatives_from=10, learning_rate=3e-3, kept=1.0, rank=4, document_tokens=32
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return native(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def retriever():
    return BM25Retriever(DOCUMENTS)


def recipe(checkpoint, **changes):
    return Recipe(**{**vars(RECIPE), "model": str(checkpoint), **changes})


def held_out(n):
    names = list(PAIRS)[-n:]
    return HeldOut({name: PAIRS[name][0] for name in names}, {name: {name: 1} for name in names})


@pytest.fixture(scope="module")
def adapted(checkpoint, retriever, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "adapted"
    examples = dict(list(EXAMPLES.items())[:-8])
    report = adapt(retriever, examples, out, recipe=recipe(checkpoint), held_out=held_out(8), data="letters")
    return out, report


def test_the_loss_falls_and_the_training_queries_rank_better(adapted, checkpoint):
    out, report = adapted
    assert report.losses[-1] < report.losses[0] * 0.9
    ranks = {}
    for model in (checkpoint, out):
        with Reranker(str(model), backend="torch") as reranker:
            lists = [reranker.rerank(query, DOCUMENTS) for query, _ in list(PAIRS.values())[:40]]
        ranks[model] = np.mean(
            [
                next(document.rank for document in found if document.id == name)
                for name, found in zip(PAIRS, lists, strict=False)
            ]
        )
    assert ranks[out] < ranks[checkpoint] - 5  # of 48; trained without its markers the model would gain nothing here


def test_the_folder_is_complete_and_says_what_was_done(adapted):
    out, report = adapted
    assert not (out / "checkpoints").exists()
    told = json.loads((out / "training.json").read_text())
    assert told == json.loads(json.dumps(report.to_dict()))
    assert told["n_queries"] == 40
    assert told["n_rows"] == 160
    assert told["held_out"]["n_queries"] == 8
    card = (out / "README.md").read_text()
    assert "letters; 40 queries, 40 pairs" in card
    assert f"| nDCG@10 | {told['held_out']['measures']['first_stage']['nDCG@10']:.4f} |" in card


def test_sentence_transformers_and_the_adapter_alone_give_the_same_model(adapted, checkpoint):
    import peft
    from sentence_transformers import MultiVectorEncoder

    out, _ = adapted
    texts = ["the a b c token", "what is late interaction"]
    adapted_model, base = MultiVectorEncoder(str(out)), MultiVectorEncoder(str(checkpoint))
    whole = adapted_model.encode_document(texts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in a way that is about to go
        base[0].model = peft.PeftModel.from_pretrained(base[0].model, str(out / "adapter"))
    for i in range(1, len(base)):  # a projection isn't LoRA's: it is trained whole
        base[i] = adapted_model[i]
    alone = base.encode_document(texts)
    with Reranker(str(out), backend="torch") as reranker:
        ours = reranker.encoder.encode_document(texts)
    for i, vectors in enumerate(whole):
        np.testing.assert_allclose(ours.one(i).values, np.asarray(vectors), atol=1e-5)
        np.testing.assert_allclose(np.asarray(alone[i]), np.asarray(vectors), atol=1e-4)
    plain = MultiVectorEncoder(str(checkpoint)).encode_document(texts)
    assert np.abs(np.asarray(plain[0]) - np.asarray(whole[0])).max() > 1e-2


def test_the_same_seed_gives_the_same_model_and_another_another(checkpoint, retriever, tmp_path):
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        made = adapt(retriever, EXAMPLES, tmp_path / name, recipe=recipe(checkpoint, epochs=1, precision="float32", seed=seed))
        found.append(made.losses)
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] != pytest.approx(found[2], rel=1e-4)


@pytest.mark.parametrize("more", [{"kept": 0.5}, {"method": "full", "kept": 0.5}, {"dim": 8, "distil": 1.0, "kept": 0.5}])
@pytest.mark.slow("trains three times, 10 to 20 s")
def test_an_interrupted_training_goes_on_to_the_same_model(more, checkpoint, retriever, tmp_path, monkeypatch):
    settings = recipe(checkpoint, precision="float32", epochs=2, **{"learning_rate": 1e-3, **more})
    whole = adapt(retriever, EXAMPLES, tmp_path / "whole", recipe=settings)

    monkeypatch.setattr(fit, "_SAVE_STEPS", 5)
    stepped = fit._Bar.on_step_end

    def interrupts(self, args, state, control, **kwargs):
        stepped(self, args, state, control, **kwargs)
        if state.global_step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fit._Bar, "on_step_end", interrupts)
        with pytest.raises(KeyboardInterrupt):
            adapt(retriever, EXAMPLES, tmp_path / "out", recipe=settings)
    checkpoints = tmp_path / "out" / "checkpoints"
    assert (checkpoints / "checkpoint-5").is_dir()
    (checkpoints / "checkpoint-10").mkdir()  # killed in the middle of writing the next one
    with pytest.raises(ValueError, match="other data or settings"):
        adapt(retriever, EXAMPLES, tmp_path / "out", recipe=recipe(checkpoint, learning_rate=1e-2))

    monkeypatch.setattr(adaptation, "mine", lambda *_, **__: pytest.fail("mined again"))
    resumed = adapt(retriever, EXAMPLES, tmp_path / "out", recipe=settings)
    assert resumed.losses == pytest.approx(whole.losses, rel=1e-3)
    vectors = []
    for name in ("whole", "out"):
        with Reranker(str(tmp_path / name), backend="torch") as reranker:
            vectors.append(reranker.encoder.encode_document(["the a b c token"]).values)
    np.testing.assert_allclose(*vectors, atol=1e-3)


def test_a_projection_is_adapted_too(tmp_path, retriever):
    model = pylate(tmp_path / "pylate")
    report = adapt(retriever, EXAMPLES, tmp_path / "out", recipe=recipe(model, epochs=1))
    with Reranker(str(tmp_path / "out"), backend="torch") as after, Reranker(str(model), backend="torch") as before:
        assert after.encoder.dim == before.encoder.dim
        assert after.encoder.describe()["document_prefix"] == before.encoder.describe()["document_prefix"]
        assert after.encoder.fingerprint != before.encoder.fingerprint
        weights = [
            next(module for module in encoder._model.forward.model if type(module).__name__ == "Dense").linear.weight
            for encoder in (before.encoder, after.encoder)
        ]
        assert (weights[0] - weights[1]).abs().max() > 1e-4
    assert report.method.endswith(", and the whole projection")


@pytest.mark.slow("trains, 16 s")
def test_half_of_the_change_is_kept(checkpoint, retriever, tmp_path):
    """LoRA's two factors must be shortened as one: the weights' own change halves, not quarters."""
    import peft
    from safetensors.torch import load_file

    factors = {}
    for kept in (1.0, 0.5):
        out = tmp_path / str(kept)
        settings = recipe(checkpoint, epochs=1, precision="float32", kept=kept)
        adapt(retriever, EXAMPLES, out, recipe=settings)
        factors[kept] = load_file(out / "adapter" / "adapter_model.safetensors")
    assert peft.PeftConfig.from_pretrained(str(tmp_path / "0.5" / "adapter")).r == 4
    for name, whole in factors[1.0].items():
        share = 1.0 if "lora_A" in name else 0.5
        np.testing.assert_allclose(factors[0.5][name], share * whole, atol=1e-6)
    moved = {kept: np.abs(_weights(tmp_path / str(kept)) - _weights(checkpoint)).max() for kept in (1.0, 0.5)}
    assert moved[0.5] == pytest.approx(moved[1.0] / 2, rel=1e-3)


def _weights(folder):
    """One of the transformer's matrices."""
    from sentence_transformers import MultiVectorEncoder

    return next(
        weight.detach().numpy()
        for name, weight in MultiVectorEncoder(str(folder)).named_parameters()
        if name.endswith("attention.self.query.weight")
    )


@pytest.mark.slow("trains, 14 s")
def test_a_projection_leaves_fewer_components_and_a_teacher_keeps_them_meaningful(checkpoint, retriever, tmp_path):
    settings = recipe(checkpoint, epochs=2, dim=8, distil=1.0, kept=1.0)
    examples = dict(list(EXAMPLES.items())[:-8])
    report = adapt(retriever, examples, tmp_path / "out", recipe=settings, held_out=held_out(8))
    assert report.method.endswith(", and the whole projection")
    with Reranker(str(tmp_path / "out"), backend="torch") as reranker, Reranker(str(checkpoint), backend="torch") as before:
        assert reranker.encoder.dim == 8
        texts = [document.text for document in DOCUMENTS]
        scores = [each.token_maxima("k l m", texts).sum(axis=1) for each in (reranker, before)]
    assert np.corrcoef(*scores)[0, 1] > 0.5
    card = (tmp_path / "out" / "README.md").read_text()
    assert "projected to 8 components" in card
    assert "1 times the divergence" in card
    with pytest.raises(ValueError, match="a projection can only leave fewer"):
        adapt(retriever, EXAMPLES, tmp_path / "wider", recipe=recipe(checkpoint, dim=4096))


def test_rows_of_a_distilled_training_carry_the_teachers_scores(checkpoint, retriever):
    from late_rerank.train.negatives import mine

    settings = recipe(checkpoint, epochs=1, distil=1.0, n_negatives=2)
    with Reranker(str(checkpoint), backend="torch") as reranker:
        rows = mine(reranker, retriever, EXAMPLES, settings)
        plain = mine(reranker, retriever, EXAMPLES, recipe(checkpoint, epochs=1, n_negatives=2))
        maxima = reranker.token_maxima(rows[0].query, [rows[0].positive, *rows[0].negatives]).mean(axis=1)
    assert {len(row.scores) for row in rows} == {3}
    assert {row.scores for row in plain} == {()}
    # MaxSim moved by the first stage; that of the judged document, which BM25 doesn't find, lifted by the judgement too.
    assert rows[0].scores[1:] == pytest.approx(maxima[1:], abs=0.06)
    assert rows[0].scores[0] == pytest.approx(maxima[0] + 0.04, abs=0.03)
    assert rows[0].answers == (rows[0].positive,)


def test_of_many_documents_a_query_some_are_shown(checkpoint, retriever):
    from late_rerank.train.negatives import mine

    many = {"q": Example("a b c", tuple(document.text for document in DOCUMENTS[:12]))}
    with Reranker(str(checkpoint), backend="torch") as reranker:
        rows = mine(reranker, retriever, many, recipe(checkpoint, epochs=3, documents_per_query=4))
    assert len(rows) == 12
    assert len({row.positive for row in rows[:4]}) == 4
    assert len({row.positive for row in rows}) > 4


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, retriever):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something already"):
        adapt(retriever, EXAMPLES, tmp_path, recipe=RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_checkpoints_of_another_program_are_left_alone(tmp_path, retriever, checkpoint):
    theirs = tmp_path / "checkpoints" / "checkpoint-best"
    theirs.mkdir(parents=True)
    (theirs / "model.bin").write_text("mine")
    with pytest.raises(ValueError, match="holds something already"):
        adapt(retriever, EXAMPLES, tmp_path, recipe=recipe(checkpoint))
    assert (theirs / "model.bin").read_text() == "mine"

    empty = tmp_path / "other"
    (empty / "checkpoints").mkdir(parents=True)
    (empty / "README.md").write_text("mine")
    with pytest.raises(ValueError, match="holds something already"):
        adapt(retriever, EXAMPLES, empty, recipe=recipe(checkpoint))
    assert (empty / "README.md").read_text() == "mine"


def test_queries_whose_documents_were_shown_are_told_apart(adapted, checkpoint, retriever, tmp_path):
    _, report = adapted
    assert report.to_dict()["held_out"]["documents_not_trained_on"]["n_queries"] == 8
    examples = dict(list(EXAMPLES.items())[:-8])
    shared = list(PAIRS)[-1]
    first = next(iter(examples))
    examples[first] = Example(examples[first].query, (*examples[first].documents, PAIRS[shared][1]))
    settings = recipe(checkpoint, epochs=1)
    told = adapt(retriever, examples, tmp_path / "out", recipe=settings, held_out=held_out(8)).to_dict()
    assert told["held_out"]["documents_not_trained_on"]["n_queries"] == 7
    assert "On the 7 queries of which none did" in (tmp_path / "out" / "README.md").read_text()


def test_without_the_packages_the_pip_line_is_told(checkpoint, retriever, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match=r"late-rerank\[train\]"):
        adapt(retriever, EXAMPLES, tmp_path / "out", recipe=recipe(checkpoint))
    assert not (tmp_path / "out").exists()


def test_a_corpus_without_other_documents_is_told_before_training(checkpoint, tmp_path):
    small = BM25Retriever(DOCUMENTS[:2])
    with pytest.raises(ValueError, match="only 0 rows of training data"):
        adapt(small, EXAMPLES, tmp_path / "out", recipe=recipe(checkpoint, n_negatives=3))


@pytest.mark.slow("starts processes that train, 10 s")
def test_a_setting_may_be_changed_as_long_as_nothing_is_trained(checkpoint, retriever, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(fit, "_train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            adapt(retriever, EXAMPLES, str(tmp_path / "out"), recipe=recipe(checkpoint, epochs=1))
    assert (tmp_path / "out" / "checkpoints" / "rows.json").is_file()
    report = adapt(retriever, EXAMPLES, str(tmp_path / "out"), recipe=recipe(checkpoint, epochs=1, n_negatives=2))
    assert report.recipe.n_negatives == 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BEIR folder of the same letters."""
    path = tmp_path_factory.mktemp("beir")
    (path / "qrels").mkdir()
    (path / "corpus.jsonl").write_text("".join(json.dumps({"_id": d.id, "text": d.text}) + "\n" for d in DOCUMENTS))
    (path / "queries.jsonl").write_text("".join(json.dumps({"_id": n, "text": q}) + "\n" for n, (q, _) in PAIRS.items()))
    (path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{n}\t{n}\t1\n" for n in PAIRS))
    return path


def test_the_command_trains_and_measures(folder, checkpoint, tmp_path):
    arguments = ["--model", checkpoint, "--epochs", "1", "--batch-size", "8", "--negatives", "1", "--out", tmp_path / "out"]
    done = run_command("train", folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["n_queries"] == 43
    assert told["held_out"]["n_queries"] == 5
    assert told["held_out"]["data"].startswith("5 queries of")
    assert "Traceback" not in done.stderr
    assert "deprecated" not in done.stderr

    again = run_command("train", folder, *arguments)
    assert again.returncode == 1
    assert "holds something already" in again.stderr


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (["--kept", "0"], "--kept: must be a number above 0 and at most 1, got '0'"),
        (["--kept", "2"], "--kept: must be a number above 0 and at most 1, got '2'"),
        (["--batch-size", "1"], "--batch-size: must be a whole number of at least 2"),
        (["--distil", "-1"], "--distil: must be a number of 0 or more"),
        (["--learning-rate", "fast"], "--learning-rate: must be a number above 0"),
    ],
)
def test_wrong_numbers_are_wrong_use(option, complaint, folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(folder), "--out", "nowhere", *option])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def test_documents_without_judgements_are_told_what_to_do(tmp_path, capsys):
    (tmp_path / "notes.md").write_text("The cat sat on the mat.")
    assert main(["train", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert "--pairs FILE" in told
    assert "--unlabelled" in told


@pytest.mark.slow("a process, 9 s")
def test_the_command_refuses_a_leak(folder, checkpoint, tmp_path):
    done = run_command("train", folder, "--eval-split", "train", "--model", checkpoint, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "48 of 48 training queries are also among the queries that the result is measured on" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow("trains twice in processes, 35 s")
def test_the_command_trains_without_labels_and_on_pairs(checkpoint, tmp_path):
    chance = random.Random(1)
    texts = [". ".join("The " + " ".join(chance.choices(WORDS, k=12)) for _ in range(4)) + "." for _ in range(40)]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    settings = ["--model", checkpoint, "--epochs", "1", "--batch-size", "8", "--negatives", "1"]
    done = run_command("train", corpus, "--unlabelled", *settings, "--out", tmp_path / "unlabelled", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["held_out"] is None
    pairs_file = tmp_path / "pairs.jsonl"
    pairs_file.write_text("".join(json.dumps({"query": f"a b {i}", "id": str(i)}) + "\n" for i in range(40)))
    done = run_command("train", corpus, "--pairs", pairs_file, *settings, "--out", tmp_path / "paired", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["n_pairs"], told["held_out"]["n_queries"]) == (36, 4)
    assert told["held_out"]["data"] == "4 queries of corpus.jsonl, pairs.jsonl"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Reranker(str(tmp_path / "paired"), backend="torch").close()
