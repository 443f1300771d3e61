"""What a newcomer types from the pages works: sessions in a terminal, lines for frameworks, the picture, other rerankers."""

import ast
import re
import subprocess
import sys
from unittest.mock import MagicMock

import pytest
from readmes import picture
from readmes.pages import ROOT, blocks, name_of, pages
from readmes.sessions import fits, steps, typed

FRONT = (ROOT / "README.md").read_text(encoding="utf-8")
SESSIONS = [
    pytest.param(block.text, id=f"{name_of(page)}-{i}")
    for page in pages()
    for i, block in enumerate(block for block in blocks(page.read_text(encoding="utf-8")) if block.language == "console")
]


class TestSessions:
    @pytest.mark.parametrize("block", SESSIONS)
    def test_a_session_prints_what_the_page_says(self, block, minilm, tmp_path):
        for command, printed, said in typed(block, tmp_path):
            assert fits(printed, said), f"$ {command}\n{printed}"

    def test_the_front_page_searches_a_folder_and_asks_a_server(self):
        commands = [command for block in blocks(FRONT) if block.language == "console" for command, _ in steps(block.text)]
        for name in ("late-rerank search", "late-rerank serve", "curl"):
            assert any(command.startswith(name) for command in commands)

    def test_dots_stand_for_anything_and_nothing_else_does(self):
        assert fits('{"id":"x","results":[1]}\n', '{...,"results":[1]}\n')
        assert fits("a\nb\nc\n", "a\n...\n")
        assert not fits("a\nb\n", "a\n")
        assert not fits("a1", "a.")


class TestTheLinesForFrameworks:
    @pytest.fixture
    def lines(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # where the lines make their store
        return [re.search(rf"{name}: `(.*)`", FRONT)[1] for name in ("LlamaIndex", "Haystack")]

    def test_llama_index_takes_the_postprocessor(self, lines, minilm):
        module = pytest.importorskip("llama_index.postprocessor.late_rerank")
        index = MagicMock()
        exec(lines[0], {"index": index, "LateRerank": module.LateRerank})
        (given,) = index.as_query_engine.call_args.kwargs["node_postprocessors"]
        assert given.top_n == 5

    def test_haystack_takes_the_ranker(self, lines, minilm):
        module = pytest.importorskip("haystack_integrations.components.rankers.late_rerank")
        pytest.importorskip("haystack")
        from haystack import Pipeline

        pipeline = Pipeline()
        exec(lines[1], {"pipeline": pipeline, "LateRerankRanker": module.LateRerankRanker})
        assert pipeline.get_component("ranker").top_k == 5


class TestThePicture:
    def test_is_what_the_model_finds(self, minilm):
        # After a change: make docs
        assert {scheme: path.read_text(encoding="utf-8") for scheme, path in picture.paths().items()} == picture.pictures()

    def test_puts_the_answer_first_where_bm25_does_not(self):
        drawn = picture.paths()["light"].read_text(encoding="utf-8")
        assert "the answer is number 1<" in drawn
        assert int(re.search(r"BM25 looks for the same words: the answer is number (\d+)", drawn)[1]) > 1

    @pytest.mark.parametrize("scheme", picture.SCHEMES)
    def test_stands_on_the_front_page(self, scheme):
        assert picture.paths()[scheme].relative_to(ROOT).as_posix() in FRONT


class TestMigrating:
    """Their lines run too, where their library is here; its models are tiny, in folders with the names of theirs."""

    @pytest.fixture(scope="class")
    @classmethod
    def theirs(cls):
        text = (ROOT / "late_rerank" / "MIGRATING.md").read_text(encoding="utf-8")
        return [block.text for block in blocks(text) if block.language == "py"]

    def test_each_of_their_blocks_is_python(self, theirs):
        assert [ast.parse(block).body[0].module for block in theirs] == [
            "sentence_transformers",
            "flashrank",
            "rerankers",
            "ragatouille",
        ]

    def test_a_cross_encoders_lines_give_what_ours_give(self, theirs, tmp_path):
        pytest.importorskip("sentence_transformers")
        from checkpoints import backbone
        from transformers import BertForSequenceClassification

        folder = tmp_path / "cross-encoder" / "ms-marco-MiniLM-L6-v2"
        config = backbone(folder).config
        config.num_labels = 1
        BertForSequenceClassification(config).save_pretrained(folder)
        code = (
            "query, documents = 'when', ['a b', 'c', 'd']\n"
            f"{theirs[0]}\n"
            "assert set(hits[0]) == {'corpus_id', 'score', 'text'} and len(hits) == 2 and len(scores) == 3"
        )
        run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
