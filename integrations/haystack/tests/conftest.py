"""The built-in model is loaded once for all tests, or not at all: the component is tested, not the loading."""

import pytest

from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.models import loaded_once


@pytest.fixture(scope="session", autouse=True)
def each_model_is_loaded_once():
    with loaded_once():
        yield


@pytest.fixture
def fake_model(monkeypatch):
    """Every model, by whatever name, is a FakeEncoder."""
    monkeypatch.setattr("late_rerank.reranker.as_encoder", lambda *_: FakeEncoder())
