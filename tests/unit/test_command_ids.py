"""What commands write of documents: ids as they came, numbers that JSON has, the best passage of a long text."""

import json
from contextlib import nullcontext

import pytest

from late_rerank import Candidate, Reranker
from late_rerank.cli import main, opening
from late_rerank.cli.results import print_ranking, ranking_json
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


LONG = " ".join([*(f"b{i}" for i in range(300)), "kittens", "sleep", *(f"a{i}" for i in range(300))])


@pytest.mark.parametrize("scoring", ["maxsim", "proximity"])
def test_the_best_passage_is_told_where_the_scoring_finds_one(scoring):
    ranking = Reranker(FakeEncoder(), scoring=scoring).rerank("kittens sleep", [LONG, "kittens", " "])
    rows = ranking_json("kittens sleep", "m", 3, ranking)["results"]
    if scoring == "maxsim":
        assert all("best_span" not in row for row in rows)
        return
    spans = {row["text"]: row["best_span"] for row in rows if row["text"] != " "}
    assert "best_span" not in rows[-1]  # without tokens there is none
    assert spans["kittens"] == [0, 7]
    start, end = spans[LONG]
    assert "kittens sleep" in LONG[start:end]
    assert len(LONG[start:end].split()) == 144
    assert json.loads(json.dumps(rows))[0]["best_span"] == rows[0]["best_span"]


@pytest.mark.parametrize("scoring", ["maxsim", "proximity"])
def test_a_long_document_is_shown_by_its_best_passage_where_that_is_known(scoring, capsys):
    print_ranking(Reranker(FakeEncoder(), scoring=scoring).rerank("kittens sleep", [LONG, "kittens \n are small"]))
    first, second = (line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("     "))
    assert second == "kittens are small"
    if scoring == "maxsim":
        assert first.startswith("b0 ")
        assert "kittens" not in first
    else:
        assert first.startswith("… b288 ")
        assert "kittens sleep a0" in first
        assert first.endswith(" …")


class Pieces(FakeEncoder):
    """Cuts long words in two, as tokenizers do, so that windows may begin within a word."""

    def encode_document(self, texts):
        return super().encode_document([" ".join(f"{word[:2]} {word[2:]}" for word in text.split()) for text in texts])

    def tokens(self, text, kind):
        pieces = [piece for _, start, end in super().tokens(text, kind) for piece in ((start, start + 2), (start + 2, end))]
        return [(text[start:end], start, end) for start, end in pieces if end > start]


def test_a_passage_is_shown_with_whole_words(capsys):
    text = " ".join(["it", *(f"b{i}" for i in range(10, 300)), "kittens", *(f"a{i}" for i in range(10, 300))])
    (document,) = ranking = Reranker(Pieces(), scoring="proximity").rerank("ttens", [text])
    start, end = document.best_span
    assert text[start - 1] == text[end] == " "
    print_ranking(ranking)
    shown = next(line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("     "))
    assert "kittens" in shown
    assert set(shown.split()) - {"…"} <= set(text.split())
