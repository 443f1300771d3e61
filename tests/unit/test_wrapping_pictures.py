"""Pictures that a framework's documents name: found below a folder, never by a URL, and told apart in errors."""

import base64
import errno
import os

import pytest

from late_rerank import Candidate, Reranker
from late_rerank.arguments.numbers import page_number
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import ImagePicture, PdfPage, StoredPicture
from late_rerank.pictures import labels as page_labels_room
from late_rerank.pictures.labels import number_of_label, page_labels
from late_rerank.testing import PictureTests
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder
from late_rerank.wrappers.pictures import DocumentPicture
from late_rerank.wrapping import (
    Choice,
    ImageFiles,
    Pictures,
    base64_picture,
    check_root,
    choose,
    is_blank,
    sees_pictures,
)

Image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install pillow")

TEXTS, PAGES = Reranker(FakeEncoder()), Reranker(FakeVisualEncoder())


@pytest.fixture
def red(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (64, 64), "red").save(path)
    return path


def of_red_or_blue(colour):
    return DocumentPicture(ImagePicture(Image.new("RGB", (40, 30), colour)), "the node 'n7'")


class TestDocumentPicture(PictureTests):
    def make_picture(self):
        return of_red_or_blue("red")

    def make_another(self):
        return of_red_or_blue("blue")

    def test_its_key_is_the_pictures_own_so_that_an_indexed_page_is_found(self, red):
        assert DocumentPicture(ImagePicture(red), "x").key() == ImagePicture(red).key()
        stored = StoredPicture(ImagePicture(red).key())
        assert DocumentPicture(stored, "x").key() == stored.key()

    def test_errors_begin_with_the_document_and_keep_their_kind(self, tmp_path):
        absent = DocumentPicture(ImagePicture(tmp_path / "absent.png"), "the node 'n7'")
        for look in (absent.key, absent.identity, absent.pixels):
            with pytest.raises(FileNotFoundError, match="the node 'n7': No such file") as caught:
                look()
            assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(tmp_path / "absent.png"))
        with pytest.raises(ValueError, match=r"^the node 'n7': the image is no whole image"):
            DocumentPicture(ImagePicture(b"damaged"), "the node 'n7'").pixels()


class TestFinding:
    def test_which_models_see_pictures(self):
        assert (sees_pictures(TEXTS), sees_pictures(PAGES)) == (False, True)
        assert sees_pictures(Reranker(FakeVisualEncoder(only_pictures=True)))

    def test_a_model_of_texts_with_a_text_is_not_asked_for_a_picture(self, red):
        asked = []

        def find():
            asked.append(True)
            return red

        assert Pictures(TEXTS).of(find, text="a text", name="x") is None
        assert asked == []
        assert Pictures(PAGES).of(find, text="a text", name="x").key() == ImagePicture(red).key()
        assert Pictures(TEXTS).of(find, text=" \u200b", name="x").key() == ImagePicture(red).key()
        assert Pictures(PAGES).of(lambda: None, text="", name="x") is None

    def test_whatever_a_candidate_takes_is_a_picture(self, red):
        key = ImagePicture(red).key()
        for given in (red, str(red), red.read_bytes(), ImagePicture(red)):
            assert Pictures(PAGES).of(lambda given=given: given, text="", name="x").key() == key

    @pytest.mark.parametrize(("wrong", "error"), [("http://localhost/a.png", ValueError), (b"", ValueError), (7, TypeError)])
    def test_what_is_no_picture_is_refused_by_the_documents_name(self, wrong, error):
        with pytest.raises(error, match=r"^the node 'n7': an image must"):
            Pictures(PAGES).of(lambda: wrong, text="", name="the node 'n7'")

    def test_a_picture_without_text_and_a_model_of_texts_is_an_error_that_names_the_document(self, red):
        picture = Pictures(TEXTS).of(lambda: red, text="", name="x")
        with pytest.raises(IncompatibleError, match=r"candidates\[1\] \(id 'n7'\) has an image without text"):
            choose(TEXTS, "cats", [Candidate("cats", "n1"), Candidate("a title", "n7", image=picture)], Choice(), ["cats", ""])


class TestChoosing:
    def test_pictures_tell_documents_of_one_content_and_no_id_apart(self):
        candidates = [Candidate(image=of_red_or_blue(colour)) for colour in ("blue", "red", "red")]
        found = choose(PAGES, "red", candidates, Choice())
        assert [each.document.index for each in found] == [1, 0]
        named = [Candidate("same", "a", image=of_red_or_blue(colour)) for colour in ("blue", "red", "blue")]
        assert [each.document.index for each in choose(PAGES, "red", named, Choice())] == [1, 0]

    def test_a_model_of_texts_tells_them_apart_by_their_texts_and_reads_no_file(self, tmp_path):
        absent = ImagePicture(tmp_path / "absent.png")
        found = choose(TEXTS, "cats", [Candidate("cats", image=absent)] * 2, Choice())
        assert [each.document.index for each in found] == [0]

    def test_a_page_keeps_its_content_and_has_no_best_span(self):
        (found,) = choose(PAGES, "red", [Candidate("a text", "a", image=of_red_or_blue("red"))], Choice())
        assert (found.content, found.best_span, found.document.relevance) == (None, None, pytest.approx(1, abs=0.02))


class TestFiles:
    def test_without_a_root_any_file_is_taken_as_it_is_named(self, red):
        assert ImageFiles().image(red).path == red
        assert ImageFiles().image("../a.png").path.parts == ("..", "a.png")

    def test_relative_paths_count_from_the_root_and_absolute_ones_may_lie_in_it(self, red, tmp_path):
        for root in (tmp_path, str(tmp_path), tmp_path / "sub" / ".."):
            for given in ("red.png", "./sub/../red.png", red, str(red)):
                assert ImageFiles(root).image(given).path == red.resolve()

    @pytest.mark.parametrize("given", ["../secret.png", "sub/../../secret.png", "/etc/passwd", "{parent}/secret.png", ".."])
    def test_a_path_that_leads_out_of_the_root_is_refused(self, given, tmp_path):
        root = tmp_path / "images"
        root.mkdir()
        (tmp_path / "secret.png").write_bytes(b"x")
        with pytest.raises(ValueError, match=r"is outside of root_path=.*images', and isn't opened"):
            ImageFiles(root).path(given.format(parent=tmp_path))

    def test_a_link_that_leads_out_of_the_root_and_a_folder_of_a_similar_name_are_refused(self, red, tmp_path):
        root = tmp_path / "images"
        root.mkdir()
        (root / "link.png").symlink_to(red)
        (root / "folder").symlink_to(tmp_path)
        (tmp_path / "images-of-others").mkdir()
        for given in ("link.png", "folder/red.png", tmp_path / "images-of-others" / "a.png"):
            with pytest.raises(ValueError, match="outside of root_path"):
                ImageFiles(root).path(given)

    @pytest.mark.parametrize(
        "url",
        [
            "http://h/a.png",
            "HTTPS://h/a.pdf",
            "data:image/png;base64,aGk=",
            "file:///a.png",
            "gopher://h/a.png",
            "s3://b/a.png",
        ],
    )
    @pytest.mark.parametrize("root", [None, "."])
    def test_a_url_is_never_a_path(self, url, root):
        for take in (ImageFiles(root).image, lambda given: ImageFiles(root).page(f"{given}.pdf", number=1)):
            with pytest.raises(ValueError, match="a URL, which is never fetched"):
                take(url)

    @pytest.mark.parametrize(("wrong", "error"), [("", ValueError), (" ", ValueError), (b"a.png", TypeError), (7, TypeError)])
    def test_what_is_no_path_is_refused(self, wrong, error):
        with pytest.raises(error, match="an image's path must"):
            ImageFiles().path(wrong)

    def test_files_have_pages_by_their_kind(self, tmp_path):
        files = ImageFiles(tmp_path)
        assert isinstance(files.page("a.JPG"), ImagePicture)
        page = files.page("a.PDF", number=3, label="iv")
        assert isinstance(page, PdfPage)
        assert (page.path, page.number) == ((tmp_path / "a.PDF").resolve(), 3)
        with pytest.raises(ValueError, match="number must be at least 1, got 0"):
            files.page("a.pdf", number=0)
        with pytest.raises(FileNotFoundError):
            files.page("a.pdf", label="iv")

    @pytest.mark.parametrize("given", ["a.pdf", "notes.txt", "/etc/passwd", "../report.pdf", "https://h/a.html", "README"])
    def test_a_pdf_file_without_a_page_and_other_files_are_texts_wherever_they_lie(self, given, tmp_path):
        assert ImageFiles(tmp_path).page(given) is None

    def test_the_root_is_checked_when_it_is_given(self, tmp_path):
        assert [check_root(given) for given in (None, ".", tmp_path)] == [None, ".", str(tmp_path)]
        with pytest.raises(ValueError, match=r'for the current folder give "\."'):
            check_root("")
        with pytest.raises(TypeError, match="root_path must be the path of a folder, or None, got int: 7"):
            check_root(7)


class TestBytesAndNumbers:
    def test_base64_is_read_with_its_line_ends_as_text_or_bytes(self, red):
        held = base64.encodebytes(red.read_bytes())
        for given in (held, held.decode(), base64.b64encode(red.read_bytes()).decode()):
            assert base64_picture(given).key() == ImagePicture(red).key()

    @pytest.mark.parametrize("wrong", ["data:image/png;base64,aGk=", "no base64!", "aGk", "\u00e9"])
    def test_other_texts_are_refused_and_so_are_no_bytes(self, wrong):
        with pytest.raises(ValueError, match="an image must be base64 of an image file's bytes, got"):
            base64_picture(wrong)
        with pytest.raises(ValueError, match="an image must have bytes, got none"):
            base64_picture("")

    def test_a_pages_number_is_read_as_vector_stores_give_it(self):
        import numpy as np

        assert [page_number(given) for given in (3, 3.0, "3", " 3 ", np.int64(3))] == [3] * 5
        for wrong in (3.5, "iv", "", True, None, [3], float("nan"), "-1"):
            with pytest.raises(ValueError, match="a page's number must be a whole number from 1, got"):
                page_number(wrong)

    def test_blank_is_what_shows_nothing(self):
        assert [is_blank(text) for text in ("", "\u200b\n", "a")] == [True, True, False]


class TestLabels:
    @pytest.fixture
    def labelled(self, tmp_path):
        """A preface of two pages, i and ii; then pages 1 and 2; then A-1, twice."""
        canvas = pytest.importorskip("reportlab.pdfgen.canvas", reason="needs reportlab: pip install reportlab")
        path = tmp_path / "book.pdf"
        pdf = canvas.Canvas(str(path))
        for i in range(6):
            pdf.drawString(72, 72, f"page {i + 1}")
            pdf.showPage()
        pdf.addPageLabel(0, style="ROMAN_LOWER", start=1)
        pdf.addPageLabel(2, style="ARABIC", start=1)
        pdf.addPageLabel(4, style="ARABIC", start=1, prefix="A-")
        pdf.addPageLabel(5, style="ARABIC", start=1, prefix="A-")
        pdf.save()
        return path

    def test_a_label_is_no_number(self, labelled):
        assert page_labels(labelled) == ("i", "ii", "1", "2", "A-1", "A-1")
        assert [number_of_label(labelled, label) for label in ("i", "ii", "1", "2")] == [1, 2, 3, 4]

    def test_a_label_that_no_page_or_several_have_is_refused(self, labelled):
        with pytest.raises(ValueError, match="has no page with the label '3': give the page's number"):
            number_of_label(labelled, "3")
        with pytest.raises(ValueError, match="has 2 pages with the label 'A-1'"):
            number_of_label(labelled, "A-1")

    def test_pages_without_labels_have_their_numbers_and_a_file_is_read_once_while_it_stays(self, tmp_path, monkeypatch):
        path, loads = tmp_path / "plain.pdf", []
        load = page_labels_room.load
        monkeypatch.setattr(page_labels_room, "load", lambda *given: loads.append(given) or load(*given))
        pages = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue", "green")]
        pages[0].save(path, save_all=True, append_images=pages[1:])
        assert [page_labels(path), page_labels(path)] == [("1", "2", "3")] * 2
        assert len(loads) == 1
        pages[0].save(path, save_all=True, append_images=pages[2:])
        os.utime(path, ns=(1, 1))
        assert page_labels(path) == ("1", "2")
