"""Engines that run a model instead of torch: the same vectors, whatever checkpoint, thread or folder."""

import os
import random
import re
import subprocess
import sys
import threading
import warnings
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import modernbert, native, pooling, pylate, stanford

from late_rerank import Reranker
from late_rerank.encode import TextEncoder
from late_rerank.encode.backends import choosing, kept, names
from late_rerank.encode.backends.choosing import LEAST_COSINE
from late_rerank.errors import MissingDependencyError
from late_rerank.testing import EncoderTests

pytestmark = pytest.mark.model  # a model is converted for each engine, which takes seconds

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
def engine(name, minilm):
    return TextEncoder("minilm", backend=name)


def least_cosine(ours, theirs):
    assert len(ours.values) == len(theirs.values)
    return float((ours.values * theirs.values).sum(axis=1).min())


class EngineTests(EncoderTests):
    # In bfloat16 too: batches are padded to whole blocks.
    tolerance = 1e-5
    backend: str

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, minilm):
        needs(cls.backend)
        return TextEncoder("minilm", backend=cls.backend)


class TestOpenVINO(EngineTests):
    backend = "openvino"


class TestOnnx(EngineTests):
    backend = "onnx"


class TestVectors:
    def test_they_are_torchs(self, engine, minilm):
        assert engine.backend.least_cosine >= LEAST_COSINE
        assert least_cosine(engine.encode_document(TEXTS), minilm.encode_document(TEXTS)) >= LEAST_COSINE
        assert least_cosine(engine.encode_query([QUERY, "cats"]), minilm.encode_query([QUERY, "cats"])) >= LEAST_COSINE

    def test_documents_that_torch_stored_serve_them(self, engine, minilm, tmp_path):
        assert engine.fingerprint == minilm.fingerprint
        with Reranker(minilm, store=tmp_path) as torch, Reranker(engine, store=tmp_path) as other:
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


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def cut(file):
    file.write_bytes(file.read_bytes()[:-10])


def empty(file):
    file.write_bytes(b"")


def zeros_within(file):
    """As a lost write leaves them: of the weights of some words, say."""
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = bytes(len(data[middle : middle + 4096]))
    file.write_bytes(data)


class TestKept:
    def test_a_model_is_converted_once(self, name, minilm, monkeypatch):
        TextEncoder("minilm", backend=name)
        module = f"late_rerank.encode.backends.{name}.convert"
        monkeypatch.setattr(module, lambda *_: pytest.fail("converted again"))
        assert TextEncoder("minilm", backend=name).backend.name == name

    def test_where_nothing_can_be_written_it_runs_all_the_same(self, name, minilm, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("")
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "file"))
        assert TextEncoder("minilm", backend=name).backend.name == name

    @pytest.mark.slow("converts a model seven times, 12 s")
    def test_what_was_kept_and_is_damaged_is_converted_anew(self, name, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
        model = str(native(tmp_path / "model"))
        TextEncoder(model, backend=name)
        (folder,) = (tmp_path / "late-rerank").iterdir()
        whole = contents(folder)
        for damage in (cut, empty, zeros_within):
            for file in folder.iterdir():
                damage(file)
                assert TextEncoder(model, backend=name).backend.name == name
                assert contents(folder).keys() == whole.keys()
                assert kept._is_whole(folder)
        assert list(folder.parent.iterdir()) == [folder]

    def test_what_is_damaged_and_can_not_be_replaced_is_converted_for_this_process(self, name, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
        model = str(native(tmp_path / "model"))
        TextEncoder(model, backend=name)
        (folder,) = (tmp_path / "late-rerank").iterdir()
        zeros_within(max(folder.iterdir(), key=lambda file: file.stat().st_size))

        def read_only(*_, **__):
            raise PermissionError("read-only")

        monkeypatch.setattr(Path, "rename", read_only)
        assert TextEncoder(model, backend=name).backend.name == name

    def test_what_a_killed_process_left_is_removed_after_a_day(self, name, minilm, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
        old, new = (tmp_path / "late-rerank" / f".new-{which}" for which in ("old", "new"))
        for folder in (old, new):
            folder.mkdir(parents=True)
        os.utime(old, (0, 0))
        TextEncoder("minilm", backend=name)
        assert (old.exists(), new.exists()) == (False, True)

    def test_what_was_half_converted_is_not_left_behind(self, name, minilm, monkeypatch, tmp_path):
        def half(model, folder):
            (Path(folder) / "model.xml").write_text("<half")
            raise OSError("disk full")

        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
        monkeypatch.setattr(f"late_rerank.encode.backends.{name}.convert", half)
        with pytest.warns(UserWarning, match=f"torch runs the model instead of {name}: .*disk full"):
            assert TextEncoder("minilm", backend=name).backend.name == "torch"
        assert list((tmp_path / "late-rerank").iterdir()) == []


class TestChoosing:
    def test_auto_takes_the_fastest_installed_without_a_word(self, minilm, monkeypatch):
        for name in names.ENGINES:
            needs(name)
        for installed in (["openvino", "onnx"], ["onnx"], []):
            monkeypatch.setattr(choosing, "installed_engines", lambda installed=installed: installed)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert TextEncoder("minilm").backend.name == (installed or ["torch"])[0]

    def test_torch_runs_what_an_engine_can_not_and_one_warning_says_why(self, name, minilm, monkeypatch):
        def refuse(*_):
            raise RuntimeError("unknown operation: aten::magic")

        monkeypatch.setattr(f"late_rerank.encode.backends.{name}.load", refuse)
        monkeypatch.setattr(choosing, "installed_engines", lambda: [name])
        for backend in (name, "auto"):
            with pytest.warns(UserWarning, match=f"torch runs the model instead of {name}: .*aten::magic") as caught:
                encoder = TextEncoder("minilm", backend=backend)
            assert len(caught) == 1
            assert caught[0].filename == __file__
            assert encoder.backend.name == "torch"
            assert encoder.encode_query([QUERY]).values.shape[1] == 384

    def test_the_reason_names_the_operation_in_one_line(self, name, minilm, monkeypatch, capfd, tmp_path):
        from late_rerank.encode.backends import backbone

        def odd(self, input_ids, attention_mask):
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return hidden + 0 * torch.special.bessel_j0(hidden)

        monkeypatch.setattr(backbone.HiddenStates, "forward", odd)
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
        with pytest.warns(UserWarning, match=r"^[^\n]*aten::special_bessel_j0[^\n]*$"):
            TextEncoder("minilm", backend=name)
        assert capfd.readouterr().out == ""

    def test_auto_takes_the_next_where_the_fastest_can_not(self, minilm, monkeypatch):
        for name in names.ENGINES:
            needs(name)

        def refuse(*_):
            raise RuntimeError("unknown operation: aten::magic")

        monkeypatch.setattr("late_rerank.encode.backends.openvino.load", refuse)
        monkeypatch.setattr(choosing, "installed_engines", lambda: list(names.ENGINES))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            backend = TextEncoder("minilm").backend
        assert backend.name == "onnx"
        assert "instead of openvino: RuntimeError: unknown operation: aten::magic" in backend.reason

    def test_ctrl_c_while_a_model_is_converted_is_not_taken_for_a_reason(self, name, minilm, monkeypatch, tmp_path):
        def interrupted(*_):
            raise RuntimeError("Converting input model KeyboardInterrupt: <EMPTY MESSAGE>")  # OpenVINO's own words

        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
        monkeypatch.setattr(f"late_rerank.encode.backends.{name}.convert", interrupted)
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

    def test_an_engine_whose_vectors_are_others_is_not_taken(self, name, minilm, monkeypatch):
        module = __import__(f"late_rerank.encode.backends.{name}", fromlist=["load"])
        load = module.load

        def wrong(*arguments):
            run = load(*arguments)
            return lambda ids, mask: run(ids, mask) + np.random.default_rng(0).standard_normal(384).astype(np.float32) / 9

        monkeypatch.setattr(module, "load", wrong)
        with pytest.warns(UserWarning, match=r"token vectors have a cosine of 0\.\d+ to torch's"):
            assert TextEncoder("minilm", backend=name).backend.name == "torch"

    def test_openvino_computes_in_float32_where_bfloat16_loses_too_much(self, minilm, monkeypatch):
        openvino = pytest.importorskip("late_rerank.encode.backends.openvino")
        monkeypatch.setattr(choosing, "LEAST_TRIED", 0.999999)
        encoder = TextEncoder("minilm", backend="openvino")
        assert (encoder.backend.name, encoder.backend.precision) == ("openvino", openvino.precisions()[-1])
        assert encoder.backend.least_cosine > 0.999999

    def test_a_name_that_is_not_installed_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr(names, "find_spec", lambda _: None)
        with pytest.raises(MissingDependencyError, match=r"late-rerank\[openvino\]"):
            Reranker(backend="openvino")

    def test_half_of_an_extra_is_none(self, monkeypatch):
        # onnxruntime alone comes with many packages.
        monkeypatch.setattr(names, "find_spec", lambda module: find_spec("json") if module == "onnxruntime" else None)
        assert names.installed_engines() == []
        with pytest.raises(MissingDependencyError, match="needs the package 'onnx'"):
            TextEncoder("minilm", backend="onnx")

    def test_a_folder_of_that_name_is_no_package(self, monkeypatch, tmp_path):
        (tmp_path / "openvino").mkdir()
        monkeypatch.setattr(names, "find_spec", lambda module: PathFinder.find_spec(module, [str(tmp_path)]))
        assert names.installed_engines() == []

    def test_the_command_line_offers_every_backend(self, capsys):
        from late_rerank.cli import main

        with pytest.raises(SystemExit):
            main(["doctor", "--help"])
        assert "{" + ",".join(names.BACKENDS) + "}" in capsys.readouterr().out

    def test_an_unknown_name_is_refused_with_all_known_ones(self):
        with pytest.raises(ValueError, match="backend must be one of auto, torch, openvino, onnx, got 'tensorrt'"):
            TextEncoder("minilm", backend="tensorrt")

    def test_doctor_says_what_runs_and_why(self, name, minilm, monkeypatch, capsys):
        from late_rerank.cli import main

        monkeypatch.setattr(choosing, "installed_engines", lambda: [name])
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
from late_rerank.encode.backends import threads
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
