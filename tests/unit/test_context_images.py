"""Contexts with pages: chosen by their pictures, shown by their texts, or kept as images within the budget."""

import base64
import io
import json
import math

import pdfs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from late_rerank import Candidate, Reranker, Searcher
from late_rerank.context import pack_context
from late_rerank.context.counting import counter
from late_rerank.context.images import IMAGE_MARK
from late_rerank.context.sentences import CUT_MARK
from late_rerank.corpus import read_corpus
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import ImagePicture, StoredPicture
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder

COLOURS = ("red", "blue", "green", "yellow")
SCAN = "a page without text"


def words(text):
    return len(text.split())


def page(*colours, side=32):
    """A column of blocks, each of one colour."""
    image = Image.new("RGB", (side, side * len(colours)))
    for i, colour in enumerate(colours):
        image.paste(Image.new("RGB", (side, side), colour), (0, side * i))
    return image


def scan(*colours, **more):
    return Candidate(image=page(*colours, **more))


def saved(image, kind, **options):
    held = io.BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()


def pack(documents, budget=1000, query="red", *, reranker=None, **more):
    reranker = reranker or Reranker(FakeVisualEncoder(), codec="float32")
    return pack_context(query, reranker.rerank(query, documents), reranker=reranker, budget_tokens=budget, **more)


@pytest.fixture
def seen():
    return []


@pytest.fixture
def watched(seen):
    """A Reranker that notes what its encoder was given."""
    return Reranker(FakeVisualEncoder(before_document=seen.extend), codec="float32")


class TestShownByText:
    PAGES = (Candidate("Alpha stands here.", image=page("blue")), Candidate("Beta stands there.", image=page("red")))

    def test_a_page_is_chosen_by_its_picture_and_shown_by_its_text(self, watched, seen):
        context = pack(self.PAGES, query="red", reranker=watched, top_k=1)

        assert context.text == "[1] Beta stands there."
        assert context.parts[0].image is None
        assert context.coverage.well == [0]
        assert [document for document in seen if isinstance(document, str)] == []

    @pytest.mark.parametrize("strategy", ["coverage", "relevance", "mmr"])
    @pytest.mark.parametrize("only_pictures", [False, True])
    def test_all_strategies_and_options_ask_for_no_vectors_of_its_text(self, strategy, only_pictures, seen):
        reranker = Reranker(FakeVisualEncoder(only_pictures=only_pictures, before_document=seen.extend))
        long = [Candidate(f"{each.text} " * 30, image=each.image) for each in self.PAGES]
        for budget in (3, 12, 100, 1000):
            pack(long, budget, reranker=reranker, strategy=strategy, compress=True, neighbours=long)

        assert [document for document in seen if isinstance(document, str)] == []

    def test_a_page_that_is_too_large_is_cut_from_its_beginning(self):
        text = "First there is this. Then there is that. " * 20
        context = pack([Candidate(text, image=page("red"))], 8, count_tokens=words)

        assert context.text == f"[1] First there is this.{CUT_MARK}"
        assert context.coverage.well == [0]

    def test_pages_stay_whole_where_texts_are_compressed(self, watched):
        text = f"Some are red. {'Nobody knows why. ' * 8}"
        documents = [Candidate("Alpha stands here. " * 10, image=page("red", "blue")), text]
        context = pack(documents, 14, reranker=watched, compress=True, count_tokens=words)

        assert [part.index for part in context.parts] == [1]
        assert context.parts[0].text.startswith("Some are red.")
        assert context.dropped[0].reason == "it is larger (31 tokens) than the budget"

    def test_two_pieces_of_a_page_that_have_its_picture_both_stay(self):
        picture = ImagePicture(page("red"))
        context = pack([Candidate("Alpha stands here.", image=picture), Candidate("Beta stands there.", image=picture)])

        assert len(context.parts) == 2

    @pytest.mark.parametrize("images", [(True, True), (True, False), (False, True)])
    def test_pages_are_joined_with_no_neighbours(self, images):
        pieces = [
            Candidate(
                text,
                str(start),
                None,
                {"path": "a.pdf", "start": start, "end": start + len(text)},
                page("red") if has_image else None,
            )
            for text, start, has_image in zip(("Alpha stands here.", "Beta stands there."), (0, 19), images, strict=True)
        ]
        context = pack(pieces[:1], neighbours=pieces)
        assert context.text == "[1] Alpha stands here."


class TestWithoutText:
    def test_it_is_left_out_and_the_reason_says_why(self):
        context = pack([scan("red"), Candidate("red words")])

        assert context.text == "[1] red words"
        assert [(left.document.index, left.reason) for left in context.dropped] == [(0, SCAN)]

    def test_or_kept_as_an_image_whose_tokens_count(self):
        context = pack([scan("red", side=300), Candidate("red words")], images="keep")
        part = context.parts[0]

        assert context.text == f"[1] {IMAGE_MARK}\n\n[2] red words"
        assert part.image is not None
        assert part.n_tokens == 120 + counter(None)(f"[1] {IMAGE_MARK}\n\n")
        assert context.n_tokens == 120 + counter(None)(context.text)
        assert context.to_dict()["parts"][0]["image_key"] == part.image.key().hex()
        assert "image_key" not in context.to_dict()["parts"][1]
        json.dumps(context.to_dict())

    def test_a_page_with_text_is_shown_by_it_all_the_same(self):
        context = pack([Candidate("Alpha", image=page("red"))], images="keep")
        assert (context.text, context.parts[0].image) == ("[1] Alpha", None)

    def test_its_file_and_page_are_told(self):
        candidate = Candidate(" \n", "a", None, {"path": "a.pdf", "page": 3}, page("red"))
        part = pack([candidate], images="keep").parts[0]
        assert (part.path, part.page, part.id) == ("a.pdf", 3, "a")

    def test_a_page_that_does_not_fit_is_never_cut(self):
        context = pack([scan("red", side=600), Candidate("blue words")], 100, images="keep", count_tokens=words)

        assert context.text == "[1] blue words"
        assert context.dropped[0].reason == "it is larger (482 tokens) than the budget"
        assert pack([scan("red", side=600)], 481, images="keep", count_tokens=words).text == ""
        assert pack([scan("red", side=600)], 482, images="keep", count_tokens=words).n_tokens == 482

    def test_where_nothing_fits_whole_a_text_is_cut_though_an_image_is_ranked_better(self):
        documents = [scan("red", side=600), Candidate("Some say red. " + "Nobody knows why. " * 9)]
        context = pack(documents, 6, images="keep", count_tokens=words)

        assert context.text == f"[1] Some say red.{CUT_MARK}"

    def test_the_readers_own_count_sees_the_size_that_is_sent(self):
        asked = []

        def count(width, height):
            asked.append((width, height))
            return 7

        context = pack([scan("red", side=3136)], 30, images="keep", count_image=count, count_tokens=words)
        (block,) = (block for block in context.blocks() if block["type"] == "image_url")

        assert asked == [(1568, 1568)]
        assert decoded(block).size == (1568, 1568)
        assert context.n_tokens == 9
        assert not context.is_estimate

    @pytest.mark.parametrize("count", [None, words])
    def test_the_default_count_of_images_is_an_estimate(self, count):
        assert pack([scan("red")], images="keep", count_tokens=count).is_estimate
        assert pack(["red"], images="keep", count_tokens=count).is_estimate == (count is None)

    def test_a_page_known_by_its_key_alone_cannot_be_shown(self):
        reranker = Reranker(FakeVisualEncoder())
        picture = ImagePicture(page("red"))
        reranker.index([picture])
        context = pack([StoredPicture(picture.key())], reranker=reranker, images="keep")

        assert context.parts == []
        assert context.dropped[0].reason == "a page without text, whose image is known by its key alone"

    def test_an_unscored_page_says_so(self):
        reranker = Reranker(FakeVisualEncoder(), on_missing="skip")
        context = pack([scan("red")], reranker=reranker, images="keep")
        assert context.dropped[0].reason == "it has no text, or was not scored"

    def test_a_picture_is_decoded_once_for_its_size(self):
        picture = ImagePicture(page("red"))
        decoded_at, pixels = [], picture.pixels
        reranker = Reranker(FakeVisualEncoder())
        reranker.index([picture])
        picture.pixels = lambda: decoded_at.append(1) or pixels()
        pack([picture], reranker=reranker, images="keep")
        assert len(decoded_at) == 1

    def test_a_model_of_texts_keeps_the_texts_of_pages(self):
        reranker = Reranker(FakeEncoder())
        context = pack([Candidate("red words", image=page("blue"))], reranker=reranker, images="keep")
        assert context.text == "[1] red words"

    def test_a_page_that_another_model_ranked_is_refused_by_a_model_of_texts(self):
        ranking = Reranker(FakeVisualEncoder()).rerank("red", [scan("red")])
        with pytest.raises(IncompatibleError, match="has an image without text"):
            pack_context("red", ranking, reranker=Reranker(FakeEncoder()), budget_tokens=100, images="keep")
        assert pack_context("red", ranking, reranker=Reranker(FakeEncoder()), budget_tokens=100).dropped[0].reason == SCAN


class TestUnreadable:
    """Pages were ranked by their images, whose files are gone or damaged by now."""

    GONE, DAMAGED = "No such file or directory", "b.png is no whole image of PNG"

    @pytest.fixture(params=[GONE, DAMAGED])
    def reason(self, request):
        return request.param

    @pytest.fixture
    def packed(self, tmp_path, reason):
        def packed(text, others=("blue words",), *, only_pictures=False, seen=None, **more):
            file = tmp_path / "b.png"
            page("red").save(file)
            hook = None if seen is None else seen.extend
            reranker = Reranker(FakeVisualEncoder(only_pictures=only_pictures, before_document=hook), codec="float32")
            ranking = reranker.rerank("red alpha", [Candidate(text, image=file), *others])
            if reason == self.GONE:
                file.unlink()
            else:
                file.write_bytes(file.read_bytes()[:-30])
            return pack_context("red alpha", ranking, reranker=reranker, budget_tokens=more.pop("budget", 1000), **more)

        return packed

    @pytest.mark.parametrize("strategy", ["coverage", "relevance", "mmr"])
    @pytest.mark.parametrize("images", ["drop", "keep"])
    def test_a_page_is_shown_by_its_text_and_covers_what_that_matches(self, packed, strategy, images):
        context = packed("Alpha stands here.", strategy=strategy, images=images, order="relevance")

        assert context.text == "[1] Alpha stands here.\n\n[2] blue words"
        assert context.coverage.well == [1]
        assert context.dropped == []

    @pytest.mark.parametrize("strategy", ["coverage", "relevance", "mmr"])
    @pytest.mark.parametrize("compress", [False, True])
    def test_or_by_its_rank_alone_where_the_model_reads_no_texts(self, packed, strategy, compress):
        options = {"strategy": strategy, "compress": compress, "only_pictures": True, "count_tokens": words}
        context = packed("Alpha stands here.", [], **options)
        assert (context.text, context.coverage.well) == ("[1] Alpha stands here.", [])

        cut = packed("Alpha stands here. " * 9, [], budget=5, **options)
        assert cut.text == f"[1] Alpha stands here.{CUT_MARK}"

    def test_its_rank_counts_for_marginal_relevance(self, packed):
        blue = Candidate("Beta stands there.", image=page("blue"))
        context = packed("Alpha stands here.", [blue], strategy="mmr", top_k=1, only_pictures=True)
        assert context.text == "[1] Alpha stands here."

    @pytest.mark.parametrize("compress", [False, True])
    def test_a_scan_is_left_out_with_the_reason_and_without_its_folder(self, packed, reason, compress, tmp_path):
        context = packed("", [scan("blue"), "red words"], images="keep", compress=compress)
        ((left, why),) = [(each.document.index, each.reason) for each in context.dropped]

        assert left == 0
        assert why.startswith(f"a page without text, whose image can't be read: {reason}")
        assert str(tmp_path) not in why
        assert len(context.parts) == 2
        assert len([block for block in context.blocks() if block["type"] == "image_url"]) == 1

    def test_a_scan_that_is_not_kept_is_not_opened(self, packed):
        assert [each.reason for each in packed("").dropped] == [SCAN]

    def test_all_other_pages_keep_their_vectors(self, packed, reason):
        seen = []
        others = [Candidate(f"Page {i}.", image=page(colour)) for i, colour in enumerate(COLOURS)]
        context = packed("Alpha stands here.", others, seen=seen)

        assert len(context.parts) == 5
        encoded_twice = [each for each in seen if isinstance(each, ImagePicture) and each.path is None]
        assert len(encoded_twice) == len({each.key() for each in encoded_twice})


def test_errors_of_the_readers_own_count_of_images_are_told():
    def count(width, height):
        raise ValueError("no count")

    with pytest.raises(ValueError, match="no count"):
        pack([scan("red")], images="keep", count_image=count)


class TestTheSamePicture:
    def test_by_its_key(self):
        context = pack([scan("red"), scan("red"), scan("blue")], images="keep", query="red blue")

        assert sorted(part.index for part in context.parts) == [0, 2]
        assert [left.reason for left in context.dropped] == ["it says the same as rank 1"]

    def test_whose_twin_is_not_decoded(self):
        first, second = ImagePicture(page("red")), ImagePicture(page("red"))
        reranker = Reranker(FakeVisualEncoder())
        reranker.index([first])
        second.key()  # which is that of a Pillow image's pixels
        second.pixels = None
        assert len(pack([first, second], reranker=reranker, images="keep").parts) == 1

    def test_in_another_format(self):
        image = page("red", "blue", side=64)
        documents = [Candidate(image=saved(image, "PNG")), Candidate(image=saved(image, "JPEG", quality=90))]
        assert len(pack(documents, images="keep").parts) == 1

    def test_pictures_that_are_alike_but_show_another_thing_both_stay(self):
        """Vectors of blocks know no places; so do two forms that were filled in differently."""
        assert len(pack([scan("red", "blue"), scan("blue", "red")], images="keep").parts) == 2
        forms = [page("white", side=320) for _ in range(2)]
        ImageDraw.Draw(forms[1]).text((100, 100), "7", fill="black")
        assert len(pack([Candidate(image=form) for form in forms], images="keep", query="white").parts) == 2

    def test_an_image_and_a_text_are_never_the_same(self):
        assert len(pack([scan("red"), "...", "red"], images="keep").parts) == 3


class TestBlocks:
    def test_texts_and_images_stand_in_the_order_of_the_parts_with_their_numbers(self):
        documents = [Candidate("red words"), scan("red"), scan("blue"), Candidate("green words"), Candidate("yellow words")]
        context = pack(documents, query="red blue", images="keep", order="source", strategy="relevance")
        blocks = context.blocks()
        texts = [block["text"] for block in blocks if block["type"] == "text"]
        images = [decoded(block).getpixel((0, 0)) for block in blocks if block["type"] == "image_url"]

        assert "\n\n".join(texts) == context.text
        assert [part.image is not None for part in context.parts].count(True) == len(images) == 2
        shown = [part.image.pixels().getpixel((0, 0)) for part in context.parts if part.image is not None]
        assert [near(pixel) for pixel in images] == [near(pixel) for pixel in shown]
        for i, block in enumerate(blocks):
            if block["type"] == "image_url":
                assert blocks[i - 1]["text"].endswith(f"] {IMAGE_MARK}")

    def test_a_context_of_texts_is_one_text_and_an_empty_one_nothing(self):
        assert pack(["red", "blue"]).blocks() == [{"type": "text", "text": "[1] red\n\n[2] blue"}]
        assert pack([]).blocks() == []


CONTENTS = st.one_of(
    st.builds(lambda text: Candidate(text), st.text("ab .\n", max_size=30)),
    st.builds(lambda colours, side: scan(*colours, side=side), st.lists(st.sampled_from(COLOURS), min_size=1, max_size=3),
              st.sampled_from([8, 32, 60])),
    st.builds(lambda text, colour: Candidate(text, image=page(colour)), st.text("ab .", max_size=30), st.sampled_from(COLOURS)),
)  # fmt: skip


@settings(max_examples=150)
@given(
    documents=st.lists(CONTENTS, max_size=7),
    budget=st.integers(0, 60),
    strategy=st.sampled_from(["coverage", "relevance", "mmr"]),
    order=st.sampled_from(["relevance", "edges", "source"]),
    count=st.sampled_from([None, words, len, lambda text: len(text) // 3]),
    images=st.sampled_from(["drop", "keep"]),
    compress=st.booleans(),
)
def test_budgets_hold_with_images_and_every_document_is_here_or_has_a_reason(
    documents, budget, strategy, order, count, images, compress
):
    reranker = Reranker(FakeVisualEncoder())
    ranking = reranker.rerank("a red blue", documents)
    how = {"strategy": strategy, "order": order, "count_tokens": count, "images": images, "compress": compress}
    context = pack_context("a red blue", ranking, reranker=reranker, budget_tokens=budget, **how)

    shown = [part.image.pixels().size for part in context.parts if part.image is not None]
    of_images = sum(math.ceil(width * height / 750) for width, height in shown)
    assert context.n_tokens == of_images + (counter(count)(context.text) if context.text else 0)
    assert context.n_tokens <= budget
    assert images == "keep" or not shown
    inside = {index for part in context.parts for index in (part.index, *part.merged)}
    left = {dropped.document.index: dropped.reason for dropped in context.dropped}
    assert inside | left.keys() == set(range(len(documents)))
    assert not inside & left.keys()
    for index, document in enumerate(documents):
        if images == "drop" and document.image is not None and not document.text.strip(" \n"):
            assert left[index] == SCAN


def test_a_searcher_passes_what_is_said_of_images():
    class Found:
        def retrieve(self, query, k):
            return [scan("red")]

    searcher = Searcher(Found(), Reranker(FakeVisualEncoder()))
    assert searcher.context("red").text == ""
    context = searcher.context("red", images="keep", count_image=lambda width, height: width + height, count_tokens=words)
    assert context.n_tokens == 66


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"images": "show"}, ValueError, "images must be one of drop, keep, got 'show'"),
        ({"count_image": 750}, TypeError, "count_image must be a function from an image's width and height"),
        ({"count_image": lambda width, height: 1.5}, TypeError, "count_image must give a number of tokens, 0 or more, got 1.5"),
        ({"count_image": lambda width, height: -1}, TypeError, "count_image must give a number of tokens"),
    ],
)
def test_wrong_arguments_are_refused(wrong, error, says):
    with pytest.raises(error, match=says):
        pack([scan("red")], **{"images": "keep", **wrong})


def decoded(block):
    head, _, held = block["image_url"]["url"].partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(held)))


def near(pixel):
    return tuple(round(value / 255) for value in pixel[:3]) if isinstance(pixel, tuple) else pixel


def test_a_scanned_page_of_a_pdf_file_is_kept_with_its_file_and_page(tmp_path):
    pytest.importorskip("pypdfium2", reason='needs pypdfium2: pip install "late-rerank[pdf]"')
    scanned = pdfs.Page(["Invoice 2024", "Total 12 EUR"], kind="scan")
    (tmp_path / "report.pdf").write_bytes(pdfs.make_pdf(["Sales rose in spring."], scanned))
    documents = read_corpus(tmp_path / "report.pdf", images=True).documents
    context = pack(documents, 3000, query="white", images="keep")
    by_page = {part.page: part for part in context.parts}

    assert by_page[1].text == "Sales rose in spring."
    assert (by_page[2].path, by_page[2].text) == ("report.pdf", IMAGE_MARK)
    assert decoded(next(block for block in context.blocks() if block["type"] == "image_url")).size == (1109, 1568)
