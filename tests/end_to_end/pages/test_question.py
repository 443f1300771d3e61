"""The form: an example, the question, passages as they are typed, and the keyboard."""

import pytest
from browsers import DOCUMENTS, QUERY


def test_a_newcomer_finds_an_example_and_can_rank_it_at_once(opened):
    page = opened()
    n = len(page.find("#passages").get_property("value").split("\n\n"))
    page.find("#rank").click()
    page.wait_for_ranking()

    assert 6 <= n <= 8
    assert len(page.all("#before > li")) == len(page.all("#after > li")) == n
    assert page.find("#passages-hint").text == f"{n} passages, with blank lines between"


def test_one_passage_a_line_where_that_is_chosen(opened):
    page = opened()
    page.choose("split", "line")
    page.ranked(documents=["one\ntwo\n\n  \nthree cats"])

    assert page.texts("#after .text")[0] == "three cats"
    assert page.whole_texts("#before .text") == ["one", "two", "three cats"]


@pytest.mark.parametrize(
    ("query", "documents", "words", "field"),
    [("  ", DOCUMENTS, "Type at least one word", "query"), (QUERY, [" ", ""], "at least one passage", "rank")],
)
def test_what_is_missing_is_told(opened, query, documents, words, field):
    page = opened()
    page.rank(query, documents)
    page.alert(words)

    assert page.find("#alert").get_attribute("role") == "alert"
    assert page.focused.get_attribute("id") == field
    page.find("#alert button").click()
    assert page.find("#alert").text == ""
    assert page.focused.get_attribute("id") == field


def test_everything_can_be_done_with_the_keyboard(opened):
    page = opened()
    passed = []
    while "rank" not in passed:
        page.press("TAB")
        focused = page.focused
        assert focused.value_of_css_property("outline-style") in ("solid", "auto"), focused.tag_name
        passed.append(focused.get_attribute("id") or focused.get_attribute("name") or focused.text)
        assert len(passed) < 20
    page.press("ENTER")
    page.wait_for_ranking()
    page.press("TAB", "SPACE")
    page.wait(lambda: page.all("#after iframe"))

    order = ["Skip to the question", "Playground", "API", "query", "source", "split", "passages", "rank"]
    assert [each for each in passed if each in order] == order
    assert page.focused.text.startswith("Why?")


@pytest.mark.parametrize("key", ["CONTROL", "META"])
@pytest.mark.parametrize("field", ["#passages", "#budget", "body"])
def test_control_enter_ranks_wherever_one_is(opened, key, field):
    page = opened()
    page.ranked()
    page.write("#passages", "cats\n\nsleep\n\ndogs")
    page.run("document.activeElement.blur()")  # Enter on the button that was clicked would rank as well
    if field != "body":
        page.find(field).click()
    page.press("ENTER", holding=key)

    page.wait(lambda: len(page.all("#after > li")) == 3)
    assert page.find("#passages").get_property("value") == "cats\n\nsleep\n\ndogs"


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "begun"])
def test_only_the_latest_question_is_answered(opened, is_read):
    page = opened()
    page.hold_answer("first question", is_read=is_read)
    page.rank("first question", [f"first {i}" for i in range(8)])
    page.wait_until_held()
    page.rank("second question", ["second"])
    page.wait(lambda: page.texts("#after .text") == ["second"])
    page.let_go()
    assert page.texts("#after .text") == ["second"]
    assert page.find("#alert").text == ""
