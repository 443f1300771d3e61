"""Where texts are cut: after sentences, clauses or characters, never within one."""

# ruff: noqa: RUF001 - letters of other scripts are what is tested

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from late_rerank.context.sentences import CUT_MARK, cut_to, sentences
from late_rerank.text.words import character_ends


@given(
    st.text("a。 \u0e19\u0e49\u0e33\u0301\u200d👩👍🏽🇩🇪🇫\u1112\u1161\u11ab\u0915\u094d\u0937\u093f", max_size=40),
    st.integers(0, 40),
)
@example("。\u094d\u0915", 8)  # a sign that joins a letter to the full stop
def test_no_cut_is_within_a_character(text, room):
    cut = cut_to(text, lambda shorter: len(shorter) <= room)
    if cut is not None:
        assert len(cut.removesuffix(CUT_MARK)) in character_ends(text)


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("👍🏽🇩🇪🇫🇷🇮🇹", 3, "👍🏽"),
        ("👍🏽🇩🇪🇫🇷🇮🇹", 5, "👍🏽🇩🇪"),
        ("ที่นี่มีน้ำดื่ม", 4, "ที่"),
        ("ที่นี่มีน้ำดื่ม", 12, "ที่นี่มีน้ำ"),
        ("हिन्दीभाषा", 1, None),
        ("हिन्दीभाषा", 3, "हि"),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", 5, "\u1112\u1161\u11ab"),
        ("吾輩は、猫である、名前は", 11, "吾輩は、猫である、"),
        ("吾輩は、猫である、名前は", 8, "吾輩は、"),
        ("吾輩は、猫である、名前は", 3, "吾輩は"),
    ],
)
def test_cuts_are_at_clauses_else_at_characters(text, room, expected):
    cut = cut_to(text, lambda shorter: len(shorter.removesuffix(CUT_MARK)) <= room)
    assert cut == (expected and expected + CUT_MARK)


def test_large_texts_take_no_square_of_time():
    for text in [
        "А. " * 100_000,
        "。" * 200_000,
        "(." + ")" * 200_000,
        "\n " * 100_000 + "x",
        "🇩" * 200_000,
        ". \u0301" * 60_000,
    ]:
        assert sum(end - start for start, end in sentences(text)) <= len(text)
        cut_to(text, lambda shorter: len(shorter) < 100)
