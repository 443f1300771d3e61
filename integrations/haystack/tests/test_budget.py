"""Least relevance, and a budget of tokens: what they leave out, what they change, how they are written down."""

import copy
import json
import pickle
import threading
from copy import deepcopy
from functools import partial

import pytest
from haystack import Document, Pipeline
from haystack.core.errors import DeserializationError, SerializationError
from haystack.core.serialization import allow_deserialization_module
from haystack_integrations.components.rankers.late_rerank import LateRerankRanker

from late_rerank import Candidate, Reranker, pack_context
from late_rerank.testing.choices import WRONG_CHOICES
from late_rerank.testing.fakes import FakeEncoder, Gate

QUERY = "when do cats sleep"
TEXTS = ["Rivers run to the sea.", "Cats eat fish.", "Cats sleep all day.", "Planes fly over towns.", "Dogs sleep at night."]
BEST = TEXTS[2]
LONG = f"{BEST} Whatever else there is to say of it takes many more words, that nobody would read."


def words(text):
    return len(text.split())


def documents():
    return [Document(content=text, score=0.5, meta={"place": i}) for i, text in enumerate(TEXTS)]


def ranker(**options):
    return LateRerankRanker(reranker=Reranker(FakeEncoder()), **options)


def contents(result):
    return [document.content for document in result["documents"]]


def scores(result):
    return [document.score for document in result["documents"]]


def test_documents_of_lower_relevance_are_left_out_and_none_may_remain():
    everything = scores(ranker().run(QUERY, documents()))
    kept = scores(ranker(min_relevance=everything[1]).run(QUERY, documents()))
    assert kept == [score for score in everything if score >= everything[1]]
    assert len(kept) < len(TEXTS)
    assert ranker(min_relevance=1.0).run(QUERY, documents()) == {"documents": []}
    assert ranker(min_relevance=1.0, budget_tokens=1000).run(QUERY, documents()) == {"documents": []}


@pytest.mark.parametrize("order", ["relevance", "edges", "source"])
def test_with_a_budget_the_documents_are_the_parts_of_the_packed_context_in_its_order(order):
    reranker = Reranker(FakeEncoder())
    ranking = reranker.rerank(QUERY, [Candidate(text) for text in TEXTS])
    context = pack_context(QUERY, ranking, reranker=reranker, budget_tokens=16, order=order, count_tokens=words)
    found = ranker(budget_tokens=16, order=order, count_tokens=words).run(QUERY, documents())
    assert contents(found) == [part.text for part in context.parts]
    assert 2 < len(context.parts) < len(TEXTS)


def test_a_budget_is_filled_beyond_the_default_of_10_and_a_given_number_bounds_it():
    given = [Document(content=f"Cats sleep under tree number {n}.") for n in "abcdefghijklmno"]
    assert len(ranker().run(QUERY, given)["documents"]) == 10
    assert len(ranker(budget_tokens=1000).run(QUERY, given)["documents"]) == 15
    assert len(ranker(budget_tokens=1000, top_k=12).run(QUERY, given)["documents"]) == 12
    assert len(ranker(budget_tokens=1000, top_k=12).run(QUERY, given, top_k=2)["documents"]) == 2


def test_what_one_run_is_given_comes_before_the_components_own():
    made = ranker(min_relevance=1.0, budget_tokens=6, count_tokens=words)
    assert made.run(QUERY, documents()) == {"documents": []}
    assert contents(made.run(QUERY, documents(), min_relevance=0.0)) == [BEST]
    assert len(made.run(QUERY, documents(), min_relevance=0.0, budget_tokens=100)["documents"]) == 5
    assert ranker().run(QUERY, documents(), budget_tokens=0) == {"documents": []}
    assert len(ranker(top_k=2).run(QUERY, documents(), budget_tokens=1000)["documents"]) == 2
    assert len(ranker().run(QUERY, documents(), budget_tokens=1000)["documents"]) == 5


def test_what_is_below_the_threshold_takes_no_room_in_a_budget():
    best, second = scores(ranker(top_k=2).run(QUERY, documents()))
    assert contents(ranker(budget_tokens=1000, score_threshold=best).run(QUERY, documents())) == [BEST]
    assert ranker(budget_tokens=1000, score_threshold=1.5).run(QUERY, documents()) == {"documents": []}
    assert len(ranker(budget_tokens=1000, score_threshold=-1).run(QUERY, documents())["documents"]) == 5
    # What fits is less than the best, which is cut, unless the others count.
    given = [Document(content=LONG), Document(content="Cats eat.")]
    assert contents(ranker(budget_tokens=6, count_tokens=words, score_threshold=best).run(QUERY, given)) == [f"{BEST} [...]"]
    assert contents(ranker(budget_tokens=6, count_tokens=words).run(QUERY, given)) == ["Cats eat."]
    assert second < best


def test_a_document_that_does_not_fit_is_cut_in_a_copy():
    given = [Document(content=LONG, meta={"path": "a", "start": 5, "end": 99})]
    before = deepcopy(given)
    (found,) = ranker(budget_tokens=8, count_tokens=words).run(QUERY, given)["documents"]
    assert found.content == f"{BEST} [...]"
    assert found.id == given[0].id
    assert (found.meta["start"], found.meta["end"]) == (5, 99)
    assert given == before


def test_fields_of_meta_that_are_read_first_are_no_part_of_a_cut_content():
    given = [Document(content=LONG, meta={"title": "How cats live."})]
    made = ranker(budget_tokens=11, count_tokens=words, meta_fields_to_embed=["title"])
    (found,) = made.run(QUERY, given)["documents"]
    assert found.content == f"{BEST} [...]"
    assert found.meta["title"] == "How cats live."
    assert ranker(budget_tokens=5, count_tokens=words, meta_fields_to_embed=["title"]).run(QUERY, given)["documents"] == []


@pytest.mark.parametrize("fields", [[], ["title"]])
def test_neighbouring_pieces_of_a_file_become_one_document_with_their_place(fields):
    title = {"title": "cats", "path": "a.md"}
    given = [
        Document(content="At night they hunt.", meta={**title, "start": 20, "end": 39}),
        Document(content=BEST, meta={**title, "start": 0, "end": 19}, score=0.25),
        Document(content=TEXTS[0], meta={"path": "b.md", "start": 0, "end": 22}),
    ]
    before = deepcopy(given)
    found = ranker(budget_tokens=100, meta_fields_to_embed=fields).run(QUERY, given)["documents"]
    assert [document.content for document in found] == [f"{BEST} At night they hunt.", TEXTS[0]]
    assert found[0].id == given[1].id
    assert {name: found[0].meta[name] for name in ("path", "start", "end")} == {"path": "a.md", "start": 0, "end": 39}
    assert found[0].meta["retrieval_score"] == 0.25
    assert given == before


async def test_async_gives_the_same_in_a_worker_thread_and_never_blocks_the_loop():
    gate = Gate()

    def count(text):
        gate()
        return words(text)

    made = ranker(budget_tokens=1, count_tokens=count)
    found = await gate.opened_during(made.run_async(QUERY, documents(), None, None, 0.1, 12))
    assert threading.current_thread().name not in gate.threads
    assert found == made.run(QUERY, documents(), min_relevance=0.1, budget_tokens=12)
    assert 1 <= len(found["documents"]) < 5


@pytest.fixture
def allowed(monkeypatch):
    monkeypatch.setattr("haystack.core.serialization_security._extra_allowed_modules", [])
    allow_deserialization_module(words.__module__)


@pytest.mark.usefixtures("allowed")
def test_a_pipeline_with_a_budget_survives_yaml():
    options = {"min_relevance": 0.25, "budget_tokens": 500, "order": "edges"}
    pipeline = Pipeline()
    pipeline.add_component("ranker", LateRerankRanker("minilm", **options, count_tokens=words))
    again = Pipeline.loads(pipeline.dumps()).get_component("ranker")
    assert {name: getattr(again, name) for name in options} == options
    assert (again.count_tokens, again.top_k) == (words, None)
    assert LateRerankRanker.from_dict(again.to_dict()).to_dict() == again.to_dict()


def test_a_function_of_a_module_that_is_not_trusted_is_refused_when_a_file_is_read():
    written = LateRerankRanker(budget_tokens=9, count_tokens=words).to_dict()
    with pytest.raises(DeserializationError, match="allowlist"):
        LateRerankRanker.from_dict(written)


class Tokenizer:
    def encode(self, text):
        return text.split()

    def count(self, text):
        return len(self.encode(text))


@pytest.mark.parametrize(
    ("counter", "error", "message"),
    [
        (Tokenizer(), ValueError, "its count_tokens as an object, Tokenizer, which no file can name; give a function"),
        (partial(words), ValueError, "as an object, partial"),
        (lambda text: 1, SerializationError, "lambdas"),
        (Tokenizer().count, SerializationError, "instance methods"),
    ],
)
def test_a_counter_that_no_file_can_name_counts_but_can_not_be_written_down(counter, error, message):
    assert contents(ranker(budget_tokens=8, count_tokens=counter).run(QUERY, documents()))
    with pytest.raises(error, match=message):
        LateRerankRanker(budget_tokens=8, count_tokens=counter).to_dict()


def test_files_of_older_pipelines_are_read_as_before():
    written = LateRerankRanker(top_k=4).to_dict()
    for name in ("min_relevance", "budget_tokens", "order", "count_tokens"):
        assert written["init_parameters"].pop(name) is None
    json.dumps(written)
    assert LateRerankRanker.from_dict(written).top_k == 4


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_copies_and_pickles_keep_the_choice(again):
    made = ranker(min_relevance=0.1, budget_tokens=12, order="edges", count_tokens=words)
    assert again(made).run(QUERY, documents()) == made.run(QUERY, documents())
    assert again(made).count_tokens is words


@pytest.mark.parametrize(("wrong", "error"), WRONG_CHOICES)
def test_a_wrong_choice_is_refused_at_the_door(wrong, error):
    with pytest.raises(error, match=list(wrong)[-1]):
        LateRerankRanker(**wrong)


@pytest.mark.parametrize("wrong", [{"min_relevance": 2.0}, {"budget_tokens": -1}])
def test_a_wrong_number_of_one_run_is_refused_even_without_documents(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ranker().run(QUERY, [], **wrong)
