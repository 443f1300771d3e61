"""Distilling tiny checkpoints into query encoders, and the built-in model once: to the folder and back."""

import json
import random

import numpy as np
import pytest
import torch
from checkpoints import DIM, HIDDEN, VOCABULARY, WORDS, backbone, modernbert, native, native_byte_level, stanford

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.encode import TextEncoder
from late_rerank.encode.opening import compile_to
from late_rerank.encode.query_side.student import CompiledStudent
from late_rerank.errors import IncompatibleError, ModelError
from late_rerank.retrieve import BM25Retriever
from late_rerank.train import Development, DistilRecipe, HeldOut, QueryTexts, distil_query
from late_rerank.train.distil import fit
from late_rerank.train.distil.shrinking import ARCHITECTURES, Corrected, default_rank, factors_of, narrow
from late_rerank.train.distil.student import Student
from late_rerank.types import Candidate

pytestmark = pytest.mark.filterwarnings("ignore:.*texts are few")

RECIPE = DistilRecipe(steps=30, warm_up=3, tokens_per_step=400, texts_per_round=200, learning_rate=5e-3, precision="float32")


def queries(n=240):
    """Different texts of words that the tiny checkpoints know."""
    chance, words = random.Random(0), [word for word in WORDS if not word.startswith("##")]
    found = {" ".join(chance.choices(words, k=chance.randint(2, 9))): None for _ in range(2 * n)}
    return list(found)[:n]


QUERIES = queries()


def changed(**settings):
    return DistilRecipe(**{**vars(RECIPE), **settings})


def distilbert(folder):
    """sentence-transformers' own format over a DistilBERT of three layers."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from transformers import DistilBertConfig, DistilBertModel

    raw = folder.with_name(f"{folder.name}-backbone")
    backbone(raw)
    sizes = {"dim": HIDDEN, "n_layers": 3, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 128}
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(vocab_size=len(VOCABULARY), initializer_range=0.3, **sizes)).save_pretrained(raw)
    dense = Dense(HIDDEN, DIM, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    normalize = Normalize(module_input_name="token_embeddings")
    modules = [Transformer(str(raw), document_length=96, query_length=32), dense, MultiVectorMask(), normalize]
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def deep_modernbert(folder):
    """Four layers, the first and the last of which look at all tokens."""
    return modernbert(folder, n_layers=4)


def byte_level(folder):
    return native_byte_level(folder, {"query": "query: ", "document": "passage: "})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A BERT of two layers with markers, mask expansion and a skiplist."""
    return native(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def distilled(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("distilled") / "fast"
    documents = [Candidate(f"the {query} token", f"d{i}") for i, query in enumerate(QUERIES[:40])]
    held_out = HeldOut({f"q{i}": QUERIES[i] for i in range(8)}, {f"q{i}": {f"d{i}": 1} for i in range(8)}, "letters dev")
    development = Development(BM25Retriever(documents), held_out)
    return out, distil_query(str(checkpoint), QUERIES, out, recipe=RECIPE, held_out=[development])


def test_training_brings_held_out_texts_and_queries_nearer_to_the_model(distilled):
    _, report = distilled
    for name in ("queries", "letters dev"):
        found = report.measured.cosines[name]
        assert found.trained > found.untrained + 0.02
    assert report.fitted.n_steps == 30
    assert report.n_texts == {"queries": 209}  # without 23 that are held out, and 8 that are judged


def test_the_folder_encodes_queries_for_the_models_own_documents(distilled, checkpoint):
    out, report = distilled
    full, fast = TextEncoder(checkpoint), TextEncoder(checkpoint, query_encoder=out)
    assert fast.fingerprint == full.fingerprint == report.fingerprint
    assert fast.query_fingerprint == report.query_fingerprint != full.query_fingerprint
    texts = QUERIES[:3]
    np.testing.assert_array_equal(fast.encode_document(texts).values, full.encode_document(texts).values)
    ours, theirs = fast.encode_query(texts), full.encode_query(texts)
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    assert 0.3 < (ours.values * theirs.values).sum(axis=1).mean() < 0.9999
    with Reranker(checkpoint, query_encoder=out) as reranker:
        assert reranker.rerank("the cat", ["the cat", "vector per token"])[0].text == "the cat"


def test_the_folder_holds_its_card_and_nothing_of_the_training(distilled):
    out, report = distilled
    assert {file.name for file in out.iterdir()} >= {"query-encoder.json", "model.onnx", "README.md", "training.json"}
    assert not (out / "checkpoints").exists()
    told = json.loads((out / "training.json").read_text())
    assert told == json.loads(json.dumps(report.to_dict()))
    ndcg = told["measured"]["ndcg"]["letters dev"]
    assert ndcg["n_queries"] == 8
    assert set(told["measured"]["query_ms"]) == {"full", "trained"}
    card = (out / "README.md").read_text()
    assert f"| letters dev | 8 | {ndcg['first_stage']:.4f} | {ndcg['full']:.4f} |" in card
    assert "1 of the model's\n2 layers" in card


class StoppedError(Exception):
    """Ends a training as Ctrl-C does."""


def interrupt_at(monkeypatch, step, error=StoppedError):
    """Save at each step, and fail at one of them."""
    monkeypatch.setattr(fit, "_SAVE_S", 0.0)
    done = iter(range(10_000))
    vectors = Student.vectors

    def failing(self, inputs):
        if torch.is_grad_enabled() and next(done) == step:
            raise error
        return vectors(self, inputs)

    monkeypatch.setattr(Student, "vectors", failing)


def test_an_interrupted_training_goes_on_to_the_same_weights(distilled, checkpoint, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    distil_query(str(checkpoint), QUERIES, whole, recipe=RECIPE)
    out = tmp_path / "fast"
    for step in (4, 17):
        with monkeypatch.context() as patched:
            interrupt_at(patched, step)
            with pytest.raises(StoppedError):
                distil_query(str(checkpoint), QUERIES, out, recipe=RECIPE)
        assert (out / "checkpoints" / "checkpoint.pt").is_file()
    report = distil_query(str(checkpoint), QUERIES, out, recipe=RECIPE)
    assert report.fitted.n_steps == 30
    assert (out / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


def test_an_interrupted_training_of_something_else_is_kept(checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "fast"
    with monkeypatch.context() as patched:
        interrupt_at(patched, 2)
        with pytest.raises(StoppedError):
            distil_query(str(checkpoint), QUERIES, out, recipe=RECIPE)
    for texts, recipe in ((QUERIES[:-1], RECIPE), (QUERIES, changed(seed=1)), (QUERIES, changed(learning_rate=1e-3))):
        with pytest.raises(ValueError, match="another model, other texts or other settings"):
            distil_query(str(checkpoint), texts, out, recipe=recipe)
    fewer_steps = distil_query(str(checkpoint), QUERIES, out, recipe=changed(steps=5))
    assert fewer_steps.fitted.n_steps == 5


def test_neurons_that_change_nothing_are_the_first_to_go(tmp_path):
    model = backbone(tmp_path / "tiny")
    ids = torch.arange(12).reshape(2, 6)
    idle = torch.randperm(64, generator=torch.Generator().manual_seed(0))[:40]
    for layer, weight in zip(model.encoder.layer, ("inner", "outer"), strict=True):
        if weight == "inner":
            layer.intermediate.dense.weight.data[idle] = 0
            layer.intermediate.dense.bias.data[idle] = 0
        else:
            layer.output.dense.weight.data[:, idle] = 0
    with torch.no_grad():
        before = model(ids).last_hidden_state
        narrow(model.encoder.layer, ARCHITECTURES["bert"], 24, model.config)
        after = model(ids).last_hidden_state
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert model.config.intermediate_size == 24
    assert model.encoder.layer[1].output.dense.weight.shape == (HIDDEN, 24)


@pytest.mark.parametrize(("n_words", "rank"), [(30_522, 128), (62_500, 128), (250_002, 31), (10**8, 1)])
def test_a_large_vocabulary_has_a_correction_of_lower_rank(n_words, rank):
    assert default_rank(torch.nn.Embedding(n_words, 1, device="meta")) == rank


def test_only_words_that_were_seen_are_corrected():
    words = torch.nn.Embedding(5, 8, padding_idx=0)
    corrected, ids = Corrected(words, 3, seed=0), torch.arange(5)
    torch.testing.assert_close(corrected(ids), words(ids))
    corrected.fix(torch.tensor([True, False, False, True]))  # the tokenizer knows fewer words than there are embeddings
    corrected.map.data.normal_()
    changed_words = (corrected(ids) != words(ids)).any(dim=1).tolist()
    assert changed_words == [False, True, True, False, True]
    torch.testing.assert_close(corrected.folded()(ids), corrected(ids))


def test_the_factors_of_a_correction_are_found_again_and_of_one_size():
    chance = np.random.default_rng(0)
    sizes = np.array([10.0, 3, 1, 0.3, 0.1, 0.03])  # directions of very different weight
    change = (chance.normal(size=(50, 6)) * sizes @ chance.normal(size=(6, 12))).astype(np.float32)
    codes, directions = factors_of(change, 6)
    np.testing.assert_allclose(codes @ directions, change, atol=1e-4)
    spread = codes.std(axis=0)
    assert spread.max() < 8 * spread.min()  # 300 without the turn


def test_unseen_words_of_a_correction_to_begin_with_stay_as_they_were():
    words, wanted = torch.nn.Embedding(5, 8), torch.nn.Embedding(5, 8)
    corrected, ids = Corrected(words, 8, seed=0), torch.arange(5)
    corrected.become(wanted.weight.detach())
    corrected.fix(torch.tensor([True, False, False, True]))
    torch.testing.assert_close(corrected(ids), wanted(ids), atol=1e-5, rtol=1e-5)
    corrected.map.data.normal_()
    moved = (corrected(ids) - wanted(ids)).abs().amax(dim=1)
    assert (moved > 1e-4).tolist() == [False, True, True, False, True]


def test_a_correction_becomes_that_of_other_embeddings():
    words, wanted = torch.nn.Embedding(40, 8), torch.nn.Embedding(40, 8)
    corrected = Corrected(words, 8, seed=0)
    corrected.become(wanted.weight.detach())
    torch.testing.assert_close(corrected.folded().weight, wanted.weight, atol=1e-5, rtol=1e-5)
    assert 0.5 < corrected.codes.abs().mean() / corrected.map.abs().mean() < 2
    corrected.become(words.weight.detach())  # no change at all
    torch.testing.assert_close(corrected.folded().weight, words.weight)


# Where the correction's rank holds all of it, the student is what it began with; a step so small changes nothing.
@pytest.mark.parametrize(
    ("make", "correction"), [(native, HIDDEN), (distilbert, 0), (byte_level, HIDDEN), (deep_modernbert, 0)]
)
def test_a_training_begins_with_a_query_encoder(make, correction, tmp_path):
    checkpoint, first, second = make(tmp_path / "tiny"), tmp_path / "first", tmp_path / "second"
    before = distil_query(str(checkpoint), QUERIES, first, recipe=changed(width=64 if make is deep_modernbert else 20))
    still = changed(begin_with=str(first), correction=correction, steps=1, learning_rate=1e-12)
    after = distil_query(str(checkpoint), QUERIES, second, recipe=still)
    assert (after.n_layers, after.width) == (before.n_layers, before.width)
    ours, theirs = TextEncoder(checkpoint, query_encoder=second), TextEncoder(checkpoint, query_encoder=first)
    np.testing.assert_allclose(ours.encode_query(QUERIES).values, theirs.encode_query(QUERIES).values, atol=1e-5)
    assert "it began with the query encoder first, with" in (second / "README.md").read_text()


def test_it_goes_on_from_there(distilled, checkpoint, tmp_path):
    first, before = distilled
    after = distil_query(str(checkpoint), QUERIES, tmp_path / "second", recipe=changed(begin_with=str(first)))
    found = after.measured.cosines["queries"]
    assert found.trained > found.untrained > before.measured.cosines["queries"].untrained + 0.02


def test_a_query_encoder_that_a_training_cant_begin_with_is_refused(distilled, checkpoint, tmp_path, monkeypatch):
    first, out = str(distilled[0]), tmp_path / "out"

    def begin(with_, error, said, model=checkpoint, **settings):
        with pytest.raises(error, match=said):
            distil_query(str(model), QUERIES, out, recipe=changed(begin_with=with_, **settings))

    begin(first, ValueError, "has 1 layers, and the layers 0, 1 were asked for", layers=(0, 1))
    begin(first, ValueError, "has a width of 32, not 20: leave width out", width=20)
    begin(first, IncompatibleError, "matches documents of", model=distilbert(tmp_path / "other"))
    begin(str(tmp_path / "nowhere"), ModelError, 'begin_with=.* is no folder that exists. Pass "fast", or the folder')
    begin("fast", ModelError, 'begin_with="fast" is there for minilm alone, not for .*: leave it out')
    with monkeypatch.context() as patched:
        patched.setattr(CompiledStudent, "n_layers", None)  # as of an architecture that doesn't tell
        begin(first, ModelError, "has layers of another kind than")
    with pytest.raises(ValueError, match='begin_with must be "fast", the folder of a query encoder, or None'):
        changed(begin_with="full")
    with pytest.raises(ValueError, match='begin_with must be "fast", the folder of a query encoder, or None, got 3'):
        changed(begin_with=3)
    assert not out.exists()


def test_minutes_end_a_training(checkpoint, tmp_path):
    report = distil_query(str(checkpoint), QUERIES, tmp_path / "fast", recipe=changed(steps=10**9, minutes=0.01))
    assert 1 <= report.fitted.n_steps < 10**4
    assert report.fitted.seconds == pytest.approx(0.6, abs=5)


@pytest.mark.parametrize(
    ("make", "layers", "width"),
    [(stanford, (0,), 32), (distilbert, (0, 2), 32), (byte_level, (1,), 32), (modernbert, (0, 2), 64)],
)
def test_a_student_of_each_architecture_is_what_was_trained(make, layers, width, tmp_path):
    checkpoint, out = make(tmp_path / "tiny"), tmp_path / "fast"
    report = distil_query(str(checkpoint), QUERIES, out, recipe=changed(layers=layers, steps=20))
    found = report.measured.cosines["queries"]
    # What an engine gives by the folder's files, and what torch gave in the training.
    assert found.trained == pytest.approx(report.fitted.cosine, abs=2e-3)
    assert found.trained > found.untrained
    assert report.width == width  # half of 64, but for the gates of ModernBERT
    assert TextEncoder(checkpoint, query_encoder=out).describe()["query_encoder"]["layers"] == len(layers)


def test_what_can_have_no_student_is_refused_before_the_work(checkpoint, tmp_path):
    compiled = tmp_path / "compiled"
    compile_to(checkpoint, compiled)
    with pytest.raises(ModelError, match="compiled model, which torch can't run: load the checkpoint"):
        distil_query(str(compiled), QUERIES, tmp_path / "fast")
    with pytest.raises(ValueError, match=r"layers must be below 2, the number of layers of .*, got 0, 5"):
        distil_query(str(checkpoint), QUERIES, tmp_path / "fast", recipe=changed(layers=(0, 5)))
    with pytest.raises(ValueError, match="has 2 layers: a student of 2 is no smaller"):
        distil_query(str(checkpoint), QUERIES, tmp_path / "fast", recipe=changed(layers=(0, 1)))
    with pytest.raises(ValueError, match=r"width must be at most 64, the neurons of .*, got 65"):
        distil_query(str(checkpoint), QUERIES, tmp_path / "fast", recipe=changed(width=65))
    with pytest.raises(ValueError, match="at least 64 are needed"):
        distil_query(str(checkpoint), QUERIES[:9], tmp_path / "fast")
    assert not (tmp_path / "fast").exists()


def test_layers_of_an_unknown_architecture_and_a_first_layer_that_differs_are_refused(checkpoint, tmp_path, monkeypatch):
    modern = str(modernbert(tmp_path / "modern"))
    with pytest.raises(ValueError, match=r"layers must begin with 0: .* has no norm before it"):
        distil_query(modern, QUERIES, tmp_path / "fast", recipe=changed(layers=(1, 2)))
    with pytest.raises(ValueError, match=r"stays 64: its feed-forward parts have gates, got width 32"):
        distil_query(modern, QUERIES, tmp_path / "fast", recipe=changed(width=32))
    monkeypatch.delitem(ARCHITECTURES, "bert")
    with pytest.raises(ModelError, match=r"'bert', whose layers this version can't leave out\. It can of: roberta, "):
        distil_query(str(checkpoint), QUERIES, tmp_path / "fast")


def test_a_folder_with_anything_in_it_stays_as_it_is(checkpoint, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something already"):
        distil_query(str(checkpoint), QUERIES, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


class TestCommand:
    def run(self, checkpoint, tmp_path, *more):
        log = tmp_path / "log.txt"
        log.write_text("".join(f"{query}\n" for query in QUERIES))
        settings = ["--steps", "12", "--learning-rate", "0.005"]
        return main(["distil-query", str(checkpoint), "--out", str(tmp_path / "fast"), "--queries", str(log), *settings, *more])

    def test_ctrl_c_says_that_the_same_command_goes_on_and_it_does(self, checkpoint, tmp_path, monkeypatch, capsys):
        with monkeypatch.context() as patched:
            interrupt_at(patched, 6, KeyboardInterrupt)
            assert self.run(checkpoint, tmp_path) == 130
        assert "the same command goes on from there" in capsys.readouterr().err
        assert self.run(checkpoint, tmp_path, "--json") == 0
        printed = capsys.readouterr()
        told = json.loads(printed.out)
        assert told["training"]["n_steps"] == 12
        assert told["out"] == str(tmp_path / "fast")
        assert "teacher's vectors of" in printed.err

    def test_tables_are_printed_and_sizes_kept(self, checkpoint, tmp_path, capsys):
        assert self.run(checkpoint, tmp_path, "--layers", "1", "--width", "20", "--correction", "3") == 0
        out = capsys.readouterr().out
        told = json.loads((tmp_path / "fast" / "training.json").read_text())
        assert (told["layers"], told["width"], told["correction"]) == ([1], 20, 3)
        assert "untrained" in out
        assert f"Reranker({str(checkpoint)!r}, query_encoder={str(tmp_path / 'fast')!r})" in out

    @pytest.mark.parametrize(
        ("more", "code", "said"),
        [
            ([], 1, "name texts to learn from: a file of queries (--queries FILE)"),
            (["--queries", "nowhere.txt"], 1, "nowhere.txt"),
            (["--corpus", "nowhere"], 1, "nowhere"),
            (["--layers", "5,0"], 2, "must be numbers of layers from 0, ascending"),
            (["--layers", "first"], 2, "must be numbers of layers"),
            (["--minutes", "0"], 2, "must be a number above 0"),
            (["--width", "0"], 2, "must be a whole number of at least 1"),
            (["--correction", "-1"], 2, "must be a whole number of at least 0"),
        ],
    )
    def test_wrong_use_is_told(self, checkpoint, tmp_path, capsys, more, code, said):
        try:
            found = main(["distil-query", str(checkpoint), "--out", str(tmp_path / "fast"), *more])
        except SystemExit as ended:
            found = ended.code
        assert found == code
        assert said in capsys.readouterr().err
        assert not (tmp_path / "fast").exists()


@pytest.mark.slow("trains layers of the real model, compiles two students, 40 s")
def test_a_few_steps_bring_a_student_of_minilm_nearer(minilm, tmp_path):
    texts = [f"what does the {part} of machine {i} do" for i in range(60) for part in ("engine", "pump", "valve")]
    recipe = DistilRecipe(steps=10, warm_up=1, tokens_per_step=600)
    report = distil_query("minilm", QueryTexts.of(texts), tmp_path / "fast", recipe=recipe)
    found = report.measured.cosines["queries"]
    assert found.trained > found.untrained + 0.05
    assert report.fingerprint == minilm.fingerprint
    assert (report.layers, report.width) == ((0, 3, 5), 768)
    with Reranker("minilm", query_encoder=tmp_path / "fast") as reranker:
        ranked = reranker.rerank("what does the pump do", ["The pump moves water.", "Cats sleep."])
    assert ranked[0].text == "The pump moves water."
