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


def test_a_budget_of_0_prints_nothing_for_the_llm(folder, minilm, capsys):
    assert main(["context", str(folder), QUESTION, "--budget-tokens", "0"]) == 0
    assert capsys.readouterr().out.strip() == ""


@pytest.mark.parametrize("wrong", [["--budget-tokens", "-1"], ["--budget-tokens", "many"], ["--strategy", "best"]])
def test_wrong_use_exits_with_2(folder, wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["context", str(folder), QUESTION, *wrong])
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err
