"""`--fuse` of search and context: two models over one folder of texts and images."""

import json
from unittest.mock import patch

import pytest
from PIL import Image

from late_rerank.cli.main import main
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "a.txt").write_text("A text about red things.")
    (path / "b.txt").write_text("Nothing of the kind.")
    for colour in ("red", "blue"):
        Image.new("RGB", (64, 64), colour).save(path / f"{colour}.png")
    return path


@pytest.fixture
def command(folder, capsys):
    def run(name, *options):
        def load(model, *_):
            return FakeVisualEncoder() if model == "pages" else FakeEncoder()

        with patch("late_rerank.reranker.as_encoder", load):
            assert main([name, str(folder), "red things", *options]) in (0, None)
        return capsys.readouterr().out

    return run


def test_two_models_search_together_and_pages_without_text_are_found(command, tmp_path):
    found = json.loads(command("search", "--fuse", "pages", "--store", str(tmp_path / "store"), "--json"))
    results = {result["id"]: result for result in found["results"]}

    assert found["model"] == "FakeEncoder + FakeVisualEncoder"
    assert set(results) == {"a.txt#0", "b.txt#0", "red.png", "blue.png"}
    assert results["red.png"]["rank"] < results["blue.png"]["rank"]
    assert results["a.txt#0"]["rank"] == 1
    assert results["red.png"]["scores_by_model"]["FakeEncoder"] is None
    assert (
        results["red.png"]["scores_by_model"]["FakeVisualEncoder"] > results["blue.png"]["scores_by_model"]["FakeVisualEncoder"]
    )
    again = json.loads(command("search", "--fuse", "pages", "--store", str(tmp_path / "store"), "--json"))
    assert again["store"] == {"hits": 6, "misses": 0}


def test_without_it_one_model_searches_and_says_nothing_of_models(command):
    found = json.loads(command("search", "--json"))
    assert found["model"] == "minilm"
    assert all("scores_by_model" not in result for result in found["results"])


def test_a_context_is_packed_of_both(command):
    assert "A text about red things." in command("context", "--fuse", "pages")
