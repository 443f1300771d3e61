"""A query that shows nothing is refused at every door, as one of spaces is."""

import asyncio
import json

import pytest

from late_rerank import Reranker, Searcher, explain, pack_context
from late_rerank.cli.main import main
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.types import NO_TOKENS_SCORE

TEXTS = ["cats sleep all day", "rivers run"]
RERANKER = Reranker(FakeEncoder())
BLANK = ["", " ", "\u200b", "\ufeff", "\u2060", "\x00", "\u00ad", "\ud83d", "\u0301", "\u3164", "\u200e\n", "\U000e0041\ufe0f"]


@pytest.mark.parametrize("query", BLANK)
class TestDoors:
    def test_python(self, query):
        ranking = RERANKER.rerank("cats", TEXTS)
        searcher = Searcher(BM25Retriever(TEXTS), RERANKER)
        for call in (
            lambda: RERANKER.rerank(query, TEXTS),
            lambda: RERANKER.rerank(query, []),
            lambda: RERANKER.rerank_batch(["cats", query], [TEXTS, TEXTS]),
            lambda: asyncio.run(RERANKER.arerank(query, TEXTS)),
            lambda: RERANKER.token_maxima(query, TEXTS),
            lambda: searcher.search(query),
            lambda: searcher.context(query, 100),
            lambda: pack_context(query, ranking, reranker=RERANKER, budget_tokens=100),
            lambda: explain(RERANKER, query, "cats"),
        ):
            with pytest.raises(ValueError, match="a query needs at least one word"):
                call()

    @pytest.mark.parametrize(
        "arguments", [["search", "x", "Q"], ["context", "x", "Q"], ["explain", "Q", "--text", "cats"], ["rerank", "Q", "x"]]
    )
    def test_commands_as_wrong_use(self, query, arguments, capsys):
        with pytest.raises(SystemExit) as exit_:
            main([query if each == "Q" else each for each in arguments])
        assert exit_.value.code == 2
        assert "must not be blank" in capsys.readouterr().err

    def test_the_server(self, query):
        testclient = pytest.importorskip("starlette.testclient")
        from late_rerank.serve.app import Settings, create_app

        # load_first: else the first requests may come before the model and be answered 503.
        settings = Settings(folders={"f": BM25Retriever(TEXTS)}, load_first=True)
        app = create_app(lambda: Reranker(FakeEncoder()), settings)
        bodies = {
            "/rerank": [{"documents": TEXTS}, {"texts": TEXTS}],
            "/v1/rerank": [{"documents": TEXTS, "model": "x"}],
            "/v2/rerank": [{"documents": TEXTS, "model": "x"}],
            "/context": [{"documents": TEXTS, "budget_tokens": 50}],
            "/v1/search": [{"folder": "f"}],
            "/v1/explain": [{"text": "cats"}],
        }
        with testclient.TestClient(app, base_url="http://127.0.0.1") as client:
            for path, given in bodies.items():
                for body in given:
                    content = json.dumps({"query": query, **body})
                    answer = client.post(path, content=content, headers={"content-type": "application/json"})
                    assert answer.status_code == 400, path
                    assert "query" in answer.text


@pytest.mark.parametrize("text", BLANK)
def test_documents_that_show_nothing_come_last_without_a_token(text):
    ranking = RERANKER.rerank("cats", [text, *TEXTS])

    assert (ranking[-1].text, ranking[-1].score) == (text, NO_TOKENS_SCORE)
