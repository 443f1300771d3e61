"""Engines that run a compiled model: torch's vectors, whatever checkpoint or thread."""

import os
import random
import re
import subprocess
import sys
import threading
import warnings
from importlib.machinery import PathFinder

import numpy as np
import pytest
from checkpoints import modernbert, native, pooling, pylate, stanford

from late_rerank import Reranker, errors
from late_rerank.encode import TextEncoder, loading
from late_rerank.encode.backends import choosing, names
from late_rerank.encode.backends.choosing import LEAST_COSINE
from late_rerank.errors import MissingDependencyError, ModelError
from late_rerank.testing import EncoderTests

pytestmark = pytest.mark.model

QUERY = "how do several threads wait for each other?"
LONG = "A barrier makes threads wait until all of them have arrived. " * 60
TEXTS = ["A barrier makes threads wait.", "Cats sleep all day, as everybody knows who has one.", LONG, "Rivers run to the sea."]


def needs(engine):
    if engine not in names.installed_engines():
        pytest.skip(f'needs pip install "late-rerank[{engine}]"')


@pytest.fixture(scope="module", params=list(names.ENGINES))
def name(request):
    needs(request.param)
    return request.param


@pytest.fixture(scope="module")
def engine(name):
    return TextEncoder("minilm", backend=name)


@pytest.fixture(scope="module")
def by_torch():
    return TextEncoder("minilm", backend="torch")


def least_cosine(ours, theirs):
    assert len(ours.values) == len(theirs.values)
    return float((ours.values * theirs.values).sum(axis=1).min())


class EngineTests(EncoderTests):
    # In bfloat16 too: batches are padded to whole blocks.
    tolerance = 1e-5
    backend: str

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls):
        needs(cls.backend)
        return TextEncoder("minilm", backend=cls.backend)


class TestOpenVINO(EngineTests):
    backend = "openvino"


class TestOnnx(EngineTests):
    backend = "onnx"


class TestVectors:
    def test_they_are_torchs(self, engine, by_torch):
        assert engine.backend.least_cosine >= LEAST_COSINE
        assert least_cosine(engine.encode_document(TEXTS), by_torch.encode_document(TEXTS)) >= LEAST_COSINE
        assert least_cosine(engine.encode_query([QUERY, "cats"]), by_torch.encode_query([QUERY, "cats"])) >= LEAST_COSINE

    def test_documents_that_torch_stored_serve_them(self, engine, by_torch, tmp_path):
        assert engine.fingerprint == by_torch.fingerprint
        with Reranker(by_torch, store=tmp_path) as torch, Reranker(engine, store=tmp_path) as other:
            expected = torch.rerank(QUERY, TEXTS)
            found = other.rerank(QUERY, TEXTS)
        assert found.n_hits == len(TEXTS)
        assert [d.index for d in found] == [d.index for d in expected]
        np.testing.assert_allclose([d.score for d in found], [d.score for d in expected], rtol=2e-3)

    @pytest.mark.parametrize("make", [native, pylate, stanford])
    def test_every_format_of_checkpoint_runs_on_them(self, make, name, tmp_path):
        folder = str(make(tmp_path))
        engine, torch = TextEncoder(folder, backend=name), TextEncoder(folder, backend="torch")
        assert engine.backend.name == name
        assert least_cosine(engine.encode_document(TEXTS), torch.encode_document(TEXTS)) >= LEAST_COSINE
        assert least_cosine(engine.encode_query([QUERY]), torch.encode_query([QUERY])) >= LEAST_COSINE

    def test_many_threads_get_what_one_gets(self, engine):
        texts = [f"{text} {i}" for i, text in enumerate(TEXTS * 3)]
        alone = [(engine.encode_query([text]).values, engine.encode_document([text]).values) for text in texts]
        found = [None] * len(texts)

        def encode(i):
            found[i] = (engine.encode_query([texts[i]]).values, engine.encode_document([texts[i]]).values)

        for _ in range(3):
            threads = [threading.Thread(target=encode, args=(i,)) for i in range(len(texts))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for ours, theirs in zip(found, alone, strict=True):
                np.testing.assert_array_equal(ours[0], theirs[0])
                np.testing.assert_array_equal(ours[1], theirs[1])

    @pytest.mark.parametrize("kind", ["document", "query"])
    def test_they_are_the_same_in_any_company(self, kind, engine):
        words, chance = " ".join(TEXTS).split(), random.Random(5)
        texts = [" ".join(chance.choices(words, k=chance.randint(1, 60))) for _ in range(24)]
        encode = engine.encode_query if kind == "query" else engine.encode_document
        alone = [encode([text]).values for text in texts]
        for _ in range(3):
            chosen = chance.sample(range(len(texts)), 17)
            together = encode([texts[i] for i in chosen])
            # float32's own sums may differ in the last bits; bfloat16's differed by .01.
            np.testing.assert_allclose(together.values, np.concatenate([alone[i] for i in chosen]), rtol=0, atol=1e-6)

    def test_tokens_stand_row_for_row_with_them(self, engine):
        assert len(engine.tokens(QUERY, "query")) == len(engine.encode_query([QUERY]).values)


def refuse(*_):
    raise RuntimeError("unknown operation: magic")


class TestChoosing:
    def test_auto_takes_the_fastest_installed_without_a_word(self, monkeypatch):
        for name in names.ENGINES:
            needs(name)
        for installed in (["openvino", "onnx"], ["onnx"], []):
            monkeypatch.setattr(loading, "installed_engines", lambda installed=installed: installed)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert TextEncoder("minilm").backend.name == (installed or ["torch"])[0]

    def test_torch_runs_what_an_engine_can_not_and_one_warning_says_why(self, name, monkeypatch):
        monkeypatch.setattr(f"late_rerank.encode.backends.{name}.load", refuse)
        monkeypatch.setattr(loading, "installed_engines", lambda: [name])
        for backend in (name, "auto"):
            with pytest.warns(UserWarning, match=f"torch runs the model instead of {name}: .*operation: magic") as caught:
                encoder = TextEncoder("minilm", backend=backend)
            assert len(caught) == 1
            assert caught[0].filename == __file__
            assert encoder.backend.name == "torch"
            assert encoder.encode_query([QUERY]).values.shape[1] == 384

    def test_without_torch_it_is_an_error(self, name, monkeypatch):
        monkeypatch.setattr(f"late_rerank.encode.backends.{name}.load", refuse)
        monkeypatch.setattr(loading, "has_torch", lambda: False)
        with pytest.raises(ModelError, match=f"no engine here runs minilm: instead of {name}: .*operation: magic"):
            TextEncoder("minilm", backend=name)

    def test_auto_takes_the_next_where_the_fastest_can_not(self, monkeypatch):
        for name in names.ENGINES:
            needs(name)
        monkeypatch.setattr("late_rerank.encode.backends.openvino.load", refuse)
        monkeypatch.setattr(loading, "installed_engines", lambda: list(names.ENGINES))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            backend = TextEncoder("minilm").backend
        assert backend.name == "onnx"
        assert "instead of openvino: RuntimeError: unknown operation: magic" in backend.reason

    def test_ctrl_c_while_an_engine_loads_is_not_taken_for_a_reason(self, name, monkeypatch):
        def interrupted(*_):
            raise RuntimeError("Converting input model KeyboardInterrupt: <EMPTY MESSAGE>")  # OpenVINO's own words

        monkeypatch.setattr(f"late_rerank.encode.backends.{name}.load", interrupted)
        with pytest.raises(KeyboardInterrupt):
            TextEncoder("minilm", backend=name)

    def test_a_pooling_model_is_computed_exactly(self, name, tmp_path):
        folder = str(pooling(native(tmp_path / "model")))
        engine, torch = TextEncoder(folder, backend=name), TextEncoder(folder, backend="torch")
        assert (engine.backend.name, engine.backend.precision) == (name, "f32")
        assert least_cosine(engine.encode_document(TEXTS), torch.encode_document(TEXTS)) > 0.99999

    def test_padding_that_may_look_at_nothing_spoils_nothing(self, name, tmp_path):
        folder = str(modernbert(tmp_path / "model"))
        engine, torch = TextEncoder(folder, backend=name), TextEncoder(folder, backend="torch")
        assert engine.backend.name == name
        assert least_cosine(engine.encode_document(TEXTS), torch.encode_document(TEXTS)) >= LEAST_COSINE

    def test_an_engine_whose_vectors_are_others_is_not_taken(self, name, monkeypatch, tmp_path):
        module = __import__(f"late_rerank.encode.backends.{name}", fromlist=["load"])
        load = module.load

        def wrong(*arguments):
            run = load(*arguments)
            return lambda ids, mask: run(ids, mask) + np.random.default_rng(0).standard_normal(384).astype(np.float32) / 9

        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))  # where nothing is proved yet
        monkeypatch.setattr(module, "load", wrong)
        with pytest.warns(UserWarning, match=r"token vectors have a cosine of 0\.\d+ to torch's"):
            assert TextEncoder("minilm", backend=name).backend.name == "torch"

    def test_an_engine_is_compared_once_on_a_machine(self, name, monkeypatch, tmp_path):
        from late_rerank.encode.backends import proofs

        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
        first = TextEncoder("minilm", backend=name).backend
        (file,) = (tmp_path / "late-rerank").glob("proof-*.json")
        monkeypatch.setattr(proofs, "least_cosine", lambda *_: pytest.fail("compared again"))
        assert TextEncoder("minilm", backend=name).backend == first
        monkeypatch.undo()
        for damage in (b"", b"[]", b'{"least_cosine": 1', b'{"least_cosine": 9, "multiple": -1}'):
            file.write_bytes(damage)
            monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
            assert TextEncoder("minilm", backend=name).backend == first

    def test_openvino_computes_in_float32_where_bfloat16_loses_too_much(self, monkeypatch):
        openvino = pytest.importorskip("late_rerank.encode.backends.openvino")
        monkeypatch.setattr(choosing, "LEAST_TRIED", 0.999999)
        encoder = TextEncoder("minilm", backend="openvino")
        assert (encoder.backend.name, encoder.backend.precision) == ("openvino", openvino.precisions()[-1])
        assert encoder.backend.least_cosine > 0.999999

    def test_a_name_that_is_not_installed_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr(errors, "find_spec", lambda _: None)
        with pytest.raises(MissingDependencyError, match=r"late-rerank\[openvino\]"):
            Reranker(backend="openvino")

    def test_a_folder_of_that_name_is_no_package(self, monkeypatch, tmp_path):
        (tmp_path / "openvino").mkdir()
        monkeypatch.setattr(errors, "find_spec", lambda module: PathFinder.find_spec(module, [str(tmp_path)]))
        assert names.installed_engines() == []

    def test_the_command_line_offers_every_backend(self, capsys):
        from late_rerank.cli import main

        with pytest.raises(SystemExit):
            main(["doctor", "--help"])
        assert "{" + ",".join(names.BACKENDS) + "}" in capsys.readouterr().out

    def test_an_unknown_name_is_refused_with_all_known_ones(self):
        with pytest.raises(ValueError, match="backend must be one of auto, torch, openvino, onnx, got 'tensorrt'"):
            TextEncoder("minilm", backend="tensorrt")

    def test_doctor_says_what_runs_and_why(self, name, monkeypatch, capsys):
        from late_rerank.cli import main

        monkeypatch.setattr(loading, "installed_engines", lambda: [name])
        assert main(["doctor"]) == 0
        out = capsys.readouterr().out
        assert re.search(rf"^backend +{name}$", out, re.MULTILINE)
        assert "with a token cosine of" in out


@pytest.mark.parametrize("n_threads", [None, 1, 2])
@pytest.mark.slow("a process, 9 s")
def test_a_query_on_torch_takes_one_thread_and_leaves_every_threads_number(n_threads, tmp_path):
    """Whether or not the program has set a number, in the main thread and in new ones."""
    script = f"""
import os, threading, torch
if {n_threads} is not None:
    torch.set_num_threads({n_threads})
expected = torch.get_num_threads()
from late_rerank.encode import TextEncoder
from late_rerank.encode.torch import threads
encoder = TextEncoder("minilm", backend="torch")
matrix = torch.ones(500, 500)
def cores(work):
    before = os.times()
    for _ in range(60):
        work()
    after = os.times()
    return (after.user + after.system - before.user - before.system) / (after.elapsed - before.elapsed)
def look():
    with threads.one_thread():
        used = cores(lambda: torch.nn.functional.linear(matrix, matrix).relu())
    encoder.encode_query(["what is the cat"])
    print(torch.get_num_threads() == expected, "alone" if used < 1.5 else used)
for _ in range(2):
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    look()
"""
    assert in_a_process(script, tmp_path) == "True alone\n" * 4


@pytest.mark.parametrize("first", ["", "import openvino; print(started); started.clear()"], ids=["ours", "theirs"])
@pytest.mark.slow("a process that converts a model, 10 s")
def test_nobody_is_told_of_imports_and_conversions(first, tmp_path):
    needs("openvino")
    # Each message to OpenVINO's makers would be a process, which sends it.
    script = f"""
import multiprocessing.process
started = []
multiprocessing.process.BaseProcess.start = lambda process: started.append(process.name)
{first}
from late_rerank.encode import TextEncoder
print(TextEncoder("minilm", backend="openvino").backend.name, started)
"""
    assert in_a_process(script, tmp_path).splitlines()[-1] == "openvino []"
    assert first or not (tmp_path / "intel").exists()


@pytest.mark.slow("processes that convert a model, 15 s")
def test_ctrl_c_is_an_exception_after_engines_have_come_and_gone(name, tmp_path):
    # In a process of its own, which two of OpenVINO's Cores would end with a segmentation fault.
    script = f"""
import gc, signal
from late_rerank.encode import TextEncoder
first, second = (TextEncoder("minilm", backend="{name}") for _ in range(2))
del first; gc.collect()
del second; gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert in_a_process(script, tmp_path) == "interrupted\n"


def in_a_process(script, home):
    # In CI OpenVINO tells nobody by itself.
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    environment |= {"HOME": str(home), "HF_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
