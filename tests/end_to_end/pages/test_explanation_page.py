"""The page of an explanation in a real browser: what it shows, and what it must not run."""

import numpy as np
import pytest
from browsers import Page, as_seen_in

from late_rerank import Reranker, explain
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.types import TokenVectors

EVIL = (
    '<script>window.ran = 1</script> <img src=x onerror="window.ran = 2"> </style></textarea></div> '
    "' onmouseover='window.ran=3' "
    '"><svg onload=window.ran=4> <a href="javascript:window.ran=5">javascript:window.ran=5</a> &lt;b&gt; &amp; <!-- ]]> {{7*7}}'
)
RIGHT_TO_LEFT = "שלום עולם, זה טקסט בעברית עם 123 בתוך HTML. مرحبا بالعالم"
EMOJI = "🙂 family 👩\u200d👩\u200d👧 flag 🇩🇪 cafe\u0301"


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the page of an explanation."""

    def opens(query, text, scheme="light", encoder=None, scoring="maxsim"):
        path = tmp_path / "page.html"
        reranker = Reranker(encoder or FakeEncoder(), scoring=scoring)
        path.write_text(explain(reranker, query, text).to_html(), encoding="utf-8")
        as_seen_in(browser, scheme)
        browser.get(path.as_uri())
        return Page(browser)

    return opens


def text_of(page, selector):
    return page.find(selector).get_property("textContent")


def test_nothing_from_the_document_or_the_query_runs(opened):
    query = "script window ran <script>window.ran = 6</script> \" onfocus='window.ran=7' onerror javascript"
    page = opened(query, EVIL)
    for element in page.all("mark, a, .lr-word"):
        page.run("arguments[0].dispatchEvent(new MouseEvent('mouseover', {bubbles: true}))", element)
        page.run("arguments[0].click()", element)

    assert page.run("return window.ran") is None
    assert page.all("script, img, svg, textarea, iframe, a[href^=javascript]") == []
    handlers = "return [...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    assert page.run(handlers) == []
    assert text_of(page, ".lr-document") == EVIL
    assert text_of(page, ".lr-query") == query
    assert page.driver.title == f"{query} \u2013 why this document"


def test_the_policy_of_the_page_would_stop_what_escaping_let_through(browser, tmp_path):
    html = explain(Reranker(FakeEncoder()), "query", "PLACEHOLDER").to_html()
    path = tmp_path / "page.html"
    path.write_text(
        html.replace("PLACEHOLDER", "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"), encoding="utf-8"
    )
    browser.get(path.as_uri())

    assert browser.find_elements("css selector", ".lr-document script") != []
    assert browser.execute_script("return window.ran") is None


@pytest.mark.parametrize("text", ["a < b & c > d &amp; \"e\" 'f'", RIGHT_TO_LEFT, EMOJI, "two\n\nparagraphs\tand  spaces"])
def test_texts_are_shown_as_they_are(opened, text):
    assert text_of(opened("html family paragraphs c 123", text), ".lr-document") == text


def test_control_characters_and_surrogates_are_shown_in_their_stead(opened):
    assert text_of(opened("a", "a\x00b\x1b[31m\r\nc\ud800"), ".lr-document") == "a␀b␛[31m\nc\ufffd"


def test_marked_words_are_the_matches_wherever_they_stand(opened):
    marks = opened("flag עולם caf\u00e9", f"🙂🙂 {RIGHT_TO_LEFT}\n{EMOJI}").all("mark")

    assert [(mark.get_property("textContent"), mark.get_attribute("data-shown")) for mark in marks] == [
        ("עולם", "2"),
        ("flag", "1"),
        ("cafe\u0301", "3"),
    ]
    assert marks[1].get_attribute("title") == "matches 1 flag; similarity 1.00"


def test_a_paragraph_from_right_to_left_is_set_from_the_right(opened):
    page = opened("עולם HTML", RIGHT_TO_LEFT)
    box, mark = (page.find(selector).rect for selector in (".lr-document", "mark"))

    assert mark["x"] > box["x"] + box["width"] / 2


def test_numbers_do_not_change_the_order_of_words_about_them(opened):
    page = opened("so שלום 🙂 now", "so שלום 🙂 now", encoder=EmojiEncoder())
    places = [word.rect["x"] for word in page.all(".lr-query .lr-word")]

    assert len(places) == 4
    assert places == sorted(places)


def test_pointing_at_a_word_shows_its_matches_without_a_script(opened):
    page = opened("flag caf\u00e9", EMOJI)
    flag, cafe = page.all("mark")
    before = flag.value_of_css_property("outline-style")
    page.point_at('[data-word="1"]')

    assert before == "none"
    assert flag.value_of_css_property("outline-style") == "solid"
    assert cafe.value_of_css_property("outline-style") == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark(opened, scheme, tmp_path):
    page = opened("strong weak middling none", "strong1 weak1 middling1 other", scheme, GradedEncoder())
    found = page.contrasts("body *")
    white = "rgb(255, 255, 255)"

    assert (page.run("return getComputedStyle(document.body).backgroundColor") == white) == (scheme == "light")
    assert {name for each in found for name in each["name"].split()} >= {"lr-4", "lr-3", "lr-2"}
    assert [each for each in found if each["contrast"] < 4.5] == []
    assert page.driver.save_screenshot(str(tmp_path / "page.png"))
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_levels_are_told_apart_without_colour(opened):
    page = opened("strong weak middling none", "strong1 weak1 middling1 other", encoder=GradedEncoder())
    lines = [
        (word.value_of_css_property("border-bottom-style"), word.value_of_css_property("border-bottom-width"))
        for word in page.all(".lr-query .lr-word")
    ]

    assert len(set(lines)) == 4
    assert all(word.get_attribute("data-shown") for word in page.all(".lr-query .lr-word, mark"))


def test_a_long_document_does_not_make_the_page_wider(opened):
    page = opened("flag", "x" * 5000 + " flag " + "word " * 5_000)

    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")


class EmojiEncoder(FakeEncoder):
    """What spaces part are tokens."""

    def tokens(self, text, kind):
        return [(word, text.find(word), text.find(word) + len(word)) for word in text.split()]

    def _encode(self, texts):
        return TokenVectors.from_arrays([self._vectors(text.split()) for text in texts], self.dim)


class GradedEncoder(FakeEncoder):
    """Words and the same with a 1 match strongly, weakly or in between."""

    def _vectors(self, words):
        turns = {"strong": 0.1, "middling": 0.8, "weak": 1.05, "none": 1.5}
        vectors = np.zeros((len(words), self.dim), np.float32)
        for row, word in zip(vectors, words, strict=True):
            name = word.rstrip("1")
            axis = 2 * [*turns, "other"].index(name)
            angle = turns.get(name, 0) if word.endswith("1") else 0
            row[axis : axis + 2] = np.cos(angle), np.sin(angle)
        return vectors


@pytest.mark.parametrize("width", [390, 1000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_best_passage_is_marked_and_found_by_its_link(opened, scheme, width):
    page = opened("do cats sleep", f"{'dogs bark. ' * 200}cats sleep. {'dogs bark. ' * 200}", scheme, scoring="proximity")
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        passage = page.find(".lr-document .lr-passage")
        page.find(".lr-to-passage").click()
        adds = [float(text) for text in page.texts(".lr-words tbody td:last-child")]
        rest, score = (float(text) for text in page.texts(".lr-words tfoot td:last-child"))

        assert page.all("#" + passage.get_attribute("id") + ":target") != []
        assert passage.get_attribute("aria-label") == "the best passage"
        assert [mark.text for mark in passage.find_elements("css selector", "mark")] == ["cats", "sleep"]
        assert passage.value_of_css_property("border-left-width") == "4px"
        assert sum(adds) + rest == pytest.approx(score, abs=0.02)
        assert [each for each in page.contrasts("body *") if each["contrast"] < 4.5] == []
        assert page.run("return document.documentElement.scrollWidth") <= width
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
