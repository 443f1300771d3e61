"""`late-rerank context` as a user runs it."""

import json

import pytest

from late_rerank.cli import main

PAGES = {
    "barriers.txt": "A barrier makes threads wait until all of them have arrived.",
    "cats.md": "Cats sleep all day. They hunt at night.",
    "rivers.txt": "Rivers run to the sea.",
}
QUESTION = "how do threads wait for each other, and when do cats hunt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    return folder


def test_it_prints_the_text_for_the_llm_and_says_on_stderr_where_it_is_from(folder, minilm, capsys):
    assert main(["context", str(folder), QUESTION, "--budget-tokens", "60"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("[1] ")
    assert "\n\n[2] " in out
    assert PAGES["barriers.txt"] in out
    assert "They hunt at night." in out
    assert "about" in err
    assert "[1] " in err


def test_its_json_holds_parts_coverage_and_reasons(folder, minilm, capsys):
    assert main(["context", str(folder), QUESTION, "--budget-tokens", "30", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_tokens"] <= 30
    assert found["parts"][0]["path"].endswith(("barriers.txt", "cats.md"))
    assert found["text"].startswith(f"[1] {found['parts'][0]['text']}")
    assert found["dropped"][0]["reason"] == "no room was left"


def test_a_document_is_shortened_to_what_matches(tmp_path, minilm, capsys):
    filler = "The committee met on a rainy day and talked about the budget of the town. " * 3
    (tmp_path / "page.txt").write_text(f"{filler}{PAGES['barriers.txt']} {filler}")
    arguments = [
        "context",
        str(tmp_path),
        "how do threads wait for each other",
        "--budget-tokens",
        "40",
        "--compress",
        "--json",
    ]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert PAGES["barriers.txt"] in found["text"]
    assert found["text"].startswith("[1] [...] ")
    assert found["parts"][0]["spans"]


def test_a_piece_of_a_file_comes_with_its_neighbours(tmp_path, minilm, capsys):
    filler = "The committee met on a rainy day and talked about the budget of the town. " * 14
    (tmp_path / "page.txt").write_text(f"{filler}\n\n{PAGES['barriers.txt']} {filler}\n\n{filler}")
    arguments = ["context", str(tmp_path), "how do threads wait for each other", "--top-k", "1", "--json"]
    lengths = []
    for more in ([], ["--neighbours"]):
        assert main([*arguments, *more]) == 0
        (part,) = json.loads(capsys.readouterr().out)["parts"]
        lengths.append(part["end"] - part["start"])
    assert lengths[1] > lengths[0]


def test_where_nothing_is_relevant_enough_the_context_is_empty_and_it_says_so(folder, minilm, capsys):
    assert main(["context", str(folder), "how to bake bread", "--min-relevance", "0.9"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "an empty context: nothing fits the budget, or is relevant enough" in err


def test_a_budget_of_0_prints_nothing_for_the_llm(folder, minilm, capsys):
    assert main(["context", str(folder), QUESTION, "--budget-tokens", "0"]) == 0
    assert capsys.readouterr().out.strip() == ""


@pytest.mark.parametrize(
    "wrong", [["--budget-tokens", "-1"], ["--budget-tokens", "many"], ["--strategy", "best"], ["--min-relevance", "2"]]
)
def test_wrong_use_exits_with_2(folder, wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["context", str(folder), QUESTION, *wrong])
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err
