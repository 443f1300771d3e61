"""The server's page in a real browser: what it shows, what it tells, what it must not run, and who can use it."""

import json
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import pairwise

import httpx
import pytest
from browsers import as_seen_in, chromium, skip_without_chromium

skip_without_chromium()

from selenium.webdriver import ActionChains, Keys  # noqa: E402
from serving import running  # noqa: E402

from late_rerank import Reranker  # noqa: E402
from late_rerank.retrieve import BM25Retriever  # noqa: E402
from late_rerank.serve.access import ApiKeys  # noqa: E402
from late_rerank.serve.app import Settings, create_app  # noqa: E402
from late_rerank.serve.limits import Limits  # noqa: E402
from late_rerank.testing.fakes import FakeEncoder  # noqa: E402
from late_rerank.types import Candidate  # noqa: E402

QUERY = "when do cats sleep"
DOCUMENTS = ["rivers run to the sea", "cats sleep all day", "dogs bark at night", "when rivers sleep the cats do too"]
KEY = "a-key-of-ours"
EVIL = (
    '<script>window.ran = 1</script> <img src=x onerror="window.ran = 2"> </style></textarea></div></iframe> '
    '"><svg onload=window.ran=3> <a href="javascript:window.ran=4">cats</a> &lt;b&gt; &amp; <!-- ]]> {{7*7}} ${7*7}'
)
# Kept in a folder in which the first stage prefers what says "cats" most often.
FOLDER = [Candidate(f"cats cats cats toys {i}", id=f"toy-{i}") for i in range(6)]
FOLDER += [Candidate("when do cats sleep", id="answer"), *(Candidate(f"rivers {i}") for i in range(20))]


class SlowEncoder(FakeEncoder):
    """Takes its time over each document."""

    def encode_document(self, texts):
        time.sleep(0.15 * len(texts))
        return super().encode_document(texts)


class Page:
    """The page as a person uses it."""

    def __init__(self, driver):
        self.driver = driver

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def texts(self, selector):
        return [element.text for element in self.all(selector)]

    def whole_texts(self, selector):
        """Of what isn't in sight too."""
        return [element.get_property("textContent") for element in self.all(selector)]

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"not within {seconds} s; the page says: {self.find('main').text[-1500:]}"
            time.sleep(0.02)
        return found

    def wait_for_text(self, selector, text):
        self.wait(lambda: any(text in each for each in self.texts(selector)))

    def write(self, selector, text):
        field = self.find(selector)
        self.run("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", field, text)

    def choose(self, name, value):
        self.find(f'input[name="{name}"][value="{value}"]').click()

    def rank(self, query=QUERY, documents=DOCUMENTS):
        self.write("#query", query)
        if documents is not None:
            self.write("#passages", "\n\n".join(documents))
        self.find("#rank").click()

    def ranked(self, query=QUERY, documents=DOCUMENTS):
        """Rank, and wait for it."""
        self.run("document.getElementById('after').replaceChildren()")
        self.rank(query, documents)
        self.wait(lambda: self.all("#after > li"))

    def explained(self):
        """The frame of the first document's heat map."""
        self.find("#after .actions button").click()
        return self.wait(lambda: [frame for frame in self.all("#after iframe") if frame.is_displayed()])[0]

    def packed(self, budget):
        self.write("#budget", str(budget))
        self.find("#context-form button").click()
        self.wait(lambda: self.all("#context-tokens"))

    def alert(self, text):
        self.wait_for_text("#alert", text)


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def url():
    with running(create_app(lambda: Reranker(FakeEncoder()), Settings(folders={"animals": BM25Retriever(FOLDER)}))) as url:
        yield url


@pytest.fixture
def served():
    """Serves with other settings, or another encoder."""
    with ExitStack() as stack:
        yield lambda encoder=None, **settings: stack.enter_context(
            running(create_app(lambda: Reranker(encoder or FakeEncoder()), Settings(**settings)))
        )


@pytest.fixture
def opened(browser, url):
    """Opens a page; at the end sees to it that it did nothing wrong unseen."""
    as_seen_in(browser, "light")

    def opens(at=None, path="/", seen=None):
        browser.get((at or url) + path)
        browser.execute_script("sessionStorage.clear()")
        browser.get_log("browser")
        if seen:
            as_seen_in(browser, seen)
        browser.get((at or url) + path)
        page = Page(browser)
        page.wait(lambda: page.find("#version").text or page.find("#alert").text)
        return page

    yield opens
    # That an answer is an error is told there by the browser itself; that is no error of the page.
    told = [entry["message"] for entry in browser.get_log("browser") if "Failed to load resource" not in entry["message"]]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert told == []


def expected(query=QUERY, documents=DOCUMENTS):
    return [(d.text, f"{d.relevance:.3f}", d.index - d.rank + 1) for d in Reranker(FakeEncoder()).rerank(query, documents)]


def test_a_newcomer_finds_an_example_and_can_rank_it_at_once(opened):
    page = opened()
    n = len(page.find("#passages").get_property("value").split("\n\n"))
    page.find("#rank").click()
    page.wait(lambda: page.all("#after > li"))

    assert 6 <= n <= 8
    assert len(page.all("#before > li")) == len(page.all("#after > li")) == n
    assert page.find("#passages-hint").text == f"{n} passages, with blank lines between"


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
    fresh = [f"{text} {time.monotonic_ns()}" for text in DOCUMENTS]
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
    assert page.driver.switch_to.active_element.get_attribute("id") == "rank"


def test_one_passage_a_line_where_that_is_chosen(opened):
    page = opened()
    page.choose("split", "line")
    page.ranked(documents=["one\ntwo\n\n  \nthree cats"])

    assert page.texts("#after .text")[0] == "three cats"
    assert page.whole_texts("#before .text") == ["one", "two", "three cats"]


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


def test_a_long_list_is_shown_in_pieces(opened):
    page = opened()
    page.ranked(documents=[f"cats {i}" for i in range(120)])
    assert (len(page.all("#before > li")), len(page.all("#after > li"))) == (50, 50)
    more = page.find(".after > .more")
    assert more.text == "Show 70 more"
    more.click()

    assert len(page.all("#after > li")) == 120
    assert page.driver.switch_to.active_element == page.all("#after > li")[50]
    page.ranked()
    assert page.all(".more") == []


def test_a_heat_map_shows_why(opened):
    page = opened()
    page.ranked()
    button = page.find("#after .actions button")
    frame = page.explained()

    assert button.text.startswith("Why?")
    assert button.get_attribute("aria-expanded") == "true"
    assert frame.get_attribute("sandbox") == ""
    assert frame.rect["height"] > 200
    page.driver.switch_to.frame(frame)
    assert [mark.text for mark in page.all("mark")] == ["when", "sleep", "cats", "do"]
    page.find("a.lr-word").click()  # a place in the frame, not on the page
    assert page.all("mark:target") == [page.find("mark")]
    page.driver.switch_to.default_content()
    button.click()
    assert not frame.is_displayed()
    assert button.get_attribute("aria-expanded") == "false"


def test_nothing_could_run_in_the_frame_whatever_the_server_sent(opened):
    page = opened()
    page.ranked()
    html = (
        "<p id=there>there</p><script>parent.ran = 1</script><img src=x onerror='parent.ran = 2'><style>p {color: red}</style>"
    )
    page.run("const html = arguments[0]; window.fetch = async () => new Response(JSON.stringify({html}))", html)
    page.driver.switch_to.frame(page.explained())
    assert page.find("#there").value_of_css_property("color") == "rgba(255, 0, 0, 1)"
    assert len(page.all("script, img")) == 2
    page.driver.switch_to.default_content()
    time.sleep(0.2)
    page.driver.get_log("browser")  # there the browser says what it stopped

    assert page.run("return window.ran") is None


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
    copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == page.find("#context-text").get_property("textContent")


def test_where_the_browser_lets_no_page_copy_the_context_is_selected(opened):
    page = opened()
    page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.ranked()
    page.packed(100)
    page.find(".filled button").click()
    page.wait(lambda: "copy it with the keyboard" in page.find("#status").get_property("textContent"))
    assert page.run("return String(getSelection())") == page.find("#context-text").text


@pytest.mark.parametrize(
    ("query", "documents", "words", "field"),
    [("  ", DOCUMENTS, "Type at least one word", "query"), (QUERY, [" ", ""], "at least one passage", "rank")],
)
def test_what_is_missing_is_told(opened, query, documents, words, field):
    page = opened()
    page.rank(query, documents)
    page.alert(words)

    assert page.find("#alert").get_attribute("role") == "alert"
    assert page.driver.switch_to.active_element.get_attribute("id") == field
    page.find("#alert button").click()
    assert page.find("#alert").text == ""
    assert page.driver.switch_to.active_element.get_attribute("id") == field


def test_a_number_that_is_none_is_told(opened):
    page = opened()
    page.ranked()
    page.write("#budget", "1.5")
    page.find("#context-form button").click()
    page.alert("The budget must be a whole number from 0")
    assert page.driver.switch_to.active_element.get_attribute("id") == "budget"


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


def test_a_server_that_is_busy_says_when_to_try_again(opened, served):
    page = opened(served(SlowEncoder(), limits=Limits(timeout_s=0.2)))
    page.rank()
    page.alert("Try again in 10 seconds.")
    time.sleep(1)
    page.find("#alert button").click()  # what was missing is encoded by now
    page.wait(lambda: page.all("#after > li"))
    assert page.find("#alert").text == ""


def test_an_answer_in_part_is_said_to_be_one(opened, served):
    page = opened(served(SlowEncoder(), limits=Limits(deadline_s=0.2)))
    page.ranked(documents=[f"cats {i}" for i in range(12)])

    assert page.find("#degraded").is_displayed()
    n = int(re.search(r"(\d+) passages weren't scored", page.find("#degraded").text)[1])
    assert page.texts("#after .relevance").count("not scored") == n > 0


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
    page.wait(lambda: page.all("#after > li"))
    assert page.find("#alert").text == ""


def test_a_server_with_keys_asks_for_one(opened, served):
    at = served(keys=ApiKeys([KEY]), folders={"animals": BM25Retriever(FOLDER)})
    page = opened(at)
    page.alert("asks for an API key")
    key = page.find("#key")
    assert (key.get_attribute("type"), key.is_displayed()) == ("password", True)
    assert page.driver.switch_to.active_element == key
    page.rank()
    page.wait(lambda: page.driver.switch_to.active_element == key)
    key.send_keys("a-wrong-one", Keys.ENTER)
    page.alert("isn't accepted")
    assert page.all("#after > li") == []
    page.wait(lambda: page.driver.switch_to.active_element == key)
    key.send_keys(KEY, Keys.ENTER)
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
    page.find("#key").send_keys(KEY, Keys.ENTER)
    page.ranked()
    page.run("sessionStorage.setItem(sessionStorage.key(0), 'no-longer-valid')")
    why = page.find("#after .actions button")
    why.click()
    page.alert("isn't accepted")
    page.find("#key").send_keys(KEY, Keys.ENTER)
    page.wait(lambda: page.all("#after iframe"))

    assert page.find("#alert").text == ""
    assert page.driver.switch_to.active_element == why


@pytest.mark.parametrize("key", ["schl\u00fcssel", "\u9375\u9375\u9375", "with space"])
def test_what_can_be_no_key_is_told(opened, served, key):
    page = opened(served(keys=ApiKeys([KEY])))
    page.write("#key", key)
    page.find("#key-form button").click()
    page.wait(lambda: "asks for" not in page.find("#alert").text and page.find("#alert").text)
    assert re.search("isn't accepted|no key has", page.find("#alert").text)


def test_nothing_of_a_document_or_a_question_runs(opened, tmp_path):
    file = tmp_path / "<img src=x onerror=window.ran=5>.md"
    file.write_text(EVIL, encoding="utf-8")
    page = opened()
    page.ranked(f"{EVIL} cats", [EVIL, "cats", f"{EVIL} cats"])
    before = page.run("return document.querySelectorAll('script, img, svg, a, iframe').length")
    page.packed(500)
    page.driver.switch_to.frame(page.explained())
    assert page.all("script, img, svg, iframe, a[href^=javascript]") == []
    page.driver.switch_to.default_content()

    assert EVIL in page.texts("#after .text")
    assert EVIL in page.find("#context-text").text
    assert EVIL in page.find("#results-summary").text
    page.choose("source", "files")
    page.find("#files").send_keys(str(file))
    page.wait_for_text("#file-list li", file.name)
    page.ranked(EVIL, None)
    assert page.texts("#after .label") == [f"{file.name}, 1"]
    assert page.run("return document.querySelectorAll('script, img, svg, a, iframe').length") == before
    assert page.run("return window.ran") is None


def test_scripts_that_got_in_would_not_run(opened):
    page = opened()
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    page.wait(lambda: "violates the following Content Security Policy" in str(page.driver.get_log("browser")))
    time.sleep(0.2)
    page.driver.get_log("browser")
    assert page.run("return window.ran") is None


def test_everything_can_be_done_with_the_keyboard(opened):
    page = opened()
    passed = []
    while "rank" not in passed:
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        focused = page.driver.switch_to.active_element
        assert focused.value_of_css_property("outline-style") in ("solid", "auto"), focused.tag_name
        passed.append(focused.get_attribute("id") or focused.get_attribute("name") or focused.text)
        assert len(passed) < 20
    ActionChains(page.driver).send_keys(Keys.ENTER).perform()
    page.wait(lambda: page.all("#after > li"))
    ActionChains(page.driver).send_keys(Keys.TAB, Keys.SPACE).perform()
    page.wait(lambda: page.all("#after iframe"))

    order = ["Skip to the question", "Playground", "API", "query", "source", "split", "passages", "rank"]
    assert [each for each in passed if each in order] == order
    assert page.driver.switch_to.active_element.text.startswith("Why?")


@pytest.mark.parametrize("key", [Keys.CONTROL, Keys.META])
@pytest.mark.parametrize("field", ["#passages", "#budget", "body"])
def test_control_enter_ranks_wherever_one_is(opened, key, field):
    page = opened()
    page.ranked()
    page.write("#passages", "cats\n\nsleep\n\ndogs")
    page.run("document.activeElement.blur()")  # Enter on the button that was clicked would rank as well
    if field != "body":
        page.find(field).click()
    ActionChains(page.driver).key_down(key).send_keys(Keys.ENTER).key_up(key).perform()

    page.wait(lambda: len(page.all("#after > li")) == 3)
    assert page.find("#passages").get_property("value") == "cats\n\nsleep\n\ndogs"


def test_everything_that_takes_input_has_a_name(opened):
    page = opened()
    page.ranked()
    page.packed(20)
    page.explained()
    unnamed = page.run("""
        return [...document.querySelectorAll('input, select, textarea, button, iframe, section, nav')].filter(e =>
          !(e.labels?.length || e.textContent.trim() || e.title || e.ariaLabel || e.getAttribute('aria-labelledby'))
        ).map(e => e.outerHTML)
    """)
    wrong = page.run("""
        return [...document.querySelectorAll('[aria-labelledby], [aria-describedby], [aria-controls], [for]')].flatMap(e =>
          ['aria-labelledby', 'aria-describedby', 'aria-controls', 'for'].map(name => e.getAttribute(name))
        ).filter(id => id && !document.getElementById(id))
    """)
    levels = page.run("return [...document.querySelectorAll('h1, h2, h3')].map(e => Number(e.tagName[1]))")

    assert (unnamed, wrong) == ([], [])
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = page.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_it_is_readable_in_light_and_dark(opened, scheme, path, tmp_path):
    page = opened(path=path, seen=scheme)
    if path == "/":
        page.ranked()
        page.packed(18)
        page.explained()
        page.rank(" ")
        page.alert("Type at least one word")
        ActionChains(page.driver).move_to_element(page.find("#after .text")).perform()
        time.sleep(0.3)
    found = page.run(CONTRASTS)

    assert (page.run("return matchMedia('(prefers-color-scheme: dark)').matches")) == (scheme == "dark")
    assert len(found) > 40
    assert [each for each in found if each["contrast"] < 4.5] == []
    assert page.run(BORDERS) == []
    assert page.driver.save_screenshot(str(tmp_path / "page.png"))


def test_the_heat_map_is_dark_where_the_page_is(opened):
    page = opened(seen="dark")
    page.ranked()
    page.driver.switch_to.frame(page.explained())
    behind = page.run("return getComputedStyle(document.body).backgroundColor")
    page.driver.switch_to.default_content()
    assert all(int(part) < 60 for part in re.findall(r"\d+", behind)[:3])


def test_nothing_moves_for_those_who_want_it_still(opened, browser):
    page = opened()
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    moving = page.find("#rank").value_of_css_property("transition-duration")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [still]})
    assert moving != "0s"
    assert page.find("#rank").value_of_css_property("transition-duration") == "0s"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_phone_needs_no_scrolling_sideways(opened, path):
    page = opened(path=path)
    phone = {"width": 360, "height": 700, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    if path == "/":
        page.ranked(f"{QUERY} {'long' * 100}", [*DOCUMENTS, "x" * 3000, "cats " * 1000])
        page.packed(30)
        page.explained()
        page.rank(" ")
        page.alert("Type at least one word")
    assert page.run("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    right = "e.getBoundingClientRect().right > 361 && !e.closest('pre')"
    wide = page.run(f"return [...document.querySelectorAll('main *')].filter(e => {right})")
    assert [each.get_attribute("outerHTML")[:100] for each in wide] == []
    before, after = (
        page.all(selector)[0].rect for selector in ((".before", ".after") if path == "/" else ("h2", "#endpoints"))
    )
    assert before["y"] + before["height"] <= after["y"]


def test_files_are_read_in_the_browser_and_ranked(opened, tmp_path):
    text, lines = tmp_path / "notes.txt", tmp_path / "more.jsonl"
    text.write_bytes(b"\xef\xbb\xbfrivers run\r\n\r\ndogs bark\r\nat night\r\n \r\n")
    rows = [{"id": "c-1", "text": "cats sleep"}, {"_id": 7, "title": "when", "text": "do"}, {"text": "no name"}]
    lines.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    page = opened()
    page.choose("source", "files")
    page.find("#files").send_keys(f"{text}\n{lines}")
    page.wait(lambda: len(page.all("#file-list li")) == 2)
    assert page.texts("#file-list li span") == ["notes.txt", "2 passages", "more.jsonl", "3 passages"]
    page.ranked(documents=None)

    assert page.whole_texts("#before .text") == ["rivers run", "dogs bark\nat night", "cats sleep", "when do", "no name"]
    assert set(page.texts("#after .label")) == {"notes.txt, 1", "notes.txt, 2", "c-1", "7", "more.jsonl, 3"}
    page.find("#file-list button").click()
    page.ranked(documents=None)
    assert len(page.all("#after > li")) == 3
    assert page.driver.switch_to.active_element.get_attribute("id") == "rank"


@pytest.mark.parametrize(
    ("name", "held", "words"),
    [
        ("a.jsonl", '{"text": "fine"}\n{"text": ', "a.jsonl, line 2 is no JSON"),
        ("a.jsonl", '{"name": "no text"}', 'a.jsonl, line 1 is no object with a "text"'),
        ("a.jsonl", "null", 'a.jsonl, line 1 is no object with a "text"'),
        ("a.pdf", "%PDF", "a.pdf is none of .txt, .md and .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(opened, tmp_path, name, held, words):
    (tmp_path / name).write_text(held)
    page = opened()
    page.choose("source", "files")
    page.run("document.getElementById('files').removeAttribute('accept')")
    page.find("#files").send_keys(str(tmp_path / name))
    page.alert(words)
    assert page.all("#file-list li") == []


def test_a_folder_of_the_servers_is_searched_and_ranked(opened):
    page = opened()
    page.choose("source", "folder")
    assert not page.find("#passages").is_displayed()
    page.write("#shown", "4")
    page.ranked(documents=None)
    answer = httpx.post(f"{page.driver.current_url}v1/search", json={"query": QUERY, "folder": "animals", "top_n": 4}).json()
    places = [result["index"] + 1 for result in answer["results"]]

    assert page.texts("#after .label") == [result["document"]["id"] for result in answer["results"]]
    assert page.texts("#after .label")[0] == "answer"
    assert page.texts("#before .place") == [str(place) for place in sorted(places)]
    assert page.find("#before-heading").get_property("textContent") == "Before: places in the first stage"
    movements = [place - rank for rank, place in enumerate(places, start=1)]
    shown = [int(text.split()[-1]) * (1 if "up" in text else -1) if "same" not in text else 0 for text in page.texts(".moved")]
    assert shown == movements
    assert any(movements)
    assert "First stage" in page.find("#timings").text
    page.packed(50)
    assert "answer, ranked 1" in page.find("#citations").text


def test_a_folder_can_be_chosen_only_where_there_is_one(opened, served):
    assert opened().find("#folder-choice").is_displayed()
    assert not opened(served()).find("#folder-choice").is_displayed()


def test_only_the_latest_question_is_answered(opened, served):
    page = opened(served(SlowEncoder()))
    page.rank("first question", [f"first {i}" for i in range(8)])
    page.rank("second question", ["second"])
    page.wait(lambda: page.texts("#after .text") == ["second"])
    time.sleep(1.5)
    assert page.texts("#after .text") == ["second"]
    assert page.find("#alert").text == ""


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_is_fetched_from_elsewhere(opened, url, path):
    page = opened(path=path)
    if path == "/":
        page.ranked()
        page.explained()
    fetched = page.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(fetched) > 5
    assert all(each.startswith((f"{url}/", "about:srcdoc")) for each in fetched)
    assert page.run("return document.querySelectorAll('script:not([src]), [onclick], [onload], [onerror]').length") == 0


def test_the_api_is_described_as_programs_read_it(opened, url):
    page = opened(path="/docs")
    description = httpx.get(f"{url}/openapi.json").json()
    operations = [(path, method) for path, methods in description["paths"].items() for method in methods]

    assert page.texts("#endpoints h2 code") == [path for path, _ in operations]
    assert page.texts("#endpoints .method") == [method.upper() for _, method in operations]
    assert page.texts("#contents a") == [path for path, _ in operations]
    context = "#post-context .fields:not(.answers)"
    assert page.texts(f"{context} dt code") == list(description["components"]["schemas"]["ContextBody"]["properties"])
    fields = {text.split()[0]: text for text in page.texts(f"{context} dt")}
    assert fields["query"].split() == ["query", "string", "required"]
    assert fields["budget_tokens"].split() == ["budget_tokens", "integer,", "from", "0", "default", "2000"]
    assert '"coverage" or "relevance" or "mmr"' in fields["strategy"]
    page.find("#post-context summary").click()
    statuses = description["paths"]["/context"]["post"]["responses"]
    assert page.texts("#post-context .answers dt") == list(statuses)
    assert statuses["429"]["description"] in page.find("#post-context .answers").text
    assert page.find("#limits").text == description["info"]["description"]
    assert "The same as of /rerank" in page.find("#post-v2-rerank").text


def test_the_examples_work_as_they_stand(opened):
    page = opened(path="/docs")
    examples = dict(zip(page.whole_texts("#examples h3"), page.whole_texts("#examples pre"), strict=True))
    assert len(examples) == 4
    for title, code in examples.items():
        command = [sys.executable, "-c", code] if "Python" in title else ["bash", "-c", code.replace("curl", "curl -sSf", 1)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert re.search(r"1 0\.\d|\"index\":1|\[1\] cats sleep|n_documents", done.stdout), (title, done.stdout)


LIGHT = """
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const ratio = ([low, high]) => (high + .05) / (low + .05);
const contrast = (...colours) => ratio(colours.map(light).sort((a, b) => a - b));
// What is seen behind an element: its own and its ancestors' backgrounds, mixed.
const behind = element => {
  const under = element.parentElement ? behind(element.parentElement) : [255, 255, 255];
  const [r, g, b, alpha = 1] = numbers(getComputedStyle(element).backgroundColor);
  return [r, g, b].map((v, i) => v * alpha + under[i] * (1 - alpha));
};
"""
# Of every element with text of its own that is in sight.
CONTRASTS = f"""{LIGHT}
const hasText = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
return [...document.querySelectorAll('body *')]
  .filter(element => element.checkVisibility() && !element.closest('.hidden, .skip'))
  .filter(element => hasText(element) || element.matches('input, select'))
  .map(element => ({{text: element.textContent.slice(0, 40), name: element.className || element.tagName,
    contrast: contrast(numbers(getComputedStyle(element).color).slice(0, 3), behind(element))}}));
"""
# Of fields and buttons: those whose edge can hardly be seen against what is about them.
BORDERS = f"""{LIGHT}
const fields = 'main :is(input:not([type=radio], [type=checkbox], [type=file]), select, textarea, button)';
return [...document.querySelectorAll(fields)].filter(element => element.checkVisibility())
  .filter(element => contrast(numbers(getComputedStyle(element).borderTopColor).slice(0, 3), behind(element.parentElement)) < 3)
  .map(element => element.outerHTML);
"""
