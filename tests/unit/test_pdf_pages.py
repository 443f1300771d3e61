"""Pages of PDF files: their text, their words and where these are seen, their pixels, their keys; files that can't be read."""

import os
import pickle
import threading

import numpy as np
import pytest
from forking import in_a_child, needs_fork
from pdfs import HUGE, LANDSCAPE, WITHOUT_PAGES, Page, make_pdf

from late_rerank.errors import MissingDependencyError
from late_rerank.pictures import PdfPage, open_pdf, pdf, pdfium
from late_rerank.pictures.page_text import cleaned

pytest.importorskip("pypdfium2", reason='needs pypdfium2: pip install "late-rerank[pdf]"')
pytest.importorskip("PIL", reason='needs Pillow: pip install "late-rerank[visual]"')

REPORT = [f"Line {i}: revenue of the northern region rose by {i * 3 % 17} percent." for i in range(40)]


@pytest.fixture
def report(tmp_path):
    file = tmp_path / "report.pdf"
    file.write_bytes(make_pdf(["Annual report", *REPORT], Page(["A scan"], kind="scan"), []))
    return file


class TestText:
    def test_each_page_has_its_lines(self, report):
        with open_pdf(report) as opened:
            assert opened.n_pages == 3
            assert opened.text(1).split("\n") == ["Annual report", *REPORT]

    def test_a_page_in_memory_reads_as_the_one_in_the_file(self, report):
        assert PdfPage(report.read_bytes(), 1).text() == PdfPage(str(report), 1).text() == PdfPage(report, 1).text()

    def test_a_scan_has_no_text_but_is_not_empty(self, report):
        with open_pdf(report) as opened:
            assert [opened.text(n) for n in (2, 3)] == ["", ""]
            assert [opened.is_empty(n) for n in (1, 2, 3)] == [False, False, True]

    def test_other_scripts_are_read(self):
        lines = ["Привет, мир", "Ζεύς και Ήρα", "Größe und Maß", "ﬁle and oﬃce"]
        assert PdfPage(make_pdf(Page(lines, font="DejaVu")), 1).text().split("\n") == [*lines[:3], "file and office"]

    def test_the_cells_of_a_table_are_read_row_by_row(self):
        text = PdfPage(make_pdf(Page(["Region|Q1|Q2", "North|12 EUR|40 EUR"], kind="table")), 1).text()
        assert text.split() == ["Region", "Q1", "Q2", "North", "12", "EUR", "40", "EUR"]

    def test_what_was_filled_into_a_form_is_read_and_seen(self):
        page = PdfPage(make_pdf(Page(["Ada Lovelace", "12 March"], kind="form")), 1)
        assert page.text().split() == ["Ada", "Lovelace", "12", "March"]
        boxes = dict(page.words())
        assert dark_share(page.pixels(), [boxes["Lovelace"]]) > 0

    def test_words_hyphenated_at_the_end_of_a_line_are_whole_again(self):
        lines = ["some infor-", "mation of GNU-", "PLOT, an OS-", "specific X-", "ray of 1-", "2 things", "and the e-", "mail"]
        assert (
            PdfPage(make_pdf(lines), 1).text()
            == "some information of GNUPLOT, an OS-specific X-ray of 1-\n2 things\nand the e-mail"
        )

    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            ("one\r\ntwo", "one\ntwo"),
            ("soft\u00ad\r\nhyphen and so\u00adft", "softhyphen and soft"),
            ("co\u2010\r\noperate", "cooperate"),
            ("co\u2010operate", "co\u2010operate"),
            ("at the end \ufffe", "at the end -"),
            ("\ufffe a beginning", "- a beginning"),
            ("\ufeff\x00Copyright \rc\x88 1998 \r\n\r\n\r\n\r\nnext\t\r\n", "Copyright c 1998\n\nnext"),
            ("\ufb01le", "file"),
            ("😀 stays", "😀 stays"),
            ("", ""),
        ],
    )
    def test_only_what_is_seen_is_left(self, raw, text):
        assert cleaned(raw) == text


class TestWords:
    @pytest.mark.parametrize("rotation", [0, 90, 180, 270])
    @pytest.mark.parametrize("size", [(595, 842), LANDSCAPE, (300, 900)])
    def test_dark_pixels_lie_in_the_boxes_of_words(self, size, rotation):
        page = PdfPage(make_pdf(Page(REPORT[:20], size, rotation)), 1)
        assert dark_share(page.pixels(), [box for _, box in page.words()]) >= 0.9

    def test_a_word_is_where_it_is_seen(self):
        page = PdfPage(make_pdf(Page(["left right"], size=(400, 200))), 1)
        words = page.words()
        assert [word for word, _ in words] == ["left", "right"]
        (_, left), (_, right) = words
        assert left[2] < right[0]
        assert 0.1 < left[0] < 0.25
        assert 0.2 < left[1] < left[3] < 0.4

    def test_a_rotated_page_has_its_words_where_they_are_seen(self):
        def centre(rotation):
            ((_, box),) = PdfPage(make_pdf(Page(["word"], size=(400, 400), rotation=rotation)), 1).words()
            return box[0] + box[2] > 1, box[1] + box[3] > 1  # in the right half, in the lower half

        assert [centre(rotation) for rotation in (0, 90, 180, 270)] == [
            (False, False),
            (True, False),
            (True, True),
            (False, True),
        ]

    def test_a_hyphenated_word_stands_at_two_places(self):
        words = PdfPage(make_pdf(["some infor-", "mation"]), 1).words()
        assert [word for word, _ in words] == ["some", "infor-", "mation"]
        assert words[1][1][3] <= words[2][1][1]

    def test_scans_have_no_words(self, report):
        assert PdfPage(report, 2).words() == []

    def test_all_characters_of_the_text_are_in_words(self):
        page = PdfPage(make_pdf(["Tea & coffee: 12 EUR", "(next line)"]), 1)
        assert " ".join(word for word, _ in page.words()).split() == page.text().split()


class TestPixels:
    def test_the_longer_side_is_as_asked_for(self, report):
        assert PdfPage(report, 1).pixels().size == (1449, 2048)
        image = PdfPage(report, 2, longest=300).pixels()
        assert (image.size, image.mode) == ((213, 300), "RGB")

    def test_a_page_of_five_metres_is_drawn_within_the_limit(self):
        image = PdfPage(make_pdf(Page(["A plan"], HUGE)), 1).pixels()
        assert image.size == (2048, 2048)
        huge = PdfPage(make_pdf(Page(["A plan"], HUGE)), 1, longest=100_000).pixels()
        assert huge.width * huge.height <= 16_100_000

    def test_a_stamp_is_not_blown_up(self):
        assert PdfPage(make_pdf(Page(["x"], size=(72, 36))), 1).pixels().size == (300, 150)

    def test_a_page_of_one_point_is_drawn(self):
        assert PdfPage(make_pdf(Page(["x"], size=(14400, 1))), 1).pixels().height == 1

    def test_a_rotated_page_is_drawn_as_it_is_shown(self):
        image = PdfPage(make_pdf(Page(["x"], size=(200, 400), rotation=90)), 1).pixels()
        assert image.size == (1667, 834)

    def test_the_ground_is_white(self, report):
        assert PdfPage(report, 3, longest=50).pixels().getcolors() == [(36 * 50, (255, 255, 255))]


class TestKeys:
    def test_equal_pages_have_equal_keys_wherever_the_file_is(self, report, tmp_path):
        copy = tmp_path / "copy.pdf"
        copy.write_bytes(report.read_bytes())
        assert PdfPage(report, 1).key() == PdfPage(copy, 1).key() == PdfPage(report.read_bytes(), 1).key()

    def test_page_size_and_file_tell_pages_apart(self, report):
        other = make_pdf(["Another"])
        pages = [PdfPage(report, 1), PdfPage(report, 2), PdfPage(report, 1, longest=1024), PdfPage(other, 1)]
        assert len({page.key() for page in pages}) == 4

    def test_a_changed_file_has_other_keys(self, report):
        before = PdfPage(report, 1).key()
        report.write_bytes(make_pdf(["Changed"]))
        assert PdfPage(report, 1).key() != before

    def test_a_key_needs_no_drawing(self, report, monkeypatch):
        monkeypatch.setattr(pdf, "load", None)
        assert len(PdfPage(report, 1).key()) == 16

    def test_pages_can_be_pickled(self, report):
        for page in (PdfPage(report, 1), PdfPage(report.read_bytes(), 1)):
            assert pickle.loads(pickle.dumps(page)).key() == page.key()


class TestUnreadableFiles:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty"),
            (b"hello " * 100, "no whole PDF file"),
            (WITHOUT_PAGES, "has no pages"),
        ],
        ids=["no bytes", "another kind", "no pages"],
    )
    def test_a_file_that_is_no_pdf_is_told(self, tmp_path, content, said):
        file = tmp_path / "bad.pdf"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"bad.pdf .*{said}"):
            PdfPage(file, 1).text()

    def test_a_file_that_was_cut_off_is_told(self, report):
        report.write_bytes(report.read_bytes()[:600])
        with pytest.raises(ValueError, match=r"report.pdf is no whole PDF file.*cut off"), open_pdf(report):
            pass

    def test_an_encrypted_file_says_how_to_open_it(self):
        with pytest.raises(ValueError, match="the PDF file is encrypted: remove its password"):
            PdfPage(make_pdf(["secret"], password="pw"), 1).pixels()

    def test_a_page_that_is_not_there_is_told(self, report):
        with pytest.raises(ValueError, match=r"report.pdf has 3 pages, so that there is no page 4"):
            PdfPage(report, 4).text()

    def test_a_damaged_page_is_told_and_the_others_are_read(self, tmp_path):
        content = make_pdf(["first"], ["second"])
        file = tmp_path / "half.pdf"
        file.write_bytes(content.replace(b"/Type /Page\n", b"/Type /Pagx\n", 1))
        with open_pdf(file) as opened:
            with pytest.raises(ValueError, match=r"half.pdf, page 1 is damaged"):
                opened.text(1)
            assert opened.text(2) == "second"

    def test_missing_files_folders_and_pipes_are_told(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pdf"):
            PdfPage(tmp_path / "nowhere.pdf", 1).text()
        with pytest.raises(IsADirectoryError):
            PdfPage(tmp_path, 1).text()

    @pytest.mark.parametrize(("number", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("1", TypeError)])
    def test_pages_are_counted_from_one(self, number, error):
        with pytest.raises(error, match="number must be"):
            PdfPage(b"%PDF", number)

    @pytest.mark.parametrize(("source", "error"), [(b"", ValueError), (7, TypeError), (None, TypeError)])
    def test_other_sources_are_refused(self, source, error):
        with pytest.raises(error, match="a PDF file must"):
            PdfPage(source, 1)

    def test_a_closed_file_is_told(self, report):
        with open_pdf(report) as opened:
            pass
        with pytest.raises(ValueError, match="is closed"):
            opened.text(1)

    def test_a_missing_package_names_the_extra(self, report, monkeypatch):
        monkeypatch.setattr("late_rerank.errors.is_installed", lambda package: package != "pypdfium2")
        with pytest.raises(MissingDependencyError, match=r"late-rerank\[pdf\]"):
            PdfPage(report, 1).text()


class TestTurns:
    def test_threads_read_one_file_at_a_time(self, report):
        found = []

        def read():
            with open_pdf(report) as opened:
                found.extend((opened.text(1), opened.pixels(1, longest=100).size) for _ in range(5))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [("\n".join(["Annual report", *REPORT]), (71, 100))] * 20

    def test_threads_share_an_open_file_that_is_opened_anew_meanwhile(self, report, monkeypatch):
        monkeypatch.setattr(pdf, "_OPEN_PAGES", 2)
        with open_pdf(report) as opened:
            found = []
            threads = [threading.Thread(target=lambda: found.extend(opened.text(1)[:6] for _ in range(9))) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        assert found == ["Annual"] * 27

    @needs_fork
    def test_a_fork_waits_for_a_thread_that_is_in_pdfium(self, report):
        is_in, may_go, done = threading.Event(), threading.Event(), []

        def hold():
            with pdfium.TURN:
                is_in.set()
                may_go.wait(60)
                done.append("the parent's call")

        thread = threading.Thread(target=hold)
        thread.start()
        assert is_in.wait(60)
        release = threading.Timer(0.05, may_go.set)
        release.start()
        assert in_a_child(lambda: (*done, PdfPage(report, 1).text()[:6])) == ("the parent's call", "Annual")
        thread.join(60)
        assert PdfPage(report, 1).text()[:6] == "Annual"

    @needs_fork
    def test_a_child_goes_on_where_a_call_outlasted_the_wait(self, report, monkeypatch):
        monkeypatch.setattr(pdfium, "_LONGEST_CALL_S", 0.01)
        is_in, may_go = threading.Event(), threading.Event()

        def hold():
            with pdfium.TURN:
                is_in.set()
                may_go.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        assert is_in.wait(60)
        assert in_a_child(lambda: PdfPage(report, 1).text()[:6]) == "Annual"
        may_go.set()
        thread.join(60)


def test_a_file_whose_name_is_not_utf_8_is_read(tmp_path):
    file = tmp_path / os.fsdecode(b"caf\xe9.pdf")
    try:
        file.write_bytes(make_pdf(["found"]))
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    assert PdfPage(file, 1).text() == "found"


def dark_share(image, boxes):
    """Tell which share of an image's dark pixels lies in boxes."""
    dark = np.asarray(image.convert("L")) < 128
    inside = np.zeros_like(dark)
    height, width = dark.shape
    for left, top, right, bottom in boxes:
        inside[round(top * height) : round(bottom * height) + 1, round(left * width) : round(right * width) + 1] = True
    return (dark & inside).sum() / dark.sum()
