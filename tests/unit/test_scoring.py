"""The rule that makes a score of token maxima: MaxSim of the whole document, or of its best windows."""

import copy
import json
import pickle
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker, pack_context
from late_rerank.codecs import codec
from late_rerank.errors import IncompatibleError
from late_rerank.evaluate.calibration import LabelledQuery, ScoredQuery, fit_calibration, score_queries
from late_rerank.maxsim import MAXSIM, PROXIMITY, NumpyKernel, Scoring, as_scoring, kernel, reference, scored
from late_rerank.ranking.relevance import Calibration
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.vectors import random_vectors

LENGTHS = [0, 1, 24, 25, 40, 144, 145, 300, 700]
QUERY = "red fox"
WORDS = [f"word{i}" for i in range(3000)]


def near_and_far(reranker, documents):
    return {document.index: document for document in reranker.rerank(QUERY, documents)}


@pytest.fixture
def near_words():
    return Reranker(FakeEncoder(), codec="float32", scoring="proximity")


class TestTheRule:
    def test_maxsim_is_the_kernels_score_to_the_last_bit(self):
        query = random_vectors([9], 48, seed=1)
        for name in ("float32", "int8", "int4", "binary", "float16"):
            packing = codec(name)
            packed = packing.encode(random_vectors(LENGTHS, 48))
            for each in (kernel("auto"), NumpyKernel()):
                found = scored(each, packing, MAXSIM, query, packed)
                assert found.scores.tobytes() == each.score(query, packed).tobytes()
                assert found.first is None

    @pytest.mark.parametrize("each", [NumpyKernel(), kernel("auto")], ids=lambda each: each.name)
    def test_proximity_is_the_references(self, each):
        query, vectors = random_vectors([9], 48, seed=1), random_vectors(LENGTHS, 48)
        found = scored(each, codec("float32"), PROXIMITY, query, codec("float32").encode(vectors))
        expected = [reference.proximity(query.values, vectors.rows(i), PROXIMITY.window_tokens) for i in range(len(LENGTHS))]
        np.testing.assert_allclose(found.scores, expected, rtol=1e-6, atol=1e-4)
        assert found.scores[0] == -1e9

    def test_a_packing_that_the_kernel_cannot_read_is_decoded_first(self):
        class Plain(NumpyKernel):
            codecs = frozenset({"float32"})

        query, packed = random_vectors([9], 48, seed=1), codec("int8").encode(random_vectors(LENGTHS, 48))
        found = scored(Plain(), codec("int8"), PROXIMITY, query, packed)
        read = scored(NumpyKernel(), codec("int8"), PROXIMITY, query, packed)
        np.testing.assert_allclose(found.scores, read.scores, rtol=1e-5, atol=1e-4)

    @given(st.lists(st.integers(0, 400), min_size=1, max_size=6), st.integers(0, 2**32))
    @settings(max_examples=30, deadline=None)
    def test_it_is_never_above_maxsim_and_equals_it_for_a_document_of_one_small_window(self, lengths, seed):
        query, packed = random_vectors([7], 24, seed), codec("float32").encode(random_vectors(lengths, 24, seed + 1))
        whole = scored(kernel("auto"), codec("float32"), MAXSIM, query, packed).scores
        near = scored(kernel("auto"), codec("float32"), PROXIMITY, query, packed).scores
        assert (near <= whole + 1e-4).all()
        short = packed.lengths <= PROXIMITY.window_tokens[0]
        np.testing.assert_allclose(near[short], whole[short], rtol=1e-6, atol=1e-5)

    @given(st.integers(1, 3000), st.integers(0, 2**32))
    @settings(max_examples=25, deadline=None)
    def test_text_behind_a_document_takes_nothing_from_its_score(self, n_more, seed):
        """A window of the document is one of the longer document too, or a part of one."""
        query = random_vectors([7], 24, seed)
        longer = random_vectors([200 + n_more], 24, seed + 1)
        alone = codec("float32").encode(longer).first(200)
        near, padded = (
            scored(kernel("auto"), codec("float32"), PROXIMITY, query, each).scores[0]
            for each in (alone, codec("float32").encode(longer))
        )
        assert padded >= near - 1e-4

    def test_windows_that_make_no_scales_are_refused(self):
        for lengths in ((0,), (3,), (24, 24), (144, 24), (24, 100), (-2,)):
            with pytest.raises(ValueError, match="even, ascending"):
                Scoring("mine", lengths)
        for wrong in ([24], (24.0,), (True,), "24"):
            with pytest.raises(TypeError, match="tuple of ints"):
                Scoring("mine", wrong)
        for lengths in (tuple(2 * 2**i for i in range(9)), (2**20,), (2**70,)):
            with pytest.raises(ValueError, match="at most 8 lengths of at most 1,000,000"):
                Scoring("mine", lengths)
        with pytest.raises(TypeError, match="name"):
            Scoring("")

    def test_names_are_found_and_others_told(self):
        assert as_scoring("maxsim") is MAXSIM
        assert as_scoring("proximity") is as_scoring(None) is PROXIMITY
        own = Scoring("mine", (32, 64))
        assert as_scoring(own) is own
        with pytest.raises(ValueError, match="'maxsim' or 'proximity'"):
            Reranker(FakeEncoder(), scoring="bm25")
        with pytest.raises(ValueError, match="can't be called 'maxsim'"):
            Reranker(FakeEncoder(), scoring=Scoring("maxsim", (24,)))
        with pytest.raises(TypeError, match="a name or a Scoring"):
            Reranker(FakeEncoder(), scoring=1)


class TestRankings:
    def test_words_that_stand_together_beat_the_same_words_apart(self, near_words):
        together, apart = [*WORDS[:500], "red", "fox", *WORDS[500:700]], ["red", *WORDS[:700], "fox"]
        found = near_and_far(near_words, [" ".join(apart), " ".join(together)])
        assert found[1].rank == 1
        assert found[1].score > found[0].score + 0.5
        plain = Reranker(FakeEncoder(), codec="float32", scoring="maxsim").rerank(QUERY, [" ".join(apart), " ".join(together)])
        assert plain[0].score == plain[1].score

    @pytest.mark.parametrize("start", [0, 1, 11, 13, 71, 72, 1500, 19_000, 19_998])
    def test_a_needle_in_twenty_thousand_words_beats_passages_of_fifty(self, near_words, start):
        rng = np.random.default_rng(start)
        hay = rng.choice(WORDS, 20_000).tolist()
        hay[start : start + 2] = ["red", "fox"]
        passages = [" ".join(["red", *rng.choice(WORDS, 49)]) for _ in range(20)]
        found = near_words.rerank(QUERY, [*passages, " ".join(hay)])
        assert found[0].index == 20
        assert found[0].score == pytest.approx(2, abs=1e-3)
        quoted = found[0].text[slice(*found[0].best_span)]
        assert "red fox" in quoted
        assert len(quoted.split()) <= 144

    @given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 2**32))
    @settings(max_examples=25, deadline=None)
    def test_text_around_a_short_passage_takes_nothing_and_adds_at_most_what_it_scores_itself(self, before, behind, seed):
        reranker = Reranker(FakeEncoder(), codec="float32", scoring="proximity")
        rng = np.random.default_rng(seed)
        passage = " ".join(["red", *rng.choice(WORDS, 11), "fox"])
        padding = [" ".join(rng.choice(WORDS, n)) for n in (before, behind)]
        found = near_and_far(reranker, [passage, " ".join([padding[0], passage, padding[1]]), " ".join(padding)])
        assert found[0].score - 1e-3 <= found[1].score <= found[0].score + max(found[2].score, 0) + 1e-3

    def test_scores_depend_on_nothing_else(self):
        rng = np.random.default_rng(0)
        documents = [" ".join(rng.choice([*WORDS[:50], "red", "fox"], n)) for n in (1, 30, 200, 700, 30, 1, 400)]
        together = near_and_far(Reranker(FakeEncoder(), scoring="proximity"), documents)
        stored = Reranker(FakeEncoder(), scoring="proximity")
        stored.index(documents[::2])
        for i, document in enumerate(documents):
            (alone,) = Reranker(FakeEncoder(), scoring="proximity").rerank(QUERY, [document])
            assert alone.score == pytest.approx(together[i].score, abs=1e-4)
            assert alone.best_span == together[i].best_span
        turned = stored.rerank(QUERY, documents[::-1])
        assert {len(documents) - 1 - each.index: each.score for each in turned} == pytest.approx(
            {i: each.score for i, each in together.items()}, abs=1e-4
        )

    def test_other_options_go_with_it(self, near_words):
        long = " ".join([*WORDS[:400], "red", "fox"])
        cut = near_words.rerank(QUERY, [long], max_tokens=400)[0]
        assert cut.score < 1
        assert cut.truncated
        assert cut.best_span[1] <= len(" ".join(WORDS[:400]))
        weighed = near_words.rerank(
            QUERY, [Candidate("red fox", score=1.0), Candidate(long, score=9.0)], first_stage_weight=5.0
        )
        assert [document.index for document in weighed] == [1, 0]
        assert [each.index for each in near_words.rerank(QUERY, ["red a", "red fox", long], min_relevance=0.9, top_k=1)] == [1]

    def test_the_store_is_the_same_for_both(self):
        reranker = Reranker(FakeEncoder(), scoring="maxsim")
        reranker.index(["red fox", "a hen"])
        other = Reranker(reranker.encoder, store=reranker.store, scoring="proximity")
        assert other.rerank(QUERY, ["red fox", "a hen"]).n_hits == 2
        assert (reranker.stats()["scoring"], other.stats()["scoring"]) == ("maxsim", "proximity")

    def test_a_reranker_is_pickled_with_its_scoring(self):
        assert pickle.loads(pickle.dumps(Reranker(FakeEncoder(), scoring="proximity"))).scoring is not None
        assert pickle.loads(pickle.dumps(Reranker(FakeEncoder(), scoring="proximity"))).scoring == PROXIMITY


class TestTheBestSpan:
    def test_of_a_short_document_it_is_the_document(self, near_words):
        found = near_words.rerank(QUERY, ["a red fox ran"])
        assert found[0].best_span == (0, len("a red fox ran"))

    def test_of_a_document_that_was_cut_it_ends_where_the_tokens_do(self, near_words):
        """Even where all tokens that are left are one passage."""
        long = " ".join(WORDS[:400])
        cut = near_words.rerank(QUERY, [long], max_tokens=100)[0]
        limited = Reranker(FakeEncoder(max_words=100), scoring="proximity").rerank(QUERY, [long])[0]
        assert cut.best_span == limited.best_span == (0, len(" ".join(WORDS[:100])))

    @pytest.mark.parametrize("each", [NumpyKernel(), kernel("auto")], ids=lambda each: each.name)
    def test_of_two_windows_with_the_same_matches_it_is_the_later_one(self, each):
        """What follows a match is more of an answer than what stands before it."""
        reranker = Reranker(FakeEncoder(), scoring="proximity", kernel=each)
        twice = [*WORDS[:400], "red", "fox", *WORDS[400:800], "red", "fox", *WORDS[800:1200]]
        found = reranker.rerank(QUERY, [" ".join(twice)])[0]
        assert found.text[slice(*found.best_span)].split() == twice[360 : 360 + 144]

    def test_without_windows_without_a_score_and_without_tokens_it_is_none(self):
        assert Reranker(FakeEncoder(), scoring="maxsim").rerank(QUERY, ["red fox"])[0].best_span is None
        skipping = Reranker(FakeEncoder(), scoring="proximity", on_missing="skip")
        assert skipping.rerank(QUERY, ["red fox"])[0].best_span is None
        near = Reranker(FakeEncoder(), scoring="proximity")
        assert [near.rerank(QUERY, [empty])[0].best_span for empty in ("", "  \n", "!!! ???")] == [None] * 3

    def test_it_is_looked_up_when_it_is_asked_for_and_once(self):
        class Counts(FakeEncoder):
            n_asked = 0

            def tokens(self, text, kind):
                self.n_asked += 1
                return super().tokens(text, kind)

        encoder = Counts()
        long = " ".join([*WORDS[:400], "red", "fox"])
        found = Reranker(encoder, scoring="proximity").rerank(QUERY, [long, long + " b"])
        assert encoder.n_asked == 0
        assert found[0].best_span == found[0].best_span
        assert encoder.n_asked == 1

    def test_it_survives_a_pickle_without_the_encoder(self, near_words):
        found = near_words.rerank(QUERY, [" ".join([*WORDS[:400], "red", "fox"])])
        pickled = pickle.dumps(found)
        assert b"FakeEncoder" not in pickled
        assert pickle.loads(pickled)[0].best_span == found[0].best_span

    def test_a_document_as_a_dict_is_json(self, near_words):
        (found,) = near_words.rerank(QUERY, ["red fox"])
        assert json.loads(json.dumps(asdict(found)))["text"] == "red fox"
        assert "passage" not in asdict(found)
        assert copy.deepcopy(found).best_span == copy.copy(found).best_span == (0, 7)

    def test_an_encoder_that_cannot_tell_its_tokens_gives_none(self):
        class Silent:
            def __init__(self):
                self.inner = FakeEncoder()
                self.dim, self.fingerprint = self.inner.dim, "silent"
                self.encode_query, self.encode_document = self.inner.encode_query, self.inner.encode_document

        found = Reranker(Silent(), scoring="proximity").rerank(QUERY, [" ".join([*WORDS[:400], "red", "fox"])])
        assert found[0].best_span is None

    def test_an_encoder_that_pools_by_an_unknown_factor_gives_none(self):
        class PoolsInItsOwnWay(FakeEncoder):
            def tokens(self, text, kind):
                raise IncompatibleError(f"pools the tokens of a {kind}")

        found = Reranker(PoolsInItsOwnWay()).rerank(QUERY, [" ".join([*WORDS[:400], "red", "fox"])])
        assert found[0].best_span is None


class TestCalibrating:
    @pytest.mark.parametrize("on_missing", ["encode", "skip", "raise"])
    def test_candidates_are_encoded_whatever_the_reranker_does_with_missing_ones(self, on_missing):
        reranker = Reranker(FakeEncoder(), scoring="proximity", on_missing=on_missing)
        (query,) = score_queries(reranker, [LabelledQuery(QUERY, [Candidate("red fox")], [Candidate("a hen")])])
        assert query.relevant[0] > 1.9 > query.others[0]
        assert query.n_query_tokens == 2


class Pooling(FakeEncoder):
    """Keeps every second word."""

    pooling = 2

    def encode_document(self, texts):
        return super().encode_document([" ".join(text.split()[::2]) for text in texts])


class TestPooledDocuments:
    @pytest.mark.parametrize(
        ("factor", "expected"),
        [(1, (24, 144, 288)), (1.5, (16, 96, 192)), (2, (12, 72, 144)), (3, (8, 48, 96)), (99, (2, 12, 24))],
    )
    def test_windows_of_as_much_text_hold_fewer_vectors(self, factor, expected):
        assert PROXIMITY.over(factor).window_tokens == expected
        assert PROXIMITY.over(factor).name == "proximity"
        assert MAXSIM.over(factor) is MAXSIM

    def test_words_that_stand_together_score_more_and_the_asked_scoring_is_told(self):
        reranker = Reranker(Pooling(), codec="float32")
        together = " ".join([*WORDS[:200], "red", "a", "fox", "a", *WORDS[200:400]])
        apart = " ".join(["red", "a", *WORDS[:400], "fox"])
        found = near_and_far(reranker, [apart, together])
        assert found[1].rank == 1
        assert found[1].score > found[0].score + 0.5
        near = Reranker(FakeEncoder(), codec="float32", scoring=Scoring("half", (12, 72, 144)))
        halves = [" ".join(text.split()[::2]) for text in (apart, together)]
        assert [each.score for each in near.rerank(QUERY, halves)] == [
            each.score for each in reranker.rerank(QUERY, [apart, together])
        ]
        assert reranker.scoring == PROXIMITY
        assert reranker.stats()["scoring"] == "proximity"

    def test_a_vector_that_stands_for_several_words_has_no_place(self):
        long = " ".join([*WORDS[:800], "red", "fox"])
        found = Reranker(Pooling()).rerank(QUERY, [long, "red fox"])
        assert {each.index: each.best_span for each in found} == {0: None, 1: (0, len("red fox"))}
        assert "red" in pack_context(QUERY, found, reranker=Reranker(Pooling()), budget_tokens=20).text


class TestWhatItIsRefusedWith:
    def test_a_calibration_of_another_scoring(self, tmp_path):
        scores = [ScoredQuery(4, np.float32([2 + i / 50]), np.float32([1, 1.5])) for i in range(20)]
        fitted = fit_calibration(scores, FakeEncoder().fingerprint, "proximity")
        fitted.save(tmp_path / "near.json")
        assert Calibration.load(tmp_path / "near.json") == fitted
        Reranker(FakeEncoder(), scoring="proximity", calibration=tmp_path / "near.json")
        with pytest.raises(IncompatibleError, match="scoring='proximity'"):
            Reranker(FakeEncoder(), scoring="maxsim", calibration=tmp_path / "near.json")

    def test_a_calibration_of_plain_maxsim_is_written_as_earlier_releases_read_it(self, tmp_path):
        Calibration("f", 0.0, 1.0, 0.0).save(tmp_path / "plain.json")
        assert "scoring" not in json.loads((tmp_path / "plain.json").read_text())
        assert Calibration.load(tmp_path / "plain.json").scoring == "maxsim"
        with pytest.raises(ValueError, match="name of a scoring"):
            Calibration("f", 0.0, 1.0, 0.0, scoring="")
