"""Documents that have images, by a model that sees them and by one that doesn't: real files, no model."""

import copy
import io
import pickle
import socket

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever
from PIL import Image

from late_rerank import FusedReranker, Reranker
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import ImagePicture, PdfPage
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder

COLOURS = ["blue", "green", "red", "white"]


def drawn(colour):
    return Image.new("RGB", (64, 64), colour)


def png(colour):
    file = io.BytesIO()
    drawn(colour).save(file, "PNG")
    return file.getvalue()


def by_path(document):
    return document.metadata.get("path")


@pytest.fixture
def folder(tmp_path):
    """One image of each colour; and a PDF file of these as pages."""
    for colour in COLOURS:
        (tmp_path / f"{colour}.png").write_bytes(png(colour))
    drawn(COLOURS[0]).save(tmp_path / "colours.pdf", save_all=True, append_images=[drawn(colour) for colour in COLOURS[1:]])
    return tmp_path


@pytest.fixture
def pages(folder):
    return [Document("a page", id=colour, metadata={"path": str(folder / f"{colour}.png")}) for colour in COLOURS]


@pytest.fixture
def visual():
    return FakeVisualEncoder()


@pytest.fixture
def decoded(monkeypatch):
    """Every picture whose pixels were asked for."""
    found = []
    for kind in (ImagePicture, PdfPage):
        pixels = kind.pixels
        monkeypatch.setattr(kind, "pixels", lambda self, pixels=pixels: found.append(self) or pixels(self))
    return found


def compressor(encoder, image=by_path, **more):
    return LateRerankCompressor(reranker=Reranker(encoder), image=image, **more)


def ids(documents):
    return [document.id for document in documents]


class TestRanking:
    @pytest.mark.parametrize("more", [{}, {"top_n": None, "budget_tokens": 100}])
    async def test_by_two_models_takes_the_text_and_the_image(self, more, folder, visual):
        documents = [
            Document(f"words of {colour}", id=colour, metadata={"path": str(folder / f"{other}.png")})
            for colour, other in zip(COLOURS, COLOURS[1:] + COLOURS[:1], strict=True)
        ]
        both = FusedReranker([Reranker(FakeEncoder()), Reranker(visual)])
        made = LateRerankCompressor(reranker=both, image=by_path, **{"top_n": 2, **more})
        found = made.compress_documents(documents, "red")
        assert ids(found)[:2] == ids(await made.acompress_documents(documents, "red"))[:2]
        assert set(ids(found)[:2]) == {"red", "green"}  # one has the word, the other the colour
        retriever = LateRerankRetriever(base_retriever=RunnableLambda(lambda _: documents), reranker=both, image=by_path)
        assert ids(await retriever.ainvoke("red"))[:2] == ids(found)[:2]

    async def test_is_by_the_image_in_both_classes_and_documents_come_back_as_they_are(self, pages, visual):
        before = copy.deepcopy(pages)
        made = compressor(visual, top_n=2)
        retriever = LateRerankRetriever(
            base_retriever=RunnableLambda(lambda _: pages), reranker=made.reranker, k=2, image=by_path
        )
        for found in (
            made.compress_documents(pages, "red"),
            await made.acompress_documents(pages, "red"),
            retriever.invoke("red"),
            await retriever.ainvoke("red"),
        ):
            assert (found[0].id, found[0].page_content) == ("red", "a page")
            assert found[0].metadata["path"] == pages[2].metadata["path"]
            assert found[0].metadata["relevance_score"] == pytest.approx(1, abs=0.02)
            assert found[1].metadata["relevance_score"] < 0.5
            assert "best_span" not in found[0].metadata
        assert pages == before
        assert made.rerank(pages, "red")[0]["index"] == 2

    @pytest.mark.parametrize(
        "image",
        [
            lambda document: png(document.id),
            lambda document: drawn(document.id),
            lambda document: ImagePicture(png(document.id)),
            lambda document: PdfPage(
                document.metadata["path"].replace(f"{document.id}.png", "colours.pdf"), COLOURS.index(document.id) + 1
            ),
        ],
        ids=["bytes", "pillow", "picture", "page"],
    )
    def test_takes_whatever_is_an_image(self, image, pages, visual):
        assert ids(compressor(visual, image).compress_documents(pages, "red"))[0] == "red"

    def test_mixes_documents_with_and_without_an_image(self, pages, visual):
        given = [pages[0], Document("something red", id="text"), Document("", id="nothing")]
        assert ids(compressor(visual).compress_documents(given, "red")) == ["text", "blue", "nothing"]

    def test_tells_documents_without_text_and_id_apart_by_their_images(self, visual):
        given = [Document(""), Document(""), Document("")]
        images = iter(["blue", "red", "red"])
        found = compressor(visual, lambda _: png(next(images))).compress_documents(given, "red")
        assert [round(document.metadata["relevance_score"], 1) for document in found] == [1.0, 0.0]

    def test_a_text_is_ranked_beside_its_image_by_no_model_that_sees_images(self, pages, visual):
        for text in (["title"], lambda document: "words of blue"):
            made = compressor(visual, text=text)
            assert ids(made.compress_documents(pages, "red"))[0] == "red"

    def test_opens_no_image_that_a_store_holds(self, pages, tmp_path, decoded):
        for _ in range(2):
            made = LateRerankCompressor(model=FakeVisualEncoder(), store=tmp_path / "vectors", image=by_path)
            assert ids(made.compress_documents(pages, "red"))[0] == "red"
            made.reranker.close()
        assert len(decoded) == 4

    def test_of_what_was_indexed_ahead_encodes_nothing_again(self, pages, visual):
        given = [*pages, Document("a text", metadata={"title": "a title"})]
        retriever = LateRerankRetriever(
            base_retriever=RunnableLambda(lambda _: given), model=visual, image=by_path, text=["title"]
        )
        made = compressor(visual, text=["title"])
        assert made.content_of(given[4]) == retriever.content_of(given[4]) == "a title\na text"
        retriever.reranker.index(map(retriever.content_of, given))
        n_encoded = visual.n_documents
        retriever.invoke("red")
        assert (n_encoded, visual.n_documents) == (5, 5)


class TestWrongImages:
    @pytest.mark.parametrize("form", ["http://127.0.0.1:{port}/red.png", "data:image/png;base64,aGk=", "file:///red.png"])
    def test_no_url_is_fetched(self, form, visual, socket_enabled):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)  # noqa: FBT003 - the standard library's
            url = form.format(port=listening.getsockname()[1])
            for content in ("", "red"):
                with pytest.raises(ValueError, match=r"the document 'd7': an image must be bytes, a path.*not a URL"):
                    compressor(visual).compress_documents([Document(content, id="d7", metadata={"path": url})], "red")
            with pytest.raises(BlockingIOError):
                listening.accept()

    def test_damaged_and_absent_ones_are_errors_that_name_the_document(self, folder, pages, visual):
        (folder / "damaged.png").write_bytes(png("red")[:50])
        for name, id_, kind, message in (
            ("damaged.png", "d7", ValueError, "the document 'd7': .*damaged.png is no whole image"),
            ("absent.png", "d7", FileNotFoundError, "the document 'd7': No such file"),
            ("absent.png", None, FileNotFoundError, r"documents\[4\]: No such file"),
        ):
            broken = Document("", id=id_, metadata={"path": folder / name})
            with pytest.raises(kind, match=message):
                compressor(visual).compress_documents([*pages, broken], "red")

    @pytest.mark.parametrize("wrong", [7, b"", ["red.png"]])
    def test_what_is_no_image_is_an_error_that_names_the_document(self, wrong, visual):
        with pytest.raises((TypeError, ValueError), match="the document 'd7': an image must"):
            compressor(visual, lambda _: wrong).compress_documents([Document("x", id="d7")], "red")

    def test_the_functions_own_error_is_seen(self, visual):
        with pytest.raises(KeyError, match="path"):
            compressor(visual, lambda document: document.metadata["path"]).compress_documents([Document("x")], "red")

    @pytest.mark.parametrize("wrong", ["path", ["path"], 7])
    def test_what_is_no_function_is_refused_before_a_model_is_loaded(self, wrong, loads):
        for make in (
            lambda: LateRerankCompressor(image=wrong),
            lambda: LateRerankRetriever(base_retriever=RunnableLambda(lambda _: []), image=wrong),
        ):
            with pytest.raises(TypeError, match="image must be a function from a Document to an image"):
                make()
        assert loads == []


class TestOtherModels:
    def test_a_model_of_texts_ranks_the_text_and_asks_for_no_image(self):
        asked = []
        given = [Document("rivers run", id="a"), Document("cats sleep", id="b")]
        assert ids(compressor(FakeEncoder(), asked.append).compress_documents(given, "cats")) == ["b", "a"]
        assert asked == []

    @pytest.mark.parametrize("more", [{}, {"text": ["title"]}])
    def test_an_image_without_text_is_an_error_that_names_the_document(self, more, pages):
        wordless = Document(" \n", id="d7", metadata={**pages[0].metadata, "title": "red"})
        with pytest.raises(IncompatibleError, match=r"\(id 'd7'\) has an image without text, but the model 'FakeEncoder'"):
            compressor(FakeEncoder(), **more).compress_documents([*pages, wordless], "red")

    def test_a_text_for_a_model_of_images_alone_is_an_error_that_names_the_document(self, pages):
        made = compressor(FakeVisualEncoder(only_pictures=True))
        with pytest.raises(IncompatibleError, match=r"\(id 'd7'\) is a text without an image"):
            made.compress_documents([*pages, Document("red", id="d7")], "red")


def test_copies_and_pickles_keep_the_function(pages, visual):
    made = compressor(visual)
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert again.image is by_path
        assert ids(again.compress_documents(pages, "red"))[0] == "red"


def test_a_budget_counts_texts_and_leaves_an_image_without_text_out(pages, visual):
    wordless = Document("", id="wordless", metadata=pages[2].metadata)
    found = compressor(visual, budget_tokens=100).compress_documents([wordless, pages[2]], "red")
    assert ids(found) == ["red"]
