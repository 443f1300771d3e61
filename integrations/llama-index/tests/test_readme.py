"""The README's code runs, from its first block to its last, and says what is so."""

import re
from pathlib import Path

import pytest
from llama_index.postprocessor.late_rerank import LateRerank

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("minilm")
def test_its_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), names)

    assert len(snippets) == 7
    assert re.match(r"0\.\d+ Cats sleep all day\.\n0\.\d+ ", capsys.readouterr().out)
    # The second run of the folder found what the first had left.
    again = LateRerank(store="vectors")
    again.postprocess_nodes(names["index"].as_retriever().retrieve("cats"), query_str="cats")
    assert (again.reranker.stats()["hits"], again.reranker.stats()["misses"]) == (2, 0)


def test_its_table_names_every_argument():
    table = README.split("## Instantiation")[1].split("## Usage")[0]
    missing = [name for name in LateRerank.model_fields if name != "callback_manager" and f"`{name}" not in table]

    assert missing == []


def test_its_links_lead_somewhere():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (HERE / link).exists(), link
