import base64
import hashlib
import json
import os
import random
import re
import socket
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.corpus import CorpusStream, files, parse_json_lines, read_corpus, read_json_lines, read_qrels, read_queries
from late_rerank.corpus import split as splitting
from late_rerank.corpus.blobs import blobs
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
        (folder / "short.txt").write_bytes("日本".encode("shift_jis"))
        (folder / "broken.md").symlink_to(folder / "nowhere")
        corpus = read_corpus(folder)

        reasons = {path.rsplit("/", 1)[1]: reason for path, reason in corpus.skipped}
        assert reasons.keys() == {"binary.txt", "short.txt", "broken.md"}
        assert reasons["binary.txt"] == "binary, not text"
        assert "not UTF-8 at byte 0" in reasons["short.txt"]
        assert len(corpus.documents) == 4

    def test_byte_order_marks_are_understood(self, tmp_path):
        (tmp_path / "a.txt").write_bytes("Grüße".encode("utf-16"))
        (tmp_path / "b.txt").write_bytes("Grüße".encode("utf-8-sig"))

        assert [document.text for document in read_corpus(tmp_path).documents] == ["Grüße", "Grüße"]

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            ("ze\0bra".encode("utf-16"), "binary, not text"),
            (b"\xff\xfea", "not UTF-16 at byte"),
            (b"words " * 2000 + b"\x00", "binary, not text"),
            (b"\x1b$B!! zebra", "looks like ISO-2022"),
            (b"\x1b$B!! zebra \xff", "not UTF-8 at byte 12"),
            ("\u65e5\u672c".encode("shift_jis"), "not UTF-8"),
            (b"+/v8- 1+1=2", "UTF-7"),
        ],
    )
    def test_bytes_that_are_no_text_for_certain_are_skipped_and_told(self, raw, reason, tmp_path):
        (tmp_path / "a.txt").write_bytes(raw)
        corpus = read_corpus(tmp_path)

        assert corpus.documents == []
        assert reason in corpus.skipped[0][1]

    @pytest.mark.parametrize(
        "text", ["\x1b[31mred\x1b(B zebra", '(format t "~{~A~^, ~}" zebra)', "a+b-c C++11- zebra", "~{ab~} zebra"]
    )
    def test_text_that_looks_a_little_like_them_is_read(self, text, tmp_path):
        (tmp_path / "a.txt").write_text(text)
        assert [document.text for document in read_corpus(tmp_path).documents] == [text]

    def test_other_endings_of_text_are_read(self, tmp_path):
        names = ["README", "a.adoc", "a.asciidoc", "a.htm", "a.markdown", "a.mdown", "a.mdx", "a.text", "a.xhtml"]
        for name in names:
            (tmp_path / name).write_text(f"text of {name}")
        assert [document.metadata["path"] for document in read_corpus(tmp_path).documents] == names
        assert read_corpus(tmp_path / "README").documents[0].text == "text of README"

    def test_what_is_passed_over_is_counted_by_its_ending(self, folder):
        for name in ("a.png", "b.PNG", "Makefile", "c.jsonl", ".hidden.png"):
            (folder / name).write_text("{}")
        corpus = read_corpus(folder)

        assert corpus.passed_over == {".png": 2, "": 1, ".jsonl": 1, ".py": 1}
        assert corpus.json_lines == str(folder / "c.jsonl")

    def test_links_are_followed_and_each_file_is_read_once(self, folder, tmp_path_factory):
        outside = tmp_path_factory.mktemp("outside")
        (outside / "deep").mkdir()
        (outside / "deep" / "d.txt").write_text("Linked text.")
        (outside / "deep" / "again").symlink_to(outside)
        (outside / "back").symlink_to(folder)
        (outside / "README").write_text("Read me.")
        for name in ("1", "2"):
            (folder / name).symlink_to(outside)
        (folder / "loop").symlink_to(folder / "loop")
        (folder / "self").symlink_to(folder)
        (folder / "above").symlink_to(folder.parent)
        (folder / "0.txt").symlink_to(folder / "a.txt")
        (folder / "shown").symlink_to(folder / ".hidden")
        (folder / "x.md").symlink_to(outside / "README")
        (folder / "z.md").symlink_to(folder / "ignored.py")
        corpus = read_corpus(folder)

        paths = ["a.txt", "b.md", "page.HTML", "x.md", "z.md", "1/deep/d.txt", "shown/d.txt", "sub/deeper/c.rst"]
        assert [document.metadata["path"] for document in corpus.documents] == paths
        told = {path.rsplit("/", 1)[1]: reason for path, reason in corpus.skipped}
        assert told == dict.fromkeys(("above", "back", "self"), "a link to the folder that it is in")

    def test_what_is_no_file_is_told_and_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.txt")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "s.md")[:100])
            corpus = read_corpus(tmp_path)
        assert corpus.documents == []
        assert {reason for _, reason in corpus.skipped} == {"not a regular file"}

    def test_a_folder_that_cannot_be_entered_is_told(self, folder, monkeypatch):
        entered = os.scandir

        def scandir(path):
            if str(path).endswith("deeper"):
                raise PermissionError(13, "Permission denied", path)
            return entered(path)

        monkeypatch.setattr(os, "scandir", scandir)
        corpus = read_corpus(folder)

        assert [document.metadata["path"] for document in corpus.documents] == ["a.txt", "b.md", "page.HTML"]
        assert corpus.skipped == [(str(folder / "sub" / "deeper"), "Permission denied")]

    def test_any_name_of_a_file_is_kept(self, tmp_path):
        names = ["a\nb.txt", "c\x1b[2J.md", os.fsdecode(b"d\xff.txt")]
        for name in names:
            (tmp_path / name).write_text("text")
        assert [document.metadata["path"] for document in read_corpus(tmp_path).documents] == names

    def test_one_file_will_do(self, folder):
        assert [document.text for document in read_corpus(folder / "a.txt").documents] == ["Plain text."]

    def test_an_empty_folder_holds_nothing(self, tmp_path):
        (tmp_path / "empty.txt").write_text("")
        assert read_corpus(tmp_path).documents == []

    def test_what_cannot_be_read_is_said(self, folder):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            read_corpus(folder / "nowhere")
        with pytest.raises(ValueError, match=r"expected a folder or one of \.adoc, \.asciidoc, \.htm"):
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
        monkeypatch.setattr(files, "read_text", lambda file, _: opened.append(file.name) or read_text(file))
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

    @pytest.mark.parametrize(
        ("source", "seen"),
        [
            ('<a title="List<int> of zebras" href="/x">the table</a>', "the table"),
            ('<a title=\'a > b\' href="/x"title="c>d">text</a>', "text"),
            ('<a b=c"d>text</a> "', 'text "'),
            ('<p hidden title="x">no</p>yes', "yes"),
            ('<p title="hidden">yes</p><p data-hidden>yes</p>', "yes yes"),
            ('<div style="color: red; DISPLAY : none">no<div>no</div>no</div>yes', "yes"),
            ("<span style='visibility:hidden'>no</span>yes", "yes"),
            ("<p hidden>no<p>yes", "yes"),
            ("<ul><li hidden>no<li>yes<li hidden>no</ul>yes", "yes yes"),
            ("<table><tr><td hidden>no<td>yes<tr hidden><td>no<tr><td>yes</table>yes", "yes yes yes"),
            ("<div hidden><b>no</div>yes", "yes"),
            ("<div hidden>no</b>no</p>no</div>yes", "yes"),
            ("<input hidden>yes<br hidden>yes", "yes yes"),
            ('<div hidden="until-found">yes</div>', "yes"),
            ("<dialog>no</dialog><dialog open>yes</dialog>", "yes"),
            ("<template><b>no</b></template><noscript>no</noscript><svg><text>no</text></svg>yes", "yes"),
            ("<script>'</p>' + \"<b>no</b>\"; '</scripts>'</script>yes", "yes"),
            ("<!-- > --><b>yes</b><!-- a -- b --!>yes<!-->yes", "yes yes yes"),
            ("<![CDATA[ no ]]>yes<![ if IE ]>yes<?php no ?>yes", "yes yes yes"),
            ("<title>a <b> &amp; c</title><textarea><i></textarea>", "a <b> & c <i>"),
            ("yes</b <a href='no", "yes"),
        ],
    )
    def test_what_a_reader_sees(self, source, seen):
        assert visible_text(source).split() == seen.split()
        assert len(visible_text(source)) == len(source)

    @pytest.mark.parametrize("trap", ["<td></td>", "<span></b>", "<div hidden>", "<b><div></b>", "<a x='\"", "<title>"])
    def test_elements_that_never_end_take_no_time(self, trap):
        started = time.process_time()
        assert len(visible_text(trap * 20_000)) == 20_000 * len(trap)
        assert time.process_time() - started < 20

    @given(st.text(alphabet="<>&;/a b\n!-='\"#x\u00e4p", max_size=60))
    def test_any_text_keeps_its_length(self, source):
        assert len(visible_text(source)) == len(source)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["p", "a", "td", "li", "br", "textarea", "x-y"]),
                st.sampled_from(["", "/", " "]),
                st.sampled_from(["'", '"']),
                st.text(alphabet="<>/=!- \n&;'\"a\u00e4", max_size=12),
            ),
            max_size=8,
        )
    )
    def test_no_attribute_is_ever_seen(self, tags):
        written = []
        for tag, end, quote, value in tags:
            value = value.replace(quote, "")
            written.append(f"<{tag} title={quote}SECRET{value}SECRET{quote}{end}>seen</{tag}>")
        seen = visible_text("".join(written))

        assert "SECRET" not in seen
        assert seen.count("seen") == len(tags)


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

    @given(
        st.lists(
            st.sampled_from(["\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "*\ufe0f\u20e3", "e\u0301", "\u0939\u093f"]),
            max_size=60,
        )
    )
    def test_no_piece_ends_within_a_character(self, characters):
        text, edges, last = "".join(characters), {0}, 0
        for character in characters:
            last += len(character)
            edges.add(last)
        pieces = split(text, 5)
        assert all(start in edges and end in edges for _, start, end in pieces)
        assert "".join(piece for piece, _, _ in pieces) == text

    def test_marks_are_no_tokens_of_their_own(self):
        text = " ".join(["\u0926\u093f\u0932\u094d\u0932\u0940"] * 10)  # six code points each, three of them marks
        assert len(split(text, 10)) == 1

    def test_pieces_that_say_nothing_are_left_out(self):
        assert split("one two three\n\n----\n\n!\n\nfour five six", 3) == [("one two three", 0, 13), ("four five six", 24, 37)]
        assert split("...") == split("* * *") == split("") == split(" \n") == []
        assert split("\u2705") == [("\u2705", 0, 1)]

    @pytest.mark.parametrize(
        "make",
        [
            lambda n: visible_text("<table><tr>" + "<td></td>" * n + "<td>word</td></tr></table>"),
            lambda n: visible_text("<br>" * n + "word"),
            lambda n: visible_text("<p>two words</p>\n" * n),
            lambda n: "\n" * n + "word",
            lambda n: "word \n\n \n " * n,
            lambda n: "\u00a0\n" * n + "word",
            lambda n: "a short line\n" * n,
            lambda n: "word and " * n,
            lambda n: "." * n,
            lambda n: "x" * n,
            lambda n: "if(x){y=[1,2]};" * n,
            lambda n: "\U0001f44d\U0001f3fd" * n,
        ],
    )
    def test_work_grows_with_the_length_and_no_faster(self, make, monkeypatch):
        counted = []
        count = splitting._n_tokens
        monkeypatch.setattr(splitting, "_n_tokens", lambda piece: counted.append(len(piece) + 1) or count(piece))
        work = []
        for n in (1000, 4000):
            counted.clear()
            split(make(n))
            work.append(sum(counted))

        assert work[1] < 6 * work[0] + 1000
        assert work[1] < 20 * len(make(4000)) + 1000


BYTES = base64.b64encode(random.Random(1).randbytes(3000)).decode()
LINES = "\n".join(BYTES[i : i + 64] for i in range(0, 1024, 64))


class TestBlobs:
    @pytest.mark.parametrize(
        ("text", "left"),
        [
            (f"![a](data:image/png;base64,{BYTES}) b", "![a]() b"),
            (f'<img src="data:image/png;base64,{BYTES}" alt="b">', '<img src="" alt="b">'),
            (f"[x]: data:image/gif;base64,{BYTES[:40]}\nmore", "[x]: \nmore"),
            (f"![a](DATA:image/png;base64,\n{LINES}) b", "![a]() b"),
            ("url(\"data:image/svg+xml;utf8,<svg a='b'>x y</svg>\") z", 'url("") z'),
            ("![a](data:image/svg+xml,%3Csvg%20x%3E) b", "![a]() b"),
            (f"-----BEGIN KEY-----\n{LINES}\n-----END KEY-----", "-----BEGIN KEY-----\n\n-----END KEY-----"),
            (f"key {BYTES[:600]} end", "key  end"),
            *((text, text) for text in ("metadata:image/png", "the data: image/png, say", "data:text/plain,hello", "a" * 400)),
            *((text, text) for text in ("ACGT" * 200, "-" * 400, "a-slug-of-2024/" * 40, hashlib.sha512(b"").hexdigest())),
        ],
    )
    def test_encoded_bytes_are_found_and_nothing_else(self, text, left):
        assert without(text, blobs(text)) == left

    def test_images_in_markdown_are_in_no_piece_and_places_are_the_files(self, tmp_path):
        text = (
            "# Setup\n\nHold the red button for ten seconds.\n\n"
            f"![screen](data:image/png;base64,{BYTES})\n\n# Warranty\n\n{'The warranty lasts two years. ' * 60}\n"
        )
        (tmp_path / "guide.md").write_text(text)
        pieces = read_corpus(tmp_path).documents

        assert len(pieces) > 1
        for piece in pieces:
            assert piece.text == text[piece.metadata["start"] : piece.metadata["end"]].replace(
                f"data:image/png;base64,{BYTES}", ""
            )
            assert BYTES[:20] not in piece.text
            assert re.search(r"\w", piece.text)

    @pytest.mark.parametrize("trap", ["data:", "data:image/", "data:image/png;a=b", "data:image/png,'", "a" * 255 + " "])
    def test_looking_for_them_takes_no_time(self, trap):
        started = time.process_time()
        blobs((trap * 20_000)[:300_000])
        assert time.process_time() - started < 20


def without(text, spans):
    return "".join(char for i, char in enumerate(text) if not any(start <= i < end for start, end in spans))


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
        with path.open("rb") as lines:
            assert [document.id for document in parse_json_lines(lines, "x")] == ["1", 2, "three"]

    @pytest.mark.parametrize(("name", "kept"), [("0", 0), ("-1.5", -1.5), ("true", "True"), ("[1]", "[1]"), ("1e999", "inf")])
    def test_ids_that_are_numbers_stay_numbers_and_others_become_text(self, name, kept):
        (document,) = parse_json_lines([b'{"text": "a", "id": %s}' % name.encode()], "x")
        assert (document.id, type(document.id)) == (kept, type(kept))

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
