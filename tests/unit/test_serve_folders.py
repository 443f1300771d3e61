"""Folders of a server: read as its models need them, before these are loaded."""

import logging

import pytest
from PIL import Image

from late_rerank.retrieve import BM25Retriever
from late_rerank.serve.folders import Folders, read_folders
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder

TEXT, PICTURES = FakeEncoder(), FakeVisualEncoder()


@pytest.fixture
def paths(tmp_path):
    """A folder with a text and an image, and one with an image alone."""
    for name in ("mixed", "scans"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (64, 96), "red").save(tmp_path / name / "red.png")
    (tmp_path / "mixed" / "a.txt").write_text("cats sleep all day")
    return {name: str(tmp_path / name) for name in ("mixed", "scans")}


def found(retriever, k=10):
    return sorted(str(document.id) for document in retriever.retrieve("cats", k))


def test_a_model_of_texts_finds_passages(paths):
    folders = read_folders({"mixed": paths["mixed"]}, [TEXT], "english")
    assert (list(folders.texts), list(folders.pages)) == (["mixed"], [])
    assert found(folders.retriever("mixed", sees_images=False)) == ["a.txt#0"]


def test_a_model_that_sees_images_finds_those_without_text_too(paths):
    folders = read_folders(paths, [PICTURES], "english")
    assert (list(folders.texts), list(folders.pages)) == ([], ["mixed", "scans"])
    assert found(folders.retriever("mixed", sees_images=True), k=1) == ["a.txt#0", "red.png"]
    assert folders.retriever("mixed", sees_images=True).retrieve("cats", 10)[-1].image is not None


def test_with_models_of_both_kinds_each_finds_what_it_reads(paths):
    folders = read_folders(paths, [TEXT, PICTURES], "english")
    assert folders.names == ["mixed", "scans"]
    assert found(folders.retriever("mixed", sees_images=False)) == ["a.txt#0"]
    assert found(folders.retriever("scans", sees_images=True)) == ["red.png"]
    assert folders.retriever("scans", sees_images=False) is None


def test_a_folder_without_anything_for_the_models_is_told(paths):
    with pytest.raises(ValueError, match="scans holds no documents"):
        read_folders(paths, [TEXT], "english")


def test_files_that_are_skipped_are_logged_once_with_the_reason(paths, tmp_path, caplog):
    binary = tmp_path / "mixed" / "b.txt"
    binary.write_bytes(b"\0\1\2")
    with caplog.at_level(logging.WARNING, "late_rerank.serve"):
        read_folders(paths, [TEXT, PICTURES], "english")
    assert caplog.messages == [f"skipped {binary}: binary, not text"]


def test_they_are_logged_where_nothing_else_is_there(tmp_path, caplog):
    (tmp_path / "b.txt").write_bytes(b"\0\1\2")
    with pytest.raises(ValueError, match="holds no documents"), caplog.at_level(logging.WARNING, "late_rerank.serve"):
        read_folders({"only": str(tmp_path)}, [TEXT], "english")
    assert caplog.messages == [f"skipped {tmp_path / 'b.txt'}: binary, not text"]


def test_no_model_is_looked_at_where_no_folder_is_served():
    assert read_folders({}, ["no such model"], None).names == []


def test_retrievers_of_ones_own_serve_every_model():
    mine = BM25Retriever(["cats"])
    folders = Settings(folders={"mine": mine}).searched
    assert folders == Folders({"mine": mine})
    assert folders.retriever("mine", sees_images=True) is folders.retriever("mine", sees_images=False) is mine
    assert folders.retriever("other", sees_images=True) is None
