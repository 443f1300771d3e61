"""The context window of a ranking."""

import httpx
import pytest
from browsers import DOCUMENTS, QUERY


def test_a_context_is_packed_with_citations_and_its_tokens(opened):
    page = opened()
    page.ranked()
    page.packed(18)
    body = {"query": QUERY, "documents": [{"text": text, "id": str(i)} for i, text in enumerate(DOCUMENTS, 1)]}
    told = httpx.post(f"{page.driver.current_url}context", json={**body, "budget_tokens": 18}).json()

    assert page.find("#context-text").get_property("textContent") == told["text"]
    assert page.find("#context-tokens").text == f"about {told['n_tokens']} tokens of 18"
    parts = [f"[{p['number']}] passage {p['id']}, ranked {p['rank']}, {p['n_tokens']} tokens" for p in told["parts"]]
    assert [text.replace("]p", "] p") for text in page.texts("#citations li")] == parts
    assert parts[0].startswith("[1] passage 4, ranked 1")
    left = [f"passage {d['id']}, ranked {d['rank']}: {d['reason']}" for d in told["dropped"]]
    assert page.texts("#dropped li") == left != []
    share = page.run("const b = document.querySelector('.filled .bar'); return b.firstChild.offsetWidth / b.offsetWidth")
    assert share == pytest.approx(told["n_tokens"] / 18, abs=0.02)


def test_a_context_into_which_nothing_fits_says_so(opened):
    page = opened()
    page.ranked()
    page.packed(0)

    assert "Nothing fits" in page.find("#packed").text
    assert len(page.texts("#dropped li")) == len(DOCUMENTS)
    assert page.all("#citations") == []


def test_a_context_is_that_of_the_ranking_in_sight(opened):
    page = opened()
    page.ranked()
    page.packed(100)
    page.ranked("rivers")
    assert page.find("#packed").text == ""
    page.write("#query", "something else that is not ranked yet")
    page.packed(100)

    assert page.find("#context-text").text.startswith("[1] rivers")


def test_the_context_can_be_copied(opened):
    page = opened()
    page.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    page.ranked()
    page.packed(100)
    page.find(".filled button").click()
    page.wait(lambda: page.find("#status").get_property("textContent") == "The context is copied.")
    copied = page.settled("navigator.clipboard.readText()")
    assert copied == page.find("#context-text").get_property("textContent")


def test_where_the_browser_lets_no_page_copy_the_context_is_selected(opened):
    page = opened()
    page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.ranked()
    page.packed(100)
    page.find(".filled button").click()
    page.wait(lambda: "copy it with the keyboard" in page.find("#status").get_property("textContent"))
    assert page.run("return String(getSelection())") == page.find("#context-text").text


def test_a_number_that_is_none_is_told(opened):
    page = opened()
    page.ranked()
    page.write("#budget", "1.5")
    page.find("#context-form button").click()
    page.alert("The budget must be a whole number from 0")
    assert page.focused.get_attribute("id") == "budget"
