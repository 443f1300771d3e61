import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.corpus import CorpusStream, files, read_corpus, read_json_lines, read_qrels, read_queries
from late_rerank.corpus.files import read_text
from late_rerank.corpus.html import visible_text
from late_rerank.corpus.split import split
from late_rerank.corpus.standard_library import read_standard_library


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "b.md").write_text("# Title\n\nSome *markdown*.")
        (tmp_path / "a.txt").write_text("Plain text.")
        (tmp_path / "sub" / "deeper").mkdir(parents=True)
        (tmp_path / "sub" / "deeper" / "c.rst").write_text("Deep text")
        (tmp_path / "page.HTML").write_text("<html><p>Seen &amp; read</p><script>unseen()</script></html>")
        (tmp_path / "ignored.py").write_text("print()")
        (tmp_path / ".hidden").mkdir()
        (tmp_path / ".hidden" / "d.txt").write_text("hidden")
        return tmp_path

    def test_text_files_become_documents_in_the_order_of_their_paths(self, folder):
        corpus = read_corpus(folder)

        assert [document.metadata["path"] for document in corpus.documents] == [
            "a.txt",
            "b.md",
            "page.HTML",
            "sub/deeper/c.rst",
        ]
        assert [document.text for document in corpus.documents][2] == "Seen & read"
        assert corpus.skipped == []

    def test_documents_know_their_place_in_the_file(self, folder):
        (folder / "long.txt").write_text(
            "\r\n\r\n".join(f"Paragraph {i} says something. And more." * 5 for i in range(60)), newline=""
        )
        raw = (folder / "long.txt").read_bytes().decode()
        pieces = [document for document in read_corpus(folder).documents if document.metadata["path"] == "long.txt"]

        assert len(pieces) > 5
        for piece in pieces:
            assert raw[piece.metadata["start"] : piece.metadata["end"]] == piece.text
            assert piece.id == f"long.txt#{piece.metadata['start']}"

    def test_unreadable_files_are_skipped_and_told(self, folder):
        (folder / "binary.txt").write_bytes(b"\x00\x01\x02" * 100)
        (folder / "latin.txt").write_bytes("Café".encode("latin-1"))
        (folder / "broken.md").symlink_to(folder / "nowhere")
        corpus = read_corpus(folder)

        reasons = {path.rsplit("/", 1)[1]: reason for path, reason in corpus.skipped}
        assert reasons.keys() == {"binary.txt", "latin.txt", "broken.md"}
        assert reasons["binary.txt"] == "binary, not text"
        assert "not UTF-8 at byte 3" in reasons["latin.txt"]
        assert len(corpus.documents) == 4

    def test_byte_order_marks_are_understood(self, tmp_path):
        (tmp_path / "a.txt").write_bytes("Grüße".encode("utf-16"))
        (tmp_path / "b.txt").write_bytes("Grüße".encode("utf-8-sig"))

        assert [document.text for document in read_corpus(tmp_path).documents] == ["Grüße", "Grüße"]

    def test_one_file_will_do(self, folder):
        assert [document.text for document in read_corpus(folder / "a.txt").documents] == ["Plain text."]

    def test_an_empty_folder_holds_nothing(self, tmp_path):
        (tmp_path / "empty.txt").write_text("")
        assert read_corpus(tmp_path).documents == []

    def test_what_cannot_be_read_is_said(self, folder):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            read_corpus(folder / "nowhere")
        with pytest.raises(ValueError, match=r"expected a folder or one of \.htm, \.html"):
            read_corpus(folder / "ignored.py")


class TestStreams:
    @pytest.fixture
    def folder(self, tmp_path):
        for i in range(40):
            (tmp_path / f"{i:02}.txt").write_text(f"Text of file {i}. " * 100)
        (tmp_path / "41.txt").write_bytes(b"\x00")
        return tmp_path

    def test_a_folder_is_read_file_by_file_as_it_is_asked_for(self, folder, monkeypatch):
        opened = []
        monkeypatch.setattr(files, "read_text", lambda file: opened.append(file.name) or read_text(file))
        documents = iter(CorpusStream(folder))

        assert next(documents).metadata["path"] == "00.txt"
        assert opened == ["00.txt"]

    def test_json_lines_are_read_line_by_line_as_they_are_asked_for(self, tmp_path):
        (tmp_path / "corpus.jsonl").write_text('{"text": "fine"}\n' * 3 + "damaged")
        documents = iter(CorpusStream(tmp_path))

        assert [next(documents).text for _ in range(3)] == ["fine"] * 3
        with pytest.raises(ValueError, match="line 4 is not JSON"):
            next(documents)

    def test_it_gives_what_reading_at_once_gives_also_the_second_time(self, folder):
        stream, corpus = CorpusStream(folder), read_corpus(folder)

        for _ in range(2):
            assert list(stream) == corpus.documents
            assert stream.skipped == corpus.skipped == [(str(folder / "41.txt"), "binary, not text")]

    def test_the_bytes_read_add_up_to_the_size(self, folder, tmp_path):
        (folder / "broken.md").symlink_to(folder / "nowhere")
        (tmp_path / "lines").mkdir()
        (tmp_path / "lines" / "a.jsonl").write_text('{"text": "Grüße"}\n\n' * 50)
        for path in (folder, folder / "00.txt", tmp_path / "lines" / "a.jsonl"):
            stream = CorpusStream(path)
            seen = [stream.n_bytes_read for _ in stream]

            assert seen == sorted(seen)
            assert 0 < seen[0] <= stream.size_bytes
            assert stream.n_bytes_read == stream.size_bytes == size(path)

    def test_memory_does_not_grow_with_the_number_of_documents(self, tmp_path):
        peaks = []
        for n_documents in (1000, 20_000):
            (tmp_path / "a.jsonl").write_text(json.dumps({"text": "word " * 100}) + "\n")
            with (tmp_path / "a.jsonl").open("a") as file:
                file.writelines(json.dumps({"text": f"{i} " * 100}) + "\n" for i in range(n_documents))
            tracemalloc.start()
            assert sum(1 for _ in CorpusStream(tmp_path / "a.jsonl")) == n_documents + 1
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

        assert peaks[1] < peaks[0] + 100_000


def size(path):
    files = [path] if path.is_file() else path.glob("*.txt")
    return sum(file.stat().st_size for file in files)


class TestHtml:
    def test_every_character_stays_at_its_offset(self):
        source = "<h1>One</h1>\n<p class='x'>two &lt;three&#33; <b>four</b><br/>five<style>p{}</style></p>"
        shown = visible_text(source)

        assert len(shown) == len(source)
        for word in ("One", "two", "four", "five"):
            assert shown.index(word) == source.index(word)
        assert shown.split() == ["One", "two", "<", "three!", "four", "five"]

    @pytest.mark.parametrize(
        ("source", "shown"),
        [
            ("AT&T and R&D<b>x</b>", "AT&T and R&D   x"),
            ("&lt;a&gt; &copy 5 &nosuch; &#65;", "< a> © 5 &nosuch; A"),
            ("<!-- <b>not seen</b> -->seen<!-- nor this", "seen"),
            ("a < b and c > d", "a < b and c > d"),
        ],
    )
    def test_what_is_no_markup_is_shown_as_it_stands(self, source, shown):
        assert visible_text(source).split() == shown.split()

    @pytest.mark.parametrize("trap", ["<a ", "<!--", "<a href='", "&amp", "<![", "</"])
    def test_markup_that_never_ends_takes_no_time(self, trap):
        started = time.monotonic()
        visible_text(trap * 40_000)
        assert time.monotonic() - started < 5

    def test_a_declaration_that_the_parser_gives_up_on_is_skipped_and_told(self, tmp_path):
        (tmp_path / "odd.html").write_text("<p>hello</p><![ if IE ]>")
        (tmp_path / "fine.html").write_text("<p>hello</p>")
        corpus = read_corpus(tmp_path)

        assert [document.text for document in corpus.documents] == ["hello"]
        assert "can't be parsed" in corpus.skipped[0][1]

    @given(st.text(alphabet="<>&;/a b\n!-='\"#x\u00e4p", max_size=60))
    def test_any_text_keeps_its_length(self, source):
        assert len(visible_text(source)) == len(source)


class TestSplit:
    @given(st.lists(st.sampled_from(["word", "Sentence.", "\n\n", "\n", " ", "  ", "日本", "\t"]), max_size=300).map(" ".join))
    def test_pieces_are_slices_and_only_white_space_lies_between(self, text):
        end = 0
        for piece, start, stop in split(text, 10):
            assert text[start:stop] == piece
            assert not text[end:start].strip()
            end = stop
        assert not text[end:].strip()

    def test_it_cuts_at_paragraphs_first(self):
        paragraphs = ["one two three. four five six.", "seven eight nine. ten eleven twelve."]

        assert [piece for piece, _, _ in split("\n\n".join(paragraphs), 10)] == paragraphs

    def test_a_single_long_word_stays_whole(self):
        assert split("x" * 5000, 10) == [("x" * 5000, 0, 5000)]


class TestJsonLines:
    def write(self, tmp_path, *lines):
        path = tmp_path / "documents.jsonl"
        path.write_text("\n".join(lines))
        return path

    def test_ids_titles_scores_and_metadata(self, tmp_path):
        path = self.write(
            tmp_path,
            '{"_id": "1", "title": "T", "text": "body"}',
            "",
            '{"id": 2, "text": "b", "score": 3, "metadata": {"a": 1}}',
            '{"text": "", "_id": null, "id": "three"}',
        )
        documents = read_json_lines(path)

        assert [(document.text, document.id, document.score) for document in documents] == [
            ("T body", "1", None),
            ("b", "2", 3.0),
            ("", "three", None),
        ]
        assert documents[1].metadata == {"a": 1}

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("{", "is not JSON"),
            ("[]", "must be a JSON object"),
            ('{"id": "x"}', 'with a "text"'),
            ('{"text": 3}', 'with a "text"'),
            ('{"text": "a", "score": "high"}', '"score" must be a finite number'),
            ('{"text": "a", "score": NaN}', "NaN is not a JSON number"),
            ('{"text": "a", "score": 1e999}', "finite number"),
            ('{"text": "a", "score": 1' + 400 * "0" + "}", "finite number"),
            ('{"text": "a", "metadata": [1]}', '"metadata" must be an object'),
            ('{"text": "a", "title": 7}', '"title" must be a string'),
            ("[" * 100_000, "nested too deeply|is not JSON"),
        ],
    )
    def test_a_damaged_line_is_named(self, tmp_path, line, complaint):
        path = self.write(tmp_path, '{"text": "fine"}', line)
        with pytest.raises(ValueError, match=complaint) as caught:
            read_json_lines(path)
        assert "documents.jsonl, line 2" in str(caught.value)


class TestBeir:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d1", "title": "", "text": "body"}))
        (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "ask"}))
        (tmp_path / "qrels").mkdir()
        (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
        return tmp_path

    def test_documents_queries_and_judgements(self, folder):
        assert [(document.id, document.text) for document in read_corpus(folder).documents] == [("d1", "body")]
        assert read_queries(folder) == {"q1": "ask"}
        assert read_qrels(folder, "test") == {"q1": {"d1": 2, "d2": 0}}

    def test_what_is_missing_or_damaged_is_named(self, folder):
        with pytest.raises(FileNotFoundError, match="its splits: test"):
            read_qrels(folder, "dev")
        with pytest.raises(FileNotFoundError, match=r"no queries\.jsonl"):
            read_queries(folder / "qrels")
        (folder / "qrels" / "test.tsv").write_text("q1 d1 2\n")
        with pytest.raises(ValueError, match="line 1 must be query-id"):
            read_qrels(folder, "test")
        (folder / "queries.jsonl").write_text('{"text": "no id"}')
        with pytest.raises(ValueError, match='has no "_id"'):
            read_queries(folder)


def test_the_standard_library_is_several_thousand_passages():
    documents = read_standard_library()
    names = {document.id for document in documents}

    assert len(documents) > 2000
    assert {"threading.Barrier", "functools.lru_cache", "textwrap.wrap"} <= names
