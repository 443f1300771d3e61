"""A real browser without a window, and its pages as a person uses them."""

import shutil
import time
from contextlib import contextmanager
from importlib import util

import pytest

QUERY = "when do cats sleep"
DOCUMENTS = ["rivers run to the sea", "cats sleep all day", "dogs bark at night", "when rivers sleep the cats do too"]
HOLDS_AN_ANSWER = """
const [held, isRead] = arguments, real = window.fetch;
const gate = new Promise(open => { window.letGo = open; });
window.nHeld = window.nUnderWay = 0;
window.fetch = async (path, options) => {
  window.nUnderWay += 1;
  try {
    const answer = await real(path, options), isHeld = String(options?.body).includes(held);
    const whole = isRead || !isHeld ? new Response(await answer.text(), answer) : answer;
    if (isHeld) {
      window.nHeld += 1;
      await gate;
      if (isRead) options.signal?.throwIfAborted();
    }
    return whole;
  } finally {
    window.nUnderWay -= 1;
  }
};
"""
CONTRAST = """
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const linear = v => v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
const light = colour => colour.map(linear).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const ratio = ([low, high]) => (high + .05) / (low + .05);
const contrast = (...colours) => ratio(colours.map(light).sort((a, b) => a - b));
const mixed = (front, share, back) => front.map((v, i) => v * share + back[i] * (1 - share));
// What is seen behind an element's text: its own and its ancestors' backgrounds, mixed.
const behind = element => {
  const [r, g, b, alpha = 1] = numbers(getComputedStyle(element).backgroundColor);
  return mixed([r, g, b], alpha, element.parentElement ? behind(element.parentElement) : [255, 255, 255]);
};
"""
CONTRASTS = f"""{CONTRAST}
const hasText = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
return [...document.querySelectorAll(arguments[0])]
  .filter(element => element.checkVisibility() && !element.closest('.hidden, .skip'))
  .filter(element => hasText(element) || element.matches('input, select'))
  .map(element => {{
    const style = getComputedStyle(element), back = behind(element);
    const letters = mixed(numbers(style.color).slice(0, 3), Number(style.opacity), back);
    const name = element.className || element.tagName, text = element.textContent.slice(0, 40);
    return {{name, text, contrast: contrast(letters, back)}};
  }});
"""
FAINT_BORDERS = f"""{CONTRAST}
const fields = 'main :is(input:not([type=radio], [type=checkbox], [type=file]), select, textarea, button)';
return [...document.querySelectorAll(fields)].filter(element => element.checkVisibility())
  .filter(element => contrast(numbers(getComputedStyle(element).borderTopColor).slice(0, 3), behind(element.parentElement)) < 3)
  .map(element => element.outerHTML);
"""


def skip_without_chromium():
    for command, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        if shutil.which(command) is None:
            pytest.skip(f"needs {command}: apt-get install {package}")
    if util.find_spec("selenium") is None:
        pytest.skip("needs the package selenium: pip install 'selenium>=4.20'")


@contextmanager
def chromium():
    """A driver that is closed at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,1250"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def as_seen_in(driver, scheme, motion="reduce"):
    """The reader prefers "light" or "dark"; and stillness, so that no click meets what still moves, or "no-preference"."""
    preferred = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
    features = [{"name": name, "value": value} for name, value in preferred.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


class Page:
    """A page as a person uses it."""

    def __init__(self, driver):
        self.driver = driver

    @property
    def focused(self):
        return self.driver.switch_to.active_element

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def texts(self, selector):
        """What can be read; "" of what isn't in sight."""
        return [element.text for element in self.all(selector)]

    def whole_texts(self, selector):
        """Of what isn't in sight too."""
        return self.run("return [...document.querySelectorAll(arguments[0])].map(element => element.textContent)", selector)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def settled(self, promise, *arguments):
        """What a promise of the page gives."""
        return self.driver.execute_async_script(
            f"const done = arguments[arguments.length - 1]; ({promise}).then(done)", *arguments
        )

    def wait(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"not within {seconds} s; the page says: {self.find('body').text[-1500:]}"
            time.sleep(0.02)
        return found

    def wait_for_text(self, selector, text):
        self.wait(lambda: any(text in each for each in self.texts(selector)))

    def wait_until_still(self):
        """Wait for what moves or changes its colour; then for two more frames."""
        self.settled("Promise.all(document.getAnimations().map(each => each.finished))")
        self.settled("new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))")

    def contrasts(self, selector):
        """Of each element with text of its own that is in sight: that of its letters with what is behind them."""
        return self.run(CONTRASTS, selector)

    def faint_borders(self):
        """Fields and buttons whose edge can hardly be seen against what is about them."""
        return self.run(FAINT_BORDERS)

    def write(self, selector, text):
        field = self.find(selector)
        self.run("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", field, text)

    def press(self, *names, holding=None):
        """Press keys on whatever has the focus, by their names in selenium: "TAB", "ENTER"."""
        from selenium.webdriver import ActionChains, Keys

        keys = [getattr(Keys, name) for name in names]
        actions = ActionChains(self.driver)
        if holding is None:
            actions.send_keys(*keys).perform()
        else:
            held = getattr(Keys, holding)
            actions.key_down(held).send_keys(*keys).key_up(held).perform()

    def enter(self, selector, text):
        """Type into a field, and press Enter."""
        from selenium.webdriver import Keys

        self.find(selector).send_keys(text, Keys.ENTER)

    def point_at(self, selector):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).move_to_element(self.find(selector)).perform()

    def log(self):
        """What the browser said since this was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    @contextmanager
    def inside(self, frame):
        """Look into a frame, whose document is loaded: its scripts have run, if they could."""
        self.driver.switch_to.frame(frame)
        try:
            self.wait(lambda: self.run("return document.readyState") == "complete")
            yield
        finally:
            self.driver.switch_to.default_content()


class Playground(Page):
    """The server's page: a question, passages, both orders, and a context."""

    def choose(self, name, value):
        self.find(f'input[name="{name}"][value="{value}"]').click()

    def rank(self, query=QUERY, documents=DOCUMENTS):
        """Ask; None for the documents that the page has."""
        self.write("#query", query)
        if documents is not None:
            self.write("#passages", "\n\n".join(documents))
        self.find("#rank").click()

    def ranked(self, query=QUERY, documents=DOCUMENTS):
        """Rank, and wait for it."""
        self.run("document.getElementById('after').replaceChildren()")
        self.rank(query, documents)
        self.wait_for_ranking()

    def wait_for_ranking(self):
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

    def hold_answer(self, words, *, is_read):
        """Hold the answer to what is asked in these words, from now on until `let_go`: read already, or begun."""
        self.run(HOLDS_AN_ANSWER, words, is_read)

    def wait_until_held(self):
        self.wait(lambda: self.run("return window.nHeld > 0"))

    def let_go(self):
        """Give the page what was held, and wait until it has made of it what it would."""
        self.run("window.letGo()")
        self.wait(lambda: self.run("return window.nUnderWay === 0"))
        self.wait_until_still()
