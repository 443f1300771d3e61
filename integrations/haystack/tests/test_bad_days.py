"""A user's bad days: a slow load, a copy, a file of a pipeline that says less than what ran, wrong arguments."""

import asyncio
import copy
import inspect
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice
from haystack_integrations.components.rankers.late_rerank import LateRerankRanker

from late_rerank import Reranker
from late_rerank.codecs import codec
from late_rerank.stores import MemoryStore
from late_rerank.testing.fakes import FakeEncoder, Gate

QUERY = "when do cats sleep"


@pytest.fixture
def ranker():
    return LateRerankRanker(reranker=Reranker(FakeEncoder()))


def documents():
    return [Document(content=text, score=0.5) for text in ("Rivers run to the sea.", "Cats sleep all day.", "Dogs run.")]


def best(result):
    return result["documents"][0].content


async def test_a_pipelines_first_async_run_loads_the_model_beside_the_event_loop(monkeypatch):
    """The pipeline warms components up on the loop, unless they have a `warm_up_async`."""
    gate = Gate()

    def load(*arguments, **more):
        gate()
        return Reranker(FakeEncoder())

    monkeypatch.setattr(sys.modules[LateRerankRanker.__module__], "reranker_from", load)
    pipeline = Pipeline()
    pipeline.add_component("ranker", LateRerankRanker())
    result = await gate.opened_during(pipeline.run_async({"ranker": {"query": QUERY, "documents": documents()}}))
    assert best(result["ranker"]) == "Cats sleep all day."


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda ranker: pickle.loads(pickle.dumps(ranker))])
def test_copies_and_pickles_answer_the_same(again, ranker):
    shared = again(ranker)
    assert shared.run(QUERY, documents()) == ranker.run(QUERY, documents())
    own = LateRerankRanker(model=FakeEncoder(), top_k=2, score_threshold=0.1)
    expected = own.run(QUERY, documents())
    copied = again(own)
    assert copied.reranker is None  # it loads its own, so that closing one leaves the other open
    assert copied.run(QUERY, documents()) == expected
    copied.close()
    assert own.reranker is not None
    assert copied.reranker is None


def test_a_store_given_as_a_path_is_written_down_as_text(tmp_path):
    pipeline = Pipeline()
    pipeline.add_component("ranker", LateRerankRanker(store=tmp_path / "vectors"))
    assert Pipeline.loads(pipeline.dumps()).get_component("ranker").store == str(tmp_path / "vectors")


@pytest.mark.parametrize(
    ("name", "part"),
    [("model", FakeEncoder()), ("store", MemoryStore()), ("codec", codec("int4"))],
    ids=["model", "store", "codec"],
)
def test_objects_may_be_given_but_not_written_down(name, part):
    ranker = LateRerankRanker(**{"model": FakeEncoder(), name: part})
    assert best(ranker.run(QUERY, documents())) == "Cats sleep all day."
    assert ranker.reranker.arguments[name] is part
    with pytest.raises(ValueError, match="as an object, FakeEncoder"):
        ranker.to_dict()
    json.dumps(ranker._get_telemetry_data())


@pytest.mark.usefixtures("fake_model")
def test_the_device_of_a_ready_reranker_is_written_down():
    written = LateRerankRanker(reranker=Reranker("minilm", device="cpu")).to_dict()
    assert LateRerankRanker.from_dict(written).device == ComponentDevice.from_str("cpu")


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("more", [{"on_missing": "skip"}, {"kernel": "numpy"}, {"backend": "torch"}])
def test_what_the_component_has_no_argument_for_is_never_lost_silently(more):
    """Else a pipeline that was read from a file would work differently from the one that was written."""
    ((name, value),) = more.items()
    with pytest.raises(ValueError, match=f"{name}='{value}'"):
        LateRerankRanker(reranker=Reranker("minilm", **more)).to_dict()


def test_an_earlier_rerankings_maxsim_is_no_unscored_documents():
    ranker = LateRerankRanker(reranker=Reranker(FakeEncoder(), on_missing="skip"))
    given = Document(content="Cats sleep.", meta={"late_rerank_score": 9.0})
    (found,) = ranker.run(QUERY, [given])["documents"]
    assert "late_rerank_score" not in found.meta
    assert given.meta == {"late_rerank_score": 9.0}


def test_a_retrievers_numpy_score_is_kept_as_a_python_float(ranker):
    (found,) = ranker.run(QUERY, [Document(content="Cats sleep.", score=np.float32(0.5))])["documents"]
    assert type(found.meta["retrieval_score"]) is float
    assert json.loads(json.dumps(found.to_dict()))["score"] == found.score


@pytest.mark.parametrize("given", [["a text"], "a text", Document(content="a text"), 5, [Document(content="a text"), None]])
def test_what_is_no_list_of_documents_is_named(given, ranker):
    with pytest.raises(TypeError, match=r"documents(\[[01]\])? must be a (list of )?Document"):
        ranker.run(QUERY, given)


def test_documents_may_come_from_a_generator_or_be_none(ranker):
    assert best(ranker.run(QUERY, (document for document in documents()))) == "Cats sleep all day."
    assert ranker.run(QUERY, None) == ranker.run(QUERY, iter([])) == {"documents": []}


@pytest.mark.parametrize(
    "more",
    [
        {"score_threshold": "0.5"},
        {"score_threshold": True},
        {"meta_fields_to_embed": "title"},
        {"meta_fields_to_embed": [5]},
        {"device": "cpu"},
        {"top_k": "3"},
    ],
)
def test_an_argument_of_another_type_is_refused_at_the_door(more):
    with pytest.raises(TypeError, match=next(iter(more))):
        LateRerankRanker(**more)


def test_a_threshold_of_one_run_of_another_type_is_refused(ranker):
    with pytest.raises(TypeError, match=r"score_threshold must be a number or None, got '0\.5'"):
        ranker.run(QUERY, documents(), score_threshold="0.5")
    assert len(ranker.run(QUERY, documents(), score_threshold=np.float64(0.0))["documents"]) == 3


async def test_fifty_async_runs_at_once_share_one_load():
    made = []

    encoder = FakeEncoder(before_query=made.append)
    pipeline = Pipeline()
    pipeline.add_component("ranker", LateRerankRanker(model=encoder, top_k=1))
    runs = (pipeline.run_async({"ranker": {"query": QUERY, "documents": documents()}}) for _ in range(50))
    results = await asyncio.gather(*runs)
    assert {best(result["ranker"]) for result in results} == {"Cats sleep all day."}
    assert len(made) == 50
    assert pipeline.get_component("ranker").reranker.stats()["n_documents"] == 3


def test_the_readmes_table_names_every_argument():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert [
        name for name in inspect.signature(LateRerankRanker.__init__).parameters if name != "self" and f"`{name}" not in text
    ] == []
