"""Documents that have images, by a model that sees them and by one that doesn't: real files, no model."""

import asyncio
import io
import json
import pickle
import socket
from copy import deepcopy

import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.rankers.late_rerank import LateRerankRanker
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


def blob(colour, mime_type="image/png"):
    return ByteStream(png(colour), mime_type=mime_type)


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


def ranker(encoder, **more):
    return LateRerankRanker(reranker=Reranker(encoder), **more)


def ranked(made, *documents, query="red"):
    return made.run(query, list(documents))["documents"]


def ids(documents):
    return [document.id for document in documents]


class TestDocuments:
    @pytest.mark.parametrize(
        "make",
        [
            lambda colour, number: {"blob": blob(colour)},
            lambda colour, number: {"blob": blob(colour), "content": "words of blue", "meta": {"title": "x"}},
            lambda colour, number: {"meta": {"file_path": f"{colour}.png"}},
            lambda colour, number: {"meta": {"file_path": "colours.pdf", "page_number": number}},
            lambda colour, number: {"meta": {"file_path": "colours.pdf", "page_number": float(number)}, "content": "green"},
        ],
        ids=["blob", "blob-and-content", "file", "page", "page-and-content"],
    )
    def test_are_ranked_by_their_image_and_come_back_with_it(self, make, folder, visual):
        given = [Document(id=colour, score=0.5, **make(colour, i)) for i, colour in enumerate(COLOURS, start=1)]
        before = deepcopy(given)

        best, second = ranked(ranker(visual, root_path=folder, top_k=2, meta_fields_to_embed=["title"]), *given)

        assert (best.id, best.score) == ("red", pytest.approx(1, abs=0.02))
        assert second.score < 0.5
        assert (best.blob, best.content) == (given[2].blob, given[2].content)
        assert best.meta == {**given[2].meta, "retrieval_score": 0.5, "late_rerank_score": pytest.approx(1, abs=0.02)}
        assert given == before

    def test_with_images_and_texts_are_ranked_together(self, visual):
        given = [Document(id="image", blob=blob("blue")), Document(id="text", content="something red"), Document(id="nothing")]
        found = ranked(ranker(visual), *given)
        assert ids(found) == ["text", "image", "nothing"]
        assert "late_rerank_score" not in found[2].meta

    def test_each_image_counts_however_equal_their_contents_are(self, visual):
        given = [Document(id=colour, content="a page", blob=blob(colour)) for colour in COLOURS]
        assert ids(ranked(ranker(visual), *given))[0] == "red"
        assert len(ranked(ranker(visual), *given)) == 4

    def test_a_blob_of_another_kind_is_no_image(self, visual):
        given = [
            Document(id="pdf", content="blue", blob=ByteStream(b"%PDF-", mime_type="application/pdf")),
            Document(id="unknown", content="red", blob=ByteStream(b"x")),
        ]
        assert ids(ranked(ranker(visual), *given)) == ["unknown", "pdf"]

    def test_are_ranked_in_a_pipeline_that_was_written_and_read(self, folder, monkeypatch):
        monkeypatch.setattr("late_rerank.reranker.as_encoder", lambda *_: FakeVisualEncoder())
        store = InMemoryDocumentStore()
        store.write_documents(
            [Document(id=colour, content="a page", meta={"file_path": f"{colour}.png"}) for colour in COLOURS]
        )
        pipeline = Pipeline()
        pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=9))
        pipeline.add_component("ranker", LateRerankRanker(root_path=folder, top_k=1))
        pipeline.connect("retriever", "ranker")
        again = Pipeline.loads(pipeline.dumps())
        again.get_component("retriever").document_store = store
        given = {"retriever": {"query": "page"}, "ranker": {"query": "red"}}
        assert ids(again.run(given)["ranker"]["documents"]) == ["red"]
        assert ids(asyncio.run(again.run_async(given))["ranker"]["documents"]) == ["red"]


class TestFiles:
    def test_without_a_root_are_not_looked_for(self, folder, visual, decoded):
        given = [
            Document(id="a", content="blue", meta={"file_path": str(folder / "red.png")}),
            Document(id="b", content="something red", meta={"file_path": "../../etc/passwd", "page_number": 1}),
        ]
        assert ids(ranked(ranker(visual), *given)) == ["b", "a"]
        assert decoded == []

    @pytest.mark.parametrize("path", ["../secret.png", "{outside}/secret.png", "link.png", "../secret.pdf"])
    def test_outside_of_the_root_are_refused_and_not_opened(self, path, folder, visual, decoded):
        (root := folder / "images").mkdir()
        for name in ("secret.png", "secret.pdf"):
            (folder / name).write_bytes(png("red"))
        (root / "link.png").symlink_to(folder / "secret.png")
        made = ranker(visual, root_path=root)
        document = Document(id="d7", content="x", meta={"file_path": path.format(outside=folder), "page_number": 1})
        with pytest.raises(ValueError, match=r"the document 'd7': the file .* is outside of root_path"):
            ranked(made, Document(content="red"), document)
        assert decoded == []

    def test_of_other_kinds_and_pdf_files_without_a_page_are_texts_wherever_they_lie(self, folder, visual):
        given = [
            Document(id="a", content="red", meta={"file_path": "/elsewhere/notes.txt"}),
            Document(id="b", content="blue", meta={"file_path": "../report.pdf"}),
        ]
        assert ids(ranked(ranker(visual, root_path=folder), *given)) == ["a", "b"]

    @pytest.mark.parametrize("form", ["http://127.0.0.1:{port}/red.png", "data:image/png;base64,aGk=.png", "file:///red.png"])
    def test_no_url_is_fetched(self, form, folder, visual, socket_enabled):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)  # noqa: FBT003 - the standard library's
            url = form.format(port=listening.getsockname()[1])
            for more in ({}, {"content": "red"}):
                document = Document(id="d7", meta={"file_path": url}, **more)
                with pytest.raises(ValueError, match=r"the document 'd7': .* a URL, which is never fetched"):
                    ranked(ranker(visual, root_path=folder), document)
                assert len(ranked(ranker(visual), document)) == 1  # a file of no root: its content
            with pytest.raises(BlockingIOError):
                listening.accept()

    def test_damaged_and_absent_are_errors_that_name_the_document(self, folder, visual):
        (folder / "damaged.png").write_bytes(png("red")[:50])
        made, good = ranker(visual, root_path=folder), Document(blob=blob("red"))
        for broken in ({"meta": {"file_path": "damaged.png"}}, {"blob": ByteStream(b"no image", mime_type="image/png")}):
            with pytest.raises(ValueError, match=r"the document 'd7': .* is no whole image of PNG"):
                ranked(made, good, Document(id="d7", **broken))
        with pytest.raises(ValueError, match="the document 'd7': an image must have bytes"):
            ranked(made, good, Document(id="d7", blob=ByteStream(b"", mime_type="image/png")))
        with pytest.raises(FileNotFoundError, match="the document 'd7': No such file"):
            ranked(made, good, Document(id="d7", meta={"file_path": "absent.png"}))

    @pytest.mark.parametrize(
        ("number", "message"),
        [(9, "has 4 pages, so that there is no page 9"), (0, "number must be at least 1"), ("iv", "must be a whole number")],
    )
    def test_pages_that_are_none_are_errors_that_name_the_document(self, number, message, folder, visual):
        document = Document(id="d7", content="x", meta={"file_path": "colours.pdf", "page_number": number})
        with pytest.raises(ValueError, match=f"the document 'd7': .*{message}"):
            ranked(ranker(visual, root_path=folder), document)

    def test_that_a_store_holds_are_not_opened(self, folder, decoded):
        given = [Document(id=colour, meta={"file_path": f"{colour}.png"}) for colour in COLOURS]
        given += [Document(id="page", meta={"file_path": "colours.pdf", "page_number": 2}), Document(id="b", blob=blob("cyan"))]
        store = folder / "vectors"
        first = ranked(LateRerankRanker(FakeVisualEncoder(), store=store, root_path=folder), *given)
        assert len(decoded) == 6
        again = ranked(LateRerankRanker(FakeVisualEncoder(), store=store, root_path=folder), *given)
        assert (ids(again), len(decoded)) == (ids(first), 6)

    def test_indexed_ahead_are_not_encoded_again(self, folder, visual):
        given = [Document(meta={"file_path": f"{colour}.png"}) for colour in COLOURS]
        given += [Document(content="a text", meta={"title": "a title"}), Document(blob=blob("cyan"), content="x")]
        made = LateRerankRanker(visual, root_path=folder, meta_fields_to_embed=["title"])
        made.warm_up()
        made.reranker.index(map(made.content_of, given))
        n_encoded = visual.n_documents
        ranked(made, *given)
        assert (n_encoded, visual.n_documents) == (6, 6)

    def test_may_be_named_by_another_field(self, folder, visual):
        made = ranker(visual, root_path=folder, file_path_meta_field="source")
        assert ids(ranked(made, *(Document(id=c, meta={"source": f"{c}.png"}) for c in COLOURS)))[0] == "red"


class TestOtherModels:
    def test_a_model_of_texts_ranks_the_content_and_opens_no_image(self, folder, decoded):
        given = [
            Document(id="cats", content="cats sleep", meta={"file_path": "../absent.png"}),
            Document(id="rivers", content="rivers run", blob=ByteStream(b"damaged", mime_type="image/png")),
        ]
        assert ids(ranked(ranker(FakeEncoder(), root_path=folder), *given, query="cats")) == ["cats", "rivers"]
        assert decoded == []

    def test_an_image_without_content_is_an_error_that_names_the_document(self, folder):
        made = ranker(FakeEncoder(), root_path=folder, meta_fields_to_embed=["title"])
        for more in ({"blob": blob("red")}, {"meta": {"file_path": "red.png", "title": "red"}, "content": " \u200b"}):
            with pytest.raises(IncompatibleError, match=r"\(id 'd7'\) has an image without text, but the model 'FakeEncoder'"):
                ranked(made, Document(content="red"), Document(id="d7", **more))

    def test_a_content_for_a_model_of_images_alone_is_an_error_that_names_the_document(self):
        made = ranker(FakeVisualEncoder(only_pictures=True))
        with pytest.raises(IncompatibleError, match=r"\(id 'd7'\) is a text without an image"):
            ranked(made, Document(blob=blob("red")), Document(id="d7", content="red"))


class TestOptions:
    def test_come_back_from_dicts_json_pickles_and_copies(self, folder):
        made = LateRerankRanker(root_path=folder, file_path_meta_field="source")
        written = json.loads(json.dumps(made.to_dict()))
        assert written["init_parameters"]["root_path"] == str(folder)
        for again in (LateRerankRanker.from_dict(written), pickle.loads(pickle.dumps(made)), deepcopy(made)):
            assert (again.root_path, again.file_path_meta_field) == (str(folder), "source")
        old = {
            name: value
            for name, value in written["init_parameters"].items()
            if name not in ("root_path", "file_path_meta_field", "token_vectors_field")
        }
        read = LateRerankRanker.from_dict({**written, "init_parameters": old})
        assert (read.root_path, read.file_path_meta_field) == (None, "file_path")

    @pytest.mark.parametrize(("wrong", "error"), [("", ValueError), (7, TypeError)])
    def test_a_root_that_is_no_folders_path_and_a_field_that_is_no_name_are_refused(self, wrong, error):
        with pytest.raises(error, match="root_path must be the path of a folder"):
            LateRerankRanker(root_path=wrong)
        with pytest.raises(TypeError, match="file_path_meta_field must be a name"):
            LateRerankRanker(file_path_meta_field=None)

    def test_a_budget_counts_contents_and_leaves_an_image_without_content_out(self, visual):
        given = [Document(id="wordless", blob=blob("red")), Document(id="page", content="a red page", blob=blob("red"))]
        assert ids(ranked(ranker(visual, budget_tokens=100), *given)) == ["page"]
