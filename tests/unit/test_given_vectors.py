"""Candidates that bring their own token vectors: scored as they are, beside stored documents and new ones."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, FusedReranker, RankedDocument, Reranker, explain, pack_context
from late_rerank.errors import IncompatibleError
from late_rerank.evaluate.evaluation import longest_first
from late_rerank.maxsim import NumpyKernel, reference
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.types import GivenVectors

TEXTS = ["the cat sat", "dogs and cats", "a cat on a mat", "nothing of the kind", "cat cat cat", "a dog ran " * 80]
QUERY = "the cat on a mat"


def rows_of(text, dtype=np.float32):
    return FakeEncoder().encode_document([text]).values.astype(dtype)


def with_rows(text, dtype=np.float32, **more):
    return Candidate(text, token_vectors=rows_of(text, dtype), **more)


def scores(ranking):
    return {document.index: document.score for document in ranking}


class OnlyFloat32(NumpyKernel):
    """A kernel that reads no other packing, as a user's own may."""

    codecs = frozenset({"float32"})


class TestTheDoor:
    @pytest.mark.parametrize(
        ("rows", "error", "message"),
        [
            (np.ones((3, 64)), TypeError, "float32 or float16, got an array of float64"),
            (np.ones((3, 64), ">f4"), TypeError, "got an array of >f4"),
            ([[1.0] * 64], TypeError, "got list; give np.asarray"),
            (np.ones(64, np.float32), ValueError, r"one row a token, got shape \(64,\)"),
            (np.ones((3, 0), np.float32), ValueError, r"got shape \(3, 0\)"),
            (np.ma.masked_array(np.ones((2, 64), np.float32), mask=True), ValueError, "a masked array that hides entries"),
            (np.ma.masked_less(np.arange(128, dtype=np.float32).reshape(2, 64), 3), ValueError, "leave the masked rows out"),
        ],
    )
    def test_what_is_no_array_of_rows_is_refused(self, rows, error, message):
        with pytest.raises(error, match=message):
            Candidate("x", token_vectors=rows)

    @pytest.mark.parametrize("kind", [np.ma.MaskedArray, np.matrix])
    def test_arrays_of_other_kinds_count_by_their_numbers(self, fake, kind):
        found = Reranker(fake).rerank("cat", [Candidate(token_vectors=rows_of("a cat").view(kind)), with_rows("a cat")])

        assert type(found[0].token_vectors.values) is np.ndarray
        assert found[0].score == found[1].score

    @pytest.mark.parametrize("dtype", [np.float32, np.float16])
    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_is_refused_with_its_row(self, dtype, wrong):
        rows = np.full((5, 64), 60_000, dtype)  # their sum is beyond float16
        Candidate("x", token_vectors=rows)
        rows[3, 7] = wrong
        with pytest.raises(ValueError, match="NaN or infinity in row 3"):
            Candidate("x", token_vectors=rows)

    def test_rows_of_another_width_are_refused_with_the_documents_name(self, fake):
        rows = np.ones((3, 32), np.float32)
        for call in (Reranker(fake).rerank, lambda query, documents: Reranker(fake).index(documents)):
            with pytest.raises(IncompatibleError, match=r"\[1\] \(id 'seven'\) has token vectors of 32 .* have 64"):
                call("cat", ["a cat", Candidate("x", id="seven", token_vectors=rows)])

    def test_the_callers_array_stays_as_it_is_and_is_not_copied(self, fake):
        rows = rows_of("a cat")
        before = rows.copy()
        candidate = Candidate("a cat", token_vectors=rows)
        Reranker(fake).rerank("cat", [candidate])

        assert np.shares_memory(np.asarray(candidate.token_vectors), rows)
        assert (rows == before).all()
        assert rows.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            candidate.token_vectors.values[0, 0] = 1

    def test_views_that_no_kernel_could_read_are_copied(self, fake):
        rows = rows_of("a cat sat")
        wide = np.zeros((3, 128), np.float32)
        wide[:, ::2] = rows
        unaligned = np.frombuffer(b"." + rows.tobytes(), np.uint8)[1:].view(np.float32).reshape(rows.shape)
        ranking = Reranker(fake).rerank("cat", [Candidate(token_vectors=each) for each in (rows, wide[:, ::2], unaligned)])

        assert len({document.score for document in ranking}) == 1
        assert ranking[0].score == pytest.approx(1)

    @pytest.mark.parametrize("dtype", [np.float32, np.float16])
    def test_candidates_are_equal_copied_and_pickled_by_their_rows(self, dtype):
        candidate = with_rows("a cat", dtype)
        ranked = RankedDocument("a cat", None, 1.0, 1.0, 1, 0, None, False, {}, None, candidate.token_vectors)  # noqa: FBT003

        assert candidate == with_rows("a cat", dtype) != with_rows("a cat sat", dtype)
        assert candidate != Candidate("a cat")
        assert hash(candidate.token_vectors) == hash(with_rows("a cat", dtype).token_vectors)
        assert copy.deepcopy(candidate) == pickle.loads(pickle.dumps(candidate)) == candidate
        assert pickle.loads(pickle.dumps(ranked)) == ranked
        assert len(repr(candidate)) < 200
        assert "2 tokens, 64 components" in repr(candidate)

    def test_evaluation_counts_documents_of_other_rows_as_others(self):
        run = {"q": [with_rows("a"), Candidate("a"), with_rows("a"), with_rows("a", np.float16)]}

        assert len(longest_first(run)) == 3


class TestScores:
    @pytest.mark.parametrize("scoring", ["maxsim", "proximity"])
    @pytest.mark.parametrize("kernel", ["auto", "numpy", OnlyFloat32()])
    @settings(max_examples=15)
    @given(kinds=st.lists(st.sampled_from(["new", "stored", "float32", "float16"]), min_size=6, max_size=6))
    def test_scores_do_not_depend_on_where_vectors_come_from(self, scoring, kernel, kinds):
        fake = FakeEncoder()
        with Reranker(fake, codec="float32", scoring=scoring, kernel=kernel) as reranker:
            expected = scores(Reranker(fake, codec="float32", scoring=scoring).rerank(QUERY, TEXTS))
            reranker.index([text for text, kind in zip(TEXTS, kinds, strict=True) if kind == "stored"])
            candidates = [
                Candidate(text) if kind in ("new", "stored") else with_rows(text, kind)
                for text, kind in zip(TEXTS, kinds, strict=True)
            ]
            ranking = reranker.rerank(QUERY, candidates)

        assert scores(ranking) == pytest.approx(expected, abs=2e-3 if "float16" in kinds else 1e-5)
        assert ranking.n_hits == kinds.count("stored")
        assert ranking.n_misses == kinds.count("new")

    def test_rows_are_scored_as_they_are_and_not_by_the_codec(self, fake):
        rng = np.random.default_rng(3)
        given_rows = [3 * rng.standard_normal((n, 64)).astype(np.float32) for n in (1, 7, 40)]  # not normalised
        expected = reference.score(fake.encode_query([QUERY]).values, given_rows)
        for codec in ("binary", "int8", "float16"):
            reranker = Reranker(fake, codec=codec, scoring="maxsim")
            ranking = reranker.rerank(QUERY, [Candidate(token_vectors=rows) for rows in given_rows])
            assert scores(ranking) == pytest.approx(dict(enumerate(expected)), rel=1e-5)

    def test_neither_the_encoder_nor_the_store_sees_such_documents(self, fake):
        reranker = Reranker(fake, on_missing="raise")
        given_documents = [with_rows(text) for text in TEXTS]
        ranking = reranker.rerank("cat", given_documents, deadline_s=0)
        report = reranker.index(given_documents)

        assert all(document.score is not None for document in ranking)
        assert fake.n_documents == reranker.stats()["n_documents"] == 0
        assert (ranking.n_hits, ranking.n_misses, ranking.n_unscored) == (0, 0, 0)
        assert (report.n_documents, report.n_encoded, report.n_cached) == (len(TEXTS), 0, 0)

    def test_the_same_rows_and_the_same_object_tie_in_the_first_stages_order(self, fake):
        once = with_rows("a cat")
        ranking = Reranker(fake).rerank("cat", [with_rows("a cat"), once, with_rows("a cat"), once] * 10)

        assert [document.index for document in ranking] == list(range(40))
        assert len({document.score for document in ranking}) == 1

    def test_no_rows_score_as_a_blank_text_and_stand_last(self, fake):
        nothing = Candidate("a cat", token_vectors=np.empty((0, 64), np.float32))
        ranking = Reranker(fake).rerank("cat", [nothing, with_rows("no match"), "a cat"])

        assert [document.index for document in ranking] == [2, 1, 0]
        assert (ranking[-1].score, ranking[-1].relevance) == (-1e9, 0)

    def test_a_batch_shares_them_and_gives_what_single_calls_give(self, fake):
        reranker, documents = Reranker(fake), [with_rows(text) for text in TEXTS[:3]] + TEXTS[3:]
        queries, lists = ["cat", "dog mat"], [documents, documents[::-1]]

        assert reranker.rerank_batch(queries, lists) == [
            reranker.rerank(query, each) for query, each in zip(queries, lists, strict=True)
        ]

    def test_the_first_tokens_alone_count_if_asked(self, fake):
        ranking = Reranker(fake, scoring="maxsim").rerank("cat", [with_rows("a dog cat"), with_rows("cat")], max_tokens=2)

        assert [document.index for document in ranking] == [1, 0]
        assert [document.truncated for document in ranking] == [False, True]


class TestWhatComesAfterRanking:
    def test_the_best_span_is_told_where_rows_and_tokens_match(self, fake):
        text = "nothing " * 400 + "the cat on a mat"
        own = with_rows(text)
        other = Candidate(text, token_vectors=np.concatenate([rows_of(text)] * 2))
        ranking = Reranker(fake).rerank(QUERY, [own, other, text, with_rows("a cat"), Candidate(token_vectors=rows_of("cat"))])
        spans = {document.index: document.best_span for document in ranking}

        assert spans[0] == spans[2]
        assert text[slice(*spans[0])].endswith("the cat on a mat")
        assert spans[1] is None  # its rows are no tokens of the text
        assert spans[3] == (0, len("a cat"))
        assert spans[4] is None  # no text

    def test_a_context_is_packed_by_the_given_rows(self, fake):
        # The texts say nothing of the query: only the rows do.
        documents = [Candidate("first page", token_vectors=rows_of("a cat")), Candidate("second", token_vectors=rows_of("dog"))]
        reranker = Reranker(fake)
        ranking = reranker.rerank("cat", documents)
        for strategy in ("coverage", "mmr", "relevance"):
            context = pack_context("cat", ranking, reranker=reranker, budget_tokens=100, strategy=strategy)
            assert context.parts[0].text == "first page"
        short = pack_context("cat", ranking, reranker=reranker, budget_tokens=12, compress=True)

        assert fake.n_documents == 0
        assert len(short.parts) <= len(context.parts)

    def test_matches_of_given_rows_are_those_of_the_same_text(self, fake):
        reranker = Reranker(fake, codec="float32")
        own = [with_rows(text) for text in TEXTS]

        np.testing.assert_allclose(reranker.token_maxima(QUERY, own), reranker.token_maxima(QUERY, TEXTS), atol=1e-6)
        np.testing.assert_allclose(reranker.similarity(own[0], TEXTS), reranker.similarity(TEXTS[0], own), atol=1e-6)
        assert isinstance(reranker.content_of(own[0]), GivenVectors)

    def test_an_explanation_shows_the_given_rows_at_the_texts_tokens(self, fake):
        reranker = Reranker(fake)
        explained = explain(reranker, QUERY, Candidate("two words", token_vectors=rows_of("cat mat")))

        assert [token.token for token in explained.document_tokens] == ["two", "words"]
        assert explained.similarity.max() == pytest.approx(1)
        with pytest.raises(IncompatibleError, match="names 1 tokens of a document that has 2 vectors"):
            explain(reranker, QUERY, Candidate("word", token_vectors=rows_of("cat mat")))
        with pytest.raises(IncompatibleError, match="names 0 tokens"):
            explain(reranker, QUERY, Candidate(token_vectors=rows_of("cat mat")))

    def test_several_models_refuse_rows_that_one_of_them_made(self):
        fused = FusedReranker([Reranker(FakeEncoder()), Reranker(FakeEncoder(max_words=9))])
        for call in (fused.rerank, lambda query, documents: fused.index(documents)):
            with pytest.raises(IncompatibleError, match=r"\[1\] has token vectors"):
                call("cat", ["a cat", with_rows("a cat")])
