"""The README's code runs, block after block, as a reader would type it; chat models are fake."""

import re
from pathlib import Path

from langchain_core.messages import AIMessage
from support import ToolModel

README = Path(__file__).parents[2] / "README.md"
QUESTION = "How do several threads wait for each other?"
ANSWER = "A barrier makes threads wait until all of them have arrived."


def test_its_code_runs_and_finds_the_answer(minilm, tmp_path, monkeypatch, capsys):
    asked = []

    def answers():
        yield AIMessage("An answer.")
        yield AIMessage("", tool_calls=[{"name": "search_docs", "args": {"query": QUESTION}, "id": "c1"}])
        yield AIMessage("The agent's answer.")

    def init_chat_model(name):
        asked.append(name)
        return ToolModel(messages=answers())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("langchain.chat_models.init_chat_model", init_chat_model)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 9
    names = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith(ANSWER)
    assert printed[2] == ANSWER  # the best passage
    assert printed[3] == ANSWER  # within a budget
    assert 1 <= len(printed[3:-2]) < 6
    assert names["within_budget"].invoke("What is the capital of Norway?") == []
    assert printed[-2:] == ["An answer.", "The agent's answer."]
    assert asked == ["openai:gpt-5-mini"]
    assert names["compression_retriever"].invoke(QUESTION)[0].page_content == ANSWER
    assert names["result"]["messages"][2].artifact[0].page_content == ANSWER
    assert (tmp_path / "vectors").is_dir()
    assert names["retriever"].reranker.stats()["n_documents"] == 8  # six, and two of compressor.rerank
    names["retriever"].reranker.close()


def test_it_has_the_sections_that_langchains_pages_have_in_their_order():
    found = re.findall(r"^## (.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    expected = ["Installation", "Setup", "Instantiation", "Usage", "Use within a chain", "Use within an agent", "API reference"]
    assert [name for name in found if name in expected] == expected
