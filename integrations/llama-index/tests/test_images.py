"""Nodes that have images, by a model that sees them and by one that doesn't: real files, no model."""

import base64
import io
import json
import pickle
import socket

import pytest
from helpers import ids
from llama_index.core import Document, MockEmbedding, SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.postprocessor.late_rerank import LateRerank, LateRerankRetriever
from pdfs import make_pdf
from PIL import Image

from late_rerank import Reranker
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import ImagePicture, PdfPage
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder

COLOURS = ["blue", "green", "red", "white"]


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


def encoded(colour):
    return base64.b64encode(png(colour)).decode()


@pytest.fixture
def folder(tmp_path):
    """One image of each colour; and a PDF file of these as pages."""
    for colour in COLOURS:
        (tmp_path / f"{colour}.png").write_bytes(png(colour))
    pages = [Image.new("RGB", (64, 64), colour) for colour in COLOURS]
    pages[0].save(tmp_path / "colours.pdf", save_all=True, append_images=pages[1:])
    return tmp_path


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


@pytest.fixture
def server(socket_enabled):
    """A socket that listens; `was_called` tells whether anybody connected."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)  # noqa: FBT003 - the standard library's

    def was_called():
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    with listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/red.png", was_called


def scored(*nodes):
    return [NodeWithScore(node=node, score=0.5) for node in nodes]


def ranked(rerank, *nodes, query="red"):
    return rerank.postprocess_nodes(scored(*nodes), query_str=query)


class TestNodes:
    @pytest.mark.parametrize(
        "make",
        [
            lambda colour, folder: ImageNode(image=encoded(colour), id_=colour),
            lambda colour, folder: ImageNode(image_path=str(folder / f"{colour}.png"), id_=colour),
            lambda colour, folder: Node(image_resource=MediaResource(data=png(colour)), id_=colour),
            lambda colour, folder: Node(image_resource=MediaResource(path=folder / f"{colour}.png"), id_=colour),
            lambda colour, folder: ImageDocument(image=encoded(colour), id_=colour),
            lambda colour, folder: ImageNode(image=encoded(colour), text="blue words", id_=colour, metadata={"title": "x"}),
            lambda colour, folder: Document(image_resource=MediaResource(data=png(colour)), text="green", id_=colour),
        ],
        ids=["image", "path", "data", "resource-path", "image-document", "with-text", "document-with-text"],
    )
    def test_are_ranked_by_their_image_and_come_back_as_they_are(self, make, folder, visual):
        nodes = [make(colour, folder) for colour in COLOURS]
        given = scored(*nodes)
        before = [node.model_dump() for node in nodes]

        found = LateRerank(2, model=visual).postprocess_nodes(given, query_str="red")

        assert ids(found)[0] == "red"
        assert found[0].node is nodes[2]
        assert found[0].score == pytest.approx(1, abs=0.02)
        assert found[1].score < 0.5
        assert [node.model_dump() for node in nodes] == before
        assert [each.score for each in given] == [0.5] * 4

    def test_with_images_and_texts_are_ranked_together(self, visual):
        nodes = [ImageNode(image=encoded("blue"), id_="image"), TextNode(text="something red", id_="text")]
        nodes += [Node(id_="nothing"), ImageNode(image=encoded("red"), id_="best")]
        found = ranked(LateRerank(4, model=visual, keep_late_rerank_score=True), *nodes)
        assert set(ids(found)[:2]) == {"best", "text"}
        assert ids(found)[2:] == ["image", "nothing"]
        assert "late_rerank_score" in next(each for each in found if each.node_id == "best").node.metadata
        assert "late_rerank_score" not in found[3].node.metadata

    def test_each_image_counts_however_equal_their_texts_are(self, visual):
        nodes = [ImageNode(image=encoded(colour), text="a page", id_="same") for colour in ("blue", "red", "red")]
        assert [each.node is node for each, node in zip(ranked(LateRerank(3, model=visual), *nodes), nodes[1::-1], strict=True)]

    def test_base64_may_have_line_ends(self, visual):
        node = ImageNode(image=base64.encodebytes(png("red")).decode())
        assert ranked(LateRerank(1, model=visual), node)[0].score == pytest.approx(1, abs=0.02)

    async def test_are_ranked_by_an_awaited_call_and_behind_a_retriever(self, visual, folder):
        nodes = [ImageNode(image_path=str(folder / f"{colour}.png"), text="a page", id_=colour) for colour in COLOURS]
        index = VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=8))
        rerank = LateRerank(1, model=visual)
        assert ids(await rerank.apostprocess_nodes(scored(*nodes), query_str="red")) == ["red"]
        base = index.as_retriever(similarity_top_k=4)
        assert ids(await LateRerankRetriever(base, 1, reranker=rerank.reranker).aretrieve("green")) == ["green"]
        engine = RetrieverQueryEngine.from_args(base, node_postprocessors=[rerank])
        assert ids(engine.query("blue").source_nodes) == ["blue"]


class TestUrls:
    def test_are_never_fetched_and_a_text_beside_one_is_ranked(self, server, visual):
        url, was_called = server
        nodes = [
            ImageNode(image_url=url, text="something red", id_="a"),
            Node(image_resource=MediaResource(url=url), text_resource=MediaResource(text="green"), id_="b"),
        ]
        for encoder in (visual, FakeEncoder()):
            assert ids(ranked(LateRerank(2, model=encoder, page_images=True), *nodes)) == ["a", "b"]
        assert not was_called()

    @pytest.mark.parametrize("encoder", [FakeVisualEncoder(), FakeEncoder()], ids=["images", "texts"])
    def test_without_text_are_an_error_that_says_to_give_the_bytes(self, encoder, server):
        url, was_called = server
        for node in (ImageNode(image_url=url, id_="n7"), Node(image_resource=MediaResource(url=url), id_="n7")):
            with pytest.raises(ValueError, match=f"the node 'n7': .*{url}.* never fetched: give the bytes as `image`"):
                ranked(LateRerank(model=encoder), TextNode(text="red"), node)
        assert not was_called()

    @pytest.mark.parametrize("form", ["{url}", "data:image/png;base64,{data}", "file://{path}", "HTTP{rest}"])
    def test_are_no_paths(self, form, server, visual, folder):
        url, was_called = server
        path = form.format(url=url, data=encoded("red"), path=folder / "red.png", rest=url[4:])
        for root in (None, folder):
            rerank = LateRerank(model=visual, root_path=root)
            for node in (ImageNode(image_path=path, id_="n7"), Node(image_resource=MediaResource(path=path), id_="n7")):
                with pytest.raises((ValueError, FileNotFoundError), match="the node 'n7'"):
                    ranked(rerank, node)
        assert not was_called()

    def test_a_data_uri_is_no_base64(self, visual):
        with pytest.raises(
            ValueError, match="the node 'n7': an image must be base64 of an image file's bytes, got 'data:image"
        ):
            ranked(LateRerank(model=visual), ImageNode(image=f"data:image/png;base64,{encoded('red')}", id_="n7"))


class TestFiles:
    @pytest.mark.parametrize("given", ["../secret.png", "{outside}/secret.png"])
    def test_outside_of_the_root_are_refused_and_not_opened(self, given, folder, visual, decoded):
        root = folder / "images"
        root.mkdir()
        (folder / "secret.png").write_bytes(png("red"))
        path = given.format(outside=folder)
        rerank = LateRerank(model=visual, root_path=root, page_images=True)
        for node in (ImageNode(image_path=path, id_="n7"), TextNode(text="x", metadata={"file_path": path}, id_="n7")):
            with pytest.raises(ValueError, match=r"the node 'n7': the file .*secret.png' is outside of root_path"):
                ranked(rerank, node)
        assert decoded == []

    def test_below_the_root_are_named_relative_to_it(self, folder, visual):
        rerank = LateRerank(1, model=visual, root_path=folder)
        assert ids(ranked(rerank, *(ImageNode(image_path=f"{colour}.png", id_=colour) for colour in COLOURS))) == ["red"]

    def test_damaged_and_absent_are_errors_that_name_the_node(self, folder, visual):
        (folder / "damaged.png").write_bytes(png("red")[:50])
        good = ImageNode(image=encoded("red"), id_="good")
        for node in (
            ImageNode(image_path=str(folder / "damaged.png"), id_="n7"),
            ImageNode(image=base64.b64encode(b"no image").decode(), id_="n7"),
        ):
            with pytest.raises(ValueError, match=r"the node 'n7': .* is no whole image of PNG"):
                ranked(LateRerank(model=visual), good, node)
        with pytest.raises(FileNotFoundError, match="the node 'n7': No such file"):
            ranked(LateRerank(model=visual), good, ImageNode(image_path=str(folder / "absent.png"), id_="n7"))

    def test_that_a_store_holds_are_not_opened(self, folder, visual, decoded, tmp_path):
        nodes = [ImageNode(image_path=str(folder / f"{colour}.png"), id_=colour) for colour in COLOURS]
        nodes += [ImageNode(image=encoded("cyan"), id_="cyan")]
        nodes += [
            TextNode(text="words", id_="page", metadata={"file_path": str(folder / "colours.pdf"), "page_number": 2}),
        ]
        with_pages = {"store": tmp_path / "vectors", "page_images": True}
        first = ranked(LateRerank(6, model=visual, **with_pages), *nodes)
        assert len(decoded) == 6
        again = ranked(LateRerank(6, model=FakeVisualEncoder(), **with_pages), *nodes)
        assert (ids(again), len(decoded)) == (ids(first), 6)

    def test_indexed_ahead_are_not_encoded_again(self, folder, visual):
        nodes = [ImageNode(image_path=str(folder / f"{colour}.png"), id_=colour) for colour in COLOURS]
        nodes += [TextNode(text="a text", metadata={"title": "x"})]
        rerank = LateRerank(model=visual)
        rerank.reranker.index(map(rerank.content_of, nodes))
        n_encoded = visual.n_documents
        ranked(rerank, *nodes)
        assert (n_encoded, visual.n_documents) == (5, 5)


class TestPages:
    def page(self, folder, **metadata):
        return TextNode(text="nothing of it", id_="n7", metadata={"file_path": str(folder / "colours.pdf"), **metadata})

    @pytest.mark.parametrize("number", [{"page_number": 3}, {"page_number": "3"}, {"page_number": 3.0}, {"page_label": "3"}])
    def test_are_drawn_if_that_is_asked_for(self, number, folder, visual):
        node = self.page(folder, **number)
        assert ranked(LateRerank(model=visual, page_images=True), node)[0].score == pytest.approx(1, abs=0.02)
        assert ranked(LateRerank(model=visual), node)[0].score < 0.5

    def test_are_found_by_their_label_where_that_is_no_number(self, tmp_path, visual):
        canvas = pytest.importorskip("reportlab.pdfgen.canvas", reason="needs reportlab: pip install reportlab")
        pdf = canvas.Canvas(str(tmp_path / "book.pdf"))
        for colour in ("blue", "red", "green"):
            pdf.setFillColor(colour)
            pdf.rect(0, 0, 700, 900, fill=1)
            pdf.showPage()
        pdf.addPageLabel(0, style="ROMAN_LOWER", start=1)
        pdf.addPageLabel(1, style="ARABIC", start=1)
        pdf.save()
        pages = [
            TextNode(text="x", id_=label, metadata={"file_path": str(tmp_path / "book.pdf"), "page_label": label})
            for label in ("i", "1", "2")
        ]
        rerank = LateRerank(1, model=visual, page_images=True)
        assert ids(ranked(rerank, *pages)) == ["1"]
        unknown = TextNode(text="x", id_="n7", metadata={**pages[0].metadata, "page_label": "iv"})
        with pytest.raises(ValueError, match=r"the node 'n7': .*book.pdf has no page with the label 'iv'"):
            ranked(rerank, unknown)

    @pytest.mark.parametrize(
        ("number", "message"),
        [(9, "has 4 pages, so that there is no page 9"), (0, "number must be at least 1"), ("iv", "must be a whole number")],
    )
    def test_that_are_none_are_errors_that_name_the_node(self, number, message, folder, visual):
        with pytest.raises(ValueError, match=f"the node 'n7': .*{message}"):
            ranked(LateRerank(model=visual, page_images=True), self.page(folder, page_number=number))

    def test_without_a_number_and_of_other_files_are_texts(self, folder, visual):
        nodes = [self.page(folder), TextNode(text="red", id_="notes", metadata={"file_path": str(folder / "notes.txt")})]
        assert ids(ranked(LateRerank(model=visual, page_images=True, metadata_mode="none"), *nodes)) == ["notes", "n7"]

    def test_of_images_that_the_frameworks_reader_read_are_the_images(self, folder, visual):
        nodes = SimpleDirectoryReader(input_files=[folder / f"{colour}.png" for colour in COLOURS]).load_data()
        found = ranked(LateRerank(1, model=visual, page_images=True), *nodes)
        assert found[0].node.metadata["file_name"] == "red.png"

    def test_with_a_text_layer_are_texts_for_a_model_of_texts(self, tmp_path, decoded):
        (tmp_path / "report.pdf").write_bytes(make_pdf(["cats sleep"], ["rivers run"]))
        pages = [
            TextNode(text=text, id_=text, metadata={"file_path": str(tmp_path / "report.pdf"), "page_number": 9})
            for text in ("rivers run", "cats sleep")
        ]
        found = ranked(LateRerank(1, model=FakeEncoder(), page_images=True, metadata_mode="none"), *pages, query="cats")
        assert (ids(found), decoded) == (["cats sleep"], [])


class TestOtherModels:
    def test_a_model_of_texts_ranks_the_text_and_opens_no_image(self, folder, decoded):
        nodes = [
            ImageNode(image_path=str(folder / "absent.png"), text="cats sleep", id_="cats"),
            ImageNode(image="damaged", text="rivers run", id_="rivers"),
        ]
        assert ids(ranked(LateRerank(2, model=FakeEncoder()), *nodes, query="cats")) == ["cats", "rivers"]
        assert decoded == []

    def test_an_image_without_text_is_an_error_that_names_the_node(self, folder):
        for node in (
            ImageNode(image=encoded("red"), id_="n7", metadata={"title": "red"}),
            ImageNode(image_path=str(folder / "red.png"), text="\u200b", id_="n7"),
            Node(image_resource=MediaResource(data=png("red")), id_="n7"),
        ):
            with pytest.raises(IncompatibleError, match=r"\(id 'n7'\) has an image without text, but the model 'FakeEncoder'"):
                ranked(LateRerank(model=FakeEncoder()), TextNode(text="red"), node)

    def test_an_image_that_the_framework_lost_is_an_error_that_says_how(self, visual):
        lost = Node.from_dict(Node(image_resource=MediaResource(data=png("red")), id_="n7").to_dict())
        with pytest.raises(ValueError, match=r"the node 'n7': it has neither text nor an image.*leaves the data"):
            ranked(LateRerank(model=visual), lost)

    def test_a_text_for_a_model_of_images_alone_is_an_error_that_names_the_node(self):
        rerank = LateRerank(model=FakeVisualEncoder(only_pictures=True))
        with pytest.raises(IncompatibleError, match=r"\(id 'n7'\) is a text without an image"):
            ranked(rerank, ImageNode(image=encoded("red")), TextNode(text="red", id_="n7"))


class TestOptions:
    def test_come_back_from_dicts_json_and_pickles(self, visual, folder):
        rerank = LateRerank(1, model=visual, page_images=True, root_path=folder)
        for again in (LateRerank.from_dict(rerank.to_dict()), pickle.loads(pickle.dumps(rerank))):
            assert (again.page_images, again.root_path) == (True, str(folder))
            with pytest.raises(ValueError, match="outside of root_path"):
                ranked(again, ImageNode(image_path="../a.png"))
        said = json.loads(
            LateRerank(reranker=Reranker(FakeEncoder()), root_path=".").model_copy(update={"model": "x"}).to_json()
        )
        assert (said["page_images"], said["root_path"]) == (False, ".")

    @pytest.mark.parametrize(("wrong", "error"), [("", ValueError), (7, TypeError)])
    def test_a_root_that_is_no_folders_path_is_refused(self, wrong, error, visual):
        with pytest.raises(error, match="root_path must be the path of a folder"):
            LateRerank(model=visual, root_path=wrong)

    def test_a_budget_counts_texts_and_leaves_an_image_without_text_out(self, visual):
        nodes = [
            ImageNode(image=encoded("red"), id_="wordless"),
            ImageNode(image=encoded("red"), text="a red page", id_="page"),
        ]
        found = ranked(LateRerank(model=visual, budget_tokens=100), *nodes)
        assert ids(found) == ["page"]
        assert found[0].node is nodes[1]

    def test_a_budget_joins_no_node_with_its_neighbour_that_would_lose_its_image(self, visual):
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="file")}
        nodes = [
            ImageNode(
                image=encoded("red"),
                text=f"red page {i}",
                id_=f"p{i}",
                start_char_idx=i * 11,
                end_char_idx=i * 11 + 10,
                relationships=source,
            )
            for i in range(2)
        ]
        found = ranked(LateRerank(model=visual, budget_tokens=500, order="source"), *nodes)
        assert all(any(each.node is node for node in nodes) for each in found)
