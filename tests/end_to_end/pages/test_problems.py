"""What goes wrong, told in words: refusals, a busy server, a network that is down, keys."""

import re

import pytest
from browsers import DOCUMENTS

from late_rerank import Reranker
from late_rerank.retrieve import BM25Retriever
from late_rerank.serve.access import ApiKeys
from late_rerank.serve.limits import Limits
from late_rerank.testing.fakes import FakeEncoder

KEY = "a-key-of-ours"


def test_what_the_server_refuses_is_told_in_its_words(opened, served):
    page = opened(served(limits=Limits(n_documents=3)))
    page.rank()
    page.alert("4 documents: at most 3 are taken in one request; send fewer.")
    page.ranked(documents=DOCUMENTS[:3])
    assert page.find("#alert").text == ""


def test_what_is_larger_than_the_server_takes_is_told_before_it_is_sent(opened, served):
    page = opened(served(limits=Limits(body_bytes=2000)))
    page.rank(documents=["\u00e4" * 1500])
    page.alert("at most 2,000 are taken. Give fewer passages.")
    assert "rerank" not in page.run(
        "return String(performance.getEntriesByType('resource').map(e => new URL(e.name).pathname))"
    )


def test_a_server_that_is_busy_says_when_to_try_again(opened, served, gate):
    page = opened(served(Reranker(FakeEncoder(before_document=gate)), limits=Limits(timeout_s=0.5)))
    page.rank()
    page.alert("Try again in 10 seconds.")
    gate.open()
    page.find("#alert button").click()
    page.wait_for_ranking()
    assert page.find("#alert").text == ""


def test_a_network_that_is_down_is_told(opened):
    page = opened()
    down = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**down, "offline": True})
    try:
        page.rank()
        page.alert("The server can't be reached")
    finally:
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**down, "offline": False})
    page.find("#alert button").click()
    page.wait_for_ranking()
    assert page.find("#alert").text == ""


def test_a_server_with_keys_asks_for_one(opened, served):
    at = served(keys=ApiKeys([KEY]), folders={"animals": BM25Retriever(["cats", "rivers"])})
    page = opened(at)
    page.alert("asks for an API key")
    key = page.find("#key")
    assert (key.get_attribute("type"), key.is_displayed()) == ("password", True)
    assert page.focused == key
    page.rank()
    page.wait(lambda: page.focused == key)
    page.enter("#key", "a-wrong-one")
    page.alert("isn't accepted")
    assert page.all("#after > li") == []
    page.wait(lambda: page.focused == key)
    page.enter("#key", KEY)
    page.wait(lambda: page.find("#folder-choice").is_displayed())

    assert page.find("#alert").text == ""
    assert not page.find("#key-form").is_displayed()
    page.ranked()
    assert page.run("return [Object.values(sessionStorage), localStorage.length, document.cookie]") == [[KEY], 0, ""]
    page.driver.refresh()
    page.ranked()
    page.find("#forget").click()
    page.rank()
    page.alert("asks for an API key")
    assert page.run("return sessionStorage.length") == 0


def test_a_key_that_is_given_goes_on_with_what_was_asked(opened, served):
    page = opened(served(keys=ApiKeys([KEY])))
    page.enter("#key", KEY)
    page.ranked()
    page.run("sessionStorage.setItem(sessionStorage.key(0), 'no-longer-valid')")
    why = page.find("#after .actions button")
    why.click()
    page.alert("isn't accepted")
    page.enter("#key", KEY)
    page.wait(lambda: page.all("#after iframe"))

    assert page.find("#alert").text == ""
    assert page.focused == why


@pytest.mark.parametrize("key", ["schl\u00fcssel", "\u9375\u9375\u9375", "with space"])
def test_what_can_be_no_key_is_told(opened, served, key):
    page = opened(served(keys=ApiKeys([KEY])))
    page.write("#key", key)
    page.find("#key-form button").click()
    page.wait(lambda: "asks for" not in page.find("#alert").text and page.find("#alert").text)
    assert re.search("isn't accepted|no key has", page.find("#alert").text)
