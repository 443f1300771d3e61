"""What commands write of documents: ids as they came, numbers that JSON has."""

import json
from contextlib import nullcontext

import pytest

from late_rerank import Candidate, Reranker
from late_rerank.cli import main, opening
from late_rerank.cli.results import ranking_json
from late_rerank.testing.fakes import FakeEncoder


@pytest.fixture
def _fake(monkeypatch):
    monkeypatch.setattr(opening, "opened_reranker", lambda options: nullcontext(Reranker(FakeEncoder())))


@pytest.mark.usefixtures("_fake")
@pytest.mark.parametrize("command", [["rerank", "cats"], ["search", "{}", "cats"]])
def test_ids_come_back_as_they_came_and_what_no_json_holds_as_null(command, tmp_path, capsys):
    rows = [{"_id": 7, "text": "cats"}, {"id": "7", "text": "dogs"}, {"id": 1.5, "text": "rivers"}, {"id": None, "text": "sea"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"id": 0, "text": "odd", "metadata": {"a": [1e999, {"b": -1e999}]}}')
    arguments = [str(path) if part == "{}" else part for part in command] + ([str(path)] if command[0] == "rerank" else [])
    assert main([*arguments, "--json"]) == 0
    found = {row["text"]: row for row in json.loads(capsys.readouterr().out)["results"]}
    assert {text: row["id"] for text, row in found.items()}.items() <= {
        "cats": 7,
        "dogs": "7",
        "rivers": 1.5,
        "sea": None,
        "odd": 0,
    }.items()
    if command[0] == "rerank":
        assert found["odd"]["metadata"] == {"a": [None, {"b": None}]}
    assert type(found["cats"]["id"]) is int
    assert main(arguments) == 0


@pytest.mark.parametrize("score", [float("nan"), float("-inf"), "n/a"])
def test_a_score_that_is_no_number_is_null(score):
    ranking = Reranker(FakeEncoder()).rerank("cats", [Candidate("cats", score=score)])
    told = ranking_json("cats", "m", 1, ranking)
    json.dumps(told, allow_nan=False)
    assert told["results"][0]["candidate_score"] is None
