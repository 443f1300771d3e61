"""Query encoders: queries are a student's, documents the teacher's; each belongs to one model; one store serves both."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from checkpoints import native, pooling, pylate, stanford, student
from forking import in_a_child, needs_fork

from late_rerank import Reranker
from late_rerank.encode import TextEncoder, as_encoder, loading
from late_rerank.encode.builtin import FAST_FOLDERS
from late_rerank.encode.compiled.format import DESCRIPTION, QUERY_ENCODER
from late_rerank.encode.loading import check_model
from late_rerank.encode.opening import compile_to
from late_rerank.encode.query_side.student import read_query_encoder
from late_rerank.encode.query_side.weights import LAYERS
from late_rerank.encode.query_side.writing import write_query_encoder
from late_rerank.errors import IncompatibleError, ModelError
from late_rerank.ranking.relevance import FITTED_FAST, Calibration
from late_rerank.testing.fakes import FakeEncoder

pytestmark = pytest.mark.model  # checkpoints are compiled, which takes a second each

QUERIES = ["what is the cat", "a mat", "?!", "late interaction " * 30]
TEXTS = ["the cat sat on the mat", "late interaction keeps one vector per token", "cat", ""]
# With mask expansion, markers and a skiplist, in three formats.
CHECKPOINTS = {"native": native, "pylate": pylate, "stanford": stanford}


def made(checkpoint, folder):
    """A teacher's folder and its query encoder's."""
    teacher = checkpoint(folder / "teacher")
    compile_to(str(student(teacher)), folder / "compiled")
    write_query_encoder(folder / "compiled", folder / "fast", TextEncoder(teacher, backend="onnx"))
    return teacher, folder / "fast"


@pytest.fixture(scope="module", params=CHECKPOINTS)
def both(request, tmp_path_factory):
    return made(CHECKPOINTS[request.param], tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return made(native, tmp_path_factory.mktemp("models"))


def fast(model, **options):
    teacher, folder = model
    return TextEncoder(teacher, query_encoder=folder, **{"backend": "onnx", **options})


def same(ours, theirs, atol=0.0):
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    np.testing.assert_array_equal(ours.truncated, theirs.truncated)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=atol)


def digests(store):
    """Of a store's files, without what SQLite keeps beside its file while it is open."""
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and not path.name.endswith(("-wal", "-shm"))]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class TestVectors:
    def test_queries_are_the_students_and_documents_the_teachers(self, both):
        teacher, folder = both
        full, alone = (TextEncoder(each, backend="onnx") for each in (teacher, folder.parent / "compiled"))
        encoder = fast(both)

        same(encoder.encode_query(QUERIES), alone.encode_query(QUERIES))
        assert np.abs(encoder.encode_query(QUERIES).values - full.encode_query(QUERIES).values).max() > 0.01
        same(encoder.encode_document(TEXTS), full.encode_document(TEXTS))
        assert encoder.fingerprint == full.fingerprint == full.query_fingerprint
        assert encoder.query_fingerprint == alone.fingerprint != full.fingerprint
        assert (encoder.query_encoder, full.query_encoder) == (str(folder), "full")
        for query in QUERIES:
            assert encoder.tokens(query, "query") == full.tokens(query, "query")

    @pytest.mark.parametrize("options", [{"pooling": 2}, {"max_tokens": 3}, {"pooling": 2, "max_tokens": 9}])
    @pytest.mark.parametrize("backend", ["onnx", "torch"])
    def test_a_cap_on_documents_and_pooling_change_documents_alone(self, backend, options, model):
        encoder, full = fast(model, backend=backend, **options), TextEncoder(model[0], backend=backend, **options)

        assert encoder.fingerprint == full.fingerprint
        same(encoder.encode_document(TEXTS), full.encode_document(TEXTS))
        same(encoder.encode_query(QUERIES), fast(model).encode_query(QUERIES))
        same(encoder.unpooled().encode_query(QUERIES), fast(model).encode_query(QUERIES))
        assert encoder.unpooled().query_fingerprint == fast(model).query_fingerprint

    def test_beside_torch_an_engine_runs_it(self, model):
        described = fast(model, backend="torch").describe()

        assert (described["backend"], described["query_encoder"]["backend"]) == ("torch", "onnx")

    def test_a_model_that_pools_by_itself_has_one_too(self, tmp_path):
        teacher, folder = made(lambda place: pooling(native(place)), tmp_path)
        encoder, full = fast((teacher, folder)), TextEncoder(teacher, backend="torch")

        assert encoder.fingerprint == full.fingerprint
        same(encoder.encode_document(TEXTS), full.encode_document(TEXTS), atol=1e-5)

    def test_it_describes_itself(self, model):
        described = fast(model).describe()["query_encoder"]

        assert described["name"] == str(model[1])
        assert described["fingerprint"] == fast(model).query_fingerprint
        assert (described["layers"], described["backend"], described["teacher"]) == (1, "onnx", str(model[0]))
        assert described["size_bytes"] > 0
        assert TextEncoder(model[0], backend="onnx").describe()["query_encoder"] is None


class TestEngine:
    def test_the_models_own_is_loaded_with_the_first_document(self, model, monkeypatch):
        loads, choose = [], loading.choose
        monkeypatch.setattr(loading, "choose", lambda *given, **more: loads.append(given) or choose(*given, **more))
        with Reranker(model[0], backend="onnx", query_encoder=model[1]) as reranker:
            reranker.query_vectors("the cat")
            reranker.stats()
            assert loads == []
            reranker.index(TEXTS)
            reranker.rerank("the cat", TEXTS)
            assert len(loads) == 1

    def test_describing_it_loads_it(self, model):
        assert fast(model).describe()["least_cosine_to_torch"] > 0.9999

    def test_threads_load_it_once(self, model, monkeypatch):
        loads, choose = [], loading.choose
        monkeypatch.setattr(loading, "choose", lambda *given, **more: loads.append(given) or choose(*given, **more))
        encoder = fast(model)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: (encoder.encode_query(QUERIES), encoder.encode_document(TEXTS)), range(16)))

        assert len(loads) == 1
        for queries, documents in found:
            same(queries, found[0][0])
            same(documents, found[0][1])

    @needs_fork
    @pytest.mark.parametrize("has_encoded", [False, True])
    def test_a_forked_child_encodes_too(self, has_encoded, model):
        encoder = fast(model)
        expected = fast(model).encode_document(TEXTS).values
        if has_encoded:
            encoder.encode_document(TEXTS)
        queries, documents = in_a_child(lambda: (encoder.encode_query(QUERIES).values, encoder.encode_document(TEXTS).values))

        np.testing.assert_array_equal(queries, encoder.encode_query(QUERIES).values)
        np.testing.assert_allclose(documents, expected, atol=1e-6)

    def test_where_no_engine_runs_the_model_the_first_document_says_so(self, model, monkeypatch):
        def unfit(*_, **__):
            raise loading.UnfitError("its token vectors are others")

        encoder = fast(model)
        monkeypatch.setattr(loading, "choose", unfit)
        encoder = fast(model)
        with pytest.raises(ModelError, match=r'its token vectors are others\. backend="torch" lets torch'):
            encoder.encode_document(["cat"])
        assert len(encoder.encode_query(["cat"]))

    def test_torch_is_named_only_where_it_can_run_the_model(self, model, monkeypatch):
        def unfit(*_, **__):
            raise loading.UnfitError("its token vectors are others")

        monkeypatch.setattr(loading, "choose", unfit)
        monkeypatch.setattr(loading, "has_torch", lambda: False)
        with pytest.raises(ModelError, match=r"its token vectors are others$"):
            fast(model).encode_document(["cat"])

    def test_no_torch_is_imported(self, model):
        code = (
            "import sys; from late_rerank import Reranker\n"
            f"r = Reranker({str(model[0].parent / 'teacher-compiled')!r}, backend='onnx', query_encoder={str(model[1])!r})\n"
            "r.rerank('the cat', ['a cat', 'a mat']); print('torch' in sys.modules, 'transformers' in sys.modules)"
        )
        if not (model[0].parent / "teacher-compiled").exists():
            compile_to(str(model[0]), model[0].parent / "teacher-compiled")
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert run.stdout == "False False\n", run.stderr


class TestReranker:
    def test_one_store_serves_both(self, model, tmp_path):
        with Reranker(model[0], backend="onnx", store=tmp_path / "store") as full:
            full.index(TEXTS)
            by_full = full.rerank("what is the cat", TEXTS)
        before = digests(tmp_path / "store")
        options = {"backend": "onnx", "store": tmp_path / "store", "on_missing": "raise"}
        with Reranker(model[0], query_encoder=model[1], **options) as reranker:
            by_fast = reranker.rerank("what is the cat", TEXTS)

        assert digests(tmp_path / "store") == before
        assert by_fast.n_misses == 0
        assert {each.text: each.score for each in by_fast} != {each.text: each.score for each in by_full}

    def test_query_vectors_are_used_again_by_the_same_query_encoder_alone(self, model):
        with (
            Reranker(model[0], backend="onnx") as full,
            Reranker(model[0], backend="onnx", query_encoder=model[1]) as one,
            Reranker(model[0], backend="onnx", query_encoder=model[1], pooling=2) as other,
        ):
            query = "what is the cat"
            by_full, by_fast = full.rerank(query, TEXTS), one.rerank(query, TEXTS)

            assert one.query_vectors(query, by_fast) is by_fast.query_vectors
            assert other.query_vectors(query, by_fast) is by_fast.query_vectors
            assert full.query_vectors(query, by_full) is by_full.query_vectors
            same(one.query_vectors(query, by_full).vectors, one.encoder.encode_query([query]))
            same(full.query_vectors(query, by_fast).vectors, full.encoder.encode_query([query]))

    def test_statistics_arguments_pickles_and_copies_keep_it(self, model):
        with Reranker(model[0], backend="onnx", query_encoder=model[1]) as reranker:
            assert reranker.arguments["query_encoder"] == model[1]
            told = reranker.stats()
            assert told["query_encoder"] == str(model[1])
            assert told["query_fingerprint"] == reranker.encoder.query_fingerprint != told["fingerprint"]
            with pickle.loads(pickle.dumps(reranker)) as again:
                assert again.encoder.query_fingerprint == reranker.encoder.query_fingerprint
            with Reranker(reranker.encoder) as wrapped:
                assert wrapped.stats()["query_encoder"] == str(model[1])

    def test_a_wrong_one_leaves_no_store(self, model, tmp_path):
        with pytest.raises(ModelError):
            Reranker(model[0], backend="onnx", store=tmp_path / "store", query_encoder=tmp_path)
        assert not (tmp_path / "store").exists()

    def test_a_new_store_gets_it_too(self, model, tmp_path):
        with Reranker(model[0], backend="onnx", store=tmp_path / "store", query_encoder=model[1]) as reranker:
            assert reranker.encoder.query_encoder == str(model[1])


class TestCalibration:
    def test_one_of_another_query_encoder_is_refused(self, model):
        full, encoder = TextEncoder(model[0], backend="onnx"), fast(model)
        of_full = Calibration(full.fingerprint, -1, 2, 0)
        of_fast = Calibration(full.fingerprint, -1, 2, 0, query_fingerprint=encoder.query_fingerprint)
        Reranker(full, calibration=of_full, scoring="maxsim").close()
        Reranker(encoder, calibration=of_fast, scoring="maxsim").close()
        with pytest.raises(IncompatibleError, match=rf'queries of query_encoder="full".* has .*{encoder.query_fingerprint}'):
            Reranker(encoder, calibration=of_full, scoring="maxsim")
        with pytest.raises(IncompatibleError, match=rf'queries of .*{encoder.query_fingerprint}.* has query_encoder="full"'):
            Reranker(full, calibration=of_fast, scoring="maxsim")

    def test_a_file_keeps_it_and_files_of_the_full_one_stay_as_they_were(self, tmp_path):
        of_fast, of_full = Calibration("a", -1, 2, 0, query_fingerprint="b"), Calibration("a", -1, 2, 0)
        of_fast.save(tmp_path / "fast.json")
        of_full.save(tmp_path / "full.json")

        assert Calibration.load(tmp_path / "fast.json") == of_fast
        assert Calibration.load(tmp_path / "full.json") == of_full
        assert "query" not in (tmp_path / "full.json").read_text()
        with pytest.raises(ValueError, match="query_fingerprint must be"):
            Calibration("a", -1, 2, 0, query_fingerprint="")


class TestErrors:
    def test_another_models_is_refused_with_both_names(self, model, tmp_path):
        other = pylate(tmp_path / "other", markers=("[unused1]", "[unused0]"))
        with pytest.raises(IncompatibleError, match=rf"matches documents of {model[0]} .*the model is {other}"):
            TextEncoder(other, backend="onnx", query_encoder=model[1])

    def test_another_layout_of_queries_is_refused(self, tmp_path):
        teacher, folder = made(native, tmp_path)
        other = native(tmp_path / "other")
        settings = other / "sentence_bert_config.json"
        text = settings.read_text()
        assert '"length": 32' in text
        settings.write_text(text.replace('"length": 32', '"length": 31'))
        assert TextEncoder(other, backend="onnx").fingerprint == TextEncoder(teacher, backend="onnx").fingerprint
        with pytest.raises(IncompatibleError, match=r"lays out queries otherwise than .*'length': 32.* instead of .*31"):
            TextEncoder(other, backend="onnx", query_encoder=folder)

    def test_as_a_model_it_is_refused_with_what_to_do(self, model):
        for call in (Reranker, TextEncoder, check_model):
            with pytest.raises(ModelError, match=r"is a query encoder.*Reranker\(MODEL, query_encoder=FOLDER\)"):
                call(str(model[1]))

    def test_what_is_none_is_named(self, model, tmp_path):
        (tmp_path / "file").write_text("")
        for given, said in [
            (tmp_path / "absent", "is no folder that exists"),
            (tmp_path / "file", "is a file"),
            (tmp_path, "is a folder without query-encoder.json"),
            (model[0], "is a model's folder"),
            (model[0].parent / "compiled", "is a model's folder"),
        ]:
            for call in (TextEncoder, check_model):
                with pytest.raises(ModelError, match=rf'query_encoder=.*{said}.*Pass "full", "fast", or .*distil-query'):
                    call(model[0], query_encoder=str(given))

    def test_fast_is_for_minilm_alone(self, model):
        with pytest.raises(
            ModelError, match=rf"for minilm alone, not for {model[0]}.*late-rerank distil-query {model[0]} --out"
        ):
            TextEncoder(model[0], query_encoder="fast")

    def test_arguments_of_other_kinds(self, model):
        with pytest.raises(TypeError, match='query_encoder must be "full", "fast" or a folder, got int'):
            TextEncoder(model[0], query_encoder=3)
        with pytest.raises(ValueError, match="query_encoder must be"):
            TextEncoder(model[0], query_encoder=" ")
        with pytest.raises(ValueError, match=r"got an Encoder \(FakeEncoder\).*TextEncoder\(name, query_encoder="):
            Reranker(FakeEncoder(), query_encoder="fast")

    def test_models_of_page_images_encode_their_queries_themselves(self, monkeypatch):
        monkeypatch.setattr("late_rerank.encode.is_of_pictures", lambda _: True)
        with pytest.raises(IncompatibleError, match="is for text models, and pages is a model of page images"):
            as_encoder("pages", "auto", None, query_encoder="fast")


@pytest.fixture(scope="module")
def encoder(minilm):
    return TextEncoder("minilm", backend=minilm.backend.name, query_encoder="fast")


class TestFast:
    def test_it_encodes_queries_of_minilm_alone(self, encoder, minilm):
        queries = ["what do barriers do", "mendeleev's gaps", "is vitamin c good against a cold?"]
        found, expected = encoder.encode_query(queries), minilm.encode_query(queries)

        np.testing.assert_array_equal(found.offsets, expected.offsets)
        assert (found.values * expected.values).sum(axis=1).mean() > 0.85
        same(encoder.encode_document(TEXTS), minilm.encode_document(TEXTS))
        assert encoder.fingerprint == minilm.fingerprint != encoder.query_fingerprint
        assert encoder.describe()["query_encoder"]["teacher"] == "minilm"

    def test_its_layers_take_8_megabytes_at_most(self):
        assert (FAST_FOLDERS["minilm"] / LAYERS).stat().st_size <= 8_000_000

    def test_its_weights_are_kept_once(self, encoder, monkeypatch):
        def written(*_):
            raise AssertionError

        monkeypatch.setattr("late_rerank.encode.query_side.fast.write_weights", written)
        again = TextEncoder("minilm", backend=encoder.backend.name, query_encoder="fast")
        assert again.query_fingerprint == encoder.query_fingerprint

    def test_where_nothing_can_be_kept_it_runs_all_the_same(self, encoder, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("")
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "file"))
        again = TextEncoder("minilm", backend=encoder.backend.name, query_encoder="fast")
        same(again.encode_query(["cats"]), encoder.encode_query(["cats"]))

    @pytest.mark.parametrize("name", [QUERY_ENCODER, LAYERS, "model.onnx", "probes.safetensors"])
    @pytest.mark.parametrize("place", [None, 0, 5, -1000])
    def test_a_damaged_file_of_the_package_is_told_with_what_to_do(self, place, name, minilm, monkeypatch, tmp_path):
        shutil.copytree(FAST_FOLDERS["minilm"], tmp_path / "fast")
        monkeypatch.setitem(FAST_FOLDERS, "minilm", tmp_path / "fast")
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "cache"))
        file = tmp_path / "fast" / name
        held = bytearray(file.read_bytes())
        if place is None:
            file.unlink()
        else:
            held[place] ^= 1
            file.write_bytes(held)
        with pytest.raises(ModelError, match="pip install --force-reinstall --no-deps late-rerank"):
            TextEncoder("minilm", backend=minilm.backend.name, query_encoder="fast")
        assert list((tmp_path / "cache").glob("late-rerank/*minilm-fast*")) == []

    def test_a_damaged_copy_in_the_cache_is_made_again(self, minilm, encoder, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
        for _ in range(2):
            again = TextEncoder("minilm", backend=minilm.backend.name, query_encoder="fast")
            same(again.encode_query(["cats"]), encoder.encode_query(["cats"]))
            (kept,) = (tmp_path / "late-rerank").glob("minilm-fast-*")
            os.truncate(kept / "weights.safetensors", 1000)

    @pytest.mark.parametrize("through", ["its folder", "a Reranker", "check_model"])
    def test_the_packages_part_is_no_folder_to_pass(self, through):
        doors = {
            "its folder": read_query_encoder,
            "a Reranker": lambda folder: Reranker("minilm", query_encoder=folder),
            "check_model": lambda folder: check_model("minilm", query_encoder=str(folder)),
        }
        with pytest.raises(ModelError, match=r'without the embeddings: use query_encoder="fast" with the model minilm$'):
            doors[through](FAST_FOLDERS["minilm"])

    def test_its_calibrations_name_it(self, encoder):
        for found in FITTED_FAST.get("minilm", {}).values():
            assert (found.fingerprint, found.query_fingerprint) == (encoder.fingerprint, encoder.query_fingerprint)


class TestFolder:
    @pytest.fixture
    def copy(self, model, tmp_path):
        compiled, out = model[0].parent / "compiled", tmp_path / "out"
        write_query_encoder(compiled, out, TextEncoder(model[0], backend="onnx"), beside={"README.md": "# Card\n"})
        return out

    def test_it_is_whole_and_no_model(self, copy, model):
        files = {QUERY_ENCODER, "README.md", "model.onnx", "weights.safetensors", "tokenizer.json", "probes.safetensors"}
        assert {path.name for path in copy.iterdir()} == files
        assert DESCRIPTION not in files
        found = read_query_encoder(copy)
        assert found.teacher.fingerprint == TextEncoder(model[0], backend="onnx").fingerprint
        assert found.fingerprint == fast(model).query_fingerprint

    @pytest.mark.parametrize(
        "name", [QUERY_ENCODER, "model.onnx", "weights.safetensors", "tokenizer.json", "probes.safetensors"]
    )
    @pytest.mark.parametrize("is_absent", [False, True])
    def test_a_damaged_file_is_named(self, is_absent, name, copy, model):
        file = copy / name
        held = bytearray(file.read_bytes())
        held[len(held) // 2] ^= 1
        file.unlink() if is_absent else file.write_bytes(held)
        with pytest.raises(ModelError, match=name):
            TextEncoder(model[0], backend="onnx", query_encoder=copy)

    def test_it_may_lie_behind_links(self, copy, model, tmp_path):
        linked = tmp_path / "linked"
        linked.mkdir()
        for file in copy.iterdir():
            (linked / file.name).symlink_to(file)
        same(fast((model[0], linked)).encode_query(QUERIES), fast(model).encode_query(QUERIES))

    def test_nothing_is_replaced_or_left_half(self, copy, model, tmp_path, monkeypatch):
        compiled, teacher = model[0].parent / "compiled", TextEncoder(model[0], backend="onnx")
        with pytest.raises(FileExistsError, match="name a new or empty folder"):
            write_query_encoder(compiled, copy, teacher)
        with pytest.raises(ValueError, match="queries are of query_encoder="):
            write_query_encoder(compiled, tmp_path / "new", fast(model))

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("late_rerank.encode.query_side.writing.write_student", full)
        with pytest.raises(OSError, match="No space"):
            write_query_encoder(compiled, tmp_path / "new", teacher)
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_a_student_of_another_width_is_not_written(self, model, tmp_path, minilm):
        with pytest.raises(IncompatibleError, match="gives vectors of 16 components, and minilm gives 384"):
            write_query_encoder(Path(model[0].parent / "compiled"), tmp_path / "new", minilm)
