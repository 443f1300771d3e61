# ruff: noqa: RUF001 - letters of other scripts are among what is tested

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker, explain
from late_rerank.codecs import Float32Codec
from late_rerank.errors import IncompatibleError
from late_rerank.explanation.markup import within_a_line
from late_rerank.explanation.words import words
from late_rerank.maxsim import PROXIMITY, Scoring
from late_rerank.maxsim.reference import best_window
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.text.shown import around, shown
from late_rerank.text.words import character_ends, is_blank
from late_rerank.types import NO_TOKENS_SCORE

RERANKER = Reranker(FakeEncoder(), codec=Float32Codec())
SMALL = Scoring("small", (2, 6))
SCORINGS = {
    "maxsim": Reranker(FakeEncoder(), codec=Float32Codec(), scoring="maxsim"),
    "proximity": Reranker(FakeEncoder(), codec=Float32Codec(), scoring="proximity"),
    "small": Reranker(FakeEncoder(), codec=Float32Codec(), scoring=SMALL),
}

HARD_CHARACTERS = (
    "aB é_9.,<>&\"'\x00\x1b\n\r\t\x85\u0301\u05d0\u0634\u0130ß日本🙂🇩🇪🏽\u0939\u093f\u094d\u0926\u0e19\u0e49\u0e33\u1112\u1161"
)
HARD_CHARACTERS += "\u200d👩\ud800\u202e\u2028"
TEXTS = st.text(alphabet=st.one_of(st.sampled_from(HARD_CHARACTERS), st.characters()), max_size=60)
QUERIES = TEXTS.filter(lambda text: not is_blank(text))


PAGE_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "div", "h1", "h2", "p", "strong", "bdi", "span", "a", "mark"),
    *("table", "thead", "tbody", "tfoot", "tr", "th", "td", "i", "details", "summary", "code"),
}


class Read(HTMLParser):
    """What a reader of the page gets: its elements, and the text of those of a class."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self._open = [], [], {}, []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self._open.append(dict(attrs).get("class", ""))

    def handle_endtag(self, tag):
        self._open.pop()

    def handle_data(self, data):
        for names in self._open:
            for name in names.split():
                self.text[name] = self.text.get(name, "") + data


@given(QUERIES, TEXTS)
def test_the_row_maxima_sum_to_the_score_of_a_ranking(query, text):
    explanation = explain(RERANKER, query, text)
    ranked = RERANKER.rerank(query, [text])[0]

    assert explanation.score == pytest.approx(ranked.score, abs=1e-4)
    assert explanation.similarity.shape == (len(explanation.query_tokens), len(explanation.document_tokens))
    assert explanation.similarity.dtype == np.float32
    if explanation.document_tokens:
        assert sum(match.similarity for match in explanation.matches) == pytest.approx(ranked.score, abs=1e-4)


VOCABULARY = ["cats", "dogs", "sleep", "bark", "in", "at", "the", "all,", "day.", "night!", "re-do\n"]
# Words that stand in rows, so that matches are in windows far apart.
ROWS = st.tuples(st.sampled_from(VOCABULARY), st.sampled_from([1, 1, 2, 20, 100]))
LONG_TEXTS = st.lists(ROWS, max_size=12).map(lambda rows: " ".join(" ".join([word] * n) for word, n in rows))


def matched(text, span):
    """Score a passage alone, whose words have the vectors that they have in the whole text."""
    return None if span is None else SCORINGS["maxsim"].rerank("do cats sleep all night", [text[slice(*span)]])[0].score


@pytest.mark.parametrize("name", SCORINGS)
@given(text=LONG_TEXTS)
@example(text="cats " + "dogs bark. " * 150 + "sleep " + "dogs bark. " * 150 + "all night")
def test_contributions_sum_to_the_score_of_a_ranking_under_every_scoring(name, text):
    reranker = SCORINGS[name]
    explanation = explain(reranker, "do cats sleep all night", text)
    ranked = reranker.rerank("do cats sleep all night", [text])[0]

    assert explanation.scoring == name
    assert explanation.score == pytest.approx(ranked.score, abs=1e-4)
    assert explanation.contributions.shape == (len(explanation.query_tokens),)
    assert explanation.contributions.dtype == np.float32
    added = [explanation.contributions[list(match.word.tokens)].sum() for match in explanation.words]
    assert [match.contribution for match in explanation.words] == pytest.approx(added, abs=1e-5)
    if explanation.document_tokens:
        assert float(explanation.contributions.sum()) == explanation.score
        # Of two windows that score the same, rounding may choose the one here and the other there.
        assert matched(text, explanation.best_span) == pytest.approx(matched(text, ranked.best_span), abs=1e-4)
    assert [match.similarity for match in explanation.matches] == [row.max() for row in explanation.similarity if row.size]


@given(LONG_TEXTS.filter(bool))
def test_windows_are_those_of_the_reference(text):
    explanation = explain(SCORINGS["small"], "do cats sleep all night", text)
    n_query, n_document = explanation.similarity.shape
    expected = [best_window(np.eye(n_query), explanation.similarity.T, n) for n in SMALL.window_tokens]

    for window, (score, _), n in zip(explanation.windows, expected, SMALL.window_tokens, strict=True):
        matches = explanation.similarity[:, window.first_token : window.stop_token].max(axis=1)
        inside = explanation.document_tokens[window.first_token : window.stop_token]
        whole = len(inside) == n_document
        assert matches.sum() == pytest.approx(score, abs=1e-5)
        assert window.first_token % (n // 2) == 0
        assert window.stop_token == min(window.first_token + n, n_document)
        assert (window.start, window.end) == ((0, len(text)) if whole else (inside[0].start, inside[-1].end))


def test_maxsim_tells_no_windows_and_other_scorings_tell_them_in_json():
    text = "dogs bark. " * 100 + "cats sleep. " + "dogs bark. " * 300
    plain, windowed = (
        explain(SCORINGS[name], "cats sleep", text).to_dict(similarity=False) for name in ("maxsim", "proximity")
    )

    assert plain["scoring"] == "maxsim"
    assert set(windowed) - set(plain) == {"windows", "best_span", "contributions"}
    assert [window["stop_token"] - window["first_token"] for window in windowed["windows"]] == list(PROXIMITY.window_tokens)
    assert "cats sleep" in text[slice(*windowed["best_span"])]
    assert windowed["best_span"] == [windowed["windows"][1][name] for name in ("start", "end")]
    assert sum(windowed["contributions"]) == pytest.approx(windowed["score"], abs=1e-5)
    assert [word["similarity"] for word in windowed["words"]] == pytest.approx([1, 1])
    json.dumps(windowed, allow_nan=False)


def test_the_page_marks_the_best_passage_in_whole_words_and_its_table_adds_up():
    text = "dogs bark. " * 100 + "cats sleep, <b>" + "dogs bark. " * 300
    html = explain(SCORINGS["proximity"], "cats sleep", text).to_html()
    read = Read(html)
    start, end = explain(SCORINGS["proximity"], "cats sleep", text).best_span

    assert read.text["lr-document"] == text
    assert read.text["lr-passage"].startswith(text[start:end])
    assert ("id", re.search(r'href="#(lr-\w+-passage)"', html).group(1)) in read.attributes
    assert "within the best 24, 144 and 288 tokens in a row" in html
    assert set(read.tags) <= PAGE_TAGS


@pytest.mark.parametrize("name", ["proximity", "small"])
@given(text=TEXTS)
def test_a_page_with_a_passage_shows_the_text_as_it_is(name, text):
    read = Read(explain(SCORINGS[name], "a b", text).to_html().encode("utf-8").decode("utf-8"))

    assert read.text.get("lr-document", "") == shown(text)
    assert set(read.tags) <= PAGE_TAGS


def test_a_short_text_is_one_passage_and_its_page_marks_none():
    text = "cats sleep all day"
    explanation = explain(SCORINGS["proximity"], "cats sleep", text)

    assert explanation.best_span == (0, len(text))
    assert "lr-passage" not in explanation.to_html()
    assert "in a row" not in explanation.to_html()


class Pieces(FakeEncoder):
    """Its tokens are single letters, as a vocabulary's pieces within words."""

    def tokens(self, text, kind):
        return [(letter, i, i + 1) for i, letter in enumerate(text) if letter.isalpha()]

    def _encode(self, texts):
        return super()._encode([" ".join(letter for letter in text if letter.isalpha()) for text in texts])


def test_a_window_that_begins_within_a_word_is_marked_from_the_words_beginning():
    text = "abcde fghij klmno pqrst"
    explanation = explain(Reranker(Pieces(), scoring=Scoring("six", (6,))), "ij", text)

    window = explanation.windows[0]
    assert text[window.start : window.end] == "ghij kl"
    assert text[slice(*explanation.best_span)] == "fghij klmno"
    assert Read(explanation.to_html()).text["lr-passage"].startswith("fghij klmno")


@given(QUERIES, TEXTS)
@example("b", "\u0130\u0130 b")  # its lower case has two code points
def test_places_are_code_points_of_the_text_as_given(query, text):
    explanation = explain(RERANKER, query, text)

    for match in explanation.matches:
        token = explanation.document_tokens[match.document_token]
        assert (match.start, match.end) == (token.start, token.end)
        assert token.token in text[match.start : match.end].lower()
        assert match.similarity == explanation.similarity[match.query_token].max()
    for word in explanation.document_words:
        assert word.text == text[word.start : word.end]
    for match in explanation.words:
        assert match.word.text == query[match.word.start : match.word.end]


@given(QUERIES, TEXTS)
def test_spans_are_in_order_and_apart(query, text):
    spans = explain(RERANKER, query, text).spans

    assert all(span.start < span.end <= len(text) for span in spans)
    assert all(left.end <= right.start for left, right in pairwise(spans))


@given(QUERIES, TEXTS)
@example("a <b onclick='c'>", "<script>a</script> &lt; </style> <b>")
@example('" autofocus onfocus="a', "a &amp; \"b\" 'c'")
def test_a_page_shows_the_text_as_it_is_and_nothing_of_it_is_markup(query, text):
    html = explain(RERANKER, query, text).to_html()
    read = Read(html.encode("utf-8").decode("utf-8"))

    assert set(read.tags) <= PAGE_TAGS
    assert read.text.get("lr-document", "") == shown(text)
    assert read.text.get("lr-query", "") == shown(query)


@given(QUERIES, TEXTS)
def test_a_dict_is_json(query, text):
    explanation = explain(RERANKER, query, text)
    again = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))

    assert again["score"] == explanation.score
    assert [len(row) for row in again["similarity"]] == [len(explanation.document_tokens)] * len(explanation.query_tokens)
    assert "similarity" not in explanation.to_dict(similarity=False)


def test_each_word_of_the_query_has_its_best_match_and_its_place():
    text = "🙂 The cafe\u0301, שלום: penguins swim. Penguins!"
    explanation = explain(RERANKER, "do PENGUINS swim?", text)

    assert [(match.word.text, match.matched) for match in explanation.words] == [
        ("do", "not at all"),
        ("PENGUINS", "well"),
        ("swim", "well"),
    ]
    assert explanation.unmatched == ["do"]
    assert [(text[span.start : span.end], span.words) for span in explanation.spans] == [("penguins", (2,)), ("swim", (3,))]
    assert explanation.words[1].place.start == text.index("penguins")
    assert explanation.words[1].contribution == pytest.approx(1)


def test_a_word_that_matches_several_of_the_query_is_one_span():
    spans = explain(RERANKER, "swim and swim", "they swim").spans

    assert [(span.start, span.end, span.words) for span in spans] == [(5, 9, (1, 3))]


@pytest.mark.parametrize("text", ["", " \n", "!?"])
def test_a_document_without_tokens_matches_nothing_and_says_so(text):
    explanation = explain(RERANKER, "what is this", text)

    assert explanation.score == NO_TOKENS_SCORE
    assert explanation.matches == ()
    assert explanation.spans == []
    assert explanation.unmatched == ["what", "is", "this"]
    assert "the document is blank" in explanation.to_html()


def test_what_was_cut_is_faint():
    explanation = explain(Reranker(FakeEncoder(max_words=2)), "two", "one two three four")

    assert (explanation.document_truncated, explanation.query_truncated) == (True, False)
    assert '<span class="lr-cut"> three four</span>' in explanation.to_html()
    assert explain(Reranker(FakeEncoder(max_words=2)), "one two three", "one two").query_truncated


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="query is ' '"):
        explain(RERANKER, " ", "text")
    with pytest.raises(TypeError, match="text must be a str, a Picture, a Candidate or a RankedDocument, got bytes"):
        explain(RERANKER, "query", b"text")
    with pytest.raises(TypeError, match="query must be a str, got int"):
        explain(RERANKER, 1, "text")


def test_a_candidate_and_a_ranked_document_are_explained_by_their_text():
    ranked = RERANKER.rerank("cats sleep", [Candidate("cats sleep", image="nowhere.png")])[0]
    expected = explain(RERANKER, "cats sleep", "cats sleep").to_dict()

    assert explain(RERANKER, "cats sleep", ranked).to_dict() == expected
    assert explain(RERANKER, "cats sleep", Candidate("cats sleep")).to_dict() == expected


class Untold(FakeEncoder):
    tokens = None


def test_an_encoder_without_tokens_is_told_what_it_lacks():
    with pytest.raises(IncompatibleError, match=r"Untold can't be explained: it has no method tokens\(text, kind\)"):
        explain(Reranker(Untold()), "query", "text")


def test_tokens_that_are_not_one_a_vector_are_refused(monkeypatch):
    monkeypatch.setattr(FakeEncoder, "tokens", lambda self, text, kind: [("all", 0, len(text))])

    with pytest.raises(IncompatibleError, match="names 1 tokens of a query that has 2 vectors"):
        explain(RERANKER, "two words", "text")


def test_nan_is_refused(monkeypatch):
    monkeypatch.setattr(FakeEncoder, "_vectors", lambda self, found: np.full((len(found), self.dim), np.nan, np.float32))

    with pytest.raises(ValueError, match="NaN"):
        explain(RERANKER, "query", "text")


def test_the_store_is_neither_read_nor_written():
    reranker = Reranker(FakeEncoder())
    explain(reranker, "query", "text")

    assert reranker.stats()["n_documents"] == reranker.stats()["misses"] == 0


def test_pieces_of_a_vocabulary_are_joined_to_words():
    text = "re-ranking cafe\u0301s 日本"
    pieces = [("[CLS]", 0, 0), ("re", 0, 2), ("-", 2, 3), ("rank", 3, 7), ("##ing", 7, 10), ("cafe", 11, 15), ("##s", 16, 17)]
    found = words(text, [*pieces, ("日", 18, 19), ("本", 19, 20), ("[SEP]", 20, 20)])

    assert [word.text for word in found] == ["re", "-", "ranking", "cafe\u0301s", "日", "本"]
    assert [word.tokens for word in found] == [(1,), (2,), (3, 4), (5, 6), (7,), (8,)]
    assert [word.is_spoken for word in found] == [True, False, True, True, True, True]


def test_where_a_vocabulary_has_pieces_of_words_without_spaces_they_are_joined():
    assert [word.text for word in words("東京", [("東", 0, 1), ("##京", 1, 2)])] == ["東京"]


def test_several_tokens_of_one_emoji_are_one_word():
    found = words("a 🙂!", [("a", 0, 1), ("x", 2, 3), ("y", 2, 3), ("z", 2, 3), ("!", 3, 4)])

    assert [(word.text, word.tokens) for word in found] == [("a", (0,)), ("🙂", (1, 2, 3)), ("!", (4,))]
    assert found[1].is_spoken


def test_words_with_marks_are_whole_for_tokenizers_that_leave_marks_out():
    """The built-in model's tokens of the words as reported: without marks, and apart where those stood."""
    for text, tokens, expected in [
        ("हिन्दी भाषा", [("ह", 0, 1), ("##न", 2, 3), ("##द", 4, 5), ("भ", 7, 8), ("##ाषा", 8, 11)], ["हिन्दी", "भाषा"]),
        ("दिल्ली में", [("द", 0, 1), ("##ल", 2, 3), ("ली", 4, 6), ("म", 7, 8)], ["दिल्ली", "में"]),
        ("الْقُرْآنُ", [("ا", 0, 1), ("##ل", 1, 2), ("##ق", 3, 4), ("##ر", 5, 6), ("##ا", 7, 8), ("##ن", 8, 9)], ["الْقُرْآنُ"]),
        ("סֵפֶר", [("ס", 0, 1), ("##פ", 2, 3), ("##ר", 4, 5)], ["סֵפֶר"]),
        (
            "a👍🏽🇩🇪🇫🇷",
            [("a", 0, 1), ("x", 1, 2), ("y", 2, 3), ("z", 3, 4), ("z", 4, 5), ("z", 5, 6)],
            ["a", "👍🏽", "🇩🇪", "🇫🇷"],
        ),
        ("น้ำดี", [("น", 0, 1), ("้", 1, 2), ("ำ", 2, 3), ("ดี", 3, 5)], ["น้ำ", "ดี"]),
        (
            "snake_case don't",
            [("snake", 0, 5), ("_", 5, 6), ("case", 6, 10), ("don", 11, 14), ("'t", 14, 16)],
            ["snake_case", "don", "'t"],
        ),
    ]:
        assert [word.text for word in words(text, tokens)] == expected


@given(TEXTS, st.data())
def test_words_begin_and_end_where_characters_do_whatever_the_tokens(text, data):
    bounds = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    found = words(text, [("x", start, end) for start, end in pairwise(bounds)])

    assert {place for word in found for place in (word.start, word.end)} <= {0, *character_ends(text)}
    assert all(left.end <= right.start for left, right in pairwise(found))
    assert all(word.text == text[word.start : word.end] for word in found)
    assert [i for word in found for i in word.tokens] == [i for i, (start, end) in enumerate(pairwise(bounds)) if start < end]


def test_control_characters_are_shown_as_pictures():
    assert shown("a\r\nb\rc\x00\x1b[31m\x9b\ud800\t\x7f") == "a\nb\nc␀␛[31m\ufffd\ufffd\t␡"


def test_what_is_about_a_word_is_cut_between_words():
    assert around("one two three four five six", 8, 13, 6) == ("… two ", "three", " four …")
    assert around("one two", 4, 7, 10) == ("one ", "two", "")


def test_what_is_about_a_word_is_cut_between_characters_where_there_are_no_words():
    assert around("ที่นี่มีน้ำดื่ม", 8, 11, 4) == ("… มี", "น้ำ", "ดื่ม")
    assert around("aน้ำดื่ม", 0, 1, 4) == ("", "a", "น้ำ …")
    assert around("🇩🇪🇫🇷x👍🏽👍🏽", 4, 5, 3) == ("… 🇫🇷", "x", "👍🏽 …")
    assert [around("हिन्दीx", 6, 7, width)[0] for width in (3, 4, 6)] == ["… ", "… न्दी", "हिन्दी"]


@pytest.mark.parametrize("word", ["שלום", "حرية", "𞤀𞤣𞤤𞤢𞤥", "𐡀𐡁", "\U0001ee00"])
def test_a_word_from_right_to_left_is_kept_apart_within_a_line(word):
    assert within_a_line(word) == f"\u2068{word}\u2069"
    assert within_a_line("cat") == "cat"


def test_two_explanations_on_one_page_have_their_own_names():
    first, second = (explain(RERANKER, query, "some text")._repr_html_() for query in ("some", "text"))

    assert first.split('id="')[1].split('"')[0] != second.split('id="')[1].split('"')[0]
    assert "<html" not in first


def test_an_explanation_is_printed_short():
    explanation = explain(RERANKER, "cats sleep " * 20, "A cat sleeps. " * 500)
    assert repr(explanation).startswith("Explanation(score=")
    assert "words={cats: " in repr(explanation)
    assert "... 28 more" in repr(explanation)
    assert len(repr(explanation)) < 300
    assert repr(explain(RERANKER, "cats", "cats")) == "Explanation(score=1.0000, words={cats: 1.00})"
