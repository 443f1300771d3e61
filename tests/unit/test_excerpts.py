# ruff: noqa: RUF001 - letters of other scripts are what is tested

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from late_rerank import Candidate, Reranker, explain
from late_rerank.cli import demo, main
from late_rerank.cli.excerpts import Mark, MarkedText, excerpt, marked_text, styled
from late_rerank.cli.terminal import shown_console
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.text.words import character_ends

RERANKER = Reranker(FakeEncoder())
PLAIN = Console(file=io.StringIO(), color_system=None, width=80)
COLOURED = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)

LONG = (
    "Rivers run to the sea. Dogs bark at night. Bread keeps for a week in a jar of stone, or longer.\n\n"
    "   A kitten sleeps on\n  the warm stove, and nobody wakes her. " + "Bread rises. " * 20
)


def marked(query, text):
    return marked_text(explain(RERANKER, query, text))


def lines(query, text, *, width=40, n_lines=2, console=PLAIN):
    return [line.plain for line in excerpt(console, marked(query, text), width=width, n_lines=n_lines)]


def test_the_sentence_with_most_matches_is_shown_and_its_words_are_marked():
    assert lines("where the kitten sleeps at night", LONG) == [
        "… A [kitten] [sleeps] on the warm stove,",
        "and nobody wakes her. Bread rises. …",
    ]


def test_control_characters_are_shown_as_pictures():
    assert lines("cat", "\x1b[2J a cat\x07") == ["␛[2J a [cat]␇"]


def test_a_text_that_fits_is_shown_whole():
    assert lines("the sea", "Rivers run\n   to the sea. ") == ["Rivers run to the [sea]."]


def test_a_text_without_a_match_is_shown_from_its_beginning():
    assert lines("quantum", LONG, n_lines=1) == ["Rivers run to the sea. Dogs bark at …"]


def test_a_match_far_into_a_sentence_is_shown():
    shown = lines("kitten", "word " * 60 + "kitten " + "word " * 60)
    assert "[kitten]" in " ".join(shown)
    assert (shown[0][0], shown[-1][-1]) == ("…", "…")


def test_stop_words_of_the_query_are_not_marked():
    assert lines("the cat of the house", "the end of the cat") == ["the end of the [cat]"]


def test_a_blank_text_has_no_lines():
    assert lines("cat", " \n\t ") == []


def test_a_console_with_styles_shows_the_text_as_it_is():
    (line,) = excerpt(COLOURED, marked("a cat", "The cat sleeps."), width=40, n_lines=1)
    assert line.plain == "The cat sleeps."
    assert [(line.plain[span.start : span.end], span.style) for span in line.spans] == [("cat", "bold green")]


def test_marks_keep_their_style_in_a_dim_excerpt():
    (line,) = excerpt(COLOURED, marked("kitten", LONG), width=40, n_lines=1, style="dim")
    styles = {line.plain[span.start : span.end]: span.style for span in line.spans}
    assert (line.style, styles["… "], styles["A "], styles["kitten"]) == ("", "dim", "dim", "bold green")


def test_a_text_is_split_between_its_marks():
    text = MarkedText("red green blue", (Mark(0, 3, "well", 1.0), Mark(4, 9, "weakly", 0.5), Mark(10, 14, "well", 1.0)))
    assert text.split(6) == (
        MarkedText("red gr", (Mark(0, 3, "well", 1.0),)),
        MarkedText("een blue", (Mark(4, 8, "well", 1.0),)),
    )


CHINESE = "图书馆每天上午九点开门，晚上八点关门。" * 6 + "猫睡在温暖的炉子上，没有人叫醒它。" + "面包在发酵。" * 20


def test_a_chinese_match_is_shown_in_lines_that_are_full():
    marks = tuple(Mark(at, at + 1, "well", 1.0) for at, letter in enumerate(CHINESE) if letter == "猫")
    shown = [line.plain for line in excerpt(PLAIN, MarkedText(CHINESE, marks), width=40, n_lines=2)]
    assert shown == ["… [猫]睡在温暖的炉子上，没有人叫醒它。面", "包在发酵。面包在发酵。面包在发酵。面包 …"]


def test_a_match_far_into_a_text_without_spaces_is_shown():
    text = "面" * 300 + "猫" + "面" * 300
    shown = [line.plain for line in excerpt(PLAIN, MarkedText(text, (Mark(300, 301, "well", 1.0),)), width=40, n_lines=2)]
    assert "[猫]" in "".join(shown)
    assert (shown[0][:2], shown[-1][-2:]) == ("… ", " …")


def test_no_line_begins_with_a_closing_mark_or_within_a_character():
    for text in ("面包。" * 40, "น้ำดื่มที่นี่" * 20, "👩\u200d👩\u200d👧🇩🇪👍🏽" * 20):
        shown = [line.plain for line in excerpt(PLAIN, MarkedText(text, ()), width=11, n_lines=3)]
        assert len(shown) == 3
        assert not any(line.startswith("。") for line in shown)
        ends = [0, *character_ends(text)]
        reached = 0
        for line in shown:
            reached += len(line.removesuffix(" …"))
            assert reached in ends


@given(st.text("a 日\n\t。", max_size=60))
def test_a_place_stays_at_its_character_when_lines_are_joined(text):
    marks = tuple(Mark(at, at + 1, "well", 1.0) for at, letter in enumerate(text) if not letter.isspace())
    joined = MarkedText(text, marks).on_a_line()
    assert "".join(joined.text[mark.start : mark.end] for mark in joined.marks) == "".join(text.split())


TEXTS = st.text(st.one_of(st.sampled_from("cat dog. \n\t\r\x1b\x85\u2028\u202e日本é\u0301🙂"), st.characters()), max_size=200)


@given(TEXTS, st.integers(10, 60), st.integers(1, 3))
def test_an_excerpt_of_any_text_fits_and_has_nothing_that_a_terminal_obeys(text, width, n_lines):
    shown = lines("cat dog", text, width=width, n_lines=n_lines)
    assert len(shown) <= n_lines
    assert [line for line in shown if cell_len(line) > width] == []
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "".join(shown))


@given(TEXTS)
def test_marks_stay_on_their_words_when_lines_are_joined(text):
    given = marked("cat dog", text)
    joined = given.on_a_line()
    words = [[MarkedText(*one).text[mark.start : mark.end] for mark in one.marks] for one in (given, joined)]
    assert words[0] == words[1]
    assert styled(COLOURED, joined).plain == styled(COLOURED, MarkedText(joined.text, ())).plain


# The demo with a small corpus and a fake model: which passages are best is the model's business, and tested with it.
CORPUS = [
    ("shop.window", "Stop, program! Long, too long, a program takes. " * 3),
    (
        "process.run_until_a_time_that_is_given_beforehand",
        "If it takes too long, stop the program. " + "Bread rises slowly. " * 80,
    ),
    ("web.page", "Escape text for a web page."),
    *((f"other.{i}", f"Escape text for page {i}, sort a list, copy a folder or keep a queue.") for i in range(60)),
]


@pytest.fixture
def small(monkeypatch):
    fake = FakeEncoder()
    fake.name = "fake"
    documents = [Candidate(f"{name}: {text}", name) for name, text in CORPUS]
    monkeypatch.setattr("late_rerank.corpus.standard_library.read_standard_library", lambda: documents)
    monkeypatch.setattr("late_rerank.encode.text.TextEncoder", lambda *_, **__: fake)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_demo_fits_the_terminal(width, small, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    shown = out.splitlines()

    assert err == ""
    assert [line for line in shown if len(line.rstrip()) > min(width, 100)] == []
    assert len(shown) <= (40 if width >= 80 else 60)
    assert [line for line in shown if line in demo.QUESTIONS] == (
        [*demo.QUESTIONS] if width >= 80 else [demo.QUESTIONS[1], *demo.QUESTIONS[3:4]]
    )
    assert "[takes] [too] [long]" in " ".join(out.split())
    assert "--store vectors" in " ".join(out.split())


def test_the_demo_says_where_bm25_had_the_best_passage(small, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main(["demo"])
    answers = capsys.readouterr().out.split("\n\n")[1:6]

    assert "\n  reranked  process.run_until_a_time_that_is_given_beforehand  was 2\n" in answers[1]
    assert "\n  BM25      shop.window: " in answers[1]


def test_the_demo_shows_a_passage_once_that_is_first_before_and_after(small, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main(["demo"])
    answers = capsys.readouterr().out.split("\n\n")[1:6]

    assert [answer.count("BM25") for answer in answers if "BM25's first too" in answer] == [1]
    assert "web.page  BM25's first too" in answers[3].replace("[", "").replace("]", "")


def test_the_demo_prints_json_and_nothing_else(small, capsys):
    assert main(["demo", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)

    assert err == ""
    assert set(found) == {"n_documents", "kernel", "questions", "store"}
    assert [asked["query"] for asked in found["questions"]] == list(demo.QUESTIONS)
    assert [asked["again"]["store"] for asked in found["questions"]] == [
        {"hits": asked["store"]["hits"] + asked["store"]["misses"], "misses": 0} for asked in found["questions"]
    ]
    assert found["questions"][1]["results"][0]["id"] == CORPUS[1][0]
    assert found["questions"][1]["first_stage"][0] == CORPUS[0][0]


def test_a_console_for_a_pipe_has_no_styles(capsys):
    shown_console(highlight=False).print("plain", style="bold green")
    assert capsys.readouterr().out == "plain\n"
