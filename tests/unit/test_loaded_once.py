"""`loaded_once`: one load of a built-in model for all Rerankers of a session."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from late_rerank import Reranker
from late_rerank.testing import models
from late_rerank.testing.fakes import FakeEncoder


@pytest.fixture
def loads(monkeypatch):
    """What would be loaded; nothing is."""
    asked = []

    def load(*given):
        asked.append(given)
        return FakeEncoder()

    monkeypatch.setattr(models, "as_encoder", load)
    monkeypatch.setattr("late_rerank.reranker.as_encoder", load)
    return asked


def test_rerankers_of_a_built_in_model_share_one_load(loads):
    with models.loaded_once(), ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: Reranker("minilm"), range(4)))

    assert loads == [("minilm", "auto", None, 1, "full")]
    assert len({id(reranker.encoder) for reranker in made}) == 1


def test_other_arguments_are_another_load_and_folders_are_loaded_each_time(loads):
    with models.loaded_once():
        for given, more in [("minilm", {}), ("minilm", {"device": "cpu"}), ("minilm", {"backend": "torch"}), ("a/folder", {})]:
            for _ in range(2):
                Reranker(given, **more)

    assert [each[0] for each in loads] == ["minilm"] * 3 + ["a/folder"] * 2


def test_afterwards_each_reranker_loads_its_own(loads):
    with models.loaded_once():
        Reranker("minilm")
    Reranker("minilm")
    Reranker("minilm")

    assert len(loads) == 3
