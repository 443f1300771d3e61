"""Packing a context: budgets, strategies, twins, places, order, reasons."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker, Searcher
from late_rerank.context import Coverage, pack_context
from late_rerank.context.counting import counter
from late_rerank.context.layout import merged, ordered, passage_of
from late_rerank.context.sentences import CUT_MARK, cut_to
from late_rerank.context.strategies import Room, select_by_coverage
from late_rerank.context.twins import Same
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder

CATS = "Cats sleep all day and hunt at night."
DOGS = "Dogs bark at strangers and fetch sticks."
FISH = "Fish breathe water with gills."
TEXTS = [CATS, "Cats sleep a lot.", "A cat sleeps in the sun all day long.", DOGS, FISH]
QUERY = "cats sleep and dogs bark"


@pytest.fixture(scope="module")
def reranker():
    return Reranker(FakeEncoder(), codec="float32")


def words(text):
    return len(text.split())


def pack(reranker, texts, budget, query=QUERY, **more):
    return pack_context(query, reranker.rerank(query, texts), reranker=reranker, budget_tokens=budget, **more)


def piece(text, start, path="a.txt"):
    return Candidate(text, f"{path}:{start}", None, {"path": path, "start": start, "end": start + len(text)})


class TestBudget:
    @settings(max_examples=150, deadline=None)
    @given(
        texts=st.lists(st.text("ab .\n", max_size=40), max_size=8),
        budget=st.integers(0, 60),
        strategy=st.sampled_from(["coverage", "relevance", "mmr"]),
        order=st.sampled_from(["relevance", "edges", "source"]),
        count=st.sampled_from([None, words, len, lambda text: len(text) // 3]),
    )
    def test_it_is_never_exceeded_and_every_document_is_here_or_has_a_reason(self, texts, budget, strategy, order, count):
        reranker = Reranker(FakeEncoder())
        ranking = reranker.rerank("a ab b", texts)
        before = [dataclasses.replace(document) for document in ranking]
        context = pack_context(
            "a ab b", ranking, reranker=reranker, budget_tokens=budget, strategy=strategy, order=order, count_tokens=count
        )
        assert context.n_tokens == (counter(count)(context.text) if context.text else 0)
        assert context.n_tokens <= budget
        inside = {index for part in context.parts for index in (part.index, *part.merged)}
        left = {dropped.document.index for dropped in context.dropped}
        assert inside | left == set(range(len(texts)))
        assert not inside & left
        assert all(dropped.reason for dropped in context.dropped)
        assert list(ranking) == before

    def test_a_budget_of_0_gives_an_empty_context(self, reranker):
        context = pack(reranker, TEXTS, 0)
        assert (context.text, context.parts, context.n_tokens) == ("", [], 0)
        assert context.coverage.matches.tolist() == [0] * words(QUERY)
        assert len(context.dropped) == len(TEXTS)

    def test_no_documents_give_an_empty_context(self, reranker):
        assert pack(reranker, [], 100).text == ""

    def test_where_nothing_fits_whole_the_best_is_cut_at_a_sentence_with_a_mark(self, reranker):
        long = f"Cats sleep. {CATS} {DOGS} " * 3
        context = pack(reranker, [long], 6, count_tokens=words)
        assert context.text == f"[1] Cats sleep.{CUT_MARK}"
        assert context.parts[0].start is None

    def test_or_dropped_with_a_reason(self, reranker):
        context = pack(reranker, [CATS], 3, count_tokens=words, oversize="drop")
        assert context.text == ""
        assert context.dropped[0].reason == "it is larger (9 tokens) than the budget"

    @pytest.mark.parametrize("text", ["猫整天睡觉。狗在夜里叫。鱼在水里游泳。" * 20, "a" * 500])
    def test_a_text_without_white_space_is_cut_too(self, reranker, text):
        context = pack(reranker, [text], 40, query=text, count_tokens=len)
        assert 30 < len(context.text) <= 40
        assert context.text.endswith(CUT_MARK)

    def test_what_fits_exactly_is_whole_however_many_candidates_there_are(self, reranker):
        context = pack(reranker, [CATS], len(f"[1] {CATS}"), count_tokens=len)
        assert context.parts[0].spans is None
        both = f"[1] {CATS}\n\n[2] {DOGS}"
        assert len(pack(reranker, [CATS, DOGS], len(both), count_tokens=len).parts) == 2
        others = [f"Rivers{i} run{i}." for i in range(999)]
        assert CATS in pack(reranker, [CATS, *others], words(f"[1] {CATS}"), count_tokens=words).text

    def test_a_query_without_tokens_gives_a_context_all_the_same(self, reranker):
        for strategy in ("coverage", "relevance", "mmr"):
            for compress in (False, True):
                for budget in (3, 100):
                    context = pack(reranker, TEXTS, budget, query="...", strategy=strategy, compress=compress)
                    assert context.coverage.matches.shape == (0,)

    def test_a_tokenizer_that_counts_more_for_the_whole_than_for_its_parts_is_obeyed(self, reranker):
        context = pack(reranker, TEXTS, 40, count_tokens=lambda text: words(text) ** 2 // 9)
        assert context.parts
        assert words(context.text) ** 2 // 9 <= 40


class TestChoice:
    def test_coverage_takes_what_is_missing_where_relevance_takes_more_of_the_same(self, reranker):
        query, more = "cats sleep all day and dogs bark at strangers", "And small cats sleep all day."
        texts = ["And big cats sleep all day.", more, "Dogs bark at strangers."]
        room = {"query": query, "count_tokens": words, "budget": 14}
        assert texts[2] in [part.text for part in pack(reranker, texts, **room).parts]
        assert texts[2] not in [part.text for part in pack(reranker, texts, **room, strategy="relevance").parts]

    def test_greedy_reaches_its_share_of_the_best_set(self):
        random = np.random.default_rng(0)

        def worth(documents):
            best = np.sort(np.vstack([np.zeros((2, 4)), matches[documents]]), axis=0)
            return best[-1].sum() + best[-2].sum() / 2

        for _ in range(50):
            matches = random.random((8, 4)).astype(np.float32) ** 3
            costs = random.integers(1, 9, 8)
            taken, _ = select_by_coverage(matches, costs, Room(12), lambda *_: Same())
            sets = [[i for i in range(8) if bits >> i & 1] for bits in range(256)]
            assert costs[taken].sum() <= 12
            assert worth(taken) >= (1 - 1 / np.e) / 2 * max(worth(each) for each in sets if costs[each].sum() <= 12)

    def test_one_long_document_that_covers_all_wins_over_a_short_one_that_pays_better(self):
        matches = np.array([[0.2, 0, 0], [1, 1, 1]], dtype=np.float32)
        costs = np.array([1, 100])
        assert select_by_coverage(matches, costs, Room(100), lambda *_: Same())[0] == [1]

    def test_what_only_one_candidate_matches_is_not_left_out_for_more_of_what_all_match(self, reranker):
        texts = [f"cats {word}" for word in "abcdefghijklmnopqrstuvwxy"] + ["dogs z"]
        context = pack(reranker, texts, 6, query="cats dogs", count_tokens=words)
        assert len(context.parts) == 2
        assert "dogs z" in [part.text for part in context.parts]

    def test_what_says_the_same_is_left_out_with_a_reason(self, reranker):
        texts = [CATS, f"  {CATS}\n", CATS.replace("day and", "day, and"), DOGS]
        context = pack(reranker, texts, 1000)
        assert len(context.parts) == 2
        assert [dropped.reason for dropped in context.dropped] == ["it says the same as rank 1"] * 2

    def test_a_sentence_does_not_keep_out_the_document_that_it_is_taken_from(self, reranker):
        long = " ".join([CATS, FISH, "Nobody knows why, though many have asked, in books and songs and letters."])
        ranking = reranker.rerank("cats sleep all day and hunt at night", [CATS, long])
        assert ranking[0].text == CATS
        context = pack(reranker, [CATS, long], 1000, query="cats sleep all day and hunt at night", strategy="relevance")
        assert [part.text for part in context.parts] == [CATS, long]
        context = pack(reranker, [long, CATS], 1000, query=f"{CATS} {FISH}", strategy="relevance")
        assert {part.text for part in context.parts} == {CATS, long}  # so short a text may be quoted to be denied

    @pytest.mark.parametrize("strategy", ["coverage", "relevance", "mmr"])
    def test_with_room_for_all_everything_different_is_there(self, reranker, strategy):
        context = pack(reranker, TEXTS, 1000, strategy=strategy)
        assert {part.text for part in context.parts} == set(TEXTS)

    def test_unscored_and_blank_documents_are_left_out_with_a_reason(self):
        reranker = Reranker(FakeEncoder(), on_missing="skip")
        reranker.index([CATS])
        context = pack_context(QUERY, reranker.rerank(QUERY, [DOGS, CATS, " "]), reranker=reranker, budget_tokens=100)
        assert [part.text for part in context.parts] == [CATS]
        assert [dropped.reason for dropped in context.dropped] == ["it has no text, or was not scored"] * 2

    @pytest.mark.parametrize("strategy", ["coverage", "relevance", "mmr"])
    def test_at_most_top_k_documents_are_taken(self, reranker, strategy):
        context = pack(reranker, TEXTS, 1000, top_k=2, strategy=strategy)
        assert len(context.parts) == 2
        assert {dropped.reason for dropped in context.dropped} == {"2 others were taken"}


class TestLayout:
    def test_neighbours_in_a_file_become_one_part(self, reranker):
        first, second = piece(CATS, 0), piece(DOGS, len(CATS) + 1)
        context = pack(reranker, [first, piece(FISH, 500), second], 1000)
        part = next(part for part in context.parts if part.merged)
        assert part.text == f"{CATS} {DOGS}"
        assert (part.path, part.start, part.end) == ("a.txt", 0, len(CATS) + 1 + len(DOGS))
        assert {part.index, *part.merged} == {0, 2}
        assert len(context.parts) == 2

    def test_pieces_that_overlap_stand_once(self, reranker):
        whole = f"{CATS} {DOGS}"
        context = pack(reranker, [piece(whole[:50], 0), piece(whole[40:], 40)], 1000)
        assert [part.text for part in context.parts] == [whole]

    def test_pieces_with_another_between_them_are_not_joined_over_it(self, reranker):
        pieces = in_file("Is it safe for cats?", "No.", "Dogs may have some.")
        context = pack(reranker, pieces, 1000, query="cats safe dogs may have some", top_k=2)
        assert sorted(part.text for part in context.parts) == [pieces[2].text, pieces[0].text]

    @pytest.mark.parametrize("place", [(0, 10**6), (-5, 14), (30, 10), ("0", "19"), (0.0, 19.0), (True, 19)])
    def test_a_place_that_cannot_be_loses_no_text(self, reranker, place):
        lying = Candidate("Cats sleep all day.", "a", None, {"path": "a.txt", "start": place[0], "end": place[1]})
        context = pack(reranker, [lying, piece("Dogs bark at night.", 20)], 1000)
        assert "Cats sleep all day." in context.text
        assert "Dogs bark at night." in context.text

    def test_numpys_places_are_places(self, reranker):
        first = Candidate(CATS, "a", None, {"path": "a.txt", "start": np.int64(0), "end": np.int64(len(CATS))})
        assert len(pack(reranker, [first, piece(DOGS, len(CATS) + 1)], 1000).parts) == 1

    def test_pieces_of_other_files_are_not_joined(self, reranker):
        assert len(pack(reranker, [piece(CATS, 0), piece(DOGS, len(CATS) + 1, "b.txt")], 1000).parts) == 2

    def test_edges_puts_the_best_first_and_the_second_best_last(self, reranker):
        context = pack(reranker, TEXTS, 1000, order="edges")
        assert [part.rank for part in context.parts] == [1, 3, 5, 4, 2]

    def test_source_follows_the_file(self, reranker):
        pieces = [piece(text, 1000 * i) for i, text in enumerate(TEXTS)]
        context = pack(reranker, list(reversed(pieces)), 1000, order="source")
        assert [part.start for part in context.parts] == [0, 1000, 2000, 3000, 4000]

    def test_parts_are_numbered_as_they_stand(self, reranker):
        context = pack(reranker, TEXTS, 1000, order="edges")
        assert context.text == "\n\n".join(f"[{i}] {part.text}" for i, part in enumerate(context.parts, start=1))

    def test_parts_say_whose_they_are_and_what_they_cover(self, reranker):
        context = pack(reranker, [Candidate(CATS, "cats"), Candidate(DOGS, "dogs")], 1000)
        covered = {part.id: {QUERY.split()[i] for i in part.covers} for part in context.parts}
        assert {"cats", "sleep"} <= covered["cats"]
        assert {"dogs", "bark"} <= covered["dogs"]
        assert sorted(i for part in context.parts for i in part.covers) == list(range(words(QUERY)))

    def test_coverage_says_what_is_missing(self, reranker):
        coverage = pack(reranker, [CATS], 1000).coverage
        missing = [QUERY.split()[i] for i in coverage.missing]
        assert "bark" in missing
        assert "cats" not in missing
        assert sorted([*coverage.well, *coverage.weakly, *coverage.missing]) == list(range(words(QUERY)))

    def test_a_word_is_missing_where_none_of_its_tokens_is_matched(self):
        coverage = Coverage(np.array([0.1, 0.9, 0.1, 0.1], dtype=np.float32), tuple("abcd"), (("ab", (0, 1)), ("cd", (2, 3))))
        assert coverage.missing_words == ["cd"]
        assert Coverage(np.zeros(2, dtype=np.float32)).missing_words is None

    def test_words_that_nothing_matches_are_named_as_in_the_question(self, reranker):
        coverage = pack(reranker, [CATS], 100, query="Cats, शब्द & zebras?").coverage
        assert coverage.missing_words == ["शब्द", "zebras"]
        assert [word for word, _ in coverage.query_words] == ["Cats", "शब्द", "zebras"]

    def test_merging_and_ordering_lose_nothing(self, reranker):
        ranking = reranker.rerank(QUERY, [piece(text, 100 * i) for i, text in enumerate(TEXTS)])
        passages = [passage_of(i, document, np.zeros(1, dtype=np.float32)) for i, document in enumerate(ranking)]
        assert sorted(p.text for p in ordered(merged(passages), "source")) == sorted(TEXTS)


def in_file(*texts):
    """Pieces that follow each other in a file."""
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)]).tolist()
    return [piece(text, start) for text, start in zip(texts, starts, strict=False)]


class TestNeighbours:
    PIECES = in_file("Stones lie still.", "Birds sing loudly.", CATS, "Nobody knows why.", "Rivers run slowly.")

    def test_a_piece_brings_what_stands_before_and_after_it(self, reranker):
        context = pack(reranker, self.PIECES[2:3], 1000, neighbours=self.PIECES)
        assert context.text == f"[1] Birds sing loudly. {CATS} Nobody knows why."
        part = context.parts[0]
        assert (part.path, part.start, part.end) == ("a.txt", 18, 18 + len(part.text))
        assert (part.id, part.index, part.merged) == ("a.txt:37", 0, ())

    def test_what_follows_comes_before_what_stands_before_it_where_there_is_room_for_one(self, reranker):
        context = pack(reranker, self.PIECES[2:3], 12, count_tokens=words, neighbours=self.PIECES)
        assert context.text == f"[1] {CATS} Nobody knows why."

    def test_none_where_there_is_no_room(self, reranker):
        assert pack(reranker, self.PIECES[2:3], 9, count_tokens=words, neighbours=self.PIECES).text == f"[1] {CATS}"

    def test_a_neighbour_that_was_ranked_itself_is_not_dropped(self, reranker):
        context = pack(reranker, self.PIECES, 1000, top_k=1, neighbours=self.PIECES)
        assert sorted(context.parts[0].merged) == [1, 3]
        assert {dropped.document.index for dropped in context.dropped} == {0, 4}

    def test_a_piece_that_two_bring_stands_once(self, reranker):
        pieces = in_file(CATS, "Nobody knows why.", DOGS)
        context = pack(reranker, [pieces[0], pieces[2]], 1000, neighbours=pieces)
        assert context.text == f"[1] {CATS} Nobody knows why. {DOGS}"
        assert sorted([context.parts[0].index, *context.parts[0].merged]) == [0, 1]

    def test_what_a_neighbour_matches_is_covered(self, reranker):
        pieces = in_file(CATS, "Some bark.")
        without, beside = (pack(reranker, pieces[:1], 100, neighbours=of) for of in (None, pieces))
        assert len(beside.coverage.missing) < len(without.coverage.missing)

    def test_documents_without_a_place_bring_none(self, reranker):
        assert pack(reranker, [CATS], 1000, neighbours=self.PIECES).text == f"[1] {CATS}"

    def test_a_searcher_takes_them_from_its_retriever(self, reranker):
        searcher = Searcher(BM25Retriever(self.PIECES), reranker, k=1)
        assert searcher.context("cats sleep", 100, neighbours=True).text.endswith(
            f"Birds sing loudly. {CATS} Nobody knows why."
        )
        assert searcher.context("cats sleep", 100, neighbours=False).text == f"[1] {CATS}"

    def test_a_searcher_whose_retriever_has_none_says_so(self, reranker):
        class Bare:
            def retrieve(self, query, k):
                return [Candidate(CATS)]

        with pytest.raises(TypeError, match="neighbours=True needs a retriever that has `documents`"):
            Searcher(Bare(), reranker).context("cats", 100, neighbours=True)


class TestCounting:
    def test_what_encodes_but_gives_no_ids_is_refused(self, reranker):
        class Model:
            def encode(self, text):
                return np.zeros(384)

        with pytest.raises(TypeError, match=r"count_tokens\.encode must give a list of token ids, got ndarray"):
            counter(Model())("cats")
        assert counter(lambda text: np.int64(3))("cats") == 3

    def test_the_default_says_that_it_is_an_estimate(self, reranker):
        assert pack(reranker, TEXTS, 100).is_estimate
        assert not pack(reranker, TEXTS, 100, count_tokens=words).is_estimate

    def test_an_encoding_like_tiktokens_is_taken(self):
        class Encoding:
            def encode(self, text, *, allowed_special=(), disallowed_special="all"):
                assert disallowed_special == ()
                return text.split()

        assert counter(Encoding())("a <|endoftext|> b") == 3

    @pytest.mark.parametrize("wrong", [3, "gpt-4"])
    def test_what_cannot_count_is_refused(self, wrong):
        with pytest.raises(TypeError, match="count_tokens must be a function"):
            counter(wrong)

    def test_a_function_that_gives_no_number_is_refused(self, reranker):
        with pytest.raises(TypeError, match="must give a number of tokens"):
            pack(reranker, TEXTS, 10, count_tokens=lambda text: None)


class TestSentences:
    @given(st.text("ab.! \n", max_size=60), st.integers(0, 60))
    def test_what_is_cut_fits_and_is_a_beginning(self, text, room):
        cut = cut_to(text, lambda shorter: len(shorter) <= room)
        if cut is not None:
            assert len(cut) <= room
            assert text.startswith(cut.removesuffix(CUT_MARK))


class TestTheQueryIsEncodedOnce:
    PIECES = in_file(
        "Stones lie still.", "Birds sing loudly.", f"{CATS} {FISH} {DOGS}", "Nobody knows why.", "Rivers run slowly."
    )
    WAYS = (
        {"budget_tokens": 1000},
        {"budget_tokens": 1000, "neighbours": PIECES},
        {"budget_tokens": 12, "compress": True, "neighbours": PIECES},
        {"budget_tokens": 8, "strategy": "mmr"},
        {"budget_tokens": 4, "count_tokens": words},  # cut, and matched again
        {"budget_tokens": 1000, "top_k": 1, "neighbours": PIECES, "compress": True},
    )

    @pytest.fixture
    def encoder(self):
        return FakeEncoder()

    @pytest.fixture
    def ranking(self, encoder):
        self.reranker = Reranker(encoder, codec="float32")
        ranking = self.reranker.rerank(QUERY, self.PIECES[1:4])
        self.reranker.rerank("another question in between", TEXTS)
        encoder.n_queries = 0
        return ranking

    @pytest.mark.parametrize("way", WAYS)
    def test_a_ranking_brings_its_querys_vectors(self, encoder, ranking, way):
        pack_context(QUERY, ranking, reranker=self.reranker, **way)
        pack_context(QUERY, ranking[:2], reranker=self.reranker, **way)
        assert encoder.n_queries == 0

    @pytest.mark.parametrize("way", WAYS)
    def test_for_a_plain_list_it_is_encoded_once_and_the_context_is_the_same(self, encoder, ranking, way):
        context = pack_context(QUERY, list(ranking), reranker=self.reranker, **way)
        assert encoder.n_queries == 1
        assert context.to_dict() == pack_context(QUERY, ranking, reranker=self.reranker, **way).to_dict()

    def test_vectors_of_another_query_are_not_taken_for_this_ones(self, encoder, ranking):
        context = pack_context("birds sing", ranking, reranker=self.reranker, budget_tokens=1000)
        assert encoder.n_queries == 1
        assert context.coverage.tokens == ("birds", "sing")
        assert context.coverage.well == [0, 1]

    @pytest.mark.parametrize("packing", [{}, {"neighbours": True}, {"neighbours": True, "compress": True}])
    def test_a_searchers_context_takes_one_encoding_in_all(self, encoder, packing):
        searcher = Searcher(BM25Retriever(self.PIECES), Reranker(encoder))
        for budget in (4, 14, 1000):
            encoder.n_queries = 0
            searcher.context(QUERY, budget, **packing)
            assert encoder.n_queries == 1


def test_a_searcher_gives_a_context(reranker):
    context = Searcher(BM25Retriever(TEXTS), reranker).context("cats", 100, order="edges")
    assert "[1] Cats" in context.text
    assert str(context) == context.text


def test_without_a_document_that_is_relevant_enough_the_context_is_empty(reranker):
    searcher = Searcher(BM25Retriever(TEXTS), reranker)
    assert searcher.context("cats sleep", 100, min_relevance=0.9).parts
    assert searcher.context("cats cook soufflés in spaceships", 100, min_relevance=0.9).text == ""


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"budget_tokens": -1}, ValueError, "budget_tokens must be at least 0"),
        ({"budget_tokens": 2.5}, TypeError, "budget_tokens must be an int"),
        ({"strategy": "best"}, ValueError, "strategy must be one of coverage, relevance, mmr"),
        ({"order": "random"}, ValueError, "order must be one of"),
        ({"oversize": "burst"}, ValueError, "oversize must be one of cut, drop"),
    ],
)
def test_wrong_arguments_are_refused(reranker, wrong, error, says):
    with pytest.raises(error, match=says):
        pack_context(QUERY, reranker.rerank(QUERY, TEXTS), reranker=reranker, **{"budget_tokens": 10, **wrong})


def test_documents_of_two_rankings_with_equal_indexes_are_told_apart(reranker):
    ranked = [*reranker.rerank(QUERY, [CATS, DOGS]), *reranker.rerank(QUERY, [FISH])]
    context = pack_context(QUERY, ranked, reranker=reranker, budget_tokens=1000, top_k=2)
    assert {part.text for part in context.parts} == {CATS, DOGS}
    assert [dropped.document.text for dropped in context.dropped] == [FISH]


def test_a_generator_of_ranked_documents_is_a_list_of_them(reranker):
    ranking = reranker.rerank(QUERY, TEXTS)
    assert pack_context(QUERY, (d for d in ranking), reranker=reranker, budget_tokens=50).text


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ranked": None}, "ranked must be a list of RankedDocuments"),
        ({"reranker": "minilm"}, "reranker must be the Reranker that ranked them, got str"),
        ({"neighbours": True}, r"neighbours must be None or documents to look in, got True; only Searcher\.context takes True"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused(reranker, wrong, says):
    arguments = {"ranked": reranker.rerank(QUERY, TEXTS), "reranker": reranker, "budget_tokens": np.int64(50), **wrong}
    with pytest.raises(TypeError, match=says):
        pack_context(QUERY, **arguments)


def test_what_is_no_ranked_document_is_refused(reranker):
    with pytest.raises(TypeError, match=r"ranked\[0\] must be a RankedDocument, as rerank gives them, got str"):
        pack_context(QUERY, TEXTS, reranker=reranker, budget_tokens=10)
