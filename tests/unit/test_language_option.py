"""--language of the commands: which endings BM25 leaves off."""

import json
from contextlib import nullcontext

import pytest

from late_rerank import Reranker
from late_rerank.cli import opening
from late_rerank.cli.main import main, parser
from late_rerank.cli.options import language
from late_rerank.testing.fakes import FakeEncoder

GIVEN = {
    "search": ["search", "x", "q"],
    "context": ["context", "x", "q"],
    "eval": ["eval", "x"],
    "tune": ["tune", "x"],
    "calibrate": ["calibrate", "x", "--out", "y"],
    "train": ["train", "x", "--out", "y"],
    "mcp": ["mcp"],
    "serve": ["serve"],
}


@pytest.mark.parametrize("command", GIVEN)
def test_commands_with_a_first_stage_take_a_language(command, capsys):
    assert parser().parse_args(GIVEN[command]).language == "auto"
    assert parser().parse_args([*GIVEN[command], "--language", "russian"]).language == "russian"
    assert parser().parse_args([*GIVEN[command], "--language", "none"]).language is None
    with pytest.raises(SystemExit) as exit_:
        parser().parse_args([*GIVEN[command], "--language", "klingon"])
    assert exit_.value.code == 2
    assert "must be auto, none or one of arabic, armenian" in capsys.readouterr().err


def test_a_language_is_auto_none_or_a_stemmer():
    assert (language("greek"), language("none"), language("auto")) == ("greek", None, "auto")


def test_a_search_leaves_off_the_endings_of_its_language(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(opening, "opened_reranker", lambda options: nullcontext(Reranker(FakeEncoder())))
    (tmp_path / "a.txt").write_text("Река течёт к морю.", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Кошками гордятся все.", encoding="utf-8")
    scores = {}
    for name in ("english", "russian"):
        main(["search", str(tmp_path), "кошка", "--engine", "bm25s", "--language", name, "--json"])
        results = json.loads(capsys.readouterr().out)["results"]
        scores[name] = max(result["candidate_score"] for result in results)
    assert scores["english"] == 0
    assert scores["russian"] > 0


def test_a_server_is_told_the_language_of_its_folders(minilm, monkeypatch, tmp_path, caplog):
    from late_rerank.serve import running
    from late_rerank.serve.folders import read_folders

    (tmp_path / "b.txt").write_text("Кошками гордятся все.", encoding="utf-8")
    for name, is_found in (("russian", True), ("english", False)):
        folder = read_folders({"a": str(tmp_path)}, ["minilm"], name).texts["a"]
        assert (folder.retrieve("кошка", 1)[0].score != 0) == is_found
    with caplog.at_level("INFO", "late_rerank.serve"):
        (tmp_path / "b.txt").write_text("Дом стоит на холме, и он не был построен.", encoding="utf-8")
        read_folders({"a": str(tmp_path)}, ["minilm"], "auto")
    assert [record.message for record in caplog.records] == [f"{tmp_path}: documents by language: 1 russian"]
    told = []
    monkeypatch.setattr(running, "serve", lambda options, port: told.append(options.language))
    main(["serve", "--folder", f"a={tmp_path}", "--language", "russian"])
    assert told == ["russian"]


def test_a_search_tells_the_languages_that_it_found_unless_all_are_english(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(opening, "opened_reranker", lambda options: nullcontext(Reranker(FakeEncoder())))
    (tmp_path / "a.txt").write_text("The house is on the hill and it was old.", encoding="utf-8")
    main(["search", str(tmp_path), "house", "--json"])
    told = capsys.readouterr()
    assert "language" not in told.err
    assert "languages" not in json.loads(told.out)
    (tmp_path / "b.txt").write_text("Das Haus ist alt und die Brücke ist nicht neu.", encoding="utf-8")
    main(["search", str(tmp_path), "house", "--json"])
    told = capsys.readouterr()
    assert "documents by language: 1 english, 1 german" in told.err
    assert json.loads(told.out)["languages"] == {"english": 1, "german": 1}
    main(["search", str(tmp_path), "house", "--language", "english"])
    assert "language" not in capsys.readouterr().err
