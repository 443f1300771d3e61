"""Shortened documents: sentences, which are needed most, marks, places, growing and shrinking."""

# ruff: noqa: RUF001 - letters of other scripts are among what is tested

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker
from late_rerank.context import pack_context
from late_rerank.context.budget import budget_of
from late_rerank.context.compression import extracts
from late_rerank.context.images import Images
from late_rerank.context.query import QueryMatches
from late_rerank.context.selection import Selector
from late_rerank.context.sentences import CUT_MARK, sentences
from late_rerank.errors import IncompatibleError
from late_rerank.testing.fakes import FakeEncoder

OPENING = "Rivers run to the sea."
ANSWER = "Cats sleep sixteen hours a day."
BESIDE = "Nobody knows the reason."
ENDING = "Mountains rise, lakes freeze, and forests burn now and then in summer."
TEXT = " ".join([OPENING, "Clouds drift by.", ANSWER, BESIDE, "Stones lie still.", ENDING])
QUERY = "how many hours do cats sleep"


@pytest.fixture(scope="module")
def reranker():
    return Reranker(FakeEncoder(), codec="float32")


def words(text):
    return len(text.split())


def pack(reranker, texts, budget, query=QUERY, **more):
    ranking = reranker.rerank(query, texts)
    return pack_context(
        query, ranking, reranker=reranker, budget_tokens=budget, count_tokens=words, **{"compress": True, **more}
    )


class TestSentences:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("One. Two! Three?", ["One.", "Two!", "Three?"]),
            ('He said "Go." Then he went.', ['He said "Go."', "Then he went."]),
            ("E. coli lives, e.g. here, cf. Fig. 3. It does.", ["E. coli lives, e.g. here, cf. Fig. 3.", "It does."]),
            ("Version 2. of it\n\nA paragraph", ["Version 2. of it", "A paragraph"]),
            ("No end", ["No end"]),
            (" \n ", []),
            ("猫は眠る。犬は「吠える。」終わり", ["猫は眠る。", "犬は「吠える。」", "終わり"]),
            ("クイズ！？はい。。。「ね？！」と", ["クイズ！？", "はい。。。", "「ね？！」", "と"]),
            ("ﾈｺ｡ｲﾇ｡ 値は３．５です．次", ["ﾈｺ｡", "ｲﾇ｡", "値は３．５です．", "次"]),
            ("क्या? बिल्ली सोती है। कुत्ता भौंकता है।", ["क्या?", "बिल्ली सोती है।", "कुत्ता भौंकता है।"]),
            ("रामः वनं गच्छति॥सीता अपि॥", ["रामः वनं गच्छति॥", "सीता अपि॥"]),
            ("မြန်မာ၊ စာ။ဒုတိယ။", ["မြန်မာ၊ စာ။", "ဒုတိယ။"]),
            ("ភាសាខ្មែរ។ទីពីរ៕", ["ភាសាខ្មែរ។", "ទីពីរ៕"]),
            ("བོད་སྐད།གཉིས་པ།", ["བོད་སྐད།", "གཉིས་པ།"]),
            ("ሰላም።ሁለተኛ፧", ["ሰላም።", "ሁለተኛ፧"]),
            ("Կատու։ Շուն։", ["Կատու։", "Շուն։"]),
            ("یہ بلی ہے۔یہ کتا ہے۔", ["یہ بلی ہے۔", "یہ کتا ہے۔"]),
            ("Τι είναι; Μια γάτα. Α. Παπανδρέου", ["Τι είναι;", "Μια γάτα.", "Α. Παπανδρέου"]),
            ("А. С. Пушкин родился в г. Москве. Это я. Конец.", ["А. С. Пушкин родился в г. Москве.", "Это я.", "Конец."]),
            ("डॉ. ए. पी. जे. कलाम आए। हाँ।", ["डॉ. ए. पी. जे. कलाम आए।", "हाँ।"]),
            ("„Geh.“ Er ging, z. B. Nr. 5. «Oui.» Non.", ["„Geh.“", "Er ging, z. B. Nr. 5.", "«Oui.»", "Non."]),
        ],
    )
    def test_they_end_where_a_reader_would_say_so(self, text, expected):
        assert [text[start:end] for start, end in sentences(text)] == expected

    def test_a_long_list_without_full_stops_is_split_at_its_lines(self):
        lines = [f"- item {i} of a list that has no full stop anywhere" for i in range(20)]
        assert len(sentences("\n".join(lines))) == 20

    @given(st.text("aB. !?\n\"'e.g)", max_size=80))
    def test_nothing_but_white_space_lies_between_them(self, text):
        found = sentences(text)
        assert "".join(text[start:end] for start, end in found).replace(" ", "").replace("\n", "") == "".join(text.split())
        assert all(one[1] <= other[0] for one, other in pairwise(found))


class TestExtracts:
    def test_the_sentence_that_matches_comes_first_and_the_one_beside_it_before_those_far_off(self, reranker):
        extract = extracts(QueryMatches("sixteen hours", reranker), [TEXT])[0]
        shown = [TEXT[slice(*extract.spans[i])] for i in extract.order]
        assert shown[0] == ANSWER
        assert sorted(extract.order) == list(range(6))

    def test_a_question_of_two_parts_keeps_a_sentence_for_each(self, reranker):
        text = f"{ANSWER} Small cats sleep sixteen hours a day too. {ENDING}"
        extract = extracts(QueryMatches("cats sleep sixteen hours a day and forests burn in summer", reranker), [text])[0]
        assert {extract.order[0], extract.order[1]} in ({0, 2}, {1, 2})

    def test_marks_stand_where_something_is_left_out(self, reranker):
        extract = extracts(QueryMatches(QUERY, reranker), [TEXT])[0]
        assert replace(extract, kept=(2,)).shown == f"[...] {ANSWER}{CUT_MARK}"
        assert replace(extract, kept=tuple(range(6))).shown == TEXT

    def test_the_kept_spans_are_what_is_shown(self, reranker):
        extract = extracts(QueryMatches(QUERY, reranker), [TEXT])[0]
        for n in range(1, 6):
            some = replace(extract, kept=tuple(extract.order[:n]))
            shown = some.shown.replace("[...]", "").split()
            assert shown == " ".join(TEXT[start:end] for start, end in some.kept_spans).split()

    def test_no_model_is_called_for_what_the_store_holds(self):
        encoder = FakeEncoder()
        reranker = Reranker(encoder)
        ranking = reranker.rerank(QUERY, [TEXT, ENDING])
        before = encoder.n_documents, encoder.n_queries
        pack_context(QUERY, ranking, reranker=reranker, budget_tokens=30, compress=True)
        assert (encoder.n_documents, encoder.n_queries) == before

    def test_a_text_that_was_cut_before_encoding_keeps_the_sentences_that_were_seen(self):
        reranker = Reranker(FakeEncoder(max_words=12))
        extract = extracts(QueryMatches("forests burn cats", reranker), [TEXT])[0]
        assert TEXT[slice(*extract.spans[extract.order[0]])] == ANSWER
        assert extract.maxima[5].max() < 0


class TestPacking:
    def test_what_fits_whole_stays_whole_and_others_fill_the_room_that_is_left(self, reranker):
        answers = [
            ANSWER,
            "Old cats sleep how many hours?",
            "Many cats do sleep eighteen hours.",
            "Do tigers sleep hours on end?",
        ]
        texts = [f"Birds{i} sing{i} and bees{i} hum{i}. {answer} The end{i} is near{i}." for i, answer in enumerate(answers)]
        plain, short = (pack(reranker, texts, 30, compress=compress) for compress in (False, True))
        assert len(short.parts) > len(plain.parts) > 0
        assert {part.index for part in plain.parts} == {part.index for part in short.parts if part.spans is None}

    def test_what_was_said_between_the_same_sentences_is_not_said_again(self, reranker):
        query, after = "cats sleep sixteen hours a day", "Old cats dream of hours."
        whole, further = (
            f"{BESIDE} {ANSWER} {after}",
            f"Birds sing. {BESIDE} {ANSWER} {after} Bees hum. {ENDING} Day and night.",
        )
        context = pack(reranker, [whole, further], words(whole) + 12, query=query)
        assert whole in [part.text for part in context.parts]
        assert context.text.count(ANSWER) == 1

    def test_what_was_said_beside_another_sentence_is_shown_since_that_may_deny_it(self, reranker):
        denied = f"{ANSWER} Nothing of it is true."
        context = pack(reranker, [denied, f"Birds sing. {ANSWER} {ENDING}"], 26, query="cats sleep sixteen hours a day")
        assert context.text.count(ANSWER) == 2

    def test_a_sentence_that_matches_nothing_is_not_shown_only_since_it_fits(self, reranker):
        text = "Rivers run. Old cats sleep in the sun for most of the day and some of the night. Bread is baked."
        assert pack(reranker, [text], 9, query="cats sleep", oversize="drop").text == ""

    def test_shortening_gives_another_selection_and_leaves_the_first_as_it_was(self, reranker):
        matches = QueryMatches(QUERY, reranker)
        budget = budget_of(words(ANSWER) + 14, None, words, images=Images(), n_documents=2)
        selector = Selector(dict(enumerate(reranker.rerank(QUERY, [ANSWER, TEXT]))), "coverage", matches, budget)
        whole = selector.whole()
        short = selector.with_shortened(whole)
        assert (len(whole.taken), len(short.taken)) == (1, 2)
        assert all(offer.is_whole for offer in whole.offers)
        assert whole.n_left > short.n_left >= 0
        assert selector.with_shortened(whole).taken == short.taken

    def test_where_there_is_room_nothing_is_left_out(self, reranker):
        context = pack(reranker, [TEXT], 1000)
        assert context.parts[0].text == TEXT
        assert context.parts[0].spans is None

    def test_room_that_is_left_goes_to_further_sentences(self, reranker):
        small, large = (pack(reranker, [TEXT], budget) for budget in (20, 30))
        assert words(small.text) <= 20 < words(large.text) <= 30
        assert ANSWER in small.text
        assert ANSWER in large.text

    def test_a_part_says_which_of_its_text_is_here_and_where_that_stands_in_the_file(self, reranker):
        document = Candidate(TEXT, "a", None, {"path": "a.txt", "start": 100, "end": 100 + len(TEXT)})
        part = pack(reranker, [document], 14).parts[0]
        (start, end), *_ = part.spans
        assert TEXT[start:end] in part.text
        assert (part.path, part.start, part.end) == ("a.txt", 100 + start, 100 + part.spans[-1][1])

    def test_covers_what_is_shown_not_what_was_left_out(self, reranker):
        context = pack(reranker, [TEXT], 10, query="hours cats sleep forests burn")
        assert "burn" in [["hours", "cats", "sleep", "forests", "burn"][i] for i in context.coverage.missing]

    def test_where_not_even_the_best_sentence_fits_a_shorter_one_does(self, reranker):
        text = f"{OPENING} {ANSWER} {BESIDE} Yes, cats sleep for hours and hours and hours on end, as everybody knows."
        context = pack(reranker, [text], 9)
        assert ANSWER in context.text

    def test_where_no_sentence_fits_the_text_is_cut_or_dropped_by_choice(self, reranker):
        assert pack(reranker, [TEXT], 4).text == f"[1] Rivers run{CUT_MARK}"
        assert pack(reranker, [TEXT], 4, oversize="drop").text == ""

    def test_a_cut_text_covers_what_stands_before_the_cut(self, reranker):
        context = pack(reranker, [f"{ANSWER} {ENDING}"], 8, query="cats forests", compress=False)
        assert context.text == f"[1] {ANSWER}{CUT_MARK}"
        assert context.coverage.missing == [1]
        assert context.parts[0].spans == ((0, len(ANSWER)),)

    @settings(max_examples=100, deadline=None)
    @given(
        texts=st.lists(st.text("ab .\n", max_size=60), max_size=6),
        budget=st.integers(0, 40),
        strategy=st.sampled_from(["coverage", "relevance", "mmr"]),
        oversize=st.sampled_from(["cut", "drop"]),
    )
    def test_the_budget_is_never_exceeded_and_parts_are_pieces_of_their_documents(self, texts, budget, strategy, oversize):
        reranker = Reranker(FakeEncoder())
        context = pack(reranker, texts, budget, query="a ab b", strategy=strategy, oversize=oversize)
        assert context.n_tokens <= budget
        for part in context.parts:
            whole = texts[part.index]
            pieces = [whole] if part.spans is None else [whole[start:end] for start, end in part.spans]
            assert part.text.replace("[...]", "").split() == " ".join(pieces).split()

    def test_a_model_that_pools_its_tokens_is_refused_and_says_why(self, reranker):
        class Unplaced(FakeEncoder):
            tokens = None

            def __getattribute__(self, name):
                if name == "tokens":
                    raise AttributeError(name)
                return super().__getattribute__(name)

        with pytest.raises(IncompatibleError, match="has no method tokens"):
            pack(Reranker(Unplaced()), [TEXT], 20)


class TestSpanMaxima:
    def test_over_all_sentences_the_best_is_the_documents(self, reranker):
        texts = [TEXT, OPENING, TEXT]
        spans = [sentences(text) for text in texts]
        found = reranker.span_maxima(QUERY, texts, spans)
        whole = reranker.token_maxima(QUERY, texts)
        for of_text, expected in zip(found, whole, strict=True):
            np.testing.assert_allclose(of_text.max(axis=0), expected, atol=1e-6)

    @pytest.mark.parametrize("codec", ["float32", "float16", "int8", "int4", "binary"])
    def test_every_codec_reads_a_run_of_tokens_in_place(self, codec):
        reranker = Reranker(FakeEncoder(), codec=codec)
        found = reranker.span_maxima("cats sleep", [TEXT], [sentences(TEXT)])[0]
        assert found.sum(axis=1).argmax() == 2
        assert found[2].min() > found[[0, 1, 3, 4, 5]].max()

    def test_a_part_without_tokens_has_no_match(self, reranker):
        found = reranker.span_maxima("cats", ["cats ...", " "], [[(0, 4), (5, 8)], [(0, 1)]])
        assert found[0][0, 0] > 0.99
        assert found[0][1, 0] < -1
        assert found[1][0, 0] < -1

    def test_texts_without_spans_have_no_rows(self, reranker):
        assert [found.shape for found in reranker.span_maxima("cats", ["cats", "dogs"], [[], [(0, 4)]])] == [(0, 1), (1, 1)]

    def test_one_list_of_spans_a_text(self, reranker):
        with pytest.raises(ValueError, match="got 2 texts but 1 lists of spans"):
            reranker.span_maxima("cats", ["a", "b"], [[(0, 1)]])
