"""LateRerankCompressor on its own."""

import copy
import inspect
import pickle

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableLambda
from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever
from pydantic import ValidationError
from support import BEST, QUERY, TEXTS, documents, texts

from late_rerank import Reranker
from late_rerank.maxsim import PROXIMITY
from late_rerank.stores import MemoryStore
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.wrapping import Choice


async def test_it_gives_the_best_documents_sync_and_async(compressor):
    assert isinstance(compressor, BaseDocumentCompressor)
    found = compressor.compress_documents(documents(), QUERY)
    assert len(found) == 2
    assert found[0].page_content == BEST
    assert await compressor.acompress_documents(documents(), QUERY) == found
    assert compressor.compress_documents(tuple(documents()), QUERY) == found


def test_top_n_is_3_by_default(reranker):
    assert len(LateRerankCompressor(reranker=reranker).compress_documents(documents(), QUERY)) == 3


async def test_no_documents_give_none_without_touching_the_model(compressor, encoder):
    assert compressor.compress_documents([], "") == []
    assert await compressor.acompress_documents([], "") == []
    assert compressor.rerank([], "") == []
    assert (encoder.n_queries, encoder.n_documents) == (0, 0)


@pytest.mark.parametrize("weight", [100, "auto"])
def test_the_retrievers_scores_count_where_they_are_asked_to(weight, reranker):
    found = documents()
    for i, document in enumerate(found):
        document.metadata["score"] = 100.0 if i == 4 else float(i == 2)  # one document stands out: "auto" trusts that
    weighed = LateRerankCompressor(reranker=reranker, first_stage_weight=weight)
    ranked = weighed.compress_documents(found, QUERY)
    with pytest.raises(ValueError, match="has no score"):
        weighed.compress_documents(documents(), QUERY)
    by_maxsim = LateRerankCompressor(reranker=reranker).compress_documents(found, QUERY)

    assert texts(by_maxsim)[0] == BEST
    if weight == 100:
        assert texts(ranked)[0] == TEXTS[4]
        assert "first_stage_weight=100" in repr(weighed)
    assert {document.id: document.metadata["late_rerank_score"] for document in ranked}[ranked[0].id] == pytest.approx(
        reranker.rerank(QUERY, [ranked[0].page_content])[0].score
    )


def test_a_retriever_passes_the_weight_on(reranker):
    given = documents()
    for i, document in enumerate(given):
        document.metadata["score"] = float(i == 4)
    retriever = LateRerankRetriever(base_retriever=RunnableLambda(lambda _: given), reranker=reranker, first_stage_weight=100)
    assert texts(retriever.invoke(QUERY))[0] == TEXTS[4]


PRIORS = ["popularity", lambda candidate: candidate.metadata.get("popularity", 0.0)]


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("budget", [None, 1000])
async def test_a_prior_of_ones_own_counts_and_is_told(prior, budget, reranker):
    given = documents()
    given[4].metadata |= {"popularity": 100.0, "late_rerank_prior": "an earlier reranking's"}
    ranked = LateRerankCompressor(reranker=reranker, prior=prior, budget_tokens=budget)
    found = ranked.compress_documents(given, QUERY)

    assert texts(found)[0] == TEXTS[4]
    assert [document.metadata["late_rerank_prior"] for document in found[:2]] == [100.0, 0.0]
    assert texts(await ranked.acompress_documents(given, QUERY)) == texts(found)
    assert ranked.rerank(given, QUERY)[0]["index"] == 4
    retriever = LateRerankRetriever(base_retriever=RunnableLambda(lambda _: given), reranker=reranker, prior=prior)
    assert texts(retriever.invoke(QUERY))[0] == TEXTS[4]
    for each in (ranked, retriever):
        assert ("prior=popularity" if prior == "popularity" else "prior=<lambda>") in repr(each).replace("'", "")
    plain = LateRerankCompressor(reranker=reranker).compress_documents(given, QUERY)
    assert not any("late_rerank_prior" in document.metadata for document in plain)
    assert texts(plain)[0] == BEST


def test_a_prior_that_fails_names_the_document(reranker):
    ranked = LateRerankCompressor(reranker=reranker, prior=lambda candidate: candidate.metadata["date"])
    with pytest.raises(ValueError, match=r"prior failed for candidates\[0\] \(id 'd0'\): KeyError: 'date'"):
        ranked.compress_documents(documents(), QUERY)


def test_copies_that_differ_in_what_a_prior_added_are_equal(reranker):
    ranked = [LateRerankCompressor(top_n=1, reranker=reranker, prior=lambda _, number=number: number) for number in (0.0, 1.0)]
    first, second = (each.compress_documents(documents(), QUERY)[0] for each in ranked)
    assert first.metadata["late_rerank_prior"] != second.metadata["late_rerank_prior"]
    assert first == second


@pytest.mark.parametrize("top_n", [0, -1])
def test_top_n_below_1_is_refused_before_a_model_is_loaded(top_n, loads):
    with pytest.raises(ValueError, match=f"top_n must be at least 1, got {top_n}"):
        LateRerankCompressor(top_n=top_n)
    assert loads == []


def test_top_n_of_one_call_is_checked_too(compressor):
    with pytest.raises(ValueError, match="top_n must be at least 1, got 0"):
        compressor.rerank(TEXTS, QUERY, top_n=0)


@pytest.mark.parametrize("top_n", ["3", 2.0, True])
def test_top_n_of_another_type_is_refused(top_n, loads):
    with pytest.raises((TypeError, ValidationError), match="top_n"):
        LateRerankCompressor(top_n=top_n)
    assert loads == []


def test_a_ready_reranker_excludes_arguments_for_a_new_one(reranker):
    given = {"model": FakeEncoder(), "store": MemoryStore(), "codec": "int4", "scoring": "proximity", "query_encoder": "fast"}
    for more in ({name: value} for name, value in given.items()):
        with pytest.raises(ValueError, match=f"either a ready reranker or {next(iter(more))}"):
            LateRerankCompressor(reranker=reranker, **more)
    with pytest.raises(TypeError, match=r"must be a late_rerank\.Reranker, got str"):
        LateRerankCompressor(reranker="minilm")


def test_a_query_encoder_reaches_the_reranker(loads):
    made = LateRerankCompressor(query_encoder="fast")
    assert loads == ["minilm"]
    assert made.reranker.arguments["query_encoder"] == "fast"
    assert LateRerankCompressor().reranker.arguments["query_encoder"] == "full"


def test_model_store_codec_and_scoring_make_the_reranker():
    encoder, store = FakeEncoder(), MemoryStore()
    made = LateRerankCompressor(model=encoder, store=store, codec="float16", scoring="proximity").reranker
    assert (made.encoder, made.store, made.codec.name, made.scoring) == (encoder, store, "float16", PROXIMITY)


def test_unknown_arguments_are_refused(reranker, compressor):
    with pytest.raises(TypeError, match="top_k"):
        LateRerankCompressor(reranker=reranker, top_k=3)
    with pytest.raises(ValueError, match="top_k"):
        compressor.top_k = 3  # extra="forbid"


def test_type_checkers_see_the_arguments():
    parameters = inspect.signature(LateRerankCompressor).parameters
    choice = Choice().options(LateRerankCompressor.model_fields)
    assert len(choice) == 6
    assert list(parameters)[:7] == ["top_n", "reranker", "model", "revision", "store", "codec", "scoring"]
    assert list(parameters)[7] == "query_encoder"
    assert set(list(parameters)[7:]) == {"query_encoder", *choice, "text", "image", "keep_scores"}
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters.values())
    assert set(LateRerankCompressor.model_fields) == {"top_n", "reranker", "text", "image", "keep_scores", *choice}


def test_rerank_gives_places_and_relevances_of_texts_and_documents(compressor):
    mixed = [text if i % 2 else Document(text) for i, text in enumerate(TEXTS)]
    results = compressor.rerank(mixed, QUERY)
    assert len(results) == 2
    assert results[0]["index"] == TEXTS.index(BEST)
    assert all(type(result["index"]) is int and type(result["relevance_score"]) is float for result in results)
    assert [set(result) for result in results] == [{"index", "relevance_score"}] * 2
    assert len(compressor.rerank(mixed, QUERY, top_n=5)) == 5
    assert [result["index"] for result in compressor.rerank(mixed, QUERY, top_n=1)] == [TEXTS.index(BEST)]
    scores = [document.metadata["relevance_score"] for document in compressor.compress_documents(documents(), QUERY)]
    assert [result["relevance_score"] for result in results] == scores


def test_what_is_no_list_of_documents_is_refused_by_its_place(compressor):
    with pytest.raises(TypeError, match=r"documents\[1\] must be a Document, got str: 'a'"):
        compressor.compress_documents([Document("b"), "a"], QUERY)
    with pytest.raises(TypeError, match=r"documents\[1\] must be a str or a Document, got int"):
        compressor.rerank(["a", 5], QUERY)
    for one in ("text", Document("text"), None):
        with pytest.raises(TypeError, match=f"documents must be a list of Documents, got {type(one).__name__}"):
            compressor.rerank(one, QUERY)


@pytest.mark.parametrize("query", ["", " \n", "\u200b", "\u2060\u00ad"])
async def test_a_blank_query_finds_nothing_and_touches_no_model(query, compressor, encoder):
    assert compressor.compress_documents(documents(), query) == []
    assert await compressor.acompress_documents(documents(), query) == []
    assert compressor.rerank(TEXTS, query) == []
    assert (encoder.n_queries, encoder.n_documents) == (0, 0)


def test_a_query_that_is_no_text_is_refused(compressor):
    with pytest.raises(TypeError, match="query"):
        compressor.compress_documents(documents(), None)


def test_it_can_be_pickled_and_answers_the_same(compressor):
    again = pickle.loads(pickle.dumps(compressor))
    assert again.reranker is not compressor.reranker
    assert again.top_n == 2
    assert again.compress_documents(documents(), QUERY) == compressor.compress_documents(documents(), QUERY)


def test_a_deep_copy_shares_the_reranker(compressor):
    again = copy.deepcopy(compressor)
    assert again is not compressor
    assert again.reranker is compressor.reranker
    assert texts(again.compress_documents(documents(), QUERY))[0] == BEST


def test_its_repr_is_short(compressor):
    assert repr(compressor) == "LateRerankCompressor(top_n=2, model='FakeEncoder')"
    assert LateRerankCompressor.model_fields["reranker"].repr is False


def test_two_compressors_may_share_a_reranker(reranker, encoder):
    for top_n in (1, 2):
        found = LateRerankCompressor(reranker=reranker, top_n=top_n).compress_documents(documents(), QUERY)
        assert len(found) == top_n
    assert encoder.n_documents == len(TEXTS)
    assert isinstance(reranker, Reranker)
