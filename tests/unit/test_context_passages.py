"""Contexts under a scoring with windows: cut around the best passage, true places, relevance as the ranking has it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker
from late_rerank.context import pack_context
from late_rerank.context.counting import counter
from late_rerank.context.sentences import CUT_MARK, cut_from, sentences
from late_rerank.maxsim import Scoring
from late_rerank.testing.fakes import FakeEncoder

QUERY = "how many hours do cats sleep"
NEEDLE = "Cats sleep sixteen hours a day."
GAP = CUT_MARK.strip()


def filler(n_words, first=0):
    """Sentences of other words, all distinct."""
    return " ".join(f"Item{i} part{i} stays{i} here{i} now{i}." for i in range(first, first + n_words // 5))


LONG = f"{filler(3500)} Before it stands this. {NEEDLE} After it stands that. {filler(1500, 9000)}"


@pytest.fixture(scope="module")
def windowed():
    return Reranker(FakeEncoder(), codec="float32", scoring="proximity")


@pytest.fixture(scope="module")
def plain():
    return Reranker(FakeEncoder(), codec="float32", scoring="maxsim")


def words(text):
    return len(text.split())


def pack(reranker, documents, budget, query=QUERY, **more):
    ranking = reranker.rerank(query, documents)
    return pack_context(query, ranking, reranker=reranker, budget_tokens=budget, **{"count_tokens": words, **more})


def unmarked(text):
    return text.removeprefix(f"{GAP} ").removesuffix(CUT_MARK)


class TestCutAroundTheBestPassage:
    @pytest.mark.parametrize("budget", [20, 60, 200, 1000])
    def test_a_needle_in_5000_words_is_in_the_context(self, windowed, plain, budget):
        part = pack(windowed, [LONG], budget).parts[0]

        assert words(LONG) > 5000
        assert NEEDLE in part.text
        assert NEEDLE not in pack(plain, [LONG], budget).text

    def test_it_begins_with_the_sentence_in_which_the_passage_starts(self, windowed):
        (ranked,) = windowed.rerank(QUERY, [LONG])
        part = pack(windowed, [LONG], 300).parts[0]
        ((start, end),) = part.spans

        assert start == max(begin for begin, _ in sentences(LONG) if begin <= ranked.best_span[0])
        assert end >= ranked.best_span[1]
        assert end in {stop for _, stop in sentences(LONG)}
        assert part.text == f"{GAP} {LONG[start:end]}{CUT_MARK}"

    def test_a_budget_that_is_smaller_than_the_passage_begins_with_its_best_sentence(self, windowed):
        assert pack(windowed, [LONG], 9, count_tokens=words).text == f"[1] {GAP} {NEEDLE}{CUT_MARK}"

    def test_the_best_sentence_may_end_behind_the_passages_last_token(self, windowed):
        """The last token of this encoder is a word; the full stop stands behind it."""
        part = pack(windowed, [f"{filler(3500)} {NEEDLE}"], 9).parts[0]

        assert NEEDLE in part.text

    def test_its_places_in_the_file_are_true(self, windowed):
        candidate = Candidate(LONG, "a", None, {"path": "a.txt", "start": 1000, "end": 1000 + len(LONG)})
        part = pack(windowed, [candidate], 200).parts[0]

        assert LONG[part.start - 1000 : part.end - 1000] == unmarked(part.text)
        assert [(part.start - 1000, part.end - 1000)] == list(part.spans)

    def test_coverage_is_that_of_the_shown_piece(self, windowed):
        context = pack(windowed, [LONG], 200)
        assert {"cats", "sleep", "hours"} <= set(context.coverage.words(context.coverage.well))

    def test_near_the_end_of_the_text_it_begins_earlier_to_use_the_budget(self, windowed):
        text = f"{filler(2000)} {NEEDLE}"
        part = pack(windowed, [text], 400).parts[0]

        assert part.text.startswith(f"{GAP} Item")
        assert part.text.endswith(NEEDLE)
        assert 390 <= words(part.text) <= 400

    def test_a_passage_at_the_beginning_is_cut_as_without_windows(self, windowed, plain):
        text = f"{NEEDLE} {filler(2000)}"
        assert pack(windowed, [text], 300).text == pack(plain, [text], 300).text

    def test_a_text_without_sentences_begins_at_a_word_near_the_passage(self, windowed):
        text = filler(3000).replace(".", ",") + f" {NEEDLE[:-1]}, " + filler(1000, 9000).replace(".", ",")
        part = pack(windowed, [text], 200).parts[0]

        assert NEEDLE[:-1] in part.text
        assert re.match(r"\[\.\.\.\] \w+", part.text)

    @pytest.mark.parametrize("letters", ["猫", "\U0001f642", "e\u0301"])
    def test_a_text_without_spaces_is_cut_between_characters(self, letters):
        text = letters * 1000
        cut, (start, end) = cut_from(text, 451, lambda shorter: len(shorter) <= 60)

        assert cut == f"{GAP} {text[start:end]}{CUT_MARK}"
        assert start % len(letters) == end % len(letters) == 0

    def test_dropping_and_compressing_stay(self, windowed):
        assert pack(windowed, [LONG], 200, oversize="drop").text == ""
        assert NEEDLE in pack(windowed, [LONG], 200, compress=True).text

    def test_an_encoder_that_tells_no_places_cuts_at_the_beginning(self, monkeypatch):
        class Untold(FakeEncoder):
            tokens = None

        context = pack(Reranker(Untold(), scoring="proximity"), [LONG], 200)
        assert LONG.startswith(context.parts[0].text.removesuffix(CUT_MARK))


PIECES = ["cats", "sleep.", "hours", "dogs\n\n", "bark!", " ", "日本", "e\u0301", "a", "b."]


@settings(max_examples=150)
@given(
    texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join), max_size=4),
    budget=st.integers(0, 60),
    strategy=st.sampled_from(["coverage", "relevance", "mmr"]),
    compress=st.booleans(),
    count=st.sampled_from([None, words, len, lambda text: len(text) // 3]),
)
def test_budgets_are_never_exceeded_and_places_point_at_the_shown_text(texts, budget, strategy, compress, count):
    reranker = Reranker(FakeEncoder(), scoring=Scoring("small", (2, 6)))
    candidates = [
        Candidate(text, str(i), None, {"path": str(i), "start": 7, "end": 7 + len(text)}) for i, text in enumerate(texts)
    ]
    context = pack(reranker, candidates, budget, "cats sleep", strategy=strategy, compress=compress, count_tokens=count)

    assert context.n_tokens == (counter(count)(context.text) if context.text else 0)
    assert context.n_tokens <= budget
    for part in context.parts:
        if part.spans is None:
            continue
        text = texts[part.index]
        assert (part.start - 7, part.end - 7) == (part.spans[0][0], part.spans[-1][1])
        assert unmarked(part.text) == f"{CUT_MARK} ".join(text[start:end] for start, end in part.spans)


@given(st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join), st.integers(0, 300), st.integers(0, 60))
def test_what_is_cut_from_a_place_fits_and_its_marks_are_right(text, place, room):
    found = cut_from(text, min(place, len(text)), lambda shorter: len(shorter) <= room)
    if found is None:
        return
    cut, (start, end) = found
    assert len(cut) <= room
    assert cut == (f"{GAP} " if text[:start].strip() else "") + text[start:end] + (CUT_MARK if text[end:].strip() else "")


class TestRelevance:
    QUERY = "cats sleep hours night"
    APART = f"cats {filler(300)} sleep {filler(300, 500)} hours {filler(300, 700)} night"
    TOGETHER = f"Cats sleep hours. {filler(897, 1000)}"

    @pytest.mark.parametrize("strategy", ["relevance", "mmr"])
    def test_it_is_the_rankings_where_words_far_apart_match_more_of_the_query(self, windowed, plain, strategy):
        texts = [self.APART, self.TOGETHER]
        first = {
            reranker.scoring.name: pack(reranker, texts, 950, self.QUERY, strategy=strategy).parts[0].index
            for reranker in (windowed, plain)
        }
        assert first == {"proximity": 1, "maxsim": 0}

    def test_coverage_counts_all_that_the_context_says(self, windowed):
        assert pack(windowed, [self.APART, self.TOGETHER], 950, self.QUERY).parts[0].index == 0
