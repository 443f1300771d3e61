"""Passages from files, and from folders of the server."""

import json

import httpx
import pytest
from browsers import QUERY
from PIL import Image

from late_rerank import Candidate, Reranker
from late_rerank.retrieve import BM25Retriever, PagesRetriever
from late_rerank.testing.fakes import FakeVisualEncoder


def test_files_are_read_in_the_browser_and_ranked(opened, tmp_path):
    text, lines = tmp_path / "notes.txt", tmp_path / "more.jsonl"
    text.write_bytes(b"\xef\xbb\xbfrivers run\r\n\r\ndogs bark\r\nat night\r\n \r\n")
    rows = [{"id": "c-1", "text": "cats sleep"}, {"_id": 7, "title": "when", "text": "do"}, {"text": "no name"}]
    lines.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    page = opened()
    page.choose("source", "files")
    page.find("#files").send_keys(f"{text}\n{lines}")
    page.wait(lambda: len(page.all("#file-list li")) == 2)
    assert page.texts("#file-list li span") == ["notes.txt", "2 passages", "more.jsonl", "3 passages"]
    page.ranked(documents=None)

    assert page.whole_texts("#before .text") == ["rivers run", "dogs bark\nat night", "cats sleep", "when do", "no name"]
    assert set(page.texts("#after .label")) == {"notes.txt, 1", "notes.txt, 2", "c-1", "7", "more.jsonl, 3"}
    page.find("#file-list button").click()
    page.ranked(documents=None)
    assert len(page.all("#after > li")) == 3
    assert page.focused.get_attribute("id") == "rank"


@pytest.mark.parametrize(
    ("name", "held", "words"),
    [
        ("a.jsonl", '{"text": "fine"}\n{"text": ', "a.jsonl, line 2 is no JSON"),
        ("a.jsonl", '{"name": "no text"}', 'a.jsonl, line 1 is no object with a "text"'),
        ("a.jsonl", "null", 'a.jsonl, line 1 is no object with a "text"'),
        ("a.pdf", "%PDF", "a.pdf is none of .txt, .md and .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(opened, tmp_path, name, held, words):
    (tmp_path / name).write_text(held)
    page = opened()
    page.choose("source", "files")
    page.run("document.getElementById('files').removeAttribute('accept')")
    page.find("#files").send_keys(str(tmp_path / name))
    page.alert(words)
    assert page.all("#file-list li") == []


def test_a_file_in_utf_16_is_read_and_in_another_encoding_refused(opened, tmp_path):
    text = "Größe und Gewicht\n\n大きさ"
    for name, encoding in (("le.txt", "utf-16-le"), ("be.txt", "utf-16-be")):
        (tmp_path / name).write_bytes(f"\ufeff{text}".encode(encoding))
    (tmp_path / "ansi.txt").write_bytes("Größe".encode("cp1252"))
    (tmp_path / "japanese.txt").write_bytes("大きさ".encode("shift_jis"))
    page = opened()
    page.choose("source", "files")
    for name in ("ansi.txt", "japanese.txt"):
        page.find("#files").send_keys(str(tmp_path / name))
        page.alert(f"{name} isn't in UTF-8. Convert it to UTF-8")
        assert page.all("#file-list li") == []
    page.find("#files").send_keys(f"{tmp_path / 'le.txt'}\n{tmp_path / 'be.txt'}")
    page.wait(lambda: len(page.all("#file-list li")) == 2)
    page.ranked("Gewicht", documents=None)
    assert page.whole_texts("#before .text") == text.split("\n\n") * 2


def test_a_folder_of_the_servers_is_searched_and_ranked(opened):
    page = opened()
    page.choose("source", "folder")
    assert not page.find("#passages").is_displayed()
    page.write("#shown", "4")
    page.ranked(documents=None)
    answer = httpx.post(f"{page.driver.current_url}v1/search", json={"query": QUERY, "folder": "animals", "top_n": 4}).json()
    places = [result["index"] + 1 for result in answer["results"]]

    assert page.texts("#after .label") == [result["document"]["id"] for result in answer["results"]]
    assert page.texts("#after .label")[0] == "answer"
    assert page.texts("#before .place") == [str(place) for place in sorted(places)]
    assert page.find("#before-heading").get_property("textContent") == "Before: places in the first stage"
    movements = [place - rank for rank, place in enumerate(places, start=1)]
    shown = [int(text.split()[-1]) * (1 if "up" in text else -1) if "same" not in text else 0 for text in page.texts(".moved")]
    assert shown == movements
    assert any(movements)
    assert "First stage" in page.find("#timings").text
    page.packed(50)
    assert "answer, ranked 1" in page.find("#citations").text


def test_pages_that_are_ranked_by_their_image_are_named(opened, served):
    red, blue = (Image.new("RGB", (64, 96), colour) for colour in ("red", "blue"))
    pages = [
        Candidate("on a red page", "report.pdf#page=3", image=blue),
        Candidate("on a blue page", "report.pdf#page=4", image=red),
        Candidate("", "scan.pdf#page=1", image=red),
    ]
    folders = {"reports": PagesRetriever(BM25Retriever(pages), pages)}
    page = opened(served(Reranker(FakeVisualEncoder()), folders=folders))
    page.choose("source", "folder")
    page.ranked("blue", documents=None)

    assert page.texts("#after .label") == ["report.pdf#page=3", "report.pdf#page=4", "scan.pdf#page=1"]
    assert page.texts("#after .text") == ["on a red page", "on a blue page", "An image without text."]
    assert not [text for text in page.texts("#after .actions button") if "Why?" in text]
    page.packed(50)
    assert "report.pdf#page=3, ranked 1" in page.find("#citations").text


def test_a_folder_can_be_chosen_only_where_there_is_one(opened, served):
    assert opened().find("#folder-choice").is_displayed()
    assert not opened(served()).find("#folder-choice").is_displayed()
