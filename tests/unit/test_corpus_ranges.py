"""Parts of corpora: ranges of a file of lines, row groups of Parquet, some files of a folder."""

import io
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.corpus import CorpusStream, parse_json_lines, read_corpus
from late_rerank.corpus.parquet import ParquetRows
from late_rerank.corpus.ranges import FileRanges, RangesFile, count_lines, lines_between
from late_rerank.errors import MissingDependencyError


class Held:
    """Ranges of bytes in memory."""

    def __init__(self, raw):
        self._raw = raw
        self.size_bytes = len(raw)

    def read(self, start, end):
        return self._raw[start:end]


@given(st.text(alphabet="ab\n\r", max_size=60), st.lists(st.integers(0, 60), max_size=4), st.integers(1, 9))
def test_ranges_that_join_give_each_line_of_the_file_once(text, cuts, block_bytes):
    raw = text.encode()
    at = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    found = [lines_between(Held(raw), *ends, block_bytes=block_bytes) for ends in itertools.pairwise(at)]
    assert [line for lines in found for line in lines] == list(io.BytesIO(raw))


@given(st.text(alphabet="ab\n", max_size=30), st.integers(0, 30))
def test_the_lines_before_a_range_are_those_that_it_does_not_give(text, start):
    raw = text.encode()
    start = min(start, len(raw))
    n_given = sum(1 for _ in lines_between(Held(raw), start, len(raw)))
    assert count_lines(Held(raw), start) == len(list(io.BytesIO(raw))) - n_given


def test_few_bytes_behind_a_range_are_read():
    raw = b"a line of some length\n" * 2_000_000
    asked = []

    class Counting(Held):
        def read(self, start, end):
            asked.append(end - start)
            return super().read(start, end)

    n_lines = sum(1 for _ in lines_between(Counting(raw), 1000, 3000))
    assert n_lines == raw[1000:3000].count(b"\na")
    assert sum(asked) < 2000 + 2 * 64 * 1024


def test_a_file_that_became_shorter_is_an_error(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"{}\n" * 10)
    ranges = FileRanges(file)
    file.write_bytes(b"{}\n")
    with pytest.raises(OSError, match="has changed"):
        list(lines_between(ranges, 0, 30))


def test_lines_before_a_range_are_counted_for_messages_alone():
    raw = b'{"text": "a"}\n\n{"text": "b"}\nno JSON\n'
    start = raw.index(b'{"text": "b"}')
    counted = []

    def before():
        counted.append(count_lines(Held(raw), start))
        return counted[-1]

    documents = parse_json_lines(lines_between(Held(raw), start, len(raw)), "a.jsonl", lines_before=before)
    assert next(documents).text == "b"
    assert counted == []
    with pytest.raises(ValueError, match=r"a\.jsonl, line 4 is not JSON"):
        next(documents)
    assert counted == [2]


def test_some_files_of_a_folder_are_read_under_their_names_in_it(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "sub/b.txt", "sub/c.bin"):
        (tmp_path / name).write_text(f"The text of {name}.")
    (tmp_path / "corpus.jsonl").write_text("not read")
    stream = CorpusStream(tmp_path, only=[tmp_path / "sub/b.txt", tmp_path / "gone.txt"])
    assert [document.id for document in stream] == ["sub/b.txt#0"]
    assert [path for path, _ in stream.skipped] == [str(tmp_path / "gone.txt")]


class TestParquet:
    @pytest.fixture
    def written(self, tmp_path):
        pytest.importorskip("pyarrow", reason='pip install "late-rerank[parquet]"')
        from pyarrow import parquet, table

        def written(columns, n_rows=2):
            file = tmp_path / "corpus.parquet"
            parquet.write_table(table(columns), file, row_group_size=n_rows)
            return file

        return written

    def test_a_row_is_read_as_a_line_of_json_lines(self, written, tmp_path):
        rows = [
            {"_id": "1", "title": "Cats", "text": "sleep", "score": 0.5, "metadata": {"page": 1}},
            {"_id": "2", "title": None, "text": "bark", "score": None, "metadata": {"page": 2}},
            {"_id": "3", "title": "", "text": "", "score": 1.0, "metadata": {"page": 3}},
        ]
        lines = tmp_path / "corpus.jsonl"
        lines.write_text("\n".join(map(json.dumps, rows)))
        file = written({name: [row[name] for row in rows] for name in rows[0]} | {"more": [b"1", b"2", b"3"]})
        assert read_corpus(file).documents == read_corpus(lines).documents
        stream = CorpusStream(file)
        assert len(list(stream)) == 3
        assert stream.n_bytes_read == stream.size_bytes

    def test_row_groups_give_the_file(self, written):
        file = written({"text": [str(i) for i in range(7)]}, n_rows=3)
        rows = ParquetRows(FileRanges(file), "corpus.parquet")
        assert len(rows.group_bytes) == 3
        assert [document.text for document in rows.documents([1, 2])] == ["3", "4", "5", "6"]

    def test_a_row_without_a_text_is_named(self, written):
        file = written({"text": ["a", "b", "c", None]})
        with pytest.raises(ValueError, match=r'corpus\.parquet, row 4: "text" must be a string'):
            list(ParquetRows(FileRanges(file), "corpus.parquet").documents([1]))

    def test_a_table_without_texts_is_refused(self, written):
        with pytest.raises(ValueError, match='a column "text", got words'):
            read_corpus(written({"words": ["a"]}))

    def test_what_is_no_parquet_is_refused(self, tmp_path):
        pytest.importorskip("pyarrow")
        (tmp_path / "a.parquet").write_text("no table")
        with pytest.raises(ValueError, match="is no Parquet file"):
            read_corpus(tmp_path / "a.parquet")

    def test_without_pyarrow_the_extra_is_named(self, tmp_path, monkeypatch):
        (tmp_path / "a.parquet").touch()
        monkeypatch.setattr("late_rerank.errors.is_installed", lambda package: package != "pyarrow")
        with pytest.raises(MissingDependencyError, match=r"late-rerank\[parquet\]"):
            read_corpus(tmp_path / "a.parquet")


def test_ranges_serve_as_a_file():
    with RangesFile(Held(b"0123456789")) as file:
        assert (file.seek(-3, io.SEEK_END), file.read(2), file.tell(), file.read(), file.read(1)) == (7, b"78", 9, b"9", b"")
        assert (file.seek(2), file.seek(2, io.SEEK_CUR), file.read(1)) == (2, 4, b"4")
