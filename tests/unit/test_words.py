"""Characters and words by Unicode's rules: one form for all ways to write a word, nothing cut within a character."""

# ruff: noqa: RUF001 - letters of other scripts are what is tested

import sys
import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from late_rerank.text.words import character_ends, folded, in_whole_words, is_blank, is_unspaced, unaccented, word_spans

SAMPLES = {
    "hindi": ("दिल्ली में लाल क़िला है।", ["दिल्ली", "में", "लाल", "क़िला", "है"]),
    "bengali": ("ঢাকা বাংলাদেশের রাজধানী।", ["ঢাকা", "বাংলাদেশের", "রাজধানী"]),
    "tamil": ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
    "sinhala": ("ශ්\u200dරී ලංකාව", ["ශ්\u200dරී", "ලංකාව"]),
    "arabic": ("الْقُرْآنُ الْكَرِيمُ", ["الْقُرْآنُ", "الْكَرِيمُ"]),
    "hebrew": ("סֵפֶר בְּרֵאשִׁית", ["סֵפֶר", "בְּרֵאשִׁית"]),
    "persian": ("می\u200cخواهم", ["می\u200cخواهم"]),
    "tibetan": ("བོད་སྐད་", ["བོད", "སྐད"]),
    "ethiopic": ("ሰላም፡ለሁሉም፡ነው።", ["ሰላም", "ለሁሉም", "ነው"]),
    "vietnamese": ("Tiếng Việt", ["Tiếng", "Việt"]),
    "korean": ("한국어를 말해요", ["한국어를", "말해요"]),
    "thai": ("น้ำดื่ม", ["น้ำ", "ดื่", "ม"]),
    "lao": ("ນ້ຳ", ["ນ້ຳ"]),
    "khmer": ("ភាសាខ្មែរ", ["ភា", "សា", "ខ្មែ", "រ"]),
    "burmese": ("မြန်မာ ၁၂", ["မြ", "န်", "မာ", "၁၂"]),
    "japanese": ("日本語のパソコン2台", ["日", "本", "語", "の", "パ", "ソ", "コ", "ン", "2", "台"]),
    "half width": ("ﾊﾟｿｺﾝ", ["ﾊﾟ", "ｿ", "ｺ", "ﾝ"]),
    "code": ("snake_case(__init__) a-b", ["snake_case", "__init__", "a", "b"]),
    "soft hyphen": ("hy\u00adphen a\u200bb \u202aword\u202c", ["hy\u00adphen", "a", "b", "word\u202c"]),
    "emoji": ("👍🏽 🇩🇪 👨\u200d👩\u200d👧 1\ufe0f\u20e3", ["1\ufe0f\u20e3"]),
}
SCRIPTS = [text for text, _ in SAMPLES.values()] + [
    "ΟΔΟΣ οδός, ὁδός",
    "Straße ǅ ﬁ Ⅷ ½ ㎏ x² H₂O",
    "ＡＢＣ１２３ \ud800 \x00 ﷺ",
    "۱۲ ٣ १ ๓",
]


@st.composite
def texts(draw):
    """Pieces of real writing, cut at any code point, with something between."""
    pieces = []
    for text in draw(st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=4)):
        start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        while start < end and unicodedata.category(text[start])[0] == "M":  # a mark on nothing is no writing
            start += 1
        pieces.append(text[start:end])
    return draw(st.sampled_from([" ", "\n", ", "])).join(pieces)


def words(text):
    return [text[start:end] for start, end in word_spans(text)]


@pytest.mark.parametrize("name", SAMPLES)
def test_words_of_many_scripts_are_whole(name):
    text, expected = SAMPLES[name]
    assert words(text) == expected


@given(texts())
@settings(max_examples=200)
def test_words_are_in_order_and_begin_and_end_where_characters_do(text):
    spans = word_spans(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    assert {at for span in spans for at in span} <= {0, *character_ends(text)}


@given(texts() | st.text())
@example("\u0130\u0307\u0301 \u1e9b\u0323 \u0958 a\u034f\u0301")
@settings(max_examples=200)
def test_composed_and_decomposed_words_are_the_same(text):
    forms = [text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)]
    assert len({tuple(map(folded, words(form))) for form in forms}) == 1
    assert len({is_blank(form) for form in forms}) == 1


@given(texts() | st.text(), st.sampled_from([None, "english", "turkish", "persian"]))
@settings(max_examples=200)
def test_folding_again_changes_nothing(text, language):
    assert folded(folded(text, language), language) == folded(text, language)


@given(texts() | st.text())
def test_ends_of_characters_are_in_order_up_to_the_end(text):
    ends = character_ends(text)
    assert ends == sorted(set(ends))
    assert ends[-1:] == ([len(text)] if text else [])


@given(st.text(alphabet="🇩🇪\u0301\u200da", max_size=30))
def test_flags_are_pairs_of_letters_as_unicode_counts_them(text):
    assert character_ends(text) == [match.end() for match in regex.finditer(r"\X", text)]


@given(texts(), st.data())
def test_a_span_in_whole_words_cuts_no_word_and_takes_no_further_one(text, data):
    if len(text) < 2:
        return
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    spans = [*word_spans(text), *pairwise([0, *character_ends(text)])]  # a character of no word stays whole too
    first, last = in_whole_words(text, start, end)
    assert first == next((a for a, b in spans if a < start < b), start)
    assert last == next((b for a, b in spans if a < end < b), end)


def test_a_word_without_end_takes_no_further_than_it_is_looked_for():
    assert in_whole_words("a" * 1000, 500, 501) == (436, 565)


def test_characters_are_what_a_reader_sees():
    for character in ["👍🏽", "🇩🇪", "👨\u200d👩\u200d👧", "น้ำ", "é", "हि", "\u1112\u1161\u11ab", "ﾊﾟ", "\r\n"]:
        assert character_ends(character) == [len(character)]


def test_ways_to_write_a_word_are_one():
    groups = [
        ["Straße", "STRASSE", "STRAẞE", "strasse"],
        ["ΟΔΟΣ", "οδός", "ὁδός", "οδὸς"],
        ["ΠΡΟΪΟΝ", "προϊόν"],
        ["İSTANBUL", "istanbul", "Istanbul", "I\u0307stanbul"],
        ["ＡＢＣ１", "abc1", "abc١"],
        ["ﬁnd", "find", "FIND", "fi\u00adnd", "fi\u200dnd", "\ufefffind", "find\ufe0f"],
        ["محمد", "مُحَمَّد", "محـــمد", "ﻣﺤﻤﺪ"],
        ["الله", "ﷲ"],
        ["שלום", "שָׁלוֹם"],
        ["ייִדיש", "ײִדיש", "יידיש", "ײדיש"],
        ["کتاب", "كتاب"],
        ["می\u200cخواهم", "میخواهم", "ميخواهم"],
        ["ёлка", "елка", "ЁЛКА"],
        ["ⅷ", "VIII"],
        ["H₂O", "H2O"],
        ["ᏣᎳᎩ", "ꮳꮃꭹ"],
        ["ᲗᲑᲘᲚᲘᲡᲘ", "თბილისი"],
        ["և", "եւ"],
        ["ガス", "ｶﾞｽ", "カ\u3099ス"],
        ["instituție", "instituţie"],
    ]
    for group in groups:
        assert len({folded(word) for word in group}) == 1, group


def test_marks_that_tell_words_apart_stay():
    for one, other in [
        ("ma", "má"),
        ("côte", "côté"),
        ("दिल", "दल"),
        ("कि", "की"),
        ("й", "и"),
        ("อ่าน", "อาน"),
        ("か", "が"),
        ("ñ", "n"),
    ]:
        assert folded(one) != folded(other)


def test_letters_without_accents_stay_as_they_are():
    characters = map(chr, range(sys.maxunicode + 1))
    plain = {unaccented(folded(one)) for one in characters if unicodedata.category(one) not in ("Lo", "Cn", "Co", "Cs")}
    assert not [word for word in plain if unaccented(word) != word or folded(word) != word]


def test_turkish_keeps_its_two_letters_apart():
    assert folded("DIŞ", "turkish") == folded("dış", "turkish") == "dış"
    assert folded("DİŞ", "turkish") == folded("DI\u0307Ş", "turkish") == folded("diş", "turkish") == "diş"
    assert folded("TITLE", "turkish") == "tıtle"


@pytest.mark.parametrize(
    "character",
    [
        "\u200b",
        "\ufeff",
        "\u2060",
        "\x00",
        "\u00ad",
        "\ud83d",
        "\u0301",
        "\u3164",
        "\u200f",
        "\ufe0f",
        "\u2800",
        "\U000e0041",
        "\x1b",
    ],
)
def test_what_shows_nothing_is_blank(character):
    assert is_blank(character)
    assert is_blank(f" {character}\n{character}")
    assert not is_blank(f"{character}a")


@pytest.mark.parametrize("text", ["a", ".", "?", "5", "👍", "日", "ก", "\u0600", "€", "_"])
def test_what_shows_something_is_not_blank(text):
    assert not is_blank(text)


def test_characters_of_scripts_without_spaces_are_known():
    assert all(is_unspaced(word) for word in ["日", "の", "น้ำ", "ខ្មែ", "မ", "ﾊﾟ"])
    assert not any(is_unspaced(word) for word in ["a", "한국어", "हिन्दी", "٣", "", "é"])


def test_long_runs_of_marks_flags_and_signs_take_no_square_of_time():
    for text in ["a" + "\u0301" * 300_000, "🇩" * 300_000, "\u0600" * 300_000, "👩\u200d" * 150_000, "क्" * 150_000]:
        assert character_ends(text)[-1] == len(text)
        assert sum(end - start for start, end in word_spans(text)) <= len(text)
        is_blank(text)
