"""Both orders side by side, and what the ranking took."""

import re
from uuid import uuid4

import pytest
from browsers import DOCUMENTS, QUERY

from late_rerank import Reranker
from late_rerank.serve.limits import Limits
from late_rerank.testing.fakes import FakeEncoder


def expected():
    return [(d.text, f"{d.relevance:.3f}", d.index - d.rank + 1) for d in Reranker(FakeEncoder()).rerank(QUERY, DOCUMENTS)]


def test_both_orders_stand_side_by_side_with_movement_and_relevance(opened):
    page = opened()
    page.driver.set_window_size(1200, 900)
    page.ranked()
    words = {True: "\u2191 up", False: "\u2193 down"}
    moved = [f"{words[by > 0]} {abs(by)}" if by else "= same" for _, _, by in expected()]

    assert page.whole_texts("#before .text") == DOCUMENTS
    assert page.texts("#after .text") == [text for text, _, _ in expected()]
    assert page.texts("#after .moved") == moved
    assert {text.split()[1] for text in moved} == {"up", "down", "same"}
    assert [text.split()[-1] for text in page.texts("#after .relevance")] == [relevance for _, relevance, _ in expected()]
    shares = page.run("return [...document.querySelectorAll('#after .bar')].map(b => b.firstChild.offsetWidth / b.offsetWidth)")
    assert shares == pytest.approx([float(relevance) for _, relevance, _ in expected()], abs=0.02)
    assert page.find(".before").rect["x"] + page.find(".before").rect["width"] < page.find(".after").rect["x"]
    assert page.find(".before").rect["y"] == page.find(".after").rect["y"]


def test_it_tells_what_the_ranking_took(opened):
    page = opened()
    fresh = [f"{text} {uuid4()}" for text in DOCUMENTS]
    page.ranked(documents=fresh[:1])
    page.ranked(documents=fresh)

    assert "1 hit, 3 misses" in page.find(".facts").text
    rows = [" ".join(row.split()) for row in page.texts("#timings tr")]
    assert all(re.search(r"\d (ms|s)$", row) for row in rows), rows
    named = [re.sub(r" (under )?[\d.]+ m?s$", "", row) for row in rows]
    assert named == [
        "Question encoded",
        "Stored vectors fetched",
        "New passages encoded",
        "Late interaction",
        "Waiting",
        "Total",
    ]
    assert not page.find("#degraded").is_displayed()


def test_results_are_told_to_screen_readers_and_the_focus_stays(opened):
    page = opened()
    page.ranked()

    assert page.find("#status").get_attribute("role") == "status"
    said = page.find("#status").get_property("textContent")
    assert said.startswith("4 passages ranked in ")
    assert said.endswith(f"for \u201c{QUERY}\u201d. First is passage 4, up 3.")
    assert page.focused.get_attribute("id") == "rank"


def test_a_long_text_is_shortened_until_all_of_it_is_asked_for(opened):
    page = opened()
    text = "cats sleep " + "\U0001f642" * 1000
    page.ranked(documents=[text, "short"])
    short = page.texts("#after .text")[0]
    whole = page.find("#after .actions button[aria-expanded]:not([aria-controls])")
    whole.click()

    assert len(short) < 410
    assert short.endswith("\U0001f642 \u2026")
    assert page.texts("#after .text")[0] == text
    assert whole.get_attribute("aria-expanded") == "true"


TELLS_A_PASSAGE = """
const [index, span] = arguments, real = window.fetch;
window.fetch = async (path, options) => {
  const answer = await real(path, options);
  if (path !== "rerank") return answer;
  const body = await answer.json();
  for (const result of body.results) if (result.index === index) result.best_span = span;
  return new Response(JSON.stringify(body), answer);
};
"""


@pytest.mark.parametrize("seen", ["light", "dark"])
def test_the_best_passage_is_marked_where_the_server_tells_it(opened, seen):
    page = opened(seen=seen)
    passage = "cats sleep all day"
    smiles = "\U0001f642" * 500
    text = f"{smiles} rivers run. {passage} and rivers run. {smiles}"
    start = text.index(passage)  # in code points
    page.run(TELLS_A_PASSAGE, 0, [start, start + len(passage)])
    page.ranked(documents=[text, "rivers run to the sea"])
    mark = page.find("#after .text mark")
    short = mark.find_element("xpath", "..").text

    assert (mark.text, len(page.all("mark"))) == (passage, 1)
    assert short.startswith(f"… {passage} and rivers run. \U0001f642")
    assert short.endswith("\U0001f642 …")
    assert [each["contrast"] for each in page.contrasts("#after mark") if each["contrast"] < 4.5] == []
    page.find("#after .actions button[aria-expanded]:not([aria-controls])").click()
    assert page.find("#after .text mark").text == passage
    assert text in page.whole_texts("#after .text")


def test_the_best_passage_of_a_real_answer_is_marked(opened, served):
    page = opened(served(Reranker(FakeEncoder(), scoring="proximity")))
    words = [f"word{i}" for i in range(600)]
    page.ranked("cats sleep", [" ".join([*words[:400], "cats", "sleep", *words[400:]]), "rivers run to the sea"])
    (mark,) = page.all("#after .text mark")

    assert "cats sleep" in mark.text
    assert len(mark.text.split()) <= 144


@pytest.mark.parametrize("span", [None, "0", [0], [5, 2], ["a", "b"], [0, 18], [0, 1000]])
def test_a_passage_that_is_the_whole_text_or_none_is_not_marked(opened, span):
    page = opened()
    page.run(TELLS_A_PASSAGE, 0, span)
    page.ranked(documents=["cats sleep all day", "rivers run to the sea"])

    assert "cats sleep all day" in page.texts("#after .text")
    assert page.all("mark") == []


def test_a_long_list_is_shown_in_pieces(opened):
    page = opened()
    page.ranked(documents=[f"cats {i}" for i in range(120)])
    assert (len(page.all("#before > li")), len(page.all("#after > li"))) == (50, 50)
    more = page.find(".after > .more")
    assert more.text == "Show 70 more"
    more.click()

    assert len(page.all("#after > li")) == 120
    assert page.focused == page.all("#after > li")[50]
    page.ranked()
    assert page.all(".more") == []


def test_an_answer_in_part_is_said_to_be_one(opened, served, gate):
    """Twelve are ranked: five are stored, and the encoding of seven waits at the gate beyond the deadline."""
    documents = [f"cats {i}" for i in range(12)]
    reranker = Reranker(FakeEncoder(before_document=lambda texts: documents[0] in texts or gate()))
    reranker.index(documents[:5])
    page = opened(served(reranker, limits=Limits(deadline_s=0.2)))
    page.ranked(documents=documents)

    assert page.find("#degraded").is_displayed()
    assert "7 passages weren't scored" in page.find("#degraded").text
    assert page.texts("#after .relevance").count("not scored") == 7
