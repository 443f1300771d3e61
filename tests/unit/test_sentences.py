"""Where texts are cut: after sentences, clauses or characters, never within one."""

# ruff: noqa: RUF001 - letters of other scripts are what is tested

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from late_rerank.context.sentences import CUT_MARK, cut_to, sentences
from late_rerank.text.words import character_ends

SENTENCES = [
    "人人自由，",
    "平等。",
    "」",
    "ที่นี่มีน้ำดื่ม ",
    "น้ำ",
    "हिन्दी। ",
    "مرحبا؟ ",
    "Dr. E. coli. ",
    "e\u0301",
    "👍🏽",
    "\n\n",
    "\u200b",
    "。\u094d\u0915",
]
THAI = (
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม "
    "และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ บุคคลมีสิทธิในการดำรงชีวิต "
    "ในเสรีภาพและในความมั่นคงแห่งร่างกาย"
)


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
        "น้ำ " * 60_000,
        "自由，" * 60_000,
        "น้ำ" * 60_000,
    ]:
        assert sum(end - start for start, end in sentences(text)) <= len(text)
        cut_to(text, lambda shorter: len(shorter) < 100)


@given(st.lists(st.sampled_from(SENTENCES), max_size=20).map("".join))
def test_sentences_stand_in_order_cover_all_but_white_space_and_cut_no_character(text):
    ends, last = {0, *character_ends(text)}, 0
    for start, end in sentences(text):
        assert last <= start < end
        assert not text[last:start].strip()
        assert {start, end} <= ends
        last = end
    assert not text[last:].strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("他问：“真的吗？”我说：“是。”走了。", ["他问：“真的吗？”", "我说：“是。”", "走了。"]),
        ("彼は「はい。」と言った。次に、去った。", ["彼は「はい。」", "と言った。", "次に、去った。"]),
        ("सब लोग आए। फिर गए॥ क्यों?", ["सब लोग आए।", "फिर गए॥", "क्यों?"]),
        ("هل تعرف؟ نعم، أعرف. شكرا!", ["هل تعرف؟", "نعم، أعرف.", "شكرا!"]),
        ("کیا حال ہے؟ ٹھیک ہے۔ شکریہ۔", ["کیا حال ہے؟", "ٹھیک ہے۔", "شکریہ۔"]),
        ("សួស្តី។ តើអ្នក៖ បាទ។", ["សួស្តី។", "តើអ្នក៖ បាទ។"]),
        ("ကျွန်ုပ်၊ သင်။သူ။", ["ကျွန်ုပ်၊ သင်။", "သူ။"]),
        ("数是３．５万。完。", ["数是３．５万。", "完。"]),
        ("真的吗?我不知道!他说:(好的!)走吧", ["真的吗?", "我不知道!", "他说:(好的!)", "走吧"]),
        ('彼は"本当?!"と言った', ['彼は"本当?!"', "と言った"]),
        ("อะไร?ผมไม่รู้", ["อะไร?", "ผมไม่รู้"]),
        ("用save!方法,见 https://例子.cn/查询?id=1", ["用save!方法,见 https://例子.cn/查询?id=1"]),
    ],
)
def test_sentences_of_many_scripts(text, expected):
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_thai_without_full_stops_is_cut_into_rows_of_clauses():
    found = [THAI[start:end] for start, end in sentences(THAI)]
    assert " ".join(found) == THAI
    assert len(found) == 3
    assert all(len(piece) >= 40 for piece in found)


def test_a_chinese_sentence_without_end_is_cut_after_commas():
    text = "第一条规定如下，" * 100
    found = [text[start:end] for start, end in sentences(text)]
    assert "".join(found) == text
    assert all(piece.endswith("，") and 60 <= len(piece) < 100 for piece in found[:-1])


def test_an_english_list_without_a_full_stop_stays_whole():
    text = "one, two, three, “four” " * 30
    assert sentences(text) == [(0, len(text) - 1)]
