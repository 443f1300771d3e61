"""Explanations of pictures with an encoder that needs no model: the places of matches, the words near them, the page."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker, explain
from late_rerank.errors import IncompatibleError
from late_rerank.explanation import Explanation, PageExplanation
from late_rerank.explanation.pages.near import near, near_all, place_of
from late_rerank.maxsim import Scoring
from late_rerank.pictures import ImagePicture, PdfPage, StoredPicture
from late_rerank.pictures.drawing import as_jpeg
from late_rerank.testing.fakes import COLOURS, FakeEncoder, FakeVisualEncoder
from late_rerank.types import NO_TOKENS_SCORE, TokenVectors

Image = pytest.importorskip("PIL.Image", reason='needs Pillow: pip install "late-rerank[visual]"')

BLOCK = 32
NOWHERE = (0.0, 0.0, 0.0, 0.0)
SMALL = Scoring("small", (2, 6))


class Prompted(FakeVisualEncoder):
    """Two markers before a picture's blocks, as a model's prompt: both have the vector of the word "prompt"."""

    def encode_document(self, texts):
        found = super().encode_document(texts)
        prompt = self._vectors(["prompt", "prompt"])
        return TokenVectors.from_arrays([np.vstack([prompt, found.rows(i)]) for i in range(len(texts))], self.dim)

    def patches(self, picture):
        return [NOWHERE, NOWHERE, *super().patches(picture)]


class Pooling(FakeVisualEncoder):
    """Keeps one vector of a picture, and gives itself before that."""

    def encode_document(self, texts):
        found = super().encode_document(texts)
        return TokenVectors.from_arrays([found.rows(i)[:1] for i in range(len(texts))], self.dim)

    def patches(self, picture):
        raise IncompatibleError("pooled vectors have no places")

    def unpooled(self):
        return FakeVisualEncoder(self.dim, self.block)


class Printed(ImagePicture):
    """A picture with a text layer."""

    def __init__(self, image, words):
        super().__init__(image)
        self._words = words

    def words(self):
        return self._words


def painted(columns, rows, blocks, ground="white"):
    """A picture of blocks: {(column, row): colour}."""
    image = Image.new("RGB", (columns * BLOCK, rows * BLOCK), ground)
    for (column, row), colour in blocks.items():
        image.paste(COLOURS[colour], (column * BLOCK, row * BLOCK, (column + 1) * BLOCK, (row + 1) * BLOCK))
    return image


def exact(encoder=None, scoring=None):
    return Reranker(encoder or FakeVisualEncoder(), codec="float32", scoring=scoring)


def explained(query, picture, encoder=None, scoring=None):
    return explain(exact(encoder, scoring), query, picture if isinstance(picture, Printed) else ImagePicture(picture))


def middle(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


BLOCKS = st.dictionaries(st.tuples(st.integers(0, 6), st.integers(0, 3)), st.sampled_from(sorted(COLOURS)), max_size=8)
QUERIES = st.lists(st.sampled_from([*COLOURS, "of", "prompt", "?"]), min_size=1, max_size=5).map(" ".join)


class TestPlaces:
    @given(st.integers(1, 7), st.integers(1, 7), st.data())
    @settings(max_examples=30, deadline=None)
    def test_the_box_of_a_match_holds_what_matches(self, columns, rows, data):
        column, row = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, rows - 1))
        explanation = explained("red", painted(columns, rows, {(column, row): "red"}))

        left, top, right, bottom = explanation.words[0].boxes[0]
        assert left <= (column + 0.5) / columns <= right
        assert top <= (row + 0.5) / rows <= bottom
        assert (right - left, bottom - top) == pytest.approx((1 / columns, 1 / rows))
        assert explanation.words[0].similarity == pytest.approx(1, abs=1e-5)

    def test_each_word_has_its_own_place_and_words_of_one_patch_share_a_spot(self):
        explanation = explained("red blue red", painted(4, 3, {(3, 0): "red", (0, 2): "blue"}))
        red, blue, again = explanation.words

        assert [place_of(word.boxes[0]) for word in (red, blue)] == ["top right", "bottom left"]
        assert again.boxes == red.boxes
        assert sorted(spot.words for spot in explanation.spots) == [(1, 3), (2,)]

    def test_matches_are_row_maxima_with_the_boxes_of_their_vectors(self):
        explanation = explained("red of blue", painted(4, 3, {(3, 0): "red", (0, 2): "blue"}), Prompted())

        assert explanation.similarity.shape == (3, 2 + 12) == (len(explanation.query_tokens), len(explanation.patches))
        assert explanation.similarity.dtype == np.float32
        for match in explanation.matches:
            assert match.similarity == explanation.similarity[match.query_token].max()
            assert match.similarity == explanation.similarity[match.query_token, match.vector]
            assert match.box == explanation.patches[match.vector]

    @pytest.mark.parametrize(
        ("box", "place"),
        [
            ((0, 0, 0.1, 0.1), "top left"),
            ((0.4, 0, 0.5, 0.1), "top"),
            ((0.9, 0.4, 1, 0.5), "right"),
            ((0.4, 0.4, 0.6, 0.6), "middle"),
            ((0.9, 0.9, 1, 1), "bottom right"),
            ((0, 0, 1, 1), "the whole page"),
        ],
    )
    def test_a_place_is_told_in_words(self, box, place):
        assert place_of(box) == place


class TestScores:
    @pytest.mark.parametrize("scoring", ["maxsim", "proximity", SMALL])
    @given(query=QUERIES.filter(lambda query: query.strip("? ")), blocks=BLOCKS)
    @settings(max_examples=20, deadline=None)
    def test_contributions_sum_to_the_score_of_a_ranking(self, scoring, query, blocks):
        reranker = exact(Prompted(), scoring)
        picture = ImagePicture(painted(7, 4, blocks))
        explanation = explain(reranker, query, picture)
        ranked = reranker.rerank(query, [picture])[0]

        assert explanation.score == pytest.approx(ranked.score, abs=1e-4)
        assert explanation.contributions.shape == (len(explanation.query_tokens),)
        assert explanation.contributions.dtype == np.float32
        assert float(explanation.contributions.sum()) == explanation.score
        assert sum(word.contribution for word in explanation.words) <= explanation.score + 1e-4
        assert 0 <= explanation.share_outside <= 1
        assert explanation.scoring == reranker.scoring.name
        assert bool(explanation.windows) == (scoring != "maxsim")

    def test_the_share_outside_is_that_of_markers(self):
        page = painted(3, 3, {(1, 1): "red"})

        assert explained("red", page, Prompted()).share_outside == 0
        assert explained("prompt", page, Prompted()).share_outside == 1
        assert explained("red prompt", page, Prompted()).share_outside == pytest.approx(0.5, abs=1e-5)
        outside = explained("prompt", page, Prompted())
        assert outside.words[0].boxes == ()
        assert outside.spots == []
        assert outside.matches[0].is_outside

    def test_cosines_below_0_leave_the_share_between_0_and_1(self):
        class Opposite(Prompted):
            def encode_query(self, texts):
                found = super().encode_query(texts)
                return TokenVectors.from_arrays([-found.rows(i) for i in range(len(texts))], self.dim)

        for page in (painted(1, 1, {}), painted(3, 3, {(1, 1): "red"})):
            assert 0 <= explained("white prompt red", page, Opposite()).share_outside <= 1

    def test_a_pooling_model_is_explained_before_pooling_and_the_page_says_so(self):
        page = painted(3, 3, {(1, 1): "red"})
        explanation = explained("red", page, Pooling())

        assert explanation.pooled
        assert explanation.words[0].boxes[0] == pytest.approx((1 / 3, 1 / 3, 2 / 3, 2 / 3))
        assert "This model pools its vectors" in explanation.to_html()
        assert "pools its vectors" not in explained("red", page).to_html()

    def test_a_picture_without_vectors_scores_as_an_empty_document(self, monkeypatch):
        monkeypatch.setattr(FakeVisualEncoder, "_colours", lambda self, picture: [])
        monkeypatch.setattr(FakeVisualEncoder, "patches", lambda self, picture: [])
        explanation = explained("red", painted(1, 1, {}))

        assert (explanation.score, explanation.matches, explanation.share_outside) == (NO_TOKENS_SCORE, (), 0)
        assert explanation.words[0].similarity == 0
        assert "Nothing to match" in explanation.to_html()
        json.dumps(explanation.to_dict(), allow_nan=False)


class TestWhatIsTaken:
    def test_a_candidate_and_a_ranked_document_are_explained_by_what_is_encoded(self):
        reranker, page = exact(), painted(2, 2, {(1, 1): "red"})
        ranked = reranker.rerank("red", [Candidate("some text", image=page)])[0]

        for document in (ImagePicture(page), Candidate("some text", image=page), ranked):
            assert explain(reranker, "red", document).to_dict() == explained("red", page).to_dict()
        assert isinstance(explain(reranker, "red", Candidate("red text")), Explanation)
        assert isinstance(explain(exact(FakeEncoder()), "red", Candidate("red text", image=page)), Explanation)

    def test_an_image_without_text_is_refused_for_a_model_of_texts(self):
        with pytest.raises(IncompatibleError, match="sees no images"):
            explained("red", painted(1, 1, {}), FakeEncoder())

    def test_an_encoder_without_patches_is_told_what_it_lacks(self):
        class Untold(FakeVisualEncoder):
            patches = None

        with pytest.raises(
            IncompatibleError, match=r"Untold can't be explained on a picture: it has no method patches\(picture\)"
        ):
            explained("red", painted(1, 1, {}), Untold())

    def test_patches_that_are_not_one_a_vector_are_refused(self, monkeypatch):
        monkeypatch.setattr(FakeVisualEncoder, "patches", lambda self, picture: [NOWHERE])

        with pytest.raises(IncompatibleError, match="names 1 places in a picture that has 4 vectors"):
            explained("red", painted(2, 2, {}))

    def test_a_picture_known_by_its_key_alone_is_refused(self):
        with pytest.raises(ValueError, match=r"known by its key alone.*give the image itself"):
            explain(exact(), "red", StoredPicture("00" * 16))

    def test_the_store_is_neither_read_nor_written(self):
        reranker = Reranker(FakeVisualEncoder())
        explain(reranker, "red", ImagePicture(painted(2, 2, {})))

        assert reranker.stats()["n_documents"] == reranker.stats()["misses"] == 0


class TestNearWords:
    WORDS = (("one", (0.1, 0.1, 0.2, 0.12)), ("two", (0.25, 0.1, 0.35, 0.12)), ("far", (0.8, 0.8, 0.9, 0.82)))

    def test_words_under_a_box_are_told_in_the_order_of_reading(self):
        assert [(word.text, word.is_under) for word in near((0.15, 0.05, 0.3, 0.15), self.WORDS)] == [
            ("one", True),
            ("two", True),
        ]

    def test_where_no_word_is_under_it_the_nearest_one_is_told_as_beside_it(self):
        assert [(word.text, word.is_under) for word in near((0.37, 0.1, 0.4, 0.12), self.WORDS)] == [("two", False)]
        assert near((0.5, 0.4, 0.55, 0.45), self.WORDS) == ()
        assert near((0.5, 0.4, 0.55, 0.45), ()) == ()

    def test_the_line_above_does_not_count_for_its_descenders(self):
        box = (0.1, 0.115, 0.2, 0.14)
        assert [(word.text, word.is_under) for word in near(box, [*self.WORDS, ("next", (0.1, 0.12, 0.2, 0.14))])] == [
            ("next", True)
        ]

    def test_a_box_within_a_large_letter_and_a_word_as_thin_as_a_line_count(self):
        assert [word.text for word in near((0.5, 0.5, 0.52, 0.52), [("BIG", (0.2, 0.2, 0.9, 0.9))])] == ["BIG"]
        assert [word.text for word in near((0.5, 0.5, 0.52, 0.52), [("l", (0.51, 0.505, 0.51, 0.515))])] == ["l"]

    def test_a_box_over_many_words_tells_the_six_nearest_to_its_middle(self):
        words = [
            (f"{row}.{column}", (column / 10, row / 10, column / 10 + 0.08, row / 10 + 0.05))
            for row in range(10)
            for column in range(10)
        ]
        found = near((0, 0, 1, 1), words)

        assert len(found) == 6
        assert [words.index((word.text, word.box)) for word in found] == sorted(
            words.index((word.text, word.box)) for word in found
        )
        assert {word.text for word in found} <= {f"{row}.{column}" for row in (3, 4, 5, 6) for column in (3, 4, 5, 6)}
        assert len(near_all([(0, 0, 1, 1), (0, 0, 0.2, 0.2)], words)) == 6

    def test_a_words_match_names_what_is_printed_there(self):
        printed = [("Invoice", (0.0, 0.05, 0.2, 0.2)), ("Total", (0.8, 0.8, 0.95, 0.95))]
        explanation = explained("red blue", Printed(painted(4, 4, {(3, 3): "red", (0, 0): "blue"}), printed))

        assert [[word.text for word in match.near] for match in explanation.words] == [["Total"], ["Invoice"]]
        assert "are no quotation" in explanation.to_html()
        assert "<th>words near it</th>" in explanation.to_html()

    def test_without_a_text_layer_no_words_are_told_and_the_page_says_so(self):
        explanation = explained("red", painted(2, 2, {(0, 0): "red"}))

        assert explanation.words[0].near == ()
        assert "no text layer" in explanation.to_html()
        assert "<th>words near it</th>" not in explanation.to_html()


class Reading(FakeVisualEncoder):
    """A block of a PDF page has the vector of the printed word that stands in its middle."""

    def _colours(self, picture):
        words = picture.words()
        middles = [middle(box) for box in self.patches(picture)]
        return [next((word.lower() for word, box in words if holds(box, x, y)), "nothing") for x, y in middles]


def holds(box, x, y):
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_on_a_pdf_page_the_words_near_a_match_are_those_printed_there(rotation):
    pytest.importorskip("pypdfium2", reason='needs pypdfium2: pip install "late-rerank[pdf]"')
    from pdfs import Page, make_pdf

    lines = ["Annual report", "The board thanks all employees", "", "Profit before tax"]
    page = PdfPage(make_pdf(Page(lines, rotation=rotation)), 1, longest=600)
    explanation = explain(exact(Reading(block=4)), "employees profit", page)

    assert [[word.text for word in match.near] for match in explanation.words] == [["employees"], ["Profit"]]
    boxes = dict(page.words())
    for match, word in zip(explanation.words, ("employees", "Profit"), strict=True):
        assert match.similarity == pytest.approx(1, abs=1e-5)
        assert holds(boxes[word], *middle(match.boxes[0]))
        assert match.near[0].is_under


class Read(HTMLParser):
    """A page's tags, and all of its attributes."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "div",
    "h1",
    "h2",
    "p",
    "strong",
    "bdi",
    "span",
    "sup",
    "label",
}
TAGS |= {
    "input",
    "img",
    "svg",
    "g",
    "rect",
    "text",
    "table",
    "thead",
    "tbody",
    "tfoot",
    "tr",
    "th",
    "td",
    "i",
    "details",
    "summary",
}
TAGS |= {"code"}
EVIL = "red <script>alert(1)</script> \" onload='x' </svg></title></style> javascript:alert(2) http://evil.example/x.png"


class TestPage:
    def test_nothing_of_the_query_or_of_the_page_is_markup(self):
        picture = Printed(painted(3, 3, {(1, 1): "red"}), [(EVIL, (0.3, 0.3, 0.6, 0.6))])
        read = Read(explained(EVIL, picture).to_html())

        assert read.tags <= TAGS
        assert EVIL in read.text
        assert [name for name, _ in read.attributes if name.startswith("on")] == []

    def test_it_fetches_nothing_and_forbids_scripts(self):
        html = explained("red", painted(3, 3, {(1, 1): "red"})).to_html()
        addresses = [value for name, value in Read(html).attributes if name in ("src", "href", "xlink:href", "action", "data")]

        assert addresses
        assert all(value.startswith("data:image/") for value in addresses)
        assert "http" not in html.replace("http-equiv", "")
        assert "url(" not in html
        assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'" in html

    def test_it_is_the_same_each_time(self):
        page = painted(5, 4, {(1, 1): "red", (3, 2): "blue"})
        first, second = (explained("red or blue", page) for _ in range(2))

        assert first.to_html() == second.to_html()
        assert first.to_png() == second.to_png()
        assert first._repr_html_() in first.to_html()

    def test_two_explanations_on_one_page_have_their_own_names(self):
        ids = [
            set(re.findall(r'id="([^"]+)"', explained("red", painted(2, 2, {(0, 0): colour}))._repr_html_()))
            for colour in ("red", "blue")
        ]
        assert ids[0]
        assert not ids[0] & ids[1]

    def test_a_box_stands_on_the_picture_where_the_match_is(self):
        html = explained("red", painted(4, 2, {(3, 1): "red"})).to_html()
        box = re.search(r'<g data-words="1"[^>]*>.*?<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', html)

        assert [float(number) for number in box.groups()] == [96, 32, 32, 32]
        assert 'viewBox="0 0 128 64"' in html

    def test_readers_aloud_are_told_word_place_and_strength(self):
        html = explained("red", painted(4, 4, {(3, 3): "red"})).to_html()

        assert 'aria-label="1 red: bottom right, similarity 1.00"' in html
        assert 'aria-label="the best matches: 1 part of the picture"' in html
        assert 'alt="the document as a picture"' in html

    @pytest.mark.parametrize("size", [(1, 1), (10, 2500), (2500, 10), (1500, 60)])
    @pytest.mark.parametrize("mode", ["RGB", "CMYK", "RGBA", "L"])
    def test_pictures_of_any_size_and_mode_are_shown_within_1400_pixels(self, size, mode):
        explanation = explained("white of all", Image.new(mode, size, "white"))
        image = Image.open(io.BytesIO(base64.b64decode(re.search(r"image/jpeg;base64,([^\"]+)", explanation.to_html())[1])))
        drawn = Image.open(io.BytesIO(explanation.to_png()))

        assert image.size == drawn.size == tuple(max(1, round(side * min(1, 1400 / max(size)))) for side in size)
        assert (image.mode, drawn.mode) == ("RGB", "RGB")

    def test_a_noisy_scan_takes_at_most_600_kb(self):
        noise = np.random.default_rng(0).integers(0, 256, (1400, 1000, 3), dtype=np.uint8)
        encoder = FakeVisualEncoder(block=64)

        assert len(explained(" ".join(COLOURS), Image.fromarray(noise), encoder).to_html()) < 600_000

    def test_a_jpeg_keeps_its_quality_where_its_bytes_allow(self):
        page = painted(10, 10, {(1, 1): "red"})

        assert as_jpeg(page, longest=1400, most_bytes=400_000)[1:] == page.size
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8))
        small = as_jpeg(noise, longest=1400, most_bytes=60_000)
        assert len(small.content) <= 60_000
        assert small.width < 600


def test_a_png_has_the_box_where_the_match_is():
    page = painted(10, 10, {(7, 4): "red"}).resize((640, 640))
    explanation = explained("red", page, FakeVisualEncoder(block=64))
    changed = np.abs(np.asarray(Image.open(io.BytesIO(explanation.to_png()))).astype(int) - np.asarray(page)).max(axis=2) > 8
    rows, columns = np.nonzero(changed)

    assert 448 <= columns.min() <= columns.max() < 512
    assert 235 <= rows.min() <= rows.max() < 320


@given(QUERIES.filter(lambda query: query.strip("? ")), BLOCKS)
@settings(max_examples=20, deadline=None)
def test_a_dict_is_json(query, blocks):
    explanation = explained(query, painted(7, 4, blocks), Prompted())
    again = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))

    assert again["score"] == explanation.score
    assert [len(row) for row in again["similarity"]] == [len(again["patches"])] * len(again["query_tokens"])
    assert again["contributions"] == pytest.approx(explanation.contributions.tolist(), abs=1e-6)
    assert {"similarity", "patches"} & set(explanation.to_dict(similarity=False)) == set()


def test_an_explanation_is_printed_short():
    explanation = explained("red " * 20, painted(2, 2, {(0, 0): "red"}))

    assert repr(explanation).startswith("PageExplanation(score=20.0000, words={red: 1.00, ")
    assert "... 8 more" in repr(explanation)
    assert isinstance(explanation, PageExplanation)
