"""The estimate of tokens: English by its rule, other scripts by their rates, and the laws that packing needs."""

# ruff: noqa: RUF001 - letters of other scripts are what is tested

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.context.counting import count_all, estimate_tokens

RESULT = Path(__file__).parents[1] / "benchmarks" / "token_estimate.json"
SAMPLES = {  # The Declaration of Human Rights, article 1, and the median of seven tokenizers
    "en": ("All human beings are born free and equal in dignity and rights.", 13),
    "zh": ("人人生而自由，在尊严和权利上一律平等。", 15),
    "ja": ("すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。", 27),
    "th": ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ", 32),
    "ar": ("يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.", 19),
    "hi": ("सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।", 43),
    "ru": ("Все люди рождаются свободными и равными в своем достоинстве и правах.", 21),
}
ANY = st.text("ab Z9.,\n“’éüßжщі字かカเก้สب،हि。、👍🏽\u200d\ud800한", max_size=30)


@given(st.text("abcXYZ 019.,;\n\t-_'"))
def test_an_english_word_is_one_for_six_letters_begun_and_each_other_character_but_white_space_is_one(text):
    assert estimate_tokens(text) == len(re.findall(r"[A-Za-z]{1,6}|[^\sA-Za-z]", text))


@pytest.mark.parametrize("language", SAMPLES)
def test_a_sentence_of_each_language_is_counted_within_a_fifth(language):
    text, median = SAMPLES[language]
    assert 1 <= estimate_tokens(text) / median <= 1.2


@given(st.lists(ANY, max_size=6))
def test_a_text_counts_the_same_alone_and_among_others(texts):
    assert count_all(estimate_tokens, texts).tolist() == [estimate_tokens(text) for text in texts]


@given(ANY, ANY)
def test_texts_with_white_space_between_add_up(one, other):
    assert estimate_tokens(f"{one}\n\n{other}") == estimate_tokens(one) + estimate_tokens(other)


@given(ANY, ANY)
def test_a_text_put_together_within_a_word_is_at_most_one_token_less_and_never_more(one, other):
    apart = estimate_tokens(one) + estimate_tokens(other)
    assert apart - 1 <= estimate_tokens(one + other) <= apart


@given(ANY, ANY)
def test_a_beginning_never_counts_more_than_the_text(one, other):
    assert estimate_tokens(one) <= estimate_tokens(one + other)


@pytest.mark.parametrize("space", [chr(code) for code in range(1 << 16) if chr(code).isspace()])
def test_all_white_space_counts_nothing(space):
    assert estimate_tokens(f"\u00e9{space}{space}字") == estimate_tokens("\u00e9 字")


@given(ANY)
def test_what_is_no_white_space_counts_at_least_one(text):
    assert (estimate_tokens(text) > 0) == bool(text.strip())


def test_a_long_run_without_a_space_does_not_overflow():
    assert estimate_tokens("漢" * 3_000_000) == 10 * estimate_tokens("漢" * 300_000)


def test_the_measured_languages_are_within_a_fifth_of_the_median_tokenizer():
    measured = json.loads(RESULT.read_text(encoding="utf-8"))["languages"]
    named = [measured[code]["ratio"] for code in ("zh", "ja", "ko", "th", "ar", "hi", "ru", "de", "fr", "en")]
    assert all(0.9 <= ratio <= 1.2 for ratio in named)
