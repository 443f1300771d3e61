"""A server of a real model of page images, with random weights: its folder, its keys, its errors."""

import base64
import io

import httpx
import pytest
from pdfs import Page, make_pdf
from PIL import Image
from serving import running
from visual_checkpoints import neomme

from late_rerank import Reranker
from late_rerank.serve.app import create_app
from late_rerank.serve.folders import read_folders
from late_rerank.serve.settings import Settings


def b64(kind="PNG"):
    held = io.BytesIO()
    Image.new("RGB", (400, 400), "red").save(held, kind)
    return held.getvalue(), base64.b64encode(held.getvalue()).decode()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    pytest.importorskip("pypdfium2", reason="needs pypdfium2: pip install late-rerank[pdf]")
    folder = tmp_path_factory.mktemp("served")
    (folder / "reports").mkdir()
    pages = make_pdf(Page(["The invoice of cats"]), Page(["A scan of rivers"], kind="scan"))
    (folder / "reports" / "report.pdf").write_bytes(pages)
    (folder / "reports" / "red.png").write_bytes(b64()[0])
    model = str(neomme(folder / "model"))
    folders = read_folders({"reports": str(folder / "reports")}, [model], "english")
    assert not folders.texts
    with running(create_app(lambda: Reranker(model), Settings(folders=folders))) as url:
        yield url


def test_pages_and_images_of_a_folder_are_found_and_asked_for_by_their_keys(url):
    assert httpx.get(f"{url}/info", timeout=60).json()["modalities"] == ["image", "text"]
    told = httpx.post(f"{url}/v1/search", json={"query": "cats", "folder": "reports", "k": 1}, timeout=90).json()
    shown = {each["document"]["id"]: each["document"] for each in told["results"]}
    assert sorted(shown) == ["red.png", "report.pdf#page=1", "report.pdf#page=2"]
    assert shown["report.pdf#page=2"]["text"] == ""

    documents = [*({"image_key": document["image_key"]} for document in shown.values()), {"image": b64()[1]}]
    ranked = httpx.post(f"{url}/rerank", json={"query": "cats", "documents": documents}, timeout=90).json()
    assert ranked["meta"]["cache"] == {"hits": 4, "misses": 0}
    scores = {each["index"]: each["relevance_score"] for each in ranked["results"]}
    assert scores[3] == scores[list(shown).index("red.png")]


def test_a_damaged_image_is_named_by_its_place(url):
    cut = base64.b64encode(b64("JPEG")[0][:900]).decode()
    answer = httpx.post(f"{url}/rerank", json={"query": "cats", "documents": ["a", {"image": cut}]}, timeout=90)
    assert (answer.status_code, "documents[1] can't be encoded" in answer.json()["message"]) == (422, True)


def test_texts_that_name_files_are_ranked_as_texts(url, tmp_path):
    """sentence-transformers opens such texts, were it given them as they are."""
    file = tmp_path / "red.png"
    file.write_bytes(b64()[0])
    documents = [str(file), "http://127.0.0.1:9/red.png", f"data:image/png;base64,{b64()[1]}", "<img>"]
    for query in (*documents[:2], "<img>", "data:image/png;base64,AAAA"):
        answer = httpx.post(f"{url}/rerank", json={"query": query, "documents": documents}, timeout=90)
        assert (answer.status_code, len(answer.json()["results"])) == (200, 4), answer.text
