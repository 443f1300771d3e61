"""Texts of scripts without spaces are cut at sentences, else at clauses, else between characters."""

# ruff: noqa: RUF001 - letters of other scripts are what is tested

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.corpus import pages, read_corpus
from late_rerank.corpus import pieces as corpus_pieces
from late_rerank.corpus import split as splitting
from late_rerank.corpus.split import split
from late_rerank.text.words import character_ends

PARTS = st.sampled_from(
    [
        *(
            "日本。",
            "人人生而自由，",
            "「はい。」",
            "ที่นี่มีน้ำดื่ม ",
            "ភាសា\u200bខ្មែរ។ ",
            "བོད་ཡིག་།",
            "မြန်မာ၊",
            "हिन्दी। ",
            "مرحبا، ",
            "Hello. ",
        ),
        *(
            "👍🏽",
            "👩\u200d👩\u200d👧",
            "🇩🇪",
            "e\u0301",
            "\n\n",
            "\u3000",
            "３．５",
            "２０２４年",
            "한국어 ",
            "……",
            "”",
            "\u0939\u093f",
        ),
    ]
)
ARTICLE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"


def pieces(text, n_tokens):
    return [piece for piece, _, _ in split(text, n_tokens)]


@given(st.lists(PARTS, max_size=60).map("".join), st.integers(1, 12))
def test_pieces_are_slices_in_order_and_only_blanks_lie_between_and_no_character_is_cut(text, n_tokens):
    edges, end = {0, *character_ends(text)}, 0
    for piece, start, stop in split(text, n_tokens):
        assert text[start:stop] == piece
        assert {start, stop} <= edges
        assert not any(character.isalnum() for character in text[end:start])
        end = stop
    assert not any(character.isalnum() for character in text[end:])


def test_chinese_is_cut_after_full_stops():
    assert pieces(ARTICLE, 24) == ["人人生而自由，在尊严和权利上一律平等。", "他们赋有理性和良心，并应以兄弟关系的精神相对待。"]


def test_a_sentence_that_is_too_long_is_cut_after_commas():
    assert pieces("他们赋有理性和良心，并应以兄弟关系的精神相对待。", 18) == [
        "他们赋有理性和良心，",
        "并应以兄弟关系的精神相对待。",
    ]


def test_a_clause_that_is_too_long_is_cut_between_characters():
    assert pieces("人人生而自由", 4) == ["人人生而", "自由"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("彼は「はい。」と言った。「いいえ！」と彼女。", ["彼は「はい。」", "と言った。", "「いいえ！」", "と彼女。"]),
        ("ကျွန်ုပ်၊ သင်။", ["ကျွန်ုပ်၊", "သင်။"]),
        ("真的吗?不知道!走吧", ["真的吗?", "不知道!", "走吧"]),
        ("सब लोग। वे सब॥", ["सब लोग।", "वे सब॥"]),
        ("هل تعرف؟ نعم، أعرف.", ["هل تعرف؟", "نعم، أعرف."]),
    ],
)
def test_sentences_of_many_scripts_are_the_places_to_cut(text, expected):
    assert pieces(text, 7 if "は" in text else 4) == expected


def test_thai_is_cut_at_spaces_and_only_long_runs_between_characters():
    clause = "มนุษย์ทั้งหลายเกิดมามีอิสระ"
    assert pieces(" ".join([clause] * 3), 12) == [clause] * 3
    assert all(len(piece) < 40 for piece in pieces(clause * 20, 12))


def test_khmer_is_cut_at_zero_width_spaces_and_tibetan_after_its_mark():
    assert pieces("ភាសា\u200bខ្មែរ\u200bភាសា\u200bខ្មែរ", 3) == ["ភាសា\u200bខ្មែរ\u200b", "ភាសា\u200bខ្មែរ"]
    assert pieces("བོད་ཡིག་བོད་ཡིག", 2) == ["བོད་ཡིག་", "བོད་ཡིག"]


def test_no_cut_is_within_a_number_of_full_width():
    assert pieces("数是３．５万，数是４．５万。", 7) == ["数是３．５万，", "数是４．５万。"]


def test_a_piece_of_chinese_has_about_as_many_characters_as_an_english_piece_has_tokens():
    lengths = [len(piece) for piece in pieces(ARTICLE * 40, 200)]
    assert all(120 < length <= 200 for length in lengths[:-1])


def test_korean_is_cut_at_spaces_as_english_is():
    assert pieces("모든 인간은 태어날 때부터 자유로우며", 3) == ["모든 인간은 태어날", "때부터 자유로우며"]


@pytest.mark.parametrize(
    "part",
    [
        ARTICLE,
        "自由，",
        "自由",
        "あ\u3099",
        "ที่นี่มีน้ำดื่ม",
        "ที่นี่มีน้ำ ",
        "ខ្មែរ\u200b",
        "བོད་",
        "မြန်မာ၊",
        "🇩🇪",
        "👩\u200d👩\u200d👧",
        "、",
        "\u200b",
        "。」",
    ],
    ids=ascii,
)
def test_work_grows_with_the_length_and_no_faster(part, monkeypatch):
    counted, count = [], splitting._n_tokens
    monkeypatch.setattr(splitting, "_n_tokens", lambda piece: counted.append(len(piece) + 1) or count(piece))
    work = []
    for n in (5_000, 20_000):
        counted.clear()
        split((part * n)[:n])
        work.append(sum(counted))
    assert work[1] < 6 * work[0] + 1000
    assert work[1] < 30 * 20_000


@pytest.mark.parametrize(
    ("page", "n_joined"),
    [
        ("第十九条\n人人有权享有主张和发表意见的自由，此项权利包括持有主张而不受干\n涉的自由。\n第二十条\n人人", 1),
        ("सभी मनुष्यों को गौरव और अधिकारों के मामले में\nजन्मजात समानता प्राप्त है ।\nउन्हें बुद्धि", 1),
        ("ทุกคนมีสิทธิในอิสรภาพแห่งความเห็นและการ\nแสดงออก", 1),
        ("لكل شخص الحق في حرية الرأي والتعبير،\nويشمل هذا الحق\nالمادة", 1),
        ("A line that goes on and on and on\nand ends.\nAnother Heading Of The Page\nBegins", 1),
    ],
)
def test_a_line_of_a_page_that_ends_within_a_sentence_is_no_place_to_cut(page, n_joined):
    seen = pages._WITHIN_A_SENTENCE.sub(" ", page)
    assert len(seen) == len(page)
    assert page.count("\n") - seen.count("\n") == n_joined


@pytest.mark.parametrize("character", ["👨\u200d👩\u200d👧", "e\u0301", "🇩🇪", "が\u3099", "字。\u0301", "क्षि"])
@pytest.mark.parametrize("before", ["", "a", "bc"])
def test_no_block_of_a_long_text_ends_within_a_character(character, before, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_pieces, "BLOCK_CHARACTERS", 1001)
    text = before + character * 900
    (tmp_path / "a.md").write_text(text, encoding="utf-8")
    ends = {0, *character_ends(text)}
    found = read_corpus(tmp_path).documents
    assert {place for each in found for place in (each.metadata["start"], each.metadata["end"])} <= ends
    assert "".join("".join(each.text.split()) for each in found) == "".join(text.split())
