"""Token vectors that somebody made -> a store that answers for their texts: from Python, from files, by the command."""

import json
from importlib import util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker
from late_rerank.cli import main
from late_rerank.corpus.held import read_vectors
from late_rerank.corpus.held.arrays import NpyRows, SafetensorsRows
from late_rerank.errors import IncompatibleError, StoreError
from late_rerank.stores import MemoryStore
from late_rerank.testing.fakes import FakeEncoder

TEXTS = ["the cat sat", "dogs and cats", "a cat on a mat", "nothing of the kind", "a dog ran " * 80, "", "rivers run"]
needs_pyarrow = pytest.mark.skipif(
    util.find_spec("pyarrow") is None, reason='needs the extra: pip install "late-rerank[parquet]"'
)


def rows_of(text, dtype=np.float32):
    return FakeEncoder().encode_document([text]).values.astype(dtype)


def documents(texts=TEXTS):
    return [Candidate(text, id=i, token_vectors=rows_of(text)) for i, text in enumerate(texts)]


class Stopping(MemoryStore):
    """A store whose disk fills up at the second put."""

    n_puts = 0

    def space(self, fingerprint, codec):
        space = super().space(fingerprint, codec)
        put = space._put

        def counted(keys, packed):
            Stopping.n_puts += 1
            if Stopping.n_puts == 2:
                raise StoreError("the disk is full")
            put(keys, packed)

        space._put = counted
        return space


class TestFromPython:
    @pytest.mark.parametrize("codec", ["float32", "int8", "binary"])
    def test_imported_texts_are_found_as_if_they_had_been_indexed(self, codec):
        encoder = FakeEncoder()
        indexed, imported = Reranker(encoder, codec=codec), Reranker(FakeEncoder(), codec=codec)
        indexed.index(TEXTS)
        report = imported.import_vectors(documents())
        n_encoded = imported.encoder.n_documents

        assert imported.rerank("the cat on a mat", TEXTS) == indexed.rerank("the cat on a mat", TEXTS)
        assert imported.encoder.n_documents == n_encoded
        assert (report.n_documents, report.n_imported, report.n_cached, report.n_checked) == (7, 6, 0, 4)
        assert report.n_tokens == sum(len(rows_of(text)) for text in TEXTS)

    def test_what_is_there_stays_and_repeated_texts_count_once(self, fake):
        reranker = Reranker(fake, codec="float32")
        reranker.index(["a cat"])
        other = Candidate("a cat", token_vectors=rows_of("a dog"))
        report = reranker.import_vectors([other, *documents(["two words", "two words"])], check=False)

        twice = [Candidate("a mouse", token_vectors=rows_of(text)) for text in ("a mouse", "a dog")]
        again = reranker.import_vectors(twice, check=False)

        assert (report.n_documents, report.n_imported, report.n_cached) == (3, 1, 2)
        assert (again.n_imported, again.n_cached) == (1, 1)
        assert reranker.rerank("mouse", ["a mouse"])[0].relevance > 0.9
        assert reranker.rerank("cat", ["a cat"])[0].relevance > 0.9

    def test_an_interrupted_import_goes_on_where_it_was(self, fake):
        texts = [f"document {i}" for i in range(300)]
        Stopping.n_puts = 0
        reranker = Reranker(fake, store=Stopping())
        with pytest.raises(StoreError, match="the disk is full"):
            reranker.import_vectors(documents(texts))
        report = reranker.import_vectors(documents(texts))

        assert (report.n_imported, report.n_cached) == (172, 128)
        assert reranker.rerank("document 7", texts).n_misses == 0

    @pytest.mark.parametrize(("wrong", "stored"), [(1, 0), (2, 0), (256, 128)])
    def test_vectors_that_the_model_would_not_make_are_refused_before_their_batch(self, fake, wrong, stored):
        given_documents = documents([f"document {i}" for i in range(1, 300)])
        given_documents[wrong - 1] = Candidate("a cat sat", id="x", token_vectors=rows_of("a dog sat"))
        reranker = Reranker(fake)
        with pytest.raises(
            IncompatibleError, match=rf"documents\[{wrong - 1}\] \(id 'x'\) is not what the model .* mean cosine"
        ):
            reranker.import_vectors(iter(given_documents))

        assert reranker.stats()["n_documents"] == stored
        assert reranker.import_vectors(given_documents, check=False).n_checked == 0

    @pytest.mark.parametrize(("n", "stored"), [(300, 256), (384, 384)])
    def test_vectors_that_slip_behind_the_first_ones_are_found_at_the_last(self, fake, n, stored):
        texts = [f"document {i} of many" for i in range(n)]
        slipped = [*texts[:260], *texts[261:], texts[260]]
        given_documents = [Candidate(text, token_vectors=rows_of(of)) for text, of in zip(texts, slipped, strict=True)]
        reranker = Reranker(fake)
        with pytest.raises(IncompatibleError, match=rf"documents\[{n - 1}\] is not what") as told:
            reranker.import_vectors(given_documents)

        assert f"{stored} documents were stored before it was found, and some may be wrong too. Remove them" in str(told.value)
        assert reranker.store.drop(fake.fingerprint) == stored

    def test_one_document_of_each_thousand_is_compared_at_random(self, fake):
        texts = [f"{i} of many" for i in range(3000)]
        compared = set()
        for _ in range(2):
            encoder = FakeEncoder()
            names = []
            encode = encoder.encode_document
            encoder.encode_document = lambda given, names=names, encode=encode: (names.extend(given), encode(given))[1]
            report = Reranker(encoder).import_vectors(documents(texts))
            numbers = [int(name.split()[0]) for name in names]
            assert report.n_checked == len(numbers)
            assert {2**i - 1 for i in range(12)} | {2999} <= set(numbers)
            assert {number // 1024 for number in numbers} == {0, 1, 2}
            compared |= set(numbers)

        assert len(compared) > 12 + 1 + 2

    def test_other_widths_and_documents_without_vectors_are_refused_by_their_place(self, fake):
        with pytest.raises(IncompatibleError, match=r"documents\[1\] .* token vectors of 32 components"):
            Reranker(fake).import_vectors([*documents(["a"]), Candidate("b", token_vectors=np.ones((1, 32), np.float32))])
        with pytest.raises(TypeError, match=r"documents\[1\] has no token vectors"):
            Reranker(fake).import_vectors([*documents(["a"]), "b"])


def npy(folder, dtype=np.float16, texts=TEXTS):
    rows = [rows_of(text, dtype) for text in texts]
    np.save(folder / "values.npy", np.concatenate(rows))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, rows)]))
    return folder / "values.npy"


def safetensors(folder, dtype=np.float16, texts=TEXTS):
    from safetensors.numpy import save_file

    rows = [rows_of(text, dtype) for text in texts]
    save_file({"values": np.concatenate(rows), "offsets": np.cumsum([0, *map(len, rows)])}, folder / "held.safetensors")
    return folder / "held.safetensors"


def parquet(folder, dtype=np.float16, texts=TEXTS, width=64, name="held.parquet"):
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = pa.from_numpy_dtype(dtype)
    vectors = pa.list_(pa.list_(number) if width is None else pa.list_(number, width))
    columns = [{"id": i, "text": text, "token_vectors": rows_of(text, dtype).tolist()} for i, text in enumerate(texts)]
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("token_vectors", vectors)])
    pq.write_table(pa.Table.from_pylist(columns, schema=schema), folder / name, row_group_size=3)
    return folder / name


def lines(folder, texts=TEXTS):
    file = folder / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"id": i, "text": text}) for i, text in enumerate(texts)))
    return file


FILES = [npy, safetensors, pytest.param(parquet, marks=needs_pyarrow)]


class TestFiles:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    @pytest.mark.parametrize("write", FILES)
    def test_documents_come_in_order_with_their_vectors(self, tmp_path, write, dtype):
        held = read_vectors(write(tmp_path, dtype), texts=lines(tmp_path))
        held.check_counts()

        assert (held.n_documents, held.dim) == (7, 64)
        for _ in range(2):  # it can be read again
            found = list(held)
            assert [(document.text, document.id) for document in found] == [(text, i) for i, text in enumerate(TEXTS)]
            for document in found:
                assert document.token_vectors.dtype == dtype
                np.testing.assert_array_equal(document.token_vectors.values, rows_of(document.text, dtype))

    @needs_pyarrow
    def test_a_parquet_file_may_have_the_texts_and_any_kind_of_lists(self, tmp_path):
        for dtype, width in ((np.float64, 64), (np.float32, None)):
            held = read_vectors(parquet(tmp_path, dtype, width=width))
            found = list(held)
            assert held.dim == width
            assert [document.text for document in found] == TEXTS
            np.testing.assert_array_equal(found[2].token_vectors.values, rows_of(TEXTS[2]))

    @needs_pyarrow
    @pytest.mark.parametrize("n_empty", [1, 300])
    def test_a_parquet_document_without_vectors_is_as_wide_as_the_others(self, tmp_path, n_empty):
        texts = [*[""] * n_empty, "a cat", "", "a dog"]
        held = read_vectors(parquet(tmp_path, np.float32, texts, width=None))
        report = Reranker(FakeEncoder()).import_vectors(held)

        assert {document.token_vectors.dim for document in held} == {64}
        assert (report.n_documents, report.n_imported) == (n_empty + 3, 2)
        with pytest.raises(
            ValueError, match=r"no document of .* has a vector in column 'token_vectors': their width is unknown"
        ):
            list(read_vectors(parquet(tmp_path, np.float32, [""], width=None)))

    @given(
        lengths=st.lists(st.integers(0, 6), max_size=30), block=st.integers(1, 9), offsets=st.sampled_from(["i4", "u8", "i8"])
    )
    def test_blocks_of_a_file_do_not_show(self, lengths, block, offsets, tmp_path_factory):
        from safetensors.numpy import save_file

        folder = tmp_path_factory.mktemp("held")
        rows = [np.random.default_rng(i).standard_normal((n, 3)).astype(np.float32) for i, n in enumerate(lengths)]
        values = np.concatenate(rows) if rows else np.empty((0, 3), np.float32)
        save_file({"values": values, "offsets": np.cumsum([0, *lengths], dtype=offsets)}, folder / "x.safetensors")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("late_rerank.corpus.held.arrays._ROWS", block)
            patch.setattr("late_rerank.corpus.held.arrays._OFFSETS", 1 + block // 2)
            found = list(SafetensorsRows(folder / "x.safetensors"))
            np.save(folder / "values.npy", values)
            np.save(folder / "offsets.npy", np.cumsum([0, *lengths], dtype=offsets))
            mapped = list(NpyRows(folder / "values.npy", folder / "offsets.npy"))

        assert len(found) == len(mapped) == len(rows)
        for own, also, wanted in zip(found, mapped, rows, strict=True):
            np.testing.assert_array_equal(own, wanted)
            np.testing.assert_array_equal(also, wanted)

    def test_offsets_are_read_in_pieces(self, tmp_path):
        import tracemalloc

        from safetensors.numpy import save_file

        n = 400_000
        values, offsets = np.ones((n, 1), np.float16), np.arange(n + 1)
        np.save(tmp_path / "values.npy", values)
        np.save(tmp_path / "offsets.npy", offsets)
        save_file({"values": values, "offsets": offsets}, tmp_path / "x.safetensors")
        for make in (
            lambda: NpyRows(tmp_path / "values.npy", tmp_path / "offsets.npy"),
            lambda: SafetensorsRows(tmp_path / "x.safetensors"),
        ):
            tracemalloc.start()
            rows = make()
            for _ in zip(range(20_000), rows, strict=False):
                pass
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert rows.n_documents == n
            assert most < n * 8  # an array of all of them

    @pytest.mark.parametrize("write", FILES)
    def test_a_text_too_few_is_told_before_anything_is_stored(self, tmp_path, write):
        held = read_vectors(write(tmp_path), texts=lines(tmp_path, TEXTS[:-1]))
        with pytest.raises(ValueError, match=r"has vectors of 7 documents, but .*texts.jsonl has 6 texts"):
            held.check_counts()

    @pytest.mark.parametrize(
        ("values", "offsets", "message"),
        [
            (np.ones((4, 8)), [0, 4], r"must be \(n_tokens, dim\) float32 or float16, got shape \(4, 8\) float64"),
            (np.ones((2, 4, 8), np.float32), [0, 2], r"got shape \(2, 4, 8\)"),
            (np.ones((4, 8), np.float32), [0, 3], "must rise from 0 to 4, the number of rows, got 0 to 3"),
            (np.ones((4, 8), np.float32), [0, 3, 2, 4], "must rise from 0 to 4"),
            (np.ones((4, 8), np.float32), [0.0, 4.0], "must be .* whole numbers"),
        ],
    )
    def test_arrays_that_are_no_documents_are_refused(self, tmp_path, values, offsets, message):
        np.save(tmp_path / "values.npy", values)
        np.save(tmp_path / "offsets.npy", np.array(offsets))
        with pytest.raises(ValueError, match=message):
            read_vectors(tmp_path / "values.npy", texts=lines(tmp_path))

    def test_nan_is_told_with_the_documents_number(self, tmp_path):
        np.save(tmp_path / "values.npy", np.array([[1, 2], [1, np.nan]], np.float32))
        np.save(tmp_path / "offsets.npy", np.array([0, 1, 2]))
        with pytest.raises(ValueError, match=r"values.npy, document 2: token_vectors hold NaN"):
            list(read_vectors(tmp_path / "values.npy", texts=lines(tmp_path, ["a", "b"])))

    def test_wrong_and_missing_files_are_told(self, tmp_path):
        texts = lines(tmp_path)
        (tmp_path / "values.npy").write_bytes(b"no array")
        (tmp_path / "x.safetensors").write_bytes(b"no tensors")
        (tmp_path / "offsets.npy").write_bytes(b"")
        for name, message in (
            ("values.npy", "is no .npy file"),
            ("x.safetensors", "is no safetensors file"),
            ("texts.jsonl", "must be a .npy"),
        ):
            with pytest.raises(ValueError, match=message):
                read_vectors(tmp_path / name, texts=texts)
        with pytest.raises(ValueError, match="has no texts: give them in the same order"):
            read_vectors(npy(tmp_path))
        (tmp_path / "offsets.npy").unlink()
        with pytest.raises(FileNotFoundError, match=r"offsets.npy isn't there: it says where"):
            read_vectors(tmp_path / "values.npy", texts=texts)
        with pytest.raises(FileNotFoundError, match="there is no file"):
            read_vectors(tmp_path / "absent.npy", texts=texts)

    def test_a_safetensors_file_of_a_model_is_refused_with_its_names(self, tmp_path):
        from safetensors.numpy import save_file

        save_file({"weight": np.ones((2, 2), np.float32)}, tmp_path / "x.safetensors")
        with pytest.raises(ValueError, match='must hold "values" and "offsets", got \'weight\''):
            read_vectors(tmp_path / "x.safetensors", texts=lines(tmp_path))

    @needs_pyarrow
    def test_parquet_columns_that_hold_no_vectors_are_refused(self, tmp_path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        ragged = pa.table({"text": ["a", "b"], "token_vectors": pa.array([[[1.0, 2.0]], [[1.0, 2.0], [3.0]]])})
        pq.write_table(ragged, tmp_path / "ragged.parquet")
        with pytest.raises(ValueError, match="row 2: the vectors have several widths"):
            list(read_vectors(tmp_path / "ragged.parquet"))
        with pytest.raises(ValueError, match="has no column 'vectors'; it has 'text', 'token_vectors'"):
            read_vectors(tmp_path / "ragged.parquet", column="vectors")
        with pytest.raises(ValueError, match=r"column 'text' .* must be lists of vectors of floats, got string"):
            read_vectors(tmp_path / "ragged.parquet", column="text")
        pq.write_table(
            pa.table({"text": ["a"], "token_vectors": pa.array([None], pa.list_(pa.list_(pa.float32())))}),
            tmp_path / "null.parquet",
        )
        with pytest.raises(ValueError, match=r"null.parquet, row 1: column 'token_vectors' is empty"):
            list(read_vectors(tmp_path / "null.parquet"))


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def _fake_model(self, monkeypatch):
        monkeypatch.setattr("late_rerank.encode.as_encoder", lambda *_: FakeEncoder())

    @pytest.fixture
    def call(self, capsys):
        def call(*arguments, code=0):
            assert main(["import", *map(str, arguments)]) == code
            return capsys.readouterr()

        return call

    @pytest.mark.parametrize("write", FILES)
    def test_it_fills_a_store_that_answers_without_encoding(self, call, tmp_path, write):
        store = tmp_path / "store"
        told = json.loads(call(write(tmp_path), "--texts", lines(tmp_path), "--store", store, "--json").out)
        again = call(write(tmp_path), "--texts", lines(tmp_path), "--store", store).out
        with Reranker(FakeEncoder(), store=store, on_missing="raise") as reranker:
            ranking = reranker.rerank("the cat on a mat", TEXTS)

        assert (told["n_documents"], told["n_imported"], told["n_checked"], told["codec"]) == (7, 6, 4, "int8")
        assert told["fingerprint"] == FakeEncoder().fingerprint
        assert "7 documents in " in again
        assert "0 imported (0 tokens, 0 bytes), 6 already there, 4 compared with the model" in again
        assert ranking[0].text == "a cat on a mat"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--fingerprint", "another"], "declared as made by another, but the model 'minilm' is fake-64-None"),
            (["--texts", "other"], "is not what the model 'FakeEncoder' makes of its text 'a wild cat ran'"),
            (["--texts", "few"], "has 1 texts"),
        ],
    )
    def test_what_does_not_belong_together_is_refused_and_leaves_no_store(self, call, tmp_path, options, message):
        (tmp_path / "few").mkdir()
        (tmp_path / "other").mkdir()
        texts = {"few": ["a"], "other": ["a wild cat ran", *TEXTS[1:]]}
        values = npy(tmp_path, texts=["a wild dog ran", *TEXTS[1:]] if "other" in options else TEXTS)
        given_texts = lines(tmp_path / options[1], texts[options[1]]) if options[0] == "--texts" else lines(tmp_path)
        more = [] if options[0] == "--texts" else options
        told = call(values, "--texts", given_texts, "--store", tmp_path / "store", *more, code=1).err

        assert message in told
        assert not (tmp_path / "store").exists()

    def test_no_check_takes_the_word_of_who_declares(self, call, tmp_path):
        values = npy(tmp_path, texts=["a wild dog ran", *TEXTS[1:]])
        told = call(
            values, "--texts", lines(tmp_path, ["a wild cat ran", *TEXTS[1:]]), "--store", tmp_path / "store", "--no-check"
        ).out

        assert "6 imported" in told
        assert "0 compared" in told

    def test_another_width_is_refused(self, call, tmp_path):
        np.save(tmp_path / "values.npy", np.ones((1, 32), np.float32))
        np.save(tmp_path / "offsets.npy", np.array([0, 1]))
        told = call(tmp_path / "values.npy", "--texts", lines(tmp_path, ["a"]), "--store", tmp_path / "store", code=1).err

        assert "has vectors of 32 components, but those of the model 'minilm' have 64: another model made them" in told
        assert not (tmp_path / "store").exists()

    def test_object_storage_wants_a_published_store(self, call, tmp_path, capsys):
        with pytest.raises(SystemExit) as ended:
            call(npy(tmp_path), "--texts", lines(tmp_path), "--store", "s3://bucket/prefix")

        assert ended.value.code == 2
        assert "import there, then `late-rerank store publish` it" in capsys.readouterr().err
