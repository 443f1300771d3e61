"""Documents that are images, over HTTP: as each client writes them, within limits, and never fetched."""

import base64
import io
import struct
import sys
import zlib
from contextlib import contextmanager

import httpx
import pytest
from PIL import Image
from serving import counts, running

from late_rerank import Candidate, Reranker
from late_rerank.pictures import ImagePicture
from late_rerank.retrieve import BM25Retriever
from late_rerank.serve.app import create_app
from late_rerank.serve.folders import Folders
from late_rerank.serve.limits import Limits
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder

_watched = None


def _watch(event, arguments):
    if _watched is not None and event in ("open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        _watched.append((event, arguments))


sys.addaudithook(_watch)  # for good: Python can't take one back


@contextmanager
def watched(url):
    """All files that are opened, processes that are started and addresses that are asked meanwhile, but the server's."""
    global _watched
    port = int(url.rpartition(":")[2])
    _watched = seen = []
    told = []
    try:
        yield told
    finally:
        _watched = None
        told += [(event, repr(arguments)) for event, arguments in seen if f"127.0.0.1', {port}" not in repr(arguments)]


def image_bytes(colour, kind="PNG", size=(64, 96), **options):
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, kind, **options)
    return held.getvalue()


def b64(held):
    return base64.b64encode(held).decode()


def uri(held):
    return f"data:image/png;base64,{b64(held)}"


def chunk(name, held):
    return struct.pack(">I", len(held)) + name + held + struct.pack(">I", zlib.crc32(name + held))


def bomb(width=12_000, height=12_000):
    """A PNG of 17 kB that would be 144 million pixels."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width // 8 + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


RED, BLUE, GREEN = (image_bytes(colour) for colour in ("red", "blue", "green"))
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"


@pytest.fixture(scope="module")
def url():
    """A model of texts and images, whose store holds the blue image."""
    reranker = Reranker(FakeVisualEncoder())
    reranker.index([ImagePicture(BLUE)])
    pages = [Candidate("a blue page", "report.pdf#page=3", image=BLUE), Candidate("a page", "report.pdf#page=4", image=RED)]
    settings = Settings(
        limits=Limits(n_images=10, image_bytes=50_000, image_pixels=1_000_000, n_documents=50),
        folders={"reports": BM25Retriever(pages)},
    )
    with running(create_app(lambda: reranker, settings)) as url:
        yield url


@pytest.fixture(scope="module")
def texts_url():
    """A model of texts alone."""
    with running(create_app(lambda: Reranker(FakeEncoder()))) as url:
        yield url


@pytest.fixture(scope="module", autouse=True)
def client():
    """One for all: each `httpx.post` makes a TLS context, which takes 50 ms."""
    with httpx.Client(timeout=60) as client:
        post.client = client
        yield


def post(url, path, body):
    return post.client.post(url + path, json=body)


def order(answer):
    assert answer.status_code == 200, answer.text
    return [each["index"] for each in answer.json()["results"]]


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    message = answer.json()["message"]
    assert all(word in message for word in words), message
    return message


class TestShapes:
    @pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
    @pytest.mark.parametrize(
        "write",
        [
            lambda held: {"image": uri(held)},
            lambda held: {"image": b64(held), "id": "p", "text": "words"},
            lambda held: {"content": [{"type": "image_url", "image_url": {"url": uri(held)}}]},
            lambda held: {"content": [{"type": "text", "text": "red"}, {"type": "image_url", "image_url": {"url": uri(held)}}]},
            lambda held: {"type": "image", "format": "base64", "value": uri(held)},
        ],
    )
    def test_the_image_that_matches_comes_first(self, url, path, write):
        documents = [write(BLUE), "green words", write(RED)]
        answer = post(url, path, {"query": "red", "documents": documents})

        assert order(answer)[0] == 2
        assert answer.json()["results"][0]["relevance_score"] == pytest.approx(1, abs=0.02)
        assert "ignored" not in answer.json()["meta"]

    @pytest.mark.parametrize(
        ("path", "name", "results"), [("/v1/ranking", "passages", "rankings"), ("/reranking", "input", "data")]
    )
    def test_nvidias_and_mixedbreads_documents_may_be_images_too(self, url, path, name, results):
        told = post(url, path, {"query": "red", name: [{"image": uri(BLUE)}, {"image": uri(RED)}]}).json()

        assert [each["index"] for each in told[results]] == [1, 0]

    def test_a_model_that_sees_images_encodes_the_image_beside_a_text(self, url):
        documents = [{"text": "red", "image": uri(BLUE)}, {"text": "blue", "image": uri(RED)}, {"text": "red"}]
        answer = post(url, "/rerank", {"query": "red", "documents": documents})

        assert order(answer) == [1, 2, 0]

    def test_several_queries_read_an_image_once(self, url, monkeypatch):
        sizes = []
        size = ImagePicture.size
        monkeypatch.setattr(ImagePicture, "size", lambda self: sizes.append(self) or size(self))
        told = post(
            url, "/rerank", {"queries": ["red", "blue"], "documents": [{"image": uri(BLUE)}, {"image": uri(RED)}]}
        ).json()

        assert [each["results"][0]["index"] for each in told["data"]] == [1, 0]
        assert len(sizes) == 2

    def test_every_format_is_one_image(self, url):
        documents = [{"image": b64(image_bytes("red", kind))} for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]
        answer = post(url, "/rerank", {"query": "red", "documents": documents})

        assert {round(each["relevance_score"], 1) for each in answer.json()["results"]} == {1.0}

    def test_a_context_ranks_images_and_shows_their_text(self, url):
        documents = [{"text": "on a blue page", "image": uri(BLUE)}, {"text": "on a red page", "image": uri(RED), "id": 7}]
        told = post(url, "/context", {"query": "red", "documents": documents, "budget_tokens": 50}).json()

        assert (told["parts"][0]["id"], told["parts"][0]["index"]) == (7, 1)
        assert "on a red page" in told["text"]


class TestAnswers:
    def test_an_image_is_never_given_back(self, url):
        documents = [
            {"image": uri(RED), "id": 5, "title": "x"},
            {"text": "words", "image": b64(BLUE)},
            {"text": "a", "title": "y"},
        ]
        answer = post(url, "/rerank", {"query": "red", "documents": documents, "return_documents": True})
        shown = {each["index"]: each["document"] for each in answer.json()["results"]}

        assert shown == {
            0: {"text": "", "id": 5, "image_key": ImagePicture(RED).key().hex()},
            1: {"text": "words", "image_key": ImagePicture(BLUE).key().hex()},
            2: {"text": "a", "title": "y"},
        }
        assert b64(RED)[:40] not in answer.text

    def test_nor_by_other_clients_answers(self, url):
        documents = [{"image": uri(RED)}, {"text": "words", "image": uri(BLUE)}]
        for path, body in (
            ("/reranking", {"input": documents, "return_input": True}),
            ("/infinity/rerank", {"documents": documents, "return_documents": True}),
            ("/rerank", {"documents": documents, "return_documents": True, "top_k": 2}),
        ):
            answer = post(url, path, {"query": "red", **body})
            assert answer.status_code == 200
            assert b64(RED)[:40] not in answer.text

    def test_nor_by_a_model_of_texts(self, texts_url):
        documents = [{"text": "red", "image": uri(RED), "title": "x"}]
        answer = post(texts_url, "/rerank", {"query": "red", "documents": documents, "return_documents": True})

        assert answer.json()["results"][0]["document"] == {"text": "red", "title": "x"}

    def test_a_search_tells_pages_and_their_keys(self, url):
        told = post(url, "/v1/search", {"query": "red page", "folder": "reports"}).json()

        assert [each["document"] for each in told["results"]] == [
            {"text": "a page", "id": "report.pdf#page=4", "image_key": ImagePicture(RED).key().hex()},
            {"text": "a blue page", "id": "report.pdf#page=3", "image_key": ImagePicture(BLUE).key().hex()},
        ]

    @pytest.mark.parametrize(("which", "kinds"), [("url", ["image", "text"]), ("texts_url", ["text"])])
    def test_the_server_tells_what_documents_may_be(self, request, which, kinds):
        url = request.getfixturevalue(which)
        (model,) = httpx.get(f"{url}/v1/models").json()["data"]

        assert httpx.get(f"{url}/info").json()["modalities"] == kinds
        assert model["modalities"] == kinds
        assert httpx.get(f"{url}/v1/models/{model['id']}").json()["modalities"] == kinds


class TestKeys:
    def test_indexing_tells_the_keys_by_which_pictures_are_asked_for(self, served):
        calls = []
        url = served(FakeVisualEncoder(before_document=calls.append))
        documents = ["words", {"image": uri(RED)}, {"image": b64(GREEN), "text": "a page"}, {"image": uri(RED)}]
        told = post(url, "/v1/index", {"documents": documents}).json()
        keys = told["image_keys"]
        calls.clear()

        assert (told["n_documents"], told["n_encoded"], told["n_cached"]) == (4, 3, 1)
        assert keys == [None, *(ImagePicture(held).key().hex() for held in (RED, GREEN, RED))]
        answer = post(url, "/rerank", {"query": "green", "documents": [{"image_key": key} for key in keys[1:3]] + ["words"]})
        assert order(answer)[0] == 1
        assert answer.json()["meta"]["cache"] == {"hits": 3, "misses": 0}
        assert calls == []

    def test_texts_alone_have_no_keys(self, url):
        assert "image_keys" not in post(url, "/v1/index", {"documents": ["words"]}).json()

    def test_a_stored_image_is_not_decoded_again(self, url, monkeypatch):
        monkeypatch.setattr(ImagePicture, "pixels", lambda _: pytest.fail("it was decoded"))
        answer = post(url, "/rerank", {"query": "blue", "documents": ["red", {"image": uri(BLUE)}]})

        assert order(answer) == [1, 0]
        assert answer.json()["meta"]["cache"]["hits"] >= 1

    @pytest.mark.parametrize("path", ["/rerank", "/v1/index", "/context"])
    def test_a_key_that_is_not_stored_is_named_by_its_place(self, url, path):
        keys = [ImagePicture(BLUE).key().hex(), "ab" * 16]
        body = {"query": "blue", "documents": ["words", *({"image_key": key} for key in keys)]}

        refused(post(url, path, body), 422, "documents[2]", "index it first")

    def test_so_it_is_where_nothing_is_encoded(self):
        with running(create_app(lambda: Reranker(FakeVisualEncoder(), on_missing="skip"))) as url:
            refused(post(url, "/rerank", {"query": "a", "documents": [{"image_key": "ab" * 16}]}), 422, "documents[0]")

    @pytest.mark.parametrize("key", ["ab" * 15, "xy" * 16, "../../etc/passwd", "", 5, "http://127.0.0.1/"])
    def test_what_is_no_key_is_told(self, url, key):
        refused(post(url, "/rerank", {"query": "a", "documents": ["b", {"image_key": key}]}), 422, "documents[1]")

    def test_keys_are_no_images_that_count(self, url):
        body = {"query": "blue", "documents": [{"image_key": ImagePicture(BLUE).key().hex()}] * 40}

        assert len(order(post(url, "/rerank", body))) == 40


class TestNothingIsFetched:
    NAMES = ("http://127.0.0.1:9/secret.png", "https://example.invalid/a.png", "ftp://127.0.0.1/a", "s3://bucket/a.png")

    @pytest.mark.parametrize("path", ["/rerank", "/v1/index", "/context"])
    def test_neither_a_url_nor_a_file(self, url, tmp_path, path):
        file = tmp_path / "red.png"
        file.write_bytes(RED)
        names = [*self.NAMES, f"file://{file}", str(file), "/etc/passwd", "red.png"]
        for name in names:
            for image in (
                {"image": name},
                {"image_url": {"url": name}},
                {"content": [{"type": "image_url", "image_url": {"url": name}}]},
                {"type": "image", "format": "url", "value": name},
                {"text": "red", "image": name},
            ):
                with watched(url) as told:
                    answer = post(url, path, {"query": "red", "documents": ["a", image]})
                message = refused(answer, 422, "documents[1]")
                assert "send the bytes" in message or "base64" in message
                assert name not in answer.text
                assert told == []

    def test_texts_that_look_like_one_are_texts(self, url, tmp_path):
        file = tmp_path / "red.png"
        file.write_bytes(RED)
        texts = [*self.NAMES, f"file://{file}", str(file), uri(RED), b64(RED), "<image>", '{"image": "red.png"}']
        with watched(url) as told:
            for documents in (texts, [{"text": text} for text in texts]):
                answer = post(url, "/rerank", {"query": texts[0], "documents": documents})
                assert answer.json()["results"][0]["relevance_score"] == pytest.approx(1, abs=0.02)
                assert len(order(answer)) == len(texts)
                assert all(post(url, "/rerank", {"query": text, "documents": ["a"]}).status_code == 200 for text in texts)
        assert told == []

    def test_a_query_is_a_text(self, url):
        for query in ({"image": uri(RED)}, {"content": [{"type": "image_url", "image_url": {"url": uri(RED)}}]}):
            refused(post(url, "/rerank", {"query": query, "documents": ["a"]}), 422, "it has an image")


class TestLimits:
    def test_a_bomb_is_refused_by_its_header(self, url, monkeypatch):
        monkeypatch.setattr(ImagePicture, "pixels", lambda _: pytest.fail("it was decoded"))
        held = bomb()
        assert len(held) < 20_000
        refused(post(url, "/rerank", {"query": "a", "documents": ["b", {"image": uri(held)}]}), 413, "documents[1]", "pixels")
        held = bomb(2_000, 501)
        refused(post(url, "/rerank", {"query": "a", "documents": [{"image": uri(held)}]}), 413, "2,000 x 501", "1,000,000")

    def test_as_many_pixels_as_are_taken_are_taken(self, url):
        assert post(url, "/rerank", {"query": "a", "documents": [{"image": uri(bomb(2_000, 500))}]}).status_code == 200

    def test_too_many_bytes_are_refused(self, url):
        for held in (bytes(50_001), bytes(500_000)):
            answer = post(url, "/rerank", {"query": "a", "documents": ["b", {"image": b64(held)}]})
            refused(answer, 413, "documents[1]", "at most 50,000")

    def test_too_many_images_are_refused(self, url):
        documents = [{"image": uri(RED)}] * 11
        refused(post(url, "/rerank", {"query": "red", "documents": documents}), 413, "11 images: at most 10")
        refused(post(url, "/v1/index", {"documents": documents}), 413, "11 images: at most 10")
        assert len(order(post(url, "/rerank", {"query": "red", "documents": [*documents[1:], "red"]}))) == 11

    def test_a_hundred_and_one_are_by_default(self, served):
        answer = post(served(FakeVisualEncoder()), "/rerank", {"query": "red", "documents": [{"image": uri(RED)}] * 101})
        refused(answer, 413, "101 images: at most 100")

    @pytest.mark.parametrize("which", ["url", "texts_url"])
    def test_two_images_in_a_document_are_refused(self, request, which):
        url = request.getfixturevalue(which)
        for document in ({"image": uri(RED), "image_url": uri(BLUE)}, {"content": [{"image": uri(RED)}, {"image": uri(RED)}]}):
            refused(post(url, "/rerank", {"query": "a", "documents": ["b", document]}), 422, "documents[1]", "got 2")


class TestDamage:
    @pytest.mark.parametrize(
        ("image", "words"),
        [
            (b64(EPS), "no image of PNG"),
            (uri(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "no image of PNG"),
            (uri(b"%PDF-1.7"), "no image of PNG"),
            (b64(RED[:20]), "no image of PNG"),
            (b64(b"\0"), "no image of PNG"),
            ("data:image/png;base64,", "got none"),
            ("data:image/png;base64", "comma"),
            ("data:image/png,abc", "must be base64"),
            (b64(RED)[:30] + "\n" + b64(RED)[30:], "white space"),
            (b64(RED) + "=", "padded"),
            (b64(RED)[:-1] + "\u00e4", "other characters"),
            ("a picture of a cat", "white space"),
            ({"b64": "x"}, "must be a text"),
            (["x"], "must be a text"),
            (5, "must be a text"),
        ],
    )
    @pytest.mark.parametrize("path", ["/rerank", "/v1/index"])
    def test_what_is_no_image_is_named_by_its_place_and_not_quoted(self, url, path, image, words):
        answer = post(url, path, {"query": "a", "documents": ["b", {"image": uri(BLUE)}, {"image": image}]})
        message = refused(answer, 422, "documents[2]", words)

        assert not isinstance(image, str) or image[:12] not in message or image.startswith("data:")

    @pytest.mark.parametrize("path", ["/rerank", "/v1/index", "/context"])
    @pytest.mark.parametrize("held", [image_bytes("red", "JPEG", (400, 400))[:900], GREEN[:-30] + bytes(8)])
    def test_one_that_shows_when_it_is_decoded_is_named_too(self, served, path, held):
        url = served(FakeVisualEncoder())
        good = [{"image": uri(RED)}, {"image": uri(BLUE)}]
        answer = post(url, path, {"query": "red", "documents": ["a", *good, {"image": b64(held)}, {"image": uri(GREEN)}]})

        message = refused(answer, 422, "documents[3] can't be encoded: the image is no whole image")
        assert message.count("documents[") == 1
        assert "are stored" not in message
        assert order(post(url, "/rerank", {"query": "red", "documents": ["a", *good]}))[0] == 1
        assert counts(url).get('late_rerank_rejected_total{reason="422"}') == 1

    def test_one_that_the_model_refuses_is_named_as_well(self, served):
        class Narrow(FakeVisualEncoder):
            def _colours(self, picture):
                if picture.pixels().width < 50:
                    raise ValueError("the aspect ratio must be below 200")
                return super()._colours(picture)

        narrow = image_bytes("red", size=(10, 90))
        answer = post(served(Narrow()), "/rerank", {"query": "a", "documents": [{"image": uri(RED)}, {"image": uri(narrow)}]})
        refused(answer, 422, "documents[1]", "aspect ratio")

    def test_one_of_a_folder_is_named_by_its_id_without_its_path(self, served, tmp_path):
        (tmp_path / "cut.jpg").write_bytes(image_bytes("red", "JPEG", (400, 400))[:900])
        pages = [Candidate("red", "red.png", image=RED), Candidate("red", "cut.jpg", image=tmp_path / "cut.jpg")]
        answer = post(
            served(FakeVisualEncoder(), folders={"scans": BM25Retriever(pages)}),
            "/v1/search",
            {"query": "red", "folder": "scans"},
        )
        assert str(tmp_path) not in refused(answer, 500, "cut.jpg can't be encoded", "mend or remove")

    def test_one_that_was_removed_from_a_folder_is_named_as_well(self, served, tmp_path):
        pages = [Candidate("red", "red.png", image=RED), Candidate("red", "gone.png", image=tmp_path / "gone.png")]
        answer = post(
            served(FakeVisualEncoder(), folders={"scans": BM25Retriever(pages)}),
            "/v1/search",
            {"query": "red", "folder": "scans"},
        )
        assert str(tmp_path) not in refused(answer, 500, "gone.png can't be encoded", "mend or remove")

    def test_another_error_stays_the_servers(self, served):
        class Broken(FakeVisualEncoder):
            def _colours(self, picture):
                raise RuntimeError("secret")

        answer = post(served(Broken()), "/rerank", {"query": "a", "documents": [{"image": uri(RED)}]})
        assert answer.status_code == 500
        assert "secret" not in answer.text


class TestContext:
    def test_what_it_does_not_know_is_named_as_ignored(self, url):
        body = {"query": "red", "documents": ["red words", {"image": uri(RED)}]}
        answer = post(url, "/context", body | {"images": "keep", "user": "x"})

        assert answer.json()["meta"]["ignored"] == ["images"]
        assert answer.headers["x-late-rerank-ignored"] == "images"
        plain = post(url, "/context", body)
        assert "ignored" not in plain.json()["meta"]
        assert "x-late-rerank-ignored" not in plain.headers


class TestModelsOfOneKind:
    def test_a_model_of_texts_reads_the_text_and_names_the_image(self, texts_url):
        documents = [
            {"text": "cats", "image": "http://127.0.0.1:9/secret.png"},
            {"text": "dogs", "image": "data:secret", "image_url": "secret"},
            {"content": [{"type": "text", "text": "rivers"}, {"type": "image_url", "image_url": {"url": uri(RED)}}]},
        ]
        with watched(texts_url) as told:
            answer = post(texts_url, "/rerank", {"query": "cats", "documents": documents})

        assert order(answer)[0] == 0
        assert answer.json()["meta"]["ignored"] == ["image", "image_url"]
        assert answer.headers["x-late-rerank-ignored"] == "image, image_url"
        assert told == []
        indexed = post(texts_url, "/v1/index", {"documents": documents})
        assert (indexed.json()["n_documents"], "image_keys" in indexed.json()) == (3, False)
        assert indexed.headers["x-late-rerank-ignored"] == "image, image_url"

    @pytest.mark.parametrize("path", ["/rerank", "/v1/index", "/context"])
    @pytest.mark.parametrize("document", [{"image": uri(RED)}, {"image": uri(RED), "text": " "}, {"image_key": "ab" * 16}])
    def test_it_needs_a_text(self, texts_url, path, document):
        answer = post(texts_url, path, {"query": "cats", "documents": ["a", document]})
        refused(answer, 422, "documents[1] has an image without text, but the model 'FakeEncoder' sees no images")

    def test_a_folder_of_its_own_is_not_told(self, tmp_path):
        encoder = FakeEncoder()
        encoder.name = str(tmp_path)
        with running(create_app(lambda: Reranker(encoder))) as url:
            answer = post(url, "/rerank", {"query": "cats", "documents": [{"image": uri(RED)}]})
        assert str(tmp_path.parent) not in refused(answer, 422, "sees no images")

    def test_a_folder_of_scans_is_none_for_it(self, served):
        url = served(FakeEncoder(), folders=Folders(pages={"scans": BM25Retriever([Candidate("", "a", image=RED)])}))
        assert httpx.get(f"{url}/info").json()["folders"] == ["scans"]
        answer = post(url, "/v1/search", {"query": "cats", "folder": "scans"})
        refused(answer, 404, "the folder scans has no text, and the model FakeEncoder sees no images")

    def test_a_model_of_images_alone_takes_no_text(self, served):
        url = served(FakeVisualEncoder(only_pictures=True))
        for path, body in (
            ("/rerank", {"query": "red", "documents": [{"image": uri(RED)}, "secret text"]}),
            ("/rerank", {"query": "red", "documents": ["", "secret text"]}),
            ("/v1/index", {"documents": ["", {"text": "secret text"}]}),
            ("/context", {"query": "red", "documents": ["", "secret text"]}),
        ):
            answer = post(url, path, body)
            refused(answer, 422, "documents[1] is a text without an image")
            assert "secret" not in answer.text
        answer = post(url, "/rerank", {"query": "red", "texts": ["", "secret text"]})
        assert (answer.status_code, "texts[1] is a text without" in answer.json()["error"]) == (422, True)
        refused(post(url, "/score", {"text_1": "red", "text_2": ["a"]}), 422, "documents[0]")
        assert order(post(url, "/rerank", {"query": "red", "documents": [{"image": uri(BLUE)}, {"image": uri(RED)}]})) == [1, 0]
