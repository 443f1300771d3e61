"""PDF files, notebooks and images as documents: their places, what is skipped and why, memory and progress."""

import io
import json
import struct
import textwrap
from pathlib import Path

import pytest
from pdfs import HUGE, LANDSCAPE, WITHOUT_PAGES, Page, make_pdf

from late_rerank.corpus import CorpusStream, parse_json_lines, read_corpus
from late_rerank.corpus.pages import _counted
from late_rerank.errors import MissingDependencyError
from late_rerank.pictures import ImagePicture, PdfPage, pdfium

pytest.importorskip("pypdfium2", reason='needs pypdfium2: pip install "late-rerank[pdf]"')

LONG = textwrap.wrap("The part is screwed on by hand and tightened with the key that lies in the box beside it. " * 38, 80)
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de000000"
    "0c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


def write(folder, **files):
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


def image_bytes(kind, n_frames=1):
    """Noise, which no format makes short."""
    from PIL import Image

    frames = [Image.effect_noise((64, 64), 90 + i) for i in range(n_frames)]
    held = io.BytesIO()
    frames[0].save(held, kind, **({"save_all": True, "append_images": frames[1:]} if n_frames > 1 else {}))
    return held.getvalue()


def write_tiff(order, n_frames):
    """A TIFF file of pixels of one grey value, each in a directory of its own, in a byte order."""
    tags = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (278, 1), (279, 1)]
    held = struct.pack(f"{order}2sHI4s", b"II" if order == "<" else b"MM", 42, 12, b"grey")
    for i in range(n_frames):
        entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
        after = len(held) + 2 + len(entries) + 4
        held += struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", after if i + 1 < n_frames else 0)
    return held


class TestPages:
    def test_each_page_is_a_document_with_its_number(self, tmp_path):
        write(tmp_path, report_pdf=make_pdf(["Cats sleep all day."], ["Dogs bark", "at night."]), a_txt=b"Plain text.")
        documents = read_corpus(tmp_path).documents

        assert [(document.id, document.text, document.metadata) for document in documents] == [
            ("a.txt#0", "Plain text.", {"path": "a.txt", "start": 0, "end": 11}),
            ("report.pdf#page=1", "Cats sleep all day.", {"path": "report.pdf", "page": 1, "start": 0, "end": 19}),
            ("report.pdf#page=2", "Dogs bark\nat night.", {"path": "report.pdf", "page": 2, "start": 0, "end": 19}),
        ]

    def test_pieces_of_a_long_page_stand_where_they_say(self, tmp_path):
        write(tmp_path, long_pdf=make_pdf(["First."], LONG, LONG))
        documents = read_corpus(tmp_path / "long.pdf").documents

        assert len({document.id for document in documents}) == len(documents) > 5
        for document in documents:
            place = document.metadata
            assert PdfPage(tmp_path / "long.pdf", place["page"]).text()[place["start"] : place["end"]] == document.text
        assert [document.id for document in documents if document.metadata["page"] == 2][:2] == [
            "long.pdf#page=2",
            f"long.pdf#page=2&start={documents[2].metadata['start']}",
        ]

    def test_a_page_is_not_cut_where_a_line_ends_within_a_sentence(self, tmp_path):
        write(tmp_path, long_pdf=make_pdf(LONG))
        documents = read_corpus(tmp_path).documents
        assert len(documents) > 2
        assert all(document.text.rstrip().endswith(".") for document in documents[:-1])

    def test_pages_of_any_shape_and_script_are_read(self, tmp_path):
        pages = [
            Page(["A slide"], LANDSCAPE),
            Page(["A plan"], HUGE),
            *(Page(["Turned"], rotation=angle) for angle in (90, 180, 270)),
            Page(["Region|Total", "North|12 EUR"], kind="table"),
            Page(["Привет мир"], font="DejaVu"),
        ]
        write(tmp_path, all_pdf=make_pdf(*pages))
        texts = [" ".join(document.text.split()) for document in read_corpus(tmp_path).documents]
        assert texts == ["A slide", "A plan", "Turned", "Turned", "Turned", "Region Total North 12 EUR", "Привет мир"]

    def test_a_pdf_file_in_a_folder_has_its_path_in_the_folder(self, tmp_path):
        (tmp_path / "sub").mkdir()
        write(tmp_path / "sub", x_PDF=make_pdf(["Found"]))
        assert read_corpus(tmp_path).documents[0].metadata["path"] == "sub/x.PDF"


class TestSkipped:
    def skipped(self, path):
        corpus = read_corpus(path)
        return [(Path(file).name, reason) for file, reason in corpus.skipped], [document.text for document in corpus.documents]

    def test_unreadable_files_are_told_and_the_others_read(self, tmp_path):
        whole = make_pdf(["fine"])
        write(
            tmp_path,
            a_pdf=make_pdf(["secret"], password="pw"),
            b_pdf=whole[:500],
            c_pdf=b"",
            d_pdf=WITHOUT_PAGES,
            e_pdf=whole,
        )
        skipped, texts = self.skipped(tmp_path)
        assert texts == ["fine"]
        assert [name for name, _ in skipped] == ["a.pdf", "b.pdf", "c.pdf", "d.pdf"]
        assert [reason.split(":")[0] for _, reason in skipped] == [
            "encrypted",
            "no whole PDF file",
            "empty",
            "no whole PDF file",
        ]

    def test_one_scan_is_told(self, tmp_path):
        write(tmp_path, r_pdf=make_pdf(["text"], Page(["scan"], kind="scan")))
        assert self.skipped(tmp_path / "r.pdf") == (
            [("r.pdf", "page 2 has no text, as scans have none: only a model that sees images reads them")],
            ["text"],
        )

    def test_many_scans_of_a_file_are_one_line_with_their_count(self, tmp_path):
        scan = Page(["scan"], kind="scan")
        write(tmp_path, r_pdf=make_pdf(scan, scan, ["text"], scan), s_pdf=make_pdf(scan, scan))
        (r, s), texts = self.skipped(tmp_path)
        assert r[1].startswith("3 of 4 pages (1 to 2, 4) have no text")
        assert s[1].startswith("all 2 pages have no text")
        assert texts == ["text"]

    def test_pages_that_are_empty_on_purpose_are_not_told(self, tmp_path):
        write(tmp_path, r_pdf=make_pdf(["text"], []))
        assert self.skipped(tmp_path) == ([], ["text"])

    def test_damaged_pages_are_told_once(self, tmp_path):
        write(tmp_path, r_pdf=make_pdf(["a"], ["b"], ["c"]).replace(b"/Type /Page\n", b"/Type /Pagx\n", 2))
        assert self.skipped(tmp_path) == ([("r.pdf", "2 of 3 pages (1 to 2) are damaged")], ["c"])

    def test_pages_are_named_briefly(self):
        assert _counted([3, 6, 7, 8], 12, "has", "have") == "4 of 12 pages (3, 6 to 8) have"
        assert _counted(range(1, 2000, 2), 2000, "is", "are") == "1,000 of 2,000 pages (1, 3, 5, 7, 9, 11, ...) are"


class TestWithoutPypdfium2:
    @pytest.fixture(autouse=True)
    def without(self, monkeypatch):
        for module in ("late_rerank.errors", "late_rerank.corpus.folders"):
            monkeypatch.setattr(f"{module}.is_installed", lambda package: package != "pypdfium2")

    def test_pdf_files_of_a_folder_are_passed_over(self, tmp_path):
        corpus = read_corpus(write(tmp_path, a_txt=b"text", b_pdf=b"%PDF", c_pdf=b"%PDF"))
        assert [document.text for document in corpus.documents] == ["text"]
        assert corpus.passed_over == {".pdf": 2}

    def test_a_pdf_file_as_the_path_names_the_extra(self, tmp_path):
        write(tmp_path, b_pdf=b"%PDF")
        with pytest.raises(MissingDependencyError, match=r"late-rerank\[pdf\]"):
            CorpusStream(tmp_path / "b.pdf")


class TestStreaming:
    def test_pages_are_read_as_they_are_asked_for(self, tmp_path, monkeypatch):
        write(tmp_path, r_pdf=make_pdf(*(["page"] for _ in range(5))))
        read = []
        page_of = pdfium.page_of
        monkeypatch.setattr(
            "late_rerank.pictures.pdf.page_of", lambda document, n, shown: read.append(n) or page_of(document, n, shown)
        )
        stream = iter(CorpusStream(tmp_path))
        next(stream)
        next(stream)
        assert read == [1, 2]

    def test_progress_counts_the_pages_of_a_file(self, tmp_path):
        write(tmp_path, a_txt=b"x" * 1000, r_pdf=make_pdf(*(["page"] for _ in range(4))), z_txt=b"last")
        stream = CorpusStream(tmp_path)
        size = (tmp_path / "r.pdf").stat().st_size
        assert [stream.n_bytes_read for _ in stream] == [1000, *(1000 + size * n // 4 for n in (1, 2, 3, 4)), 1004 + size]
        assert stream.n_bytes_read == stream.size_bytes

    def test_unreadable_files_count_as_read(self, tmp_path):
        stream = CorpusStream(write(tmp_path, a_pdf=b"no pdf", b_txt=b"text"))
        assert len(list(stream)) == 1
        assert stream.n_bytes_read == stream.size_bytes == 10


class TestImages:
    @pytest.fixture(autouse=True)
    def pillow(self):
        pytest.importorskip("PIL", reason='needs Pillow: pip install "late-rerank[visual]"')

    def test_each_page_is_one_document_with_its_picture(self, tmp_path):
        write(tmp_path, r_pdf=make_pdf(LONG, Page(["scan"], kind="scan"), []))
        corpus = read_corpus(tmp_path, images=True)

        assert corpus.skipped == []
        assert [document.id for document in corpus.documents] == [f"r.pdf#page={n}" for n in (1, 2, 3)]
        assert [document.metadata for document in corpus.documents] == [{"path": "r.pdf", "page": n} for n in (1, 2, 3)]
        assert [document.text for document in corpus.documents] == [PdfPage(tmp_path / "r.pdf", 1).text(), "", ""]
        for n, document in enumerate(corpus.documents, start=1):
            assert document.image.key() == PdfPage(tmp_path / "r.pdf", n).key()

    def test_image_files_are_documents(self, tmp_path):
        write(tmp_path, a_txt=b"text", p_PNG=PIXEL, q_jpeg=PIXEL, empty_png=b"", fake_png=b"hello" * 20)
        corpus = read_corpus(tmp_path, images=True)

        assert [(document.id, document.metadata) for document in corpus.documents if document.image] == [
            ("p.PNG", {"path": "p.PNG"}),
            ("q.jpeg", {"path": "q.jpeg"}),
        ]
        assert [(Path(file).name, reason[:22]) for file, reason in corpus.skipped] == [
            ("empty.png", "no image: it is empty,"),
            ("fake.png", "no whole image of PNG,"),
        ]
        assert read_corpus(tmp_path).passed_over == {".png": 3, ".jpeg": 1}

    def test_image_files_are_found_without_pillow(self, tmp_path, monkeypatch):
        monkeypatch.setattr("late_rerank.corpus.images.is_installed", lambda package: package != "PIL")
        assert len(read_corpus(write(tmp_path, p_png=PIXEL), images=True).documents) == 1

    def test_an_image_as_the_path_needs_a_model_that_sees(self, tmp_path):
        write(tmp_path, p_png=PIXEL)
        assert len(read_corpus(tmp_path / "p.png", images=True).documents) == 1
        with pytest.raises(ValueError, match="only a model that sees images"):
            read_corpus(tmp_path / "p.png")

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"])
    def test_a_truncated_image_is_skipped_and_the_others_are_read(self, tmp_path, kind):
        whole = image_bytes(kind)
        write(tmp_path, **{f"a_{kind}": whole, f"b_{kind}": whole[: len(whole) * 2 // 3]})
        corpus = read_corpus(tmp_path, images=True)

        assert [document.id for document in corpus.documents] == [f"a.{kind}"]
        ((file, reason),) = corpus.skipped
        assert file == str(tmp_path / f"b.{kind}")
        assert reason.startswith("no whole image of PNG")

    def test_frames_of_a_tiff_file_that_are_not_read_are_told(self, tmp_path):
        several = image_bytes("TIFF", n_frames=5)
        write(tmp_path, a_tif=several, b_tiff=image_bytes("TIFF"), c_gif=image_bytes("GIF", n_frames=5))
        corpus = read_corpus(tmp_path, images=True)

        assert [document.id for document in corpus.documents] == ["a.tif", "b.tiff", "c.gif"]
        reason = "only the first of 5 frames is read; save each as a file of its own"
        assert corpus.skipped == [(str(tmp_path / "a.tif"), reason)]

    @pytest.mark.parametrize("big", [False, True])
    def test_the_frames_of_each_kind_of_tiff_file_are_counted(self, tmp_path, big):
        from PIL import Image

        pages = [Image.new("L", (8, 8), grey) for grey in (0, 128, 255)]
        pages[0].save(tmp_path / "a.png", "TIFF", save_all=True, append_images=pages[1:], big_tiff=big)
        for order in "<>":
            held = write_tiff(order, n_frames=4)
            (tmp_path / f"{'b' if order == '<' else 'c'}.tif").write_bytes(held)
        reasons = [reason.partition(";")[0] for _, reason in read_corpus(tmp_path, images=True).skipped]
        assert reasons == ["only the first of 3 frames is read", *["only the first of 4 frames is read"] * 2]

    def test_damaged_frames_of_a_tiff_file_cost_only_themselves(self, tmp_path):
        several = image_bytes("TIFF", n_frames=2)
        write(tmp_path, a_tif=several[: len(several) // 2 + 100])
        corpus = read_corpus(tmp_path, images=True)

        assert [document.id for document in corpus.documents] == ["a.tif"]
        assert corpus.skipped[0][1] == "only its first frame is read; what follows is damaged"

    def test_one_image_is_decoded_at_a_time(self, tmp_path, monkeypatch):
        write(tmp_path, a_png=PIXEL, b_png=PIXEL, c_png=PIXEL)
        decoded, pixels = [], ImagePicture.pixels
        monkeypatch.setattr(ImagePicture, "pixels", lambda picture: decoded.append(picture.path.name) or pixels(picture))
        stream = iter(CorpusStream(tmp_path, images=True))
        next(stream)
        assert decoded == ["a.png"]

    def test_damaged_pages_are_skipped(self, tmp_path):
        write(tmp_path, r_pdf=make_pdf(["a"], ["b"]).replace(b"/Type /Page\n", b"/Type /Pagx\n", 1))
        corpus = read_corpus(tmp_path, images=True)
        assert [document.text for document in corpus.documents] == ["b"]
        assert corpus.skipped[0][1] == "page 1 is damaged"


class TestJsonLines:
    def test_a_line_may_name_an_image_or_a_page(self, tmp_path):
        write(tmp_path, p_png=PIXEL, r_pdf=make_pdf(["first"], ["second"]))
        rows = [
            {"_id": "a", "image": "p.png"},
            {"_id": "b", "image": str(tmp_path / "p.png"), "text": "a caption"},
            {"_id": "c", "image": "r.pdf", "page": 2},
            {"_id": "d", "image": "r.pdf", "page": 2, "text": "mine"},
            {"_id": "e", "text": "no image"},
            {"image": "p.png", "page": 7},
        ]
        write(tmp_path, x_jsonl="\n".join(map(json.dumps, rows)).encode())
        documents = read_corpus(tmp_path / "x.jsonl", images=True).documents

        assert [document.text for document in documents] == ["", "a caption", "second", "mine", "no image", ""]
        assert [type(document.image) for document in documents] == [
            ImagePicture,
            ImagePicture,
            PdfPage,
            PdfPage,
            type(None),
            ImagePicture,
        ]
        assert documents[0].image.key() == documents[1].image.key() == ImagePicture(PIXEL).key()

    WRONG = (
        ({"image": "nowhere.png"}, "there is no image at"),
        ({"image": "r.pdf"}, 'needs a "page"'),
        ({"image": "r.pdf", "page": 0}, "at least 1"),
        ({"image": "r.pdf", "page": "ii"}, "whole number"),
        ({"image": "r.pdf", "page": 1.5}, "whole number"),
        ({"image": "r.pdf", "page": 7}, "no page 7"),
        ({"image": "locked.pdf", "page": 1}, "encrypted"),
        ({"image": "damaged.pdf", "page": 1}, "damaged"),
        ({"image": 7}, '"image" must be the path'),
        ({"image": "https://example.org/x.png"}, "not a URL"),
        ({"image": "data:image/png;base64,AAAA"}, "not a URL"),
    )

    @pytest.fixture
    def folder(self, tmp_path):
        files = {"p_png": PIXEL, "r_pdf": make_pdf(["first"]), "locked_pdf": make_pdf(["x"], password="word")}
        return write(tmp_path, damaged_pdf=b"no pdf", **files)

    @pytest.mark.parametrize(("row", "said"), WRONG)
    def test_an_image_that_can_not_be_read_costs_its_line_alone(self, folder, row, said):
        rows = [
            {"_id": "a", "image": "p.png"},
            {"_id": "b", **row},
            {"_id": "c", "text": "kept", **row},
            {"_id": "d", "text": ""},
        ]
        write(folder, x_jsonl="\n".join(map(json.dumps, rows)).encode())
        corpus = read_corpus(folder / "x.jsonl", images=True)

        assert [document.id for document in corpus.documents] == ["a", "c", "d"]
        assert (corpus.documents[1].text, corpus.documents[1].image) == ("kept", None)
        assert [file for file, _ in corpus.skipped] == [str(folder / "x.jsonl")] * 2
        (_, alone), (_, with_text) = corpus.skipped
        assert alone.startswith("line 2: ")
        assert said in alone
        assert with_text == alone.replace("line 2", "line 3") + "; its text is read"

    @pytest.mark.parametrize(("row", "said"), WRONG)
    def test_among_candidates_it_is_an_error_that_names_the_line(self, folder, row, said):
        lines = [b'{"text": "a"}', json.dumps({"text": "mine", **row}).encode()]
        with pytest.raises(ValueError, match=f"stdin, line 2: .*{said}"):
            list(parse_json_lines(lines, "stdin", images_in=folder))

    @pytest.mark.parametrize("line", ['{"image": "p.png", "text": 7}', '{"image": "p.png"', "[]"])
    def test_a_damaged_line_is_an_error_in_a_corpus_too(self, folder, line):
        write(folder, x_jsonl=line.encode())
        with pytest.raises(ValueError, match=r"x.jsonl, line 1"):
            read_corpus(folder / "x.jsonl", images=True)

    def test_damaged_images_and_frames_left_out_are_told_with_their_lines(self, tmp_path):
        write(tmp_path, a_png=image_bytes("PNG")[:-60], b_tif=image_bytes("TIFF", n_frames=3))
        write(tmp_path, x_jsonl=b'{"image": "a.png"}\n\n{"image": "b.tif", "_id": "b"}')
        corpus = read_corpus(tmp_path / "x.jsonl", images=True)

        assert [document.id for document in corpus.documents] == ["b"]
        (_, damaged), (_, left_out) = corpus.skipped
        assert damaged.startswith(f"line 1: {tmp_path / 'a.png'} is no whole image")
        assert left_out.startswith(f"line 3: {tmp_path / 'b.tif'}: only the first of 3 frames is read")

    @pytest.mark.parametrize("page", [2, "2", 2.0, " 2 "])
    def test_a_pages_number_is_read_as_vector_stores_give_it(self, tmp_path, page):
        write(tmp_path, r_pdf=make_pdf(["first"], ["second"]))
        row = json.dumps({"image": "r.pdf", "page": page}).encode()
        (document,) = parse_json_lines([row], "x", images_in=tmp_path)
        assert document.text == "second"

    def test_a_model_that_sees_no_images_reads_the_text_alone(self, tmp_path):
        (document,) = parse_json_lines([b'{"text": "a", "image": "nowhere.png"}'], "x")
        assert (document.text, document.image) == ("a", None)
        with pytest.raises(ValueError, match='only a model that sees images reads its "image"'):
            list(parse_json_lines([b'{"image": "p.png"}'], "x"))


class TestNotebooks:
    def test_cells_are_documents_without_their_outputs(self, tmp_path):
        cells = [
            {"cell_type": "markdown", "source": ["# Title\n", "Some text."]},
            {"cell_type": "code", "source": "print(1)", "outputs": [{"text": "unseen"}]},
            {"cell_type": "code", "source": []},
            {"cell_type": "markdown", "source": "A sentence of a long cell. " * 100},
        ]
        write(tmp_path, n_ipynb=json.dumps({"nbformat": 4, "cells": cells}).encode())
        documents = read_corpus(tmp_path).documents

        assert [(document.id, document.metadata["cell"]) for document in documents[:3]] == [
            ("n.ipynb#cell=1", 1),
            ("n.ipynb#cell=2", 2),
            ("n.ipynb#cell=4", 4),
        ]
        assert documents[0].text == "# Title\nSome text."
        assert documents[0].metadata == {"path": "n.ipynb", "cell": 1, "start": 0, "end": 18}
        assert documents[3].id == f"n.ipynb#cell=4&start={documents[3].metadata['start']}"

    def test_old_notebooks_are_read(self, tmp_path):
        sheet = {"cells": [{"cell_type": "code", "input": "old = 1"}]}
        write(tmp_path, n_ipynb=json.dumps({"nbformat": 3, "worksheets": [sheet]}).encode())
        assert [document.text for document in read_corpus(tmp_path).documents] == ["old = 1"]

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"cells": [7]}', '{"cells": [{"source": [7]}]}', "[" * 100_000])
    def test_other_json_is_skipped(self, tmp_path, content):
        write(tmp_path, n_ipynb=content.encode(), a_txt=b"text")
        corpus = read_corpus(tmp_path)
        assert len(corpus.documents) == 1
        assert corpus.skipped[0][1].startswith("no Jupyter notebook")


def test_a_page_of_dashes_is_no_scan(tmp_path):
    write(tmp_path, r_pdf=make_pdf(["- - - -"], ["text"]))
    corpus = read_corpus(tmp_path)
    assert [document.text for document in corpus.documents] == ["text"]
    assert corpus.skipped == []
