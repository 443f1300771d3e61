"""One browser and one server for all pages; other servers where a test needs other settings."""

from contextlib import ExitStack

import pytest
from browsers import Playground, as_seen_in, chromium, skip_without_chromium

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder, Gate
from late_rerank.types import Candidate

# In this folder the first stage prefers what says "cats" most often.
FOLDER = [Candidate(f"cats cats cats toys {i}", id=f"toy-{i}") for i in range(6)]
FOLDER += [Candidate("when do cats sleep", id="answer"), *(Candidate(f"rivers {i}") for i in range(20))]


@pytest.fixture(scope="package")
def browser():
    skip_without_chromium()
    with chromium() as driver:
        yield driver


def server(reranker, **settings):
    from serving import running

    from late_rerank.serve.app import Settings, create_app

    return running(create_app(lambda: reranker, Settings(**settings)))


@pytest.fixture(scope="package")
def url():
    from late_rerank.retrieve import BM25Retriever

    with server(Reranker(FakeEncoder()), folders={"animals": BM25Retriever(FOLDER)}) as url:
        yield url


@pytest.fixture
def served():
    """Serves with other settings, or another reranker."""
    with ExitStack() as stack:
        yield lambda reranker=None, **settings: stack.enter_context(server(reranker or Reranker(FakeEncoder()), **settings))


@pytest.fixture
def gate(served):
    """Opened at the end, before a server that waits for whoever stands at it."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def opened(browser, url):
    """Opens a page; at the end sees to it that it did nothing wrong unseen."""

    def opens(at=None, path="/", seen="light"):
        as_seen_in(browser, seen)
        browser.get((at or url) + path)
        page = Playground(browser)
        page.wait(lambda: page.find("#version").text or page.find("#alert").text)
        return page

    browser.get_log("browser")
    yield opens
    # That an answer is an error is told there by the browser itself; that is no error of the page.
    told = [entry["message"] for entry in browser.get_log("browser") if "Failed to load resource" not in entry["message"]]
    browser.execute_script("sessionStorage.clear()")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert told == []
