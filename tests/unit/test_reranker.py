import asyncio
import copy
import json
import pickle
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker
from late_rerank.errors import IncompatibleError, MissingDocumentsError, ModelError
from late_rerank.maxsim import NumpyKernel, reference
from late_rerank.stores import MemoryStore
from late_rerank.testing.fakes import FakeEncoder, Gate
from late_rerank.types import TokenVectors

TEXTS = ["the cat sat", "dogs and cats", "a cat on a mat", "nothing of the kind", "cat cat cat"]


def scores_by_index(ranking):
    return {document.index: document.score for document in ranking}


class TestRanking:
    def test_best_first_with_rank_index_and_relevance(self, reranker):
        ranked = reranker.rerank("cat mat", TEXTS)

        assert ranked[0].text == "a cat on a mat"
        assert [document.rank for document in ranked] == [1, 2, 3, 4, 5]
        assert sorted(document.index for document in ranked) == [0, 1, 2, 3, 4]
        assert [document.score for document in ranked] == sorted((document.score for document in ranked), reverse=True)
        assert all(0 <= document.relevance <= 1 for document in ranked)
        assert ranked[0].relevance == pytest.approx(1, abs=0.01)

    def test_scores_are_the_references(self, exact, fake):
        ranked = exact.rerank("the cat on a mat", TEXTS)
        documents = fake.encode_document(TEXTS)
        query = fake.encode_query(["the cat on a mat"])
        expected = reference.score(query.values, [documents.rows(i) for i in range(len(TEXTS))])

        np.testing.assert_allclose([scores_by_index(ranked)[i] for i in range(len(TEXTS))], expected, atol=1e-5)

    def test_scores_that_rounding_alone_parts_tie_whatever_the_store_held(self, fake):
        """Their texts differ, their vectors don't; in which kernel call a document stands must not decide."""
        texts = ["cat" + "!" * i for i in range(40)]
        for stored in (texts[1:], texts[::2], texts[20:], []):
            reranker = Reranker(fake, codec="float32")
            reranker.index(stored)
            ranked = reranker.rerank("one cat on the mat", texts)
            assert [document.index for document in ranked] == list(range(40))
            assert len({document.score for document in ranked}) == 1

    def test_top_k_keeps_the_best(self, reranker):
        assert list(reranker.rerank("cat mat", TEXTS, top_k=2)) == list(reranker.rerank("cat mat", TEXTS))[:2]
        assert len(reranker.rerank("cat", TEXTS, top_k=99)) == 5

    def test_equal_scores_keep_the_first_stage_order(self, reranker):
        texts = ["no match", "one word", "one word of more words"] * 60
        order = [document.index for document in reranker.rerank("word words", texts)]

        assert order == [*range(2, 180, 3), *range(1, 180, 3), *range(0, 180, 3)]

    def test_candidates_carry_id_score_and_metadata(self, reranker):
        metadata = {"page": 3}
        ranked = reranker.rerank("cat", [Candidate("a cat", "x", 7.5, metadata), "a dog"])

        assert (ranked[0].id, ranked[0].candidate_score, ranked[0].metadata) == ("x", 7.5, {"page": 3})
        assert ranked[0].metadata is metadata
        assert (ranked[1].id, ranked[1].candidate_score, dict(ranked[1].metadata)) == (None, None, {})

    def test_no_candidates_give_an_empty_ranking(self, reranker, fake):
        ranking = reranker.rerank("cat", [])

        assert ranking == []
        assert (ranking.n_hits, ranking.n_misses, ranking.timings_ms["encode_query"], fake.n_queries) == (0, 0, 0, 0)

    def test_duplicates_each_get_a_result_and_are_encoded_once(self, reranker, fake):
        ranked = reranker.rerank("cat", ["a cat", "a dog", "a cat"])

        assert [document.index for document in ranked] == [0, 2, 1]
        assert ranked[0].score == ranked[1].score
        assert fake.n_documents == 2

    def test_candidates_may_come_from_a_generator(self, reranker):
        assert len(reranker.rerank("cat", (text for text in TEXTS))) == 5

    def test_inputs_are_never_changed(self, reranker):
        candidates = [Candidate("a cat", "x", 1.0, {"a": [1]}), "a dog"]
        before = repr(candidates)
        reranker.rerank("cat", candidates)

        assert repr(candidates) == before

    def test_truncated_documents_say_so(self):
        ranked = Reranker(FakeEncoder(max_words=3)).rerank("cat", ["a cat", "one two three four cat"])

        assert [(document.index, document.truncated) for document in ranked] == [(0, False), (1, True)]


class TestBlank:
    def test_blank_documents_come_last_and_are_never_encoded(self, reranker, fake):
        ranked = reranker.rerank("cat", ["", "a dog", " \n\t", "a cat"])

        assert [document.index for document in ranked] == [3, 1, 0, 2]
        assert [(document.score, document.relevance) for document in ranked[2:]] == [(-1e9, 0.0)] * 2
        assert fake.n_documents == 2
        assert (ranked.n_hits, ranked.n_misses) == (0, 2)

    def test_documents_without_any_token_come_last(self, reranker):
        ranked = reranker.rerank("cat", ["!!!", "a dog"])

        assert [(document.index, document.score) for document in ranked][1] == (0, -1e9)

    def test_a_query_without_any_token_leaves_the_order_as_it_is(self, reranker):
        ranked = reranker.rerank("?!", ["b", "", "a"])

        assert [(document.index, document.score) for document in ranked] == [(0, 0.0), (2, 0.0), (1, -1e9)]

    def test_only_blank_documents(self, reranker):
        assert [document.score for document in reranker.rerank("cat", ["", " "])] == [-1e9, -1e9]

    @pytest.mark.parametrize("query", ["", "  \n"])
    def test_a_blank_query_is_refused(self, reranker, query):
        with pytest.raises(ValueError, match="at least one word"):
            reranker.rerank(query, TEXTS)


class TestWrongInput:
    @pytest.mark.parametrize("top_k", [0, -1])
    def test_top_k_below_one(self, reranker, top_k):
        with pytest.raises(ValueError, match="top_k must be at least 1"):
            reranker.rerank("cat", TEXTS, top_k=top_k)

    @pytest.mark.parametrize("top_k", [1.5, "3", True])
    def test_top_k_of_another_type(self, reranker, top_k):
        with pytest.raises(TypeError, match="top_k"):
            reranker.rerank("cat", TEXTS, top_k=top_k)

    def test_a_candidate_of_another_type_is_named_and_nothing_is_lost(self, reranker):
        with pytest.raises(TypeError, match=r"candidates\[1\] must be a str, a Picture or a Candidate, got dict"):
            reranker.rerank("cat", ["fine", {"text": "not fine"}])
        assert len(reranker.rerank("cat", ["fine"])) == 1

    @pytest.mark.parametrize("candidates", ["one text", Candidate("one text")])
    def test_one_candidate_instead_of_a_list(self, reranker, candidates):
        with pytest.raises(TypeError, match="wrap it"):
            reranker.rerank("cat", candidates)

    def test_a_query_that_is_no_text(self, reranker):
        with pytest.raises(TypeError, match="must be a str, got NoneType"):
            reranker.rerank(None, TEXTS)

    def test_lists_of_different_length_in_a_batch(self, reranker):
        with pytest.raises(ValueError, match="2 queries but 1 lists"):
            reranker.rerank_batch(["a", "b"], [TEXTS])
        with pytest.raises(TypeError, match="got one str"):
            reranker.rerank_batch("a", [TEXTS])

    def test_unknown_names(self):
        for arguments in ({"codec": "int3"}, {"kernel": "fast"}, {"on_missing": "ignore"}, {"backend": "magic"}):
            with pytest.raises(ValueError, match=next(iter(arguments.values()))):
                Reranker(FakeEncoder(), **arguments)
        with pytest.raises(ModelError, match="neither a folder"):
            Reranker("no such/model/here")

    @pytest.mark.parametrize("arguments", [{"store": 3}, {"codec": 3}, {"kernel": 3}, {"model": 3}])
    def test_arguments_of_another_kind(self, arguments):
        with pytest.raises(TypeError, match="got int"):
            Reranker(**{"model": FakeEncoder(), **arguments})

    @pytest.mark.parametrize("text", ["\x00", "\ud800 lone", "x" * 100_000, "word " * 20_000])
    def test_odd_texts_get_a_result(self, reranker, text):
        assert len(reranker.rerank("word", [text, "a word"])) == 2
        if text != "\x00":  # blank as a query
            assert len(reranker.rerank(text, ["a word"])) == 1

    def test_ten_thousand_short_candidates(self, reranker):
        ranked = reranker.rerank("cat 77", [f"cat {i}" for i in range(10_000)])

        assert len(ranked) == 10_000
        assert ranked[0].index == 77


class BrokenEncoder(FakeEncoder):
    """NaN for one word."""

    def _encode(self, texts):
        vectors = super()._encode(texts)
        for i, text in enumerate(texts):
            if "poison" in text:
                vectors.rows(i)[0, 0] = np.nan
            if "infinite" in text:
                vectors.rows(i)[0, :2] = np.inf, -np.inf
        return vectors


class TestUsersEncoder:
    def test_nan_is_refused_by_name_and_nothing_is_stored(self):
        reranker = Reranker(BrokenEncoder())
        with pytest.raises(ValueError, match="NaN or infinity for document 1: 'a poison'"):
            reranker.rerank("cat", ["a cat", "a poison", "a dog"])
        assert reranker.stats()["n_documents"] == 0
        with pytest.raises(ValueError, match="for query 0"):
            reranker.rerank("poison", ["a cat"])
        with pytest.raises(ValueError, match="for document 0: 'infinite'"):
            reranker.index(["infinite"])

    def test_an_encoder_that_loses_a_text_is_refused(self):
        class Lossy(FakeEncoder):
            def encode_document(self, texts):
                return super().encode_document(texts[1:])

        with pytest.raises(ValueError, match="2 texts for 3"):
            Reranker(Lossy()).rerank("cat", ["a", "b", "c"])

    def test_an_encoder_that_gives_something_else_is_refused(self):
        class Listing(FakeEncoder):
            def encode_query(self, texts):
                return [[0.0] * 64]

        with pytest.raises(TypeError, match="must give TokenVectors, got list"):
            Reranker(Listing()).rerank("cat", ["a"])

    def test_an_encoder_with_another_dim_than_it_says_is_refused(self):
        class Wide(FakeEncoder):
            def encode_query(self, texts):
                return TokenVectors(np.ones((1, 7), np.float32), np.array([0, 1]))

        with pytest.raises(IncompatibleError, match="dim=64"):
            Reranker(Wide()).rerank("cat", ["a"])


class TestStoreUse:
    def test_stored_documents_are_never_encoded_again(self, reranker, fake):
        report = reranker.index(TEXTS)
        assert (report.n_documents, report.n_encoded, report.n_cached) == (5, 5, 0)
        before = fake.n_documents
        ranking = reranker.rerank("cat", TEXTS)

        assert fake.n_documents == before == 5
        assert (ranking.n_hits, ranking.n_misses, ranking.timings_ms["encode_missing"]) == (5, 0, 0)

    def test_misses_are_stored_for_next_time(self, reranker, fake):
        first, second = reranker.rerank("cat", TEXTS), reranker.rerank("mat", TEXTS)

        assert (first.n_misses, second.n_hits, fake.n_documents) == (5, 5, 5)

    def test_skip_leaves_misses_unscored_behind_the_scored_in_first_stage_order(self, fake):
        reranker = Reranker(fake, on_missing="skip")
        reranker.index(["a dog", "a cat"])
        ranked = reranker.rerank("cat", ["unseen one", "a dog", "", "unseen cat", "a cat"])

        assert [document.index for document in ranked] == [4, 1, 2, 0, 3]
        assert [(document.score, document.relevance) for document in ranked[3:]] == [(None, None)] * 2
        assert (ranked.n_hits, ranked.n_misses, fake.n_documents) == (2, 2, 2)

    def test_raise_counts_the_missing_and_names_the_first(self, fake):
        reranker = Reranker(fake, on_missing="raise")
        reranker.index(["a dog"])
        with pytest.raises(MissingDocumentsError) as caught:
            reranker.rerank("cat", ["a dog", "unseen", "", "unseen too"])

        assert (caught.value.count, caught.value.first_index) == (2, 1)
        assert "2 candidate(s)" in str(caught.value)
        assert fake.n_documents == 1

    def test_two_rerankers_share_a_store(self, fake):
        store = MemoryStore()
        Reranker(fake, store=store).index(TEXTS)

        assert Reranker(fake, store=store).rerank("cat", TEXTS).n_hits == 5

    def test_another_model_or_codec_is_a_miss(self, fake):
        store = MemoryStore()
        Reranker(fake, store=store).index(TEXTS)

        assert Reranker(FakeEncoder(dim=32), store=store).rerank("cat", TEXTS).n_hits == 0
        assert Reranker(fake, store=store, codec="float16").rerank("cat", TEXTS).n_hits == 0

    def test_a_reranker_closes_only_the_store_that_it_made(self, fake):
        given_store = MemoryStore()
        with Reranker(fake, store=given_store) as reranker:
            reranker.index(TEXTS)
        assert given_store.stats()["n_documents"] == 5
        with Reranker(fake) as reranker:
            reranker.index(TEXTS)
        assert reranker.store.stats()["n_documents"] == 0

    def test_a_store_too_small_for_the_candidates_still_ranks_right(self, fake):
        small, large = Reranker(fake, store=MemoryStore(max_bytes=1600)), Reranker(fake)

        for _ in range(2):
            assert scores_by_index(small.rerank("cat", TEXTS)) == scores_by_index(large.rerank("cat", TEXTS))


class TestIndex:
    def test_a_report_adds_up(self, reranker):
        reranker.index(["a cat"])
        report = reranker.index(["a cat", Candidate("a dog"), "", "a dog", "one two three"], batch_size=2)

        assert (report.n_documents, report.n_encoded, report.n_cached, report.n_tokens) == (5, 2, 2, 5)
        assert report.size_bytes == 5 * (64 + 4)
        assert report.seconds > 0

    def test_it_takes_a_generator(self, reranker):
        assert reranker.index(text for text in TEXTS).n_documents == 5

    def test_wrong_documents_are_named(self, reranker):
        with pytest.raises(TypeError, match=r"documents\[2\]"):
            reranker.index(["a", "b", 3])
        with pytest.raises(TypeError, match="wrap it"):
            reranker.index("one text")
        with pytest.raises(ValueError, match="batch_size"):
            reranker.index(["a"], batch_size=0)

    def test_a_progress_bar_is_for_terminals_only(self, reranker, capsys):
        reranker.index(TEXTS, progress=True)

        assert capsys.readouterr() == ("", "")


class TestBatchAndAsync:
    def test_a_batch_ranks_as_one_by_one(self, fake):
        queries, lists = ["cat", "dogs", "mat"], [TEXTS, TEXTS[1:3], []]
        together = Reranker(fake).rerank_batch(queries, lists)
        alone = [Reranker(fake).rerank(query, texts) for query, texts in zip(queries, lists, strict=True)]

        assert [list(ranking) for ranking in together] == [list(ranking) for ranking in alone]
        assert [ranking.n_misses for ranking in together] == [5, 2, 0]

    def test_a_shared_candidate_is_encoded_once(self, reranker, fake):
        reranker.rerank_batch(["cat", "dog"], [TEXTS, TEXTS])

        assert fake.n_documents == 5

    def test_the_total_covers_all_stages(self, monkeypatch):
        now_s = 0.0

        def takes(seconds):
            def pass_time(_):
                nonlocal now_s
                now_s += seconds

            return pass_time

        monkeypatch.setattr("late_rerank.observing.timing.time.perf_counter", lambda: now_s)
        ranking = Reranker(FakeEncoder(before_query=takes(1), before_document=takes(2))).rerank("cat", ["cat"])

        assert ranking.timings_ms == {"encode_query": 1000, "fetch": 0, "encode_missing": 2000, "maxsim": 0, "total": 3000}

    def test_an_empty_batch(self, reranker):
        assert reranker.rerank_batch([], []) == []

    def test_arerank_leaves_the_event_loop_free(self):
        gate = Gate()
        reranker = Reranker(FakeEncoder(before_query=gate, before_document=gate))
        ranking = asyncio.run(gate.opened_during(reranker.arerank("cat", TEXTS, top_k=2)))

        assert threading.current_thread().name not in gate.threads
        assert len(ranking) == 2

    def test_threads_share_one_reranker(self, reranker):
        expected = [list(reranker.rerank(word, TEXTS)) for word in ("cat", "dogs", "mat", "kind")]
        wrong = []

        def work():
            for _ in range(30):
                for word, ranking in zip(("cat", "dogs", "mat", "kind"), expected, strict=True):
                    if list(reranker.rerank(word, TEXTS)) != ranking:
                        wrong.append(word)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert wrong == []
        assert reranker.stats()["n_queries"] == 4 + 4 * 30 * 4


class TestTokenMaxima:
    def test_rows_sum_to_the_scores_in_the_order_of_the_texts(self, exact):
        texts = [*TEXTS, "", TEXTS[0]]
        exact.index(TEXTS[:2])
        maxima = exact.token_maxima("cat on mat", texts)
        scores = scores_by_index(exact.rerank("cat on mat", texts))

        assert maxima.shape == (7, 3)
        assert maxima.dtype == np.float32
        np.testing.assert_allclose(maxima.sum(axis=1), [scores[i] for i in range(7)], rtol=1e-6, atol=1e-5)

    @pytest.mark.parametrize("on_missing", ["skip", "raise"])
    def test_misses_are_encoded_whatever_rerank_does_with_them(self, fake, on_missing):
        assert Reranker(fake, on_missing=on_missing).token_maxima("cat", ["a cat"])[0, 0] == pytest.approx(1, abs=0.01)

    def test_no_texts(self, reranker):
        assert reranker.token_maxima("cat on mat", []).shape == (0, 3)


class TestStats:
    def test_stats_tell_what_ran(self, reranker):
        reranker.rerank("cat", TEXTS)
        reranker.rerank("cat", TEXTS)
        stats = reranker.stats()

        assert (stats["hits"], stats["misses"], stats["n_queries"], stats["n_documents"]) == (5, 5, 2, 5)
        assert (stats["kernel"], stats["codec"], stats["model"]) == (reranker.kernel.name, "int8", "FakeEncoder")
        assert stats["size_bytes"] > 0

    def test_truncated_queries_are_counted_and_warned_of_once(self):
        reranker = Reranker(FakeEncoder(max_words=2))
        with pytest.warns(UserWarning, match="longer than the model's limit"):
            assert reranker.rerank("one two three", TEXTS).query_truncated
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reranker.rerank("one two three four", TEXTS)
            assert not reranker.rerank("one", TEXTS).query_truncated

        assert reranker.stats()["n_queries_truncated"] == 2

    def test_timings_name_every_stage(self, reranker):
        timings = reranker.rerank("cat", TEXTS).timings_ms

        assert set(timings) == {"encode_query", "fetch", "encode_missing", "maxsim", "total"}
        assert timings["total"] >= timings["encode_query"] + timings["fetch"] + timings["encode_missing"] + timings["maxsim"]


class TestUsersKernel:
    def test_a_kernel_without_a_codec_gets_decoded_vectors(self, fake):
        class Plain(NumpyKernel):
            name = "plain"
            codecs = frozenset({"float32"})

        plain, fused = Reranker(fake, kernel=Plain()), Reranker(fake, kernel="numpy")

        assert plain.kernel.name == "plain"
        for ours, theirs in zip(plain.rerank("cat", TEXTS), fused.rerank("cat", TEXTS), strict=True):
            assert ours.score == pytest.approx(theirs.score, abs=1e-5)


words = st.sampled_from(["cat", "dog", "mat", "sat", "on", "the", "!", "", " "])
texts = st.lists(st.lists(words, max_size=6).map(" ".join), max_size=24)


@settings(max_examples=150, deadline=None)
@given(
    texts=texts,
    stored=st.sets(st.integers(0, 23)),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 9),
    codec=st.sampled_from(["float32", "float16", "int8", "int4", "binary"]),
    kernel=st.sampled_from(["auto", "numpy"]),
)
def test_scores_depend_on_nothing_but_query_and_text(texts, stored, batch_size, seed, codec, kernel):
    """Not on the batch size, the order, the neighbours, or what the store held before."""
    reranker = Reranker(FakeEncoder(), codec=codec, kernel=kernel)
    alone = {text: Reranker(FakeEncoder(), codec=codec, kernel=kernel).rerank("cat on mat", [text])[0].score for text in texts}
    reranker.index([text for i, text in enumerate(texts) if i in stored], batch_size=batch_size)
    shuffled = [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]

    for document in reranker.rerank("cat on mat", shuffled):
        assert document.score == pytest.approx(alone[document.text], rel=1e-6, abs=1e-5)


def test_a_wrong_model_leaves_no_store(tmp_path):
    with pytest.raises(ModelError):
        Reranker(str(tmp_path / "no-model"), store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_it_is_pickled_as_its_arguments_and_copied_as_itself(tmp_path):
    reranker = Reranker(FakeEncoder(), store=tmp_path / "store", codec="int4", on_missing="skip")
    reranker.index(["the cat sat"])
    again = pickle.loads(pickle.dumps(reranker))
    assert [document.score is None for document in again.rerank("cat", ["the cat sat", "dogs"])] == [False, True]
    assert again.codec.name == "int4"
    assert copy.copy(reranker) is reranker
    assert copy.deepcopy({"a": reranker})["a"] is reranker


def test_an_encoders_own_attribute_of_the_name_counts_only_if_it_is_text(fake):
    fake.query_encoder = fake.query_fingerprint = object()
    with Reranker(fake) as reranker:
        told = json.loads(json.dumps(reranker.stats()))
        reranker.rerank("cat", ["a cat"])
    assert (told["query_encoder"], told["query_fingerprint"]) == ("full", fake.fingerprint)
