"""Least relevance, and a budget of tokens: what they leave out, what they change, and what is refused."""

import copy
import pickle
import threading

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever
from support import BEST, QUERY, TEXTS, called, documents, texts

from late_rerank import Candidate, Reranker, pack_context
from late_rerank.testing.choices import WRONG_CHOICES
from late_rerank.testing.fakes import FakeEncoder

KINDS = ("compressor", "retriever")
LONG = f"{BEST} Whatever else there is to say of it takes many more words, that nobody would read."


def words(text):
    return len(text.split())


def give(kind, given=None, reranker=None, top=None, **options):
    """What a compressor or a retriever gives, sync."""
    return run_of(kind, given, reranker, top, **options)[0]()


def run_of(kind, given=None, reranker=None, top=None, **options):
    """What gives it, sync and async."""
    given = documents() if given is None else given
    reranker = reranker or Reranker(FakeEncoder())
    if kind == "compressor":
        made = LateRerankCompressor(reranker=reranker, top_n=top, **options)
        return (
            lambda: list(made.compress_documents(given, QUERY)),
            lambda: made.acompress_documents(given, QUERY),
        )
    made = LateRerankRetriever(base_retriever=RunnableLambda(lambda query: given), reranker=reranker, k=top, **options)
    return lambda: made.invoke(QUERY), lambda: made.ainvoke(QUERY)


@pytest.mark.parametrize("kind", KINDS)
def test_documents_of_lower_relevance_are_left_out_and_none_may_remain(kind):
    scores = [document.metadata["relevance_score"] for document in give(kind, top=7)]
    kept = give(kind, top=7, min_relevance=scores[1])
    assert [document.metadata["relevance_score"] for document in kept] == [score for score in scores if score >= scores[1]]
    assert len(kept) < len(TEXTS)
    others = [document for document in documents() if document.page_content != BEST]
    assert give(kind, others, min_relevance=0.9) == []
    assert give(kind, others, min_relevance=0.9, budget_tokens=1000) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["relevance", "edges", "source"])
def test_with_a_budget_the_documents_are_the_parts_of_the_packed_context_in_its_order(kind, order):
    reranker = Reranker(FakeEncoder())
    ranking = reranker.rerank(QUERY, [Candidate(each.page_content, metadata=each.metadata) for each in documents()])
    context = pack_context(QUERY, ranking, reranker=reranker, budget_tokens=25, order=order, count_tokens=words)
    found = give(kind, budget_tokens=25, order=order, count_tokens=words)
    assert texts(found) == [part.text for part in context.parts]
    assert 2 < len(found) < len(TEXTS)


@pytest.mark.parametrize("kind", KINDS)
async def test_sync_and_async_choose_the_same(kind):
    for options in ({"min_relevance": 0.3}, {"budget_tokens": 20, "order": "edges"}, {"budget_tokens": 20, "top": 2}):
        sync, awaited = run_of(kind, **options)
        assert list(await awaited()) == sync()


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_is_filled_beyond_the_default_of_3_and_a_given_number_bounds_it(kind):
    assert len(give(kind)) == 3
    assert len(give(kind, budget_tokens=1000)) == len(TEXTS)
    assert len(give(kind, budget_tokens=1000, top=2)) == 2
    assert len(give(kind, budget_tokens=12, top=5)) < 3


@pytest.mark.parametrize("kind", KINDS)
def test_whole_documents_keep_their_text_ids_and_metadata_and_get_their_scores(kind):
    given = {document.id: document for document in documents()}
    expected = {document.id: document.metadata for document in give(kind, top=7)}
    for document in give(kind, budget_tokens=1000):
        assert document.page_content == given[document.id].page_content
        assert document.metadata == expected[document.id]
        assert "start" not in document.metadata


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_that_does_not_fit_is_cut_in_a_copy(kind):
    given = [Document(LONG, id="long", metadata={"path": "a", "start": 5, "end": 99})]
    before = copy.deepcopy(given)
    (found,) = give(kind, given, budget_tokens=10, count_tokens=words)
    assert found.page_content == f"{BEST} [...]"
    assert found.id == "long"
    assert found.metadata["relevance_score"] > 0.9
    assert (found.metadata["start"], found.metadata["end"]) == (5, 99)
    assert given == before


@pytest.mark.parametrize("kind", KINDS)
def test_neighbouring_pieces_of_a_file_become_one_document_with_their_place(kind):
    given = [
        Document("It adds them up.", id="second", metadata={"path": "a.md", "start": 43, "end": 59}),
        Document(BEST, id="first", metadata={"path": "a.md", "start": 0, "end": 42}),
        Document("The sea is deep.", id="other", metadata={"path": "b.md", "start": 0, "end": 16}),
    ]
    before = copy.deepcopy(given)
    found = give(kind, given, budget_tokens=100)
    assert texts(found) == [f"{BEST} It adds them up.", "The sea is deep."]
    assert found[0].id == "first"
    assert {name: found[0].metadata[name] for name in ("path", "start", "end")} == {"path": "a.md", "start": 0, "end": 59}
    assert given == before


async def test_k_of_one_call_bounds_the_budgets_documents():
    retriever = LateRerankRetriever(
        base_retriever=RunnableLambda(lambda query: documents()), reranker=Reranker(FakeEncoder()), budget_tokens=1000
    )
    for run in (retriever.invoke, retriever.ainvoke):
        assert len(await called(run, QUERY, k=1)) == 1
        assert len(await called(run, QUERY)) == len(TEXTS)


def test_the_attributes_say_what_counts(reranker):
    base_retriever = RunnableLambda(lambda query: documents())
    assert LateRerankRetriever(base_retriever=base_retriever, reranker=reranker, min_relevance=0.5).k == 3
    assert LateRerankRetriever(base_retriever=base_retriever, reranker=reranker, budget_tokens=9).k is None
    assert LateRerankRetriever(base_retriever=base_retriever, reranker=reranker, budget_tokens=9, k=5).k == 5
    assert LateRerankCompressor(reranker=reranker, top_n=None).top_n == 3
    made = LateRerankCompressor(reranker=reranker, budget_tokens=9, order="edges", min_relevance=0.5, count_tokens=len)
    assert repr(made) == (
        "LateRerankCompressor(top_n=None, model='FakeEncoder', min_relevance=0.5, budget_tokens=9, order='edges')"
    )
    made = LateRerankRetriever(base_retriever=base_retriever, reranker=reranker, budget_tokens=9, count_tokens=len)
    assert repr(made).endswith("k=None, model='FakeEncoder', budget_tokens=9)")


def test_fetch_k_may_be_anything_where_the_budget_says_how_many(reranker):
    made = LateRerankRetriever(
        base_retriever=RunnableLambda(lambda query, k: documents()[:k]), reranker=reranker, fetch_k=2, budget_tokens=1000
    )
    assert len(made.invoke(QUERY)) == 2
    with pytest.raises(ValueError, match="fetch_k=2 and k=3"):
        made.invoke(QUERY, k=3)


async def test_a_budget_may_be_configured_for_one_call(reranker):
    made = LateRerankRetriever(
        base_retriever=RunnableLambda(lambda query: documents()), reranker=reranker, budget_tokens=1000
    ).configurable_fields(
        budget_tokens=ConfigurableField("budget_tokens"),
        min_relevance=ConfigurableField("min_relevance"),
        k=ConfigurableField("k"),
    )
    for run in (made.invoke, made.ainvoke):
        assert len(await called(run, QUERY)) == len(TEXTS)
        assert len(await called(run, QUERY, {"configurable": {"budget_tokens": 12}})) < 3
        assert len(await called(run, QUERY, {"configurable": {"budget_tokens": None}})) == 3
        assert len(await called(run, QUERY, {"configurable": {"k": 4}})) == 4
        assert texts(await called(run, QUERY, {"configurable": {"min_relevance": 1.0}})) == [BEST]


def test_places_and_relevances_are_of_the_same_choice(reranker):
    compressor = LateRerankCompressor(reranker=reranker, budget_tokens=25, order="edges", count_tokens=words)
    expected = [document.metadata["n"] for document in compressor.compress_documents(documents(), QUERY)]
    assert [result["index"] for result in compressor.rerank(documents(), QUERY)] == expected
    assert len(compressor.rerank(documents(), QUERY, top_n=1)) == 1
    (best,) = LateRerankCompressor(reranker=reranker, min_relevance=1.0).rerank(TEXTS, QUERY)
    assert best["index"] == TEXTS.index(BEST)


@pytest.mark.parametrize(("wrong", "error"), WRONG_CHOICES)
def test_a_wrong_choice_is_refused_before_a_model_is_loaded(wrong, error, loads):
    with pytest.raises(error, match=list(wrong)[-1]):
        LateRerankCompressor(**wrong)
    with pytest.raises(error, match=list(wrong)[-1]):
        LateRerankRetriever(base_retriever=RunnableLambda(lambda query: []), **wrong)
    assert loads == []


def test_what_is_assigned_later_counts_and_is_checked(compressor):
    compressor.min_relevance = 1.0
    assert texts(compressor.compress_documents(documents(), QUERY)) == [BEST]
    compressor.min_relevance = 2.0
    with pytest.raises(ValueError, match="min_relevance must be from 0 to 1"):
        compressor.compress_documents(documents(), QUERY)


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_that_is_taken_away_leaves_the_default_number(kind, reranker):
    if kind == "compressor":
        made = LateRerankCompressor(reranker=reranker, budget_tokens=1000)
        made.budget_tokens = None
        assert len(made.compress_documents(documents(), QUERY)) == 3
    else:
        made = LateRerankRetriever(
            base_retriever=RunnableLambda(lambda query: documents()), reranker=reranker, budget_tokens=1000
        )
        made.budget_tokens = None
        assert len(made.invoke(QUERY)) == 3


def test_copies_and_pickles_keep_the_choice(reranker):
    made = LateRerankCompressor(reranker=reranker, budget_tokens=25, order="edges", count_tokens=words, min_relevance=0.1)
    expected = made.compress_documents(documents(), QUERY)
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert (again.top_n, again.count_tokens) == (None, words)
        assert again.compress_documents(documents(), QUERY) == expected


@pytest.mark.parametrize("kind", KINDS)
async def test_ranking_and_packing_both_run_in_a_worker_thread(kind):
    ranked, counted = set(), set()

    def rank(texts):
        ranked.add(threading.current_thread().name)

    def count(text):
        counted.add(threading.current_thread().name)
        return words(text)

    _, awaited = run_of(kind, reranker=Reranker(FakeEncoder(before_query=rank)), budget_tokens=20, count_tokens=count)
    assert await awaited()
    assert ranked
    assert counted
    assert threading.current_thread().name not in ranked | counted


def test_a_tokenizer_counts_the_budget(minilm):
    from late_rerank.encode.builtin import minilm_source

    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_source())
    reranker = Reranker(minilm)
    found = give("retriever", reranker=reranker, budget_tokens=40, count_tokens=tokenizer)
    assert found[0].page_content == BEST
    whole = "\n\n".join(f"[{i}] {text}" for i, text in enumerate(texts(found), start=1))
    assert len(tokenizer.encode(whole, add_special_tokens=False)) <= 40
    assert 1 < len(found) < len(TEXTS)


def test_a_configured_budget_of_another_type_is_refused(reranker):
    made = LateRerankRetriever(base_retriever=RunnableLambda(lambda query: []), reranker=reranker, budget_tokens=9)
    with pytest.raises(TypeError, match="budget_tokens must be an int, got 'many'"):
        made.configurable_fields(budget_tokens=ConfigurableField("b")).invoke(QUERY, {"configurable": {"b": "many"}})
