"""Spans of text are widened to whole words and whole characters, wherever a model's tokens begin."""

# ruff: noqa: RUF001 - letters of other scripts are what is tested

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.explanation.words import words
from late_rerank.text.words import character_ends, in_whole_words, word_spans

PARTS = st.sampled_from(
    [
        *(
            "cats ",
            "日本",
            "が\u3099",
            "น้ำ",
            "हिन्दी ",
            "క్ష",
            "한국 ",
            "👍🏽",
            "👩\u200d👩\u200d👧",
            "🇩🇪",
            "e\u0301",
            "。\u0301",
            " ",
            "שָׁלוֹם ",
            "１２",
        )
    ]
)
TEXTS = st.lists(PARTS, min_size=1, max_size=12).map("".join)


@given(TEXTS, st.data())
def test_a_widened_span_cuts_neither_a_word_nor_a_character(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    first, last = in_whole_words(text, start, end)
    assert first <= start < end <= last
    assert {first, last} <= {0, *character_ends(text)}
    assert not any(a < first < b or a < last < b for a, b in word_spans(text))


@pytest.mark.parametrize(
    ("text", "span", "widened"), [("👍🏽👍🏽", (1, 3), (0, 4)), ("🇩🇪🇫🇷", (1, 2), (0, 2)), ("x 👩\u200d👧 y", (3, 4), (2, 5))]
)
def test_an_emoji_is_widened_to_all_of_its_parts(text, span, widened):
    assert in_whole_words(text, *span) == widened


@given(TEXTS, st.data())
def test_words_of_tokens_that_begin_anywhere_cut_no_character(text, data):
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=20))})
    found = words(text, [(text[a:b], a, b) for a, b in pairwise(cuts)])
    ends = {0, *character_ends(text)}
    assert all({word.start, word.end} <= ends for word in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert sorted(i for word in found for i in word.tokens) == list(range(len(cuts) - 1))
