"""Compiled models: sentence-transformers' vectors without torch; made once, whole or not at all, found again."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import modernbert, native, native_byte_level, pooling, pylate, stanford

from late_rerank import Reranker, explain
from late_rerank.cli import main
from late_rerank.encode import TextEncoder
from late_rerank.encode.backends.names import installed_engines
from late_rerank.encode.checkpoint import Checkpoint, read_checkpoint
from late_rerank.encode.compiled import kept
from late_rerank.encode.compiled.builtin import builtin_model
from late_rerank.encode.compiled.format import DESCRIPTION, FILES, PROBES, Description, read_compiled, write_description
from late_rerank.encode.compiled.identity import identity
from late_rerank.encode.opening import compile_to
from late_rerank.errors import MissingDependencyError, ModelError

pytestmark = pytest.mark.model  # checkpoints are compiled, which takes a second each

TEXTS = [
    "the cat sat on the mat",
    "late interaction keeps one vector per token " * 40,
    *("cat", "", "?!...", "\x00", "\ud800 x", "Ünïcödé \U0001f600 東京", "[SEP] [MASK] the"),
]


def expanding(folder, **expansion):
    """The native format, whose queries are filled up in another way."""
    made = native(folder)
    file = made / "sentence_bert_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "query_expansion": expansion}))
    return made


def stacked(folder):
    """Two projections, the first with a bias and an activation."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense

    model = MultiVectorEncoder(str(native(folder)), device="cpu")
    torch.manual_seed(3)
    layers = {"bias": True, "activation_function": torch.nn.Tanh(), "module_input_name": "token_embeddings"}
    model.insert(1, Dense(32, 32, **layers))
    model.save_pretrained(str(folder.with_name("stacked")), create_model_card=False)
    return folder.with_name("stacked")


CHECKPOINTS = {
    "native": native,
    "pylate": pylate,
    "stanford": stanford,
    "modernbert": modernbert,
    "byte-level": lambda folder: native_byte_level(folder, {"query": "query: ", "document": "passage: "}),
    "stacked": stacked,
    "pooling documents": lambda folder: pooling(native(folder)),
    "pooling queries": lambda folder: pooling(native(folder), "query"),
    "at least": lambda folder: expanding(folder, strategy="min", attend=False, length=12),
    "attended": lambda folder: expanding(folder, strategy="fixed", attend=True, length=12),
}


@pytest.fixture(scope="module", params=CHECKPOINTS)
def checkpoint(request, tmp_path_factory):
    return str(CHECKPOINTS[request.param](tmp_path_factory.mktemp("models") / "model"))


@pytest.fixture(scope="module")
def compiled(checkpoint):
    return TextEncoder(checkpoint, backend="onnx")


@pytest.fixture(scope="module")
def by_torch(checkpoint):
    return TextEncoder(checkpoint, backend="torch")


def assert_same(ours, theirs):
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    np.testing.assert_array_equal(ours.truncated, theirs.truncated)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=1e-5)


class TestVectors:
    def test_they_are_torchs(self, compiled, by_torch):
        assert compiled.backend.name == "onnx"
        assert_same(compiled.encode_document(TEXTS), by_torch.encode_document(TEXTS))
        assert_same(compiled.encode_query([*TEXTS, "x " * 300]), by_torch.encode_query([*TEXTS, "x " * 300]))

    def test_fingerprints_are_equal(self, checkpoint, compiled, by_torch):
        assert compiled.fingerprint == by_torch.fingerprint
        options = {"max_tokens": 9} if "pooling" in Path(checkpoint).name else {"max_tokens": 9, "pooling": 2}
        ours, theirs = (TextEncoder(checkpoint, backend=backend, **options) for backend in ("onnx", "torch"))
        assert ours.fingerprint == theirs.fingerprint != compiled.fingerprint
        assert_same(ours.encode_document(TEXTS), theirs.encode_document(TEXTS))

    def test_tokens_and_the_model_before_pooling_are_the_same(self, compiled, by_torch):
        ours, theirs = compiled.unpooled(), by_torch.unpooled()
        assert ours.fingerprint == theirs.fingerprint
        for text in TEXTS:
            for kind in ("query", "document"):
                assert ours.tokens(text, kind) == theirs.tokens(text, kind)
        assert_same(ours.encode_document(TEXTS), theirs.encode_document(TEXTS))

    def test_doctor_says_the_same_of_it(self, compiled, by_torch):
        ours, theirs = compiled.describe(), by_torch.describe()
        own = {"backend", "precision", "why_this_backend", "least_cosine_to_torch", "compiled", "proved_when_compiled"}
        assert {name for name in ours if ours[name] != theirs[name]} <= own
        assert (Path(ours["compiled"]) / DESCRIPTION).is_file()
        assert ours["proved_when_compiled"]["least_cosine"] > 0.9999


@pytest.mark.parametrize("options", [{}, {"pooling": 3}, {"max_tokens": 20}, {"pooling": 2, "max_tokens": 50}])
@pytest.mark.parametrize("model", ["minilm", "minilm-late"])
def test_built_in_models_are_those_that_torch_computes(model, options, minilm):
    ours, theirs = (TextEncoder(model, backend=backend, **options) for backend in ("onnx", "torch"))
    assert ours.fingerprint == theirs.fingerprint
    assert_same(ours.encode_query(TEXTS), theirs.encode_query(TEXTS))
    assert_same(ours.encode_document(TEXTS), theirs.encode_document(TEXTS))


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


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "late-rerank"


@pytest.fixture
def model(tmp_path):
    return str(native(tmp_path / "model"))


def folders(home):
    return [path for path in home.iterdir() if path.is_dir()]


class TestKept:
    def test_a_checkpoint_is_compiled_once(self, model, home, monkeypatch):
        TextEncoder(model, backend="onnx")
        (folder,) = folders(home)
        assert {file.name for file in folder.iterdir()} == set(FILES)
        monkeypatch.setattr("late_rerank.encode.torch.compiling.compile_model", lambda *_, **__: pytest.fail("again"))
        assert TextEncoder(model, backend="onnx").backend.name == "onnx"

    def test_a_changed_checkpoint_is_compiled_anew(self, model, home):
        first = TextEncoder(model, backend="onnx").fingerprint
        weights = Path(model) / "1_Dense" / "model.safetensors"
        before = weights.stat()
        data = bytearray(weights.read_bytes())
        data[-4:] = bytes(4)
        weights.write_bytes(data)
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))  # as archives set times
        assert TextEncoder(model, backend="onnx").fingerprint not in (first, None)
        assert len(folders(home)) == 2

    def test_where_nothing_can_be_written_it_runs_all_the_same(self, model, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("")
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "file"))
        assert TextEncoder(model, backend="onnx").backend.name == "onnx"
        assert TextEncoder("minilm-late", backend="onnx").backend.name == "onnx"

    @pytest.mark.parametrize("damage", [cut, empty, zeros_within, Path.unlink])
    def test_a_damaged_one_is_compiled_anew(self, damage, model, home):
        expected = TextEncoder(model, backend="onnx").encode_query(["cat"]).values
        (folder,) = folders(home)
        for name in FILES:
            damage(folder / name)
            np.testing.assert_array_equal(TextEncoder(model, backend="onnx").encode_query(["cat"]).values, expected)
            assert read_compiled(folder)
        assert folders(home) == [folder]

    def test_a_damaged_one_that_can_not_be_replaced_is_compiled_for_this_process(self, model, home, monkeypatch):
        TextEncoder(model, backend="onnx")
        (folder,) = folders(home)
        zeros_within(folder / "weights.safetensors")

        def read_only(*_, **__):
            raise PermissionError("read-only")

        monkeypatch.setattr(Path, "rename", read_only)
        assert TextEncoder(model, backend="onnx").backend.name == "onnx"

    def test_what_a_killed_process_left_is_removed_after_a_day(self, model, home):
        old, new = (home / f".new-{which}" for which in ("old", "new"))
        for folder in (old, new):
            folder.mkdir(parents=True)
        os.utime(old, (0, 0))
        TextEncoder(model, backend="onnx")
        assert (old.exists(), new.exists()) == (False, True)

    def test_one_of_another_format_is_left_alone(self, model, home):
        TextEncoder(model, backend="onnx")
        (folder,) = folders(home)
        older = folder.with_name(folder.name.replace("compiled-1", "compiled-0"))
        folder.rename(older)
        TextEncoder(model, backend="onnx")
        assert sorted(folders(home)) == sorted([folder, older])

    def test_one_of_a_release_with_another_order_of_merged_vectors_has_todays_order_and_fingerprint(
        self, model, home, tmp_path
    ):
        pooled = str(pooling(Path(model)))
        compiled = compile_to(pooled, tmp_path / "out")
        write_description(tmp_path / "out", replace(compiled.description, fingerprint="of another order"))
        ours, theirs = TextEncoder(str(tmp_path / "out"), backend="onnx"), TextEncoder(pooled, backend="torch")
        assert ours.fingerprint == theirs.fingerprint
        assert_same(ours.encode_document(TEXTS), theirs.encode_document(TEXTS))

    def test_on_a_full_disk_torch_runs_it_and_nothing_is_left(self, model, home, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("late_rerank.encode.torch.compiling.write_weights", full)
        with pytest.warns(UserWarning, match=r"torch runs the model instead of onnx: .*No space left"):
            assert TextEncoder(model, backend="onnx").backend.name == "torch"
        assert list(home.iterdir()) == []

    def test_the_reason_names_the_operation_in_one_line(self, model, home, monkeypatch, capfd):
        import torch

        from late_rerank.encode.torch.graph import Vectors

        forward = Vectors.forward
        monkeypatch.setattr(
            Vectors, "forward", lambda *given: tuple(x + 0 * torch.special.bessel_j0(x) for x in forward(*given))
        )
        with pytest.warns(UserWarning, match=r"^[^\n]*aten::special_bessel_j0[^\n]*$"):
            TextEncoder(model, backend="onnx")
        assert capfd.readouterr().out == ""
        assert folders(home) == []

    def test_a_graph_with_other_vectors_is_not_taken(self, model, home, monkeypatch):
        from late_rerank.encode.torch.graph import Vectors

        forward = Vectors.forward
        monkeypatch.setattr(Vectors, "forward", lambda *given: tuple(x.roll(1, dims=-1) for x in forward(*given)))
        with pytest.warns(UserWarning, match="torch runs the model instead of onnx: its vectors of .* to torch's, less than"):
            assert TextEncoder(model, backend="onnx").backend.name == "torch"
        assert folders(home) == []

    def test_a_graph_with_not_a_number_is_not_taken(self, model, home, monkeypatch):
        from late_rerank.encode.torch.graph import Vectors

        forward = Vectors.forward

        def odd(self, ids, mask):
            (vectors,) = forward(self, ids, mask)
            return (vectors / (mask.sum(dim=1, keepdim=True)[:, :, None] > 5),)  # of short texts

        monkeypatch.setattr(Vectors, "forward", odd)
        with pytest.warns(UserWarning, match="torch runs the model instead of onnx: its vectors of"):
            assert TextEncoder(model, backend="onnx").backend.name == "torch"

    def test_files_that_change_while_they_are_compiled_are_refused(self, model, home, monkeypatch):
        from late_rerank.encode.torch import compiling

        compile_model = compiling.compile_model
        monkeypatch.setattr(
            compiling, "compile_model", lambda *given: (compile_model(*given), (Path(model) / "new.json").write_text("{}"))
        )
        with pytest.raises(ModelError, match="changed while they were compiled"):
            TextEncoder(model, backend="onnx")
        assert folders(home) == []

    def test_models_that_the_compiler_does_not_know_are_left_to_torch(self, model, home, monkeypatch):
        from late_rerank.encode.torch import compiling

        monkeypatch.setattr(compiling, "_LAYERS", {"Transformer", "Normalize"})
        with pytest.warns(UserWarning, match=r"its module 1, Dense, isn't known to the compiler"):
            assert TextEncoder(model, backend="onnx").backend.name == "torch"

    def test_why_one_cannot_be_compiled_is_kept_until_versions_change_or_it_is_asked_for(self, model, home, monkeypatch):
        from late_rerank.encode import opening
        from late_rerank.encode.torch import compiling

        with monkeypatch.context() as before:
            before.setattr(compiling, "_LAYERS", {"Transformer", "Normalize"})
            with pytest.warns(UserWarning, match="its module 1, Dense"):
                TextEncoder(model, backend="onnx")
            before.setattr(compiling, "compile_model", lambda *_: pytest.fail("tried again"))
            with pytest.warns(UserWarning, match=r"its module 1, Dense.*so it was before.*late-rerank compile"):
                assert TextEncoder(model, backend="onnx").backend.name == "torch"
        with monkeypatch.context() as after:
            after.setattr(opening, "version", lambda package: "0" if package == "torch" else "1")
            assert TextEncoder(model, backend="onnx").backend.name == "onnx"
        shutil.rmtree(folders(home)[0])
        assert compile_to(model, None).graph.is_file()

    def test_a_damaged_reason_counts_as_none(self, model, home):
        home.mkdir(parents=True, exist_ok=True)
        (home / f"unfit-{identity(read_checkpoint(Path(model)))}.json").write_text('{"versions"')
        assert TextEncoder(model, backend="onnx").backend.name == "onnx"

    def test_a_full_disk_is_no_reason_that_is_kept(self, model, home, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as before:
            before.setattr("late_rerank.encode.torch.compiling.write_weights", full)
            with pytest.warns(UserWarning, match="No space left"):
                TextEncoder(model, backend="onnx")
        assert TextEncoder(model, backend="onnx").backend.name == "onnx"

    def test_without_the_package_onnx_torch_runs_it(self, model, home, monkeypatch):
        from late_rerank import errors

        find = errors.find_spec
        monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "onnx" else find(name))
        with pytest.warns(
            UserWarning, match=r"torch runs the model instead of onnx: compiling it needs .*late-rerank\[torch\]"
        ):
            assert TextEncoder(model, backend="onnx").backend.name == "torch"

    def test_interrupted_it_leaves_nothing(self, model, home, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("late_rerank.encode.torch.compiling.write_graph", interrupted)
        with pytest.raises(KeyboardInterrupt):
            TextEncoder(model, backend="onnx")
        assert list(home.iterdir()) == []


class TestIdentity:
    @pytest.fixture
    def folder(self, tmp_path):
        """Of a checkpoint, as far as its identity goes; the second module's folder is elsewhere."""
        made, elsewhere = tmp_path / "checkpoint", tmp_path / "elsewhere"
        for each in (made, elsewhere):
            each.mkdir()
        modules = [{"path": "", "type": "Transformer"}, {"path": "1_Dense", "type": "Dense"}]
        (made / "modules.json").write_text(json.dumps(modules))
        (made / "1_Dense").symlink_to(elsewhere, target_is_directory=True)
        (made / "model.safetensors").write_bytes(np.random.default_rng(0).bytes(3 << 20))
        (elsewhere / "model.safetensors").write_bytes(b"projection")
        return made

    def of(self, folder):
        return identity(Checkpoint(folder, "native", "", {}))

    def test_it_follows_from_names_sizes_times_and_samples(self, folder):
        seen = [self.of(folder)]
        assert self.of(folder) == seen[0]
        weights, dense, modules = (
            folder / "model.safetensors",
            folder / "1_Dense" / "model.safetensors",
            folder / "modules.json",
        )
        time_ns = weights.stat().st_mtime_ns
        changes = [
            lambda: os.utime(weights, ns=(0, time_ns + 1)),
            lambda: (weights.write_bytes(np.random.default_rng(1).bytes(3 << 20)), os.utime(weights, ns=(0, time_ns))),
            lambda: (dense.write_bytes(b"projectiom"), os.utime(dense, ns=(0, 0))),
            lambda: (modules.write_text(modules.read_text() + " "), os.utime(modules, ns=(0, 0))),
            lambda: weights.rename(folder / "pytorch_model.bin"),
            lambda: (folder / "vocab.txt").write_text(""),
        ]
        for change in changes:
            change()
            assert self.of(folder) not in seen
            seen.append(self.of(folder))

    def test_what_is_not_read_does_not_count(self, folder):
        before = self.of(folder)
        (folder / "compiled").mkdir()
        (folder / "compiled" / "model.safetensors").write_bytes(b"x")
        (folder / "scores.csv").write_text("x")
        (folder / ".git").mkdir()
        assert self.of(folder) == before

    def test_a_snapshot_of_the_hubs_counts_by_its_commit(self, folder):
        found = []
        for commit in ("0" * 40, "1" * 40):
            snapshot = folder.parent / "snapshots" / commit
            snapshot.parent.mkdir(exist_ok=True)
            shutil.copytree(folder, snapshot)
            found.append(self.of(snapshot))
            os.utime(snapshot / "model.safetensors", (0, 0))
            assert self.of(snapshot) == found[-1]
        assert found[0] != found[1]

    def test_the_model_that_an_adapter_changes_counts(self, folder, tmp_path):
        base = tmp_path / "base"
        base.mkdir()
        (base / "model.safetensors").write_bytes(b"base")
        (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
        before = self.of(folder)
        (base / "model.safetensors").write_bytes(b"bass")
        assert self.of(folder) != before

    def test_a_file_that_can_not_be_read_is_named(self, folder, monkeypatch):
        def denied(*_):
            raise PermissionError(13, "Permission denied", "model.safetensors")

        monkeypatch.setattr("late_rerank.encode.compiled.identity._sample", denied)
        with pytest.raises(ModelError, match=r"model\.safetensors can't be read: Permission denied"):
            self.of(folder)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
class TestPlaces:
    """Where files lie, and what happens to them while a model runs."""

    @pytest.fixture
    def out(self, model, home, tmp_path):
        compile_to(model, tmp_path / "out")
        return tmp_path / "out"

    @pytest.fixture(autouse=True)
    def installed(self, name):
        if name not in installed_engines():
            pytest.skip(f'needs pip install "late-rerank[{name}]"')

    def test_files_may_be_links_as_in_the_hubs_cache(self, name, out, home, tmp_path):
        expected = TextEncoder(str(out), backend=name).encode_document(["cat " * 300]).values
        linked = tmp_path / "linked"
        linked.mkdir()
        for i, file in enumerate(out.iterdir()):
            (tmp_path / f"blob{i}").write_bytes(file.read_bytes())
            (linked / file.name).symlink_to(tmp_path / f"blob{i}")
        encoder = TextEncoder(str(linked), backend=name)
        assert encoder.backend.name == name
        np.testing.assert_array_equal(encoder.encode_document(["cat " * 300]).values, expected)

    def test_the_working_directory_may_change(self, name, out, monkeypatch):
        monkeypatch.chdir(out.parent)
        encoder = TextEncoder("out", backend=name)
        monkeypatch.chdir("/")
        assert len(encoder.encode_document(["cat " * 600] * 4).values)

    def test_weights_may_be_replaced_or_removed_while_they_run(self, name, out):
        encoder = TextEncoder(str(out), backend=name)
        expected = encoder.encode_document(["cat " * 40]).values
        new = out / "new"
        new.write_bytes(bytes((out / "weights.safetensors").stat().st_size))
        new.replace(out / "weights.safetensors")
        found = encoder.encode_document(["cat " * 40] * 40).values
        np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-5)
        shutil.rmtree(out)
        assert len(encoder.encode_document(["cat " * 600] * 4).values)

    def test_what_a_user_pools_is_computed_exactly(self, name, out):
        assert TextEncoder(str(out), backend=name, pooling=2).backend.precision == "f32"

    def test_threads_that_open_it_at_once_leave_the_programs_warnings_alone(self, name, out):
        import warnings
        from threading import Thread

        before = list(warnings.filters)
        threads = [Thread(target=TextEncoder, args=(str(out),), kwargs={"backend": name}) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert warnings.filters == before


class TestOut:
    def test_the_folder_is_a_model_wherever_it_lies(self, model, home, tmp_path, capsys):
        assert main(["compile", model, "--out", str(tmp_path / "out")]) == 0
        told = capsys.readouterr().out
        assert re.search(r"least cosine to torch (0\.9999\d\d|1\.000000) among \d+ texts, by onnxruntime", told)
        moved = shutil.copytree(tmp_path / "out", tmp_path / "moved")
        shutil.rmtree(home)
        encoder = TextEncoder(str(moved), backend="onnx")
        assert encoder.describe()["compiled"] == str(moved)
        expected = TextEncoder(model, backend="torch")
        assert encoder.fingerprint == expected.fingerprint
        assert_same(encoder.encode_document(TEXTS), expected.encode_document(TEXTS))
        assert folders(home) == []

    @pytest.mark.parametrize("name", ["minilm", "minilm-late"])
    def test_a_built_in_model_can_be_taken_along(self, name, minilm, tmp_path, capsys):
        assert main(["compile", name, "--out", str(tmp_path / "out"), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["fingerprint"] == TextEncoder(str(tmp_path / "out"), backend="onnx").fingerprint
        assert told["folder"] == str(tmp_path / "out")
        assert told["size_bytes"] == sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) > 80e6

    def test_without_out_its_place_in_the_cache_is_told(self, model, home, capsys):
        assert main(["compile", model]) == 0
        (folder,) = folders(home)
        assert capsys.readouterr().out.startswith(str(folder))

    def test_an_empty_folder_that_exists_is_filled(self, model, home, tmp_path, monkeypatch):
        (tmp_path / "out").mkdir()
        inode = (tmp_path / "out").stat().st_ino
        monkeypatch.chdir(tmp_path / "out")
        compile_to(model, Path())
        assert (tmp_path / "out").stat().st_ino == inode  # a mount point can't be replaced
        assert TextEncoder(str(tmp_path / "out"), backend="onnx").dim == 16

    def test_others_may_read_what_is_kept_and_what_is_written(self, model, home, tmp_path):
        compile_to(model, tmp_path / "out")
        for folder in (tmp_path / "out", *folders(home)):
            assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}

    def test_a_folder_with_files_is_left_alone(self, model, home, tmp_path, capsys):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("")
        assert main(["compile", model, "--out", str(tmp_path / "out")]) == 1
        assert "out exists: name a new or empty folder" in capsys.readouterr().err
        assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine"]
        assert not home.exists()

    @pytest.mark.parametrize("file", FILES)
    def test_a_damaged_one_is_refused_and_the_file_is_named(self, file, model, home, tmp_path):
        compile_to(model, tmp_path / "out")
        zeros_within(tmp_path / "out" / file)
        with pytest.raises(ModelError, match=rf"{file} is (damaged|not readable)"):
            TextEncoder(str(tmp_path / "out"), backend="onnx")

    def test_one_of_a_later_format_is_refused(self, model, home, tmp_path):
        compile_to(model, tmp_path / "out")
        values = json.loads((tmp_path / "out" / DESCRIPTION).read_text())
        del values["digest"]
        write_description(tmp_path / "out", Description(**{**values, "format": 2}))
        with pytest.raises(ModelError, match="is of format 2, and this version reads 1"):
            Reranker(str(tmp_path / "out"), backend="onnx")

    def test_an_engine_runs_it_beside_an_accelerator_too(self, model, home, tmp_path, monkeypatch):
        compile_to(model, tmp_path / "out")
        monkeypatch.setattr("late_rerank.encode.loading.torch_device", lambda device, backend: device or "cuda")
        assert TextEncoder(str(tmp_path / "out")).backend.name == "onnx"
        with pytest.raises(ModelError, match="is a compiled model, which torch can't run"):
            TextEncoder(str(tmp_path / "out"), device="cuda")

    def test_torch_can_not_run_it(self, model, home, tmp_path):
        compile_to(model, tmp_path / "out")
        with pytest.raises(ModelError, match="is a compiled model, which torch can't run"):
            TextEncoder(str(tmp_path / "out"), backend="torch")

    def test_a_checkpoint_that_is_refused_is_refused_before_anything_is_written(self, tmp_path, home, capsys):
        folder = stanford(tmp_path / "model", with_projection=False)
        assert main(["compile", str(folder), "--out", str(tmp_path / "out")]) == 1
        assert "has no trained token projection" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        assert not home.exists()


class TestWithoutTorch:
    @pytest.fixture
    def no_torch(self, monkeypatch):
        from late_rerank.encode import devices, loading

        monkeypatch.setattr(loading, "has_torch", lambda: False)
        monkeypatch.setattr(devices, "has_torch", lambda: False)
        missing = {"torch", "transformers", "sentence_transformers"}
        from late_rerank import errors

        find = errors.find_spec
        monkeypatch.setattr(errors, "find_spec", lambda name: None if name in missing else find(name))

    def test_a_checkpoint_says_what_compiles_it(self, model, home, no_torch):
        with pytest.raises(MissingDependencyError, match=r'is a checkpoint, and compiling it needs .*late-rerank\[torch\]"'):
            TextEncoder(model)

    def test_a_compiled_one_runs(self, model, home, monkeypatch, request):
        expected = TextEncoder(model).encode_query(["cat"]).values
        request.getfixturevalue("no_torch")
        np.testing.assert_array_equal(TextEncoder(model).encode_query(["cat"]).values, expected)

    @pytest.mark.parametrize("options", [{"backend": "torch"}, {"device": "cuda"}])
    def test_what_needs_torch_says_so(self, options, no_torch):
        with pytest.raises(MissingDependencyError, match=r'late-rerank\[torch\]"'):
            Reranker(**options)

    def test_the_processor_needs_none(self, no_torch, minilm):
        assert Reranker(device="cpu").encoder.backend.name == "onnx"


@pytest.mark.slow("a process, 2 s")
def test_a_query_its_explanation_and_a_context_load_no_torch(tmp_path, minilm):
    script = """
import sys
from late_rerank import Reranker, Searcher, explain, pack_context
from late_rerank.retrieve import BM25Retriever, DenseRetriever
texts = ["A barrier makes threads wait.", "Cats sleep. " * 200]
reranker = Reranker(store=sys.argv[1])
ranked = Searcher(BM25Retriever(texts), reranker).search("threads wait")
pack_context("threads wait", ranked, reranker=reranker, budget_tokens=50)
explain(reranker, "threads wait", texts[0])
DenseRetriever(texts).retrieve("cats", 1)
heavy = {"torch", "transformers", "sentence_transformers", "scipy", "pandas"}
print(ranked[0].text, heavy & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "A barrier makes threads wait. set()\n"


COMPILE = "import sys; from late_rerank.encode import TextEncoder; print(TextEncoder(sys.argv[1], backend='onnx').fingerprint)"


def compiling(model, home):
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", COMPILE, model]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow("three processes that compile, 15 s")
def test_a_killed_one_leaves_no_half_model_and_two_at_once_make_one(model, tmp_path):
    home = tmp_path / "home"
    killed = compiling(model, home)
    while not list(home.glob("late-rerank/.new-*/*")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.001)
    killed.kill()
    killed.communicate()
    assert not list(home.glob("late-rerank/*-compiled-*"))

    both = [compiling(model, home) for _ in range(2)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == told[1][0] != ""
    (folder,) = home.glob("late-rerank/*-compiled-*")
    assert read_compiled(folder)
    assert len(list(home.glob("late-rerank/.new-*"))) == 1  # the killed one's, for a day


@pytest.mark.slow("compiles both built-in models, 20 s")
@pytest.mark.parametrize("name", ["minilm", "minilm-late"])
def test_the_graphs_in_the_package_are_those_that_their_script_makes(name, minilm, tmp_path):
    from late_rerank.encode.builtin import GRAPHS
    from late_rerank.encode.torch.builtin import write_builtin

    write_builtin(name, tmp_path)
    made, shipped = (json.loads((folder / DESCRIPTION).read_text()) for folder in (tmp_path, GRAPHS[name]))
    assert {file.name for file in tmp_path.iterdir()} <= {file.name for file in GRAPHS[name].iterdir()}
    may_differ = {"versions", "proved", "sha256", "digest"}
    assert {key: made[key] for key in made.keys() - may_differ} == {key: shipped[key] for key in shipped.keys() - may_differ}
    weights = made["weights"]["file"]
    assert made["sha256"][weights] == shipped["sha256"][weights]
    if made["versions"] == shipped["versions"]:
        assert {key: value for key, value in made["sha256"].items() if key != PROBES} == {
            key: value for key, value in shipped["sha256"].items() if key != PROBES
        }


def test_its_format_names_every_key():
    text = (Path(kept.__file__).parents[1] / "COMPILED.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z_0-9]+)`", text))
    assert set(Description.__dataclass_fields__) <= told
    assert set(builtin_model("minilm").description.layout) <= told
    assert set(FILES) <= set(re.findall(r"`([a-z.]+)`", text))


def test_an_explanation_of_a_compiled_model_has_its_words(model, home):
    found = explain(Reranker(model, backend="onnx"), "the cat", "the cat sat on the mat")
    assert "cat" in [token.token for token in found.document_tokens]


class TestSingleVectors:
    TEXTS = [text for text in TEXTS if text] + ["A barrier makes threads wait. " * 100, ""]

    @pytest.mark.parametrize("kind", ["query", "document"])
    def test_they_are_sentence_transformers_own_without_it(self, kind, minilm):
        from late_rerank.encode.single import SingleVectorEncoder
        from late_rerank.encode.torch.single import by_sentence_transformers

        ours = SingleVectorEncoder()
        theirs, dim = by_sentence_transformers("minilm", None)
        found = (ours.encode_query if kind == "query" else ours.encode_document)(self.TEXTS)
        assert found.shape == (len(self.TEXTS), ours.dim) == (len(self.TEXTS), dim)
        np.testing.assert_allclose(found, theirs(self.TEXTS, kind), rtol=0, atol=1e-6)
        many = ["cats", "dogs bark", "x"] * 50
        np.testing.assert_allclose(ours.encode_query(many)[:3], ours.encode_query(many[:3]), rtol=0, atol=1e-6)
        assert ours.encode_query([]).shape == ours.encode_document([]).shape == (0, 384)


class TestDevices:
    def test_torch_is_asked_only_where_a_driver_is(self, monkeypatch):
        from late_rerank.encode import devices

        monkeypatch.setattr(devices, "_ACCELERATORS", {"torch_": ("/no/such/driver",)})
        monkeypatch.setattr(devices, "_OTHERS", ())
        monkeypatch.setattr(devices.sys, "platform", "linux")
        monkeypatch.delitem(sys.modules, "torch")
        monkeypatch.setattr(devices, "_fastest", lambda: pytest.fail("torch was asked"))
        assert devices.torch_device(None, "auto") is None
        assert devices.torch_device("CPU ", "auto") is None
        monkeypatch.setattr(devices, "_ACCELERATORS", {"torch_cpu": ("/dev/null",)})
        assert devices._may_have_accelerator()
        monkeypatch.setattr(devices, "_ACCELERATORS", {"torch_of_another_kind": ("/dev/null",)})
        assert not devices._may_have_accelerator()

    def test_an_accelerator_is_taken_unless_an_engine_is_named(self, monkeypatch):
        from late_rerank.encode import devices

        monkeypatch.setattr(devices, "_fastest", lambda: "cuda:0")
        monkeypatch.setattr(devices, "as_device", lambda given: given)
        assert devices.torch_device(None, "auto") == devices.torch_device("cuda:0", "auto") == "cuda:0"
        assert devices.torch_device(None, "torch") == "cuda:0"
        assert devices.torch_device(None, "onnx") is None
        with pytest.warns(UserWarning, match="torch runs the model instead of onnx: the model is on cuda:0"):
            assert devices.torch_device("cuda:0", "onnx") == "cuda:0"
        assert devices.torch_device("cpu", "torch") == "cpu"
