"""Texts of many scripts in a real browser: direction, language, whole characters and whole words."""

import json

import pytest
from browsers import Page, as_seen_in

from late_rerank import Reranker, explain
from late_rerank.testing.fakes import FakeEncoder

ARABIC = "لكل شخص الحق في حرية الرأي والتعبير. المادة 19"
HEBREW = "כל אדם זכאי לחירות הדעה והביטוי"
JAPANESE = "すべて人は、意見及び表現の自由に対する権利を有する。"
CHINESE = "人人有权享有主张和发表意见的自由。"
KOREAN = "모든 사람은 의견의 자유와 표현의 자유를 가진다."
THAI = "ทุกคนมีสิทธิในอิสรภาพแห่งความเห็นและการแสดงออก " * 12
HINDI = "प्रत्येक व्यक्ति को विचार और अभिव्यक्ति की स्वतन्त्रता का अधिकार है।"
MIXED = f"{HINDI} {THAI[:47]} 👩\u200d👩\u200d👧 🇩🇪🇫🇷 👍🏽 cafe\u0301 क्षत्रिय น้ำ {JAPANESE} が\u3099 {ARABIC}"
# Where an element's letters begin and end, in the text of the box around it; and where characters end there.
EDGES = """
const box = document.querySelector(arguments[0]);
const range = document.createRange();
const lengthTo = (node, offset) => { range.setStart(box, 0); range.setEnd(node, offset); return range.toString().length; };
const edges = [...box.querySelectorAll(arguments[1])].flatMap(e => [lengthTo(e, 0), lengthTo(e, e.childNodes.length)]);
const ends = [0, ...Array.from(new Intl.Segmenter().segment(box.textContent), s => s.index + s.segment.length)];
return [edges, edges.filter(edge => !ends.includes(edge))];
"""
# Where the first and the last letter of an element of one line stand, from the left.
PLACES = """
const walker = document.createTreeWalker(arguments[0], NodeFilter.SHOW_TEXT), nodes = [], range = document.createRange();
while (walker.nextNode()) nodes.push(walker.currentNode);
const leftOf = (node, i) => { range.setStart(node, i); range.setEnd(node, i + 1); return range.getBoundingClientRect().left; };
return [leftOf(nodes[0], 0), leftOf(nodes.at(-1), nodes.at(-1).length - 1)];
"""
WORD_ENDS = """
const words = new Intl.Segmenter(undefined, {granularity: 'word'}).segment(arguments[0]);
return Array.from(words, word => word.index + word.segment.length);
"""

# As a browser that goes back does: before the page's scripts run.
FILLED_IN = """
document.addEventListener('readystatechange', () => {{
  if (document.readyState === 'interactive') document.getElementById('passages').value = {};
}});
"""


@pytest.fixture
def explained(browser, tmp_path):
    def opens(query, text, model):
        path = tmp_path / "page.html"
        path.write_text(explain(model, query, text).to_html(), encoding="utf-8")
        as_seen_in(browser, "light")
        browser.get(path.as_uri())
        return Page(browser)

    return opens


@pytest.fixture(scope="module")
def minilm():
    with Reranker() as reranker:
        yield reranker


@pytest.mark.filterwarnings("ignore:minilm knows")  # it has no Thai; where marks stand is the point
@pytest.mark.parametrize(
    "query",
    ["विचार और स्वतन्त्रता", "การแสดงออก น้ำ", "表現の自由 が\u3099", "family 👩\u200d👩\u200d👧 🇩🇪 👍🏽 cafe\u0301", "حرية الرأي"],
)
def test_marks_begin_and_end_where_characters_do(explained, minilm, query):
    page = explained(query, MIXED, minilm)
    edges, within = page.run(EDGES, ".lr-document", "mark, .lr-passage")
    assert edges
    assert within == []
    assert page.run(EDGES, ".lr-query", ".lr-word")[1] == []


@pytest.mark.parametrize("text", [ARABIC, HEBREW])
def test_an_explanation_of_a_text_from_right_to_left_reads_so(explained, text):
    page = explained(text[:20], text, Reranker(FakeEncoder()))
    for selector in (".lr-query", ".lr-document", ".lr-words td bdi"):
        first, last = page.run(PLACES, page.find(selector))
        assert first > last
        assert page.run("return getComputedStyle(arguments[0]).direction", page.find(selector)) == "rtl"
    assert page.run("return getComputedStyle(document.querySelector('h1')).direction") == "ltr"


def test_a_page_in_english_claims_english_of_no_document(explained):
    for text, language in ((JAPANESE, "ja"), (KOREAN, "ko"), (CHINESE, ""), (ARABIC, ""), ("Cats sleep.", "")):
        page = explained(text[:6], text, Reranker(FakeEncoder()))
        assert page.find(".lr-document").get_attribute("lang") == page.find(".lr-query").get_attribute("lang") == language
    page = explained("表現", JAPANESE, Reranker(FakeEncoder()))
    assert page.find(".lr-query").get_attribute("lang") == "ja"


def test_the_playground_reads_from_right_to_left_where_the_text_does(opened):
    page = opened()
    page.ranked("حرية الرأي", [ARABIC, HEBREW, "freedom of opinion"])
    page.packed(200)

    direction = "return getComputedStyle(arguments[0]).direction"
    texts = {text.get_property("textContent"): text for text in page.all("#after .text")}
    assert [page.run(direction, texts[text]) for text in (ARABIC, HEBREW, "freedom of opinion")] == ["rtl", "rtl", "ltr"]
    first, last = page.run(PLACES, texts[ARABIC])
    assert first > last
    assert [page.run(direction, page.find(field)) for field in ("#query", "#passages")] == ["rtl", "rtl"]
    assert "\u201c\u2068حرية الرأي\u2069\u201d" in page.find("#results-summary").get_property("textContent")
    assert page.run("return getComputedStyle(arguments[0]).unicodeBidi", page.find("#context-text")) == "plaintext"
    page.ranked("𞤀𞤣𞤤𞤢𞤥", [ARABIC])  # Adlam, beyond the first 65,536 characters
    assert "\u201c\u2068𞤀𞤣𞤤𞤢𞤥\u2069\u201d" in page.find("#results-summary").get_property("textContent")


def test_the_playground_tells_a_language_only_where_letters_prove_it(opened):
    page = opened()
    page.ranked("意見", [JAPANESE, KOREAN, CHINESE, "opinions"])
    languages = {
        text.get_property("textContent"): text.get_attribute("lang") for text in page.all("#after .text, #before .text")
    }
    assert languages == {JAPANESE: "ja", KOREAN: "ko", CHINESE: "", "opinions": ""}
    page.write("#query", "カード")
    assert page.find("#query").get_attribute("lang") == "ja"


def test_the_language_of_what_the_browser_fills_in_is_told_too(opened):
    page = opened()
    fills = FILLED_IN.format(json.dumps(JAPANESE))
    script = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": fills})
    try:
        page.driver.refresh()
        page.wait(lambda: page.find("#server").text)
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert page.find("#passages").get_property("value") == JAPANESE
    assert page.find("#passages").get_attribute("lang") == "ja"


@pytest.mark.parametrize("text", [THAI, CHINESE * 40, "freedom of opinion " * 30, ARABIC * 12])
def test_a_long_text_is_cut_after_a_word(opened, served, text):
    page = opened(served(Reranker(FakeEncoder(), scoring="maxsim")))  # without a best passage, where the short text would begin
    page.ranked("opinion", [text, "rivers"])
    short = next(each for each in page.whole_texts("#after .text") if each.endswith(" …")).removesuffix(" …")
    ends = page.run(WORD_ENDS, text)
    assert text.startswith(short)
    assert len(short) > 350
    assert len(short) in ends


def test_pieces_of_words_that_nothing_matches_are_shown_as_words(opened, served, minilm):
    page = opened(served(minilm))
    page.ranked("zymurgical حرية", ["Rivers run to the sea.", "Bread rises."])
    page.packed(100)
    said = next(text for text in page.texts("#packed .hint") if text.startswith(("Not matched", "Every word")))
    assert "##" not in said
