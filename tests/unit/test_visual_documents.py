"""Documents that are pictures, from candidates to a ranking, with an encoder that needs no model."""

import pytest
from PIL import Image

from late_rerank import Candidate, Reranker
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import ImagePicture, Picture, PictureError
from late_rerank.stores import DiskStore
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder, Gate


class Counted(Picture):
    """A picture of one colour that counts how often it is decoded."""

    def __init__(self, colour):
        self.colour, self.n_decoded = colour, 0

    def identity(self):
        return self.colour.encode()

    def pixels(self):
        self.n_decoded += 1
        return Image.new("RGB", (64, 64), self.colour)


class PdfLike(Counted):
    """A red picture with a name."""

    def __init__(self, name):
        super().__init__("red")
        self.name = name

    def __repr__(self):
        return self.name


def damaged(number):
    return ImagePicture(b"no image %d" % number)


def page(colour):
    return Image.new("RGB", (64, 96), colour)


class TestRanking:
    def test_the_picture_that_matches_comes_first_among_texts_and_pictures(self):
        candidates = [
            "green text",
            Candidate(image=page("blue")),
            ImagePicture(page("red")),
            Candidate("black", image=page("red")),
        ]
        ranking = Reranker(FakeVisualEncoder()).rerank("red", candidates)

        assert [document.index for document in ranking[:2]] == [2, 3]
        assert ranking[0].score == pytest.approx(1, abs=0.02)
        assert ranking[0].image is candidates[2]
        assert ranking[1].text == "black"

    def test_a_model_of_texts_reads_the_text_and_leaves_the_image_closed(self):
        picture = Counted("red")
        ranking = Reranker(FakeEncoder()).rerank("cats", [Candidate("a dog", image=picture), Candidate("cats", image=picture)])

        assert [document.text for document in ranking] == ["cats", "a dog"]
        assert picture.n_decoded == 0

    def test_an_image_without_text_is_too_little_for_a_model_of_texts(self):
        for call in (Reranker(FakeEncoder()).rerank, lambda _, documents: Reranker(FakeEncoder()).index(documents)):
            with pytest.raises(
                IncompatibleError, match=r"\[1\] has an image without text, but the model 'FakeEncoder' sees no images"
            ):
                call("cats", ["cats", Candidate(" \n", image=page("red"))])

    def test_a_text_without_image_is_too_little_for_a_model_of_images_alone(self):
        reranker = Reranker(FakeVisualEncoder(only_pictures=True))

        with pytest.raises(IncompatibleError, match=r"candidates\[1\] is a text without an image.*'a text'"):
            reranker.rerank("red", [Candidate(image=page("red")), "a text"])
        assert [document.score for document in reranker.rerank("red", ["", Candidate(image=page("red"))])] == [
            pytest.approx(1, abs=0.02),
            -1e9,
        ]

    def test_pages_are_scored_by_plain_maxsim_unless_asked(self):
        assert Reranker(FakeVisualEncoder()).scoring.name == "maxsim"
        assert Reranker(FakeEncoder()).scoring.name == "proximity"
        asked = Reranker(FakeVisualEncoder(), scoring="proximity")
        ranking = asked.rerank("red", [Candidate("red words", image=page("red")), "red words"])

        assert [document.best_span for document in sorted(ranking, key=lambda document: document.index)] == [None, (0, 9)]

    def test_equal_pictures_tie_and_are_encoded_once(self):
        encoder = FakeVisualEncoder()
        ranking = Reranker(encoder).rerank("red", [ImagePicture(page("red")), Candidate(image=page("red"))])

        assert ranking[0].score == ranking[1].score
        assert [document.index for document in ranking] == [0, 1]
        assert encoder.n_documents == 1

    def test_it_says_what_its_documents_may_be(self):
        assert Reranker(FakeVisualEncoder()).stats()["modalities"] == ["image", "text"]
        assert Reranker(FakeEncoder()).stats()["modalities"] == ["text"]

    def test_a_damaged_image_is_named(self, tmp_path):
        (tmp_path / "page.png").write_bytes(b"no image")

        with pytest.raises(ValueError, match=r"page\.png is no whole image"):
            Reranker(FakeVisualEncoder()).rerank("red", [Candidate(image=tmp_path / "page.png")])

    def test_what_is_encoded_is_told_of_anything_that_is_ranked(self):
        reranker, picture = Reranker(FakeVisualEncoder()), ImagePicture(page("red"))

        assert [reranker.content_of(each) for each in ("text", picture, Candidate("text", image=picture))] == [
            "text",
            picture,
            picture,
        ]
        with pytest.raises(TypeError, match="must be a str, a Picture or a Candidate"):
            reranker.content_of(7)

    def test_matches_name_the_picture_that_is_damaged(self):
        reranker = Reranker(FakeVisualEncoder())

        with pytest.raises(PictureError, match=r"^texts\[1\]: .*no whole image"):
            reranker.token_maxima("red", ["red", damaged(1)])
        with pytest.raises(PictureError, match=r"^texts\[1\]: .*no whole image"):
            reranker.similarity("red", ["red", damaged(1)])
        with pytest.raises(IncompatibleError, match="encoded as an image"):
            reranker.span_maxima("red", [Candidate("red", image=page("red"))], [[(0, 3)]])

    def test_a_page_without_text_is_shown_by_its_image(self):
        ranking = Reranker(FakeVisualEncoder()).rerank("red", [PdfLike("report.pdf, page 3")])

        assert "report.pdf, page 3" in repr(ranking)
        assert "report.pdf, page 3" in ranking._repr_html_()

    def test_a_list_of_one_is_asked_for(self):
        with pytest.raises(TypeError, match="wrap it in a list"):
            Reranker(FakeVisualEncoder()).rerank("red", ImagePicture(page("red")))
        with pytest.raises(TypeError, match=r"candidates\[0\] .*make it Candidate\(image="):
            Reranker(FakeVisualEncoder()).rerank("red", [page("red")])


class TestStored:
    def test_a_stored_page_is_neither_decoded_nor_encoded_again(self, tmp_path):
        pictures = [Counted(colour) for colour in ("red", "green", "blue")]
        with Reranker(FakeVisualEncoder(), store=tmp_path / "store") as first:
            before = first.rerank("red", pictures)
        encoder = FakeVisualEncoder()
        with Reranker(encoder, store=DiskStore(tmp_path / "store")) as second:
            after = second.rerank("red", pictures)

        assert (before.n_misses, before.n_hits) == (3, 0)
        assert (after.n_misses, after.n_hits, encoder.n_documents) == (0, 3, 0)
        assert [picture.n_decoded for picture in pictures] == [1, 1, 1]
        assert [document.score for document in after] == [document.score for document in before]

    def test_pages_are_stored_as_they_are_encoded_and_texts_in_batches(self):
        sizes = []
        encoder = FakeVisualEncoder(before_document=lambda documents: sizes.append(len(documents)))
        pages = [ImagePicture(Image.new("RGB", (8, 8), (i, 0, 0))) for i in range(5)]
        report = Reranker(encoder).index([*pages, "one text", "another", "", pages[0]])

        assert (report.n_documents, report.n_encoded, report.n_cached) == (9, 7, 1)
        assert sizes == [1, 1, 1, 1, 1, 2]
        sizes.clear()
        encoder.batch_pictures = 3
        Reranker(encoder).index(pages)
        assert sizes == [3, 2]

    def test_damaged_pages_are_named_when_all_others_are_stored(self):
        pages = [ImagePicture(Image.new("RGB", (8, 8), (i, 0, 0))) for i in range(4)]
        encoder = FakeVisualEncoder()
        encoder.batch_pictures = 4
        reranker = Reranker(encoder)

        with pytest.raises(
            PictureError, match=r"documents\[1\]: .*no whole image.*; documents\[3\]: .*all other documents are"
        ):
            reranker.index([pages[0], damaged(1), pages[1], damaged(2), pages[2], pages[3]])
        assert reranker.index(pages).n_cached == 4

    def test_a_damaged_candidate_is_named_by_its_place(self):
        lists = [["a"], [ImagePicture(page("red")), Candidate("text", image=b"no image")]]

        with pytest.raises(PictureError, match=r"^candidates\[1\]: .*no whole image"):
            Reranker(FakeVisualEncoder()).rerank("red", lists[1])
        with pytest.raises(PictureError, match=r"^candidate_lists\[1\]\[1\]: .*no whole image"):
            Reranker(FakeVisualEncoder()).rerank_batch(["red", "red"], lists)

    def test_with_a_deadline_pages_are_encoded_one_by_one(self):
        sizes, gate = [], Gate()

        def wait(documents):
            sizes.append(len(documents))
            if len(sizes) == 2:
                gate(documents)

        reranker = Reranker(FakeVisualEncoder(before_document=wait))
        reranker.rerank("red", [Counted("white")])
        ranking = reranker.rerank("red", [Counted("red"), Counted("green")], deadline_s=0.0)
        gate.open()

        assert ranking.n_unscored == 2
        reranker.rerank("red", [Counted("red"), Counted("green")])
        assert set(sizes) == {1}

    def test_maxima_and_likeness_take_pictures(self):
        reranker = Reranker(FakeVisualEncoder())
        red, other = ImagePicture(page("red")), Candidate(image=page("blue"))

        assert reranker.token_maxima("red", [red, other, ""]).shape == (3, 1)
        assert reranker.token_maxima("red", [red, other]).argmax() == 0
        assert reranker.similarity(red, [red, other])[0] == pytest.approx(1, abs=0.02)
        assert reranker.content_of(reranker.rerank("red", [other])[0]) is other.image
