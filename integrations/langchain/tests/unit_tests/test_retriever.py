"""LateRerankRetriever on its own: arguments, k, fetch_k, copies."""

import copy
import inspect
import pickle
import warnings
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_late_rerank import LateRerankRetriever
from pydantic import ValidationError
from support import BEST, QUERY, TEXTS, base, documents, texts, vector_store

from late_rerank.maxsim import PROXIMITY
from late_rerank.stores import MemoryStore
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.wrapping import Choice


class ListRetriever(BaseRetriever):
    """Takes no k: LangChain drops it silently."""

    found: list[Document]

    def _get_relevant_documents(self, query, *, run_manager):
        return self.found


async def test_it_gives_the_best_documents_sync_and_async(retriever):
    found = retriever.invoke(QUERY)
    assert isinstance(found, list)
    assert len(found) == 2
    assert found[0].page_content == BEST
    assert await retriever.ainvoke(QUERY) == found


def test_k_is_3_by_default(reranker):
    assert len(LateRerankRetriever(base_retriever=base(), reranker=reranker).invoke(QUERY)) == 3


async def test_no_documents_give_none_without_touching_the_model(reranker, encoder):
    retriever = LateRerankRetriever(base_retriever=RunnableLambda(lambda query: []), reranker=reranker)
    assert retriever.invoke(" ") == []
    assert await retriever.ainvoke(" ") == []
    assert (encoder.n_queries, encoder.n_documents) == (0, 0)


@pytest.mark.parametrize("name", ["k", "fetch_k"])
def test_numbers_below_1_are_refused_before_a_model_is_loaded(name, loads):
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got {number}"):
            LateRerankRetriever(base_retriever=base(), **{name: number})
    for number in ("3", 2.0, True):
        with pytest.raises((TypeError, ValidationError), match=name):
            LateRerankRetriever(base_retriever=base(), **{name: number})
    assert loads == []


async def test_k_of_one_call_is_checked_too(retriever):
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        retriever.invoke(QUERY, k=0)
    with pytest.raises(TypeError, match="k must be an int or None, got '2'"):
        await retriever.ainvoke(QUERY, k="2")


async def test_fetch_k_below_k_is_refused(reranker):
    with pytest.raises(ValueError, match="fetch_k must be at least k, got fetch_k=2 and k=3"):
        LateRerankRetriever(base_retriever=base(), reranker=reranker, fetch_k=2)
    retriever = LateRerankRetriever(base_retriever=base(), reranker=reranker, fetch_k=5)
    assert len(retriever.invoke(QUERY, k=5)) == 5
    with pytest.raises(ValueError, match="fetch_k=5 and k=6"):
        retriever.invoke(QUERY, k=6)
    with pytest.raises(ValueError, match="fetch_k=5 and k=6"):
        await retriever.ainvoke(QUERY, k=6)


def test_a_bare_function_is_no_base_retriever(reranker):
    with pytest.raises(ValidationError, match="base_retriever"):
        LateRerankRetriever(base_retriever=lambda query: [], reranker=reranker)


def test_a_ready_reranker_excludes_arguments_for_a_new_one(reranker):
    given = {"model": FakeEncoder(), "store": MemoryStore(), "codec": "int4", "scoring": "proximity", "query_encoder": "fast"}
    for more in ({name: value} for name, value in given.items()):
        with pytest.raises(ValueError, match=f"either a ready reranker or {next(iter(more))}"):
            LateRerankRetriever(base_retriever=base(), reranker=reranker, **more)


def test_a_query_encoder_reaches_the_reranker(loads):
    made = LateRerankRetriever(base_retriever=base(), query_encoder="fast")
    assert loads == ["minilm"]
    assert made.reranker.arguments["query_encoder"] == "fast"


def test_model_store_codec_and_scoring_make_the_reranker():
    encoder, store = FakeEncoder(), MemoryStore()
    parts = {"model": encoder, "store": store, "codec": "int4", "scoring": "proximity"}
    made = LateRerankRetriever(base_retriever=base(), **parts).reranker
    assert (made.encoder, made.store, made.codec.name, made.scoring) == (encoder, store, "int4", PROXIMITY)


def test_type_checkers_see_the_arguments():
    parameters = inspect.signature(LateRerankRetriever).parameters
    assert list(parameters)[:6] == ["base_retriever", "k", "fetch_k", "reranker", "model", "revision"]
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters.values())
    own = set(LateRerankRetriever.model_fields) - set(BaseRetriever.model_fields)
    choice = Choice().options(LateRerankRetriever.model_fields)
    assert len(choice) == 6
    assert own == {"base_retriever", "k", "fetch_k", "reranker", "text", "image", "keep_scores", *choice}


def test_too_few_documents_to_rerank_are_warned_of_at_the_callers_line(reranker):
    with pytest.warns(UserWarning, match=r"in most vector stores 4.*fetch_k=50") as caught:
        LateRerankRetriever(base_retriever=vector_store().as_retriever(), reranker=reranker)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LateRerankRetriever(base_retriever=vector_store().as_retriever(), fetch_k=50, reranker=reranker)
        LateRerankRetriever(base_retriever=base(), reranker=reranker)
        LateRerankRetriever(base_retriever=ListRetriever(found=[]), reranker=reranker)


def test_a_fetch_k_without_effect_is_warned_of(reranker):
    with pytest.warns(UserWarning, match="ListRetriever takes no k when it is called, so that fetch_k=50 has no effect"):
        LateRerankRetriever(base_retriever=ListRetriever(found=[]), fetch_k=50, reranker=reranker)


@pytest.mark.parametrize("query", [{"question": QUERY}, None, 5])
async def test_a_query_that_is_no_text_is_refused_before_the_base_is_asked(query, reranker):
    asked = []
    retriever = LateRerankRetriever(base_retriever=RunnableLambda(asked.append), reranker=reranker)
    message = rf"query must be a str, got {type(query).__name__}.*itemgetter"
    with pytest.raises(TypeError, match=message):
        retriever.invoke(query)
    with pytest.raises(TypeError, match=message):
        await retriever.ainvoke(query)
    assert asked == []


@pytest.mark.parametrize("query", ["", " \n", "\u200b"])
async def test_a_blank_query_finds_nothing_and_the_base_is_not_asked(query, reranker, encoder):
    asked = []
    retriever = LateRerankRetriever(base_retriever=RunnableLambda(asked.append), reranker=reranker)
    assert retriever.invoke(query) == []
    assert await retriever.ainvoke(query) == []
    assert (asked, encoder.n_queries) == ([], 0)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        retriever.invoke(query, k=0)


async def test_a_base_that_gives_no_documents_is_named(reranker):
    for given, message in [
        (["text"], r"the base retriever's result\[0\] must be a Document, got str: 'text'"),
        (None, r"the base retriever's result must be a list of Documents, got NoneType"),
    ]:
        retriever = LateRerankRetriever(base_retriever=RunnableLambda(lambda query, given=given: given), reranker=reranker)
        with pytest.raises(TypeError, match=message):
            retriever.invoke(QUERY)
        with pytest.raises(TypeError, match=message):
            await retriever.ainvoke(QUERY)


def test_the_bases_documents_are_never_changed(reranker):
    given = documents()
    before = copy.deepcopy(given)
    LateRerankRetriever(base_retriever=ListRetriever(found=given), reranker=reranker).invoke(QUERY)
    store = vector_store()
    stored = copy.deepcopy(store.store)
    LateRerankRetriever(base_retriever=store.as_retriever(), fetch_k=7, reranker=reranker).invoke(QUERY)
    assert given == before
    assert store.store == stored


def test_the_callers_metadata_is_kept_and_not_changed(reranker):
    mine = {"team": "search"}
    retriever = LateRerankRetriever(base_retriever=base(), reranker=reranker, metadata=mine, tags=["t"], name="mine")
    assert mine == {"team": "search"}
    assert retriever.metadata == {"team": "search", "late_rerank_model": "FakeEncoder"}
    assert (retriever.tags, retriever.get_name()) == (["t"], "mine")


def test_it_can_be_pickled_and_answers_the_same(reranker):
    retriever = LateRerankRetriever(base_retriever=ListRetriever(found=documents()), reranker=reranker, k=2)
    again = pickle.loads(pickle.dumps(retriever))
    assert again.reranker is not reranker
    assert (again.k, again.metadata) == (2, retriever.metadata)
    assert again.invoke(QUERY) == retriever.invoke(QUERY)


def test_a_deep_copy_shares_the_reranker(retriever):
    again = copy.deepcopy(retriever)
    assert again is not retriever
    assert again.reranker is retriever.reranker
    assert again.invoke(QUERY) == retriever.invoke(QUERY)


def test_documents_already_encoded_are_not_encoded_again(retriever, encoder):
    retriever.invoke(QUERY)
    retriever.invoke("another query")
    assert (encoder.n_queries, encoder.n_documents) == (2, len(TEXTS))


def test_it_may_be_the_base_of_another(retriever, reranker):
    outer = LateRerankRetriever(base_retriever=retriever, reranker=reranker, k=1, fetch_k=4)
    (document,) = outer.invoke(QUERY)
    assert texts([document]) == [BEST]
    assert document.metadata["retrieval_score"] == document.metadata["relevance_score"]


def test_the_readmes_table_names_every_argument():
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    arguments = inspect.signature(LateRerankRetriever.__init__).parameters
    own = [name for name in arguments if name not in ("self", "name", "tags", "metadata")]
    assert [name for name in own if f"`{name}" not in text] == []
