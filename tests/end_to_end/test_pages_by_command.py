"""Pages of PDF files and images through the commands, with a tiny checkpoint of a page-image model."""

import json

import pytest
import visual_checkpoints
from pdfs import Page, make_pdf
from PIL import Image

from late_rerank.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(visual_checkpoints.neomme(tmp_path_factory.mktemp("visual") / "neomme"))


@pytest.fixture
def report(tmp_path):
    file = tmp_path / "report.pdf"
    file.write_bytes(
        make_pdf(["Annual report", "Total profit: 12 EUR"], ["Minutes of the meeting"], Page(["A scan"], kind="scan"))
    )
    return file


def answered(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_page_of_a_file_is_found_scans_too_and_encoded_once(model, report, tmp_path, capsys):
    store = str(tmp_path / "store")
    indexed = answered(capsys, "index", str(report), "--store", store, "--model", model)
    found = answered(capsys, "search", str(report), "profit", "--store", store, "--model", model)

    assert (indexed["n_documents"], indexed["n_encoded"]) == (3, 3)
    assert sorted(result["metadata"]["page"] for result in found["results"]) == [1, 2, 3]
    assert {result["metadata"]["path"] for result in found["results"]} == {"report.pdf"}
    assert found["store"] == {"hits": 3, "misses": 0}
    assert answered(capsys, "index", str(report), "--store", store, "--model", model)["n_cached"] == 3


def test_candidates_of_a_file_may_be_images_and_pages_beside_it(model, report, tmp_path, capsys):
    Image.new("RGB", (60, 80), "white").save(tmp_path / "blank.png")
    rows = [
        {"image": "report.pdf", "page": 3, "id": "scan"},
        {"image": "blank.png", "id": "blank"},
        {"text": "words", "id": "text"},
    ]
    (tmp_path / "found.jsonl").write_text("\n".join(map(json.dumps, rows)))

    ranked = answered(capsys, "rerank", "profit", str(tmp_path / "found.jsonl"), "--model", model)

    assert sorted(result["id"] for result in ranked["results"]) == ["blank", "scan", "text"]
    assert all(result["score"] > 0 for result in ranked["results"])


def test_a_damaged_image_is_told_and_the_others_are_stored(model, tmp_path, capsys):
    folder = tmp_path / "scans"
    folder.mkdir()
    Image.new("RGB", (60, 80), "white").save(folder / "good.png")
    Image.effect_noise((200, 200), 90).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:9000])

    assert main(["index", str(folder), "--store", str(tmp_path / "store"), "--model", model, "--json"]) == 0
    told = capsys.readouterr()
    assert "cut.png" in told.err
    assert json.loads(told.out)["n_encoded"] == 1


@pytest.mark.parametrize(
    "words",
    [["search", "FILE", "profit"], ["context", "FILE", "profit"], ["doctor"], ["serve", "--port", "0"], ["mcp"]],
    ids=lambda words: words[0],
)
def test_a_query_encoder_is_refused_with_what_to_leave_out(words, model, report, capsys):
    words = [str(report) if word == "FILE" else word for word in words]
    named = [model] if words == ["doctor"] else ["--model", model]
    assert main([*words, *named, "--query-encoder", "fast"]) == 1
    told = capsys.readouterr().err
    assert "is a model of page images, which encodes its queries itself" in told
    assert "distil-query" not in told
