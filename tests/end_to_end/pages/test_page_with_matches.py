"""The page of an explained picture in a real browser: what it shows, and what it must not run."""

import pytest
from browsers import Page, as_seen_in
from PIL import Image

from late_rerank import Reranker, explain
from late_rerank.explanation.pages.overlay import colour_of
from late_rerank.pictures import ImagePicture
from late_rerank.testing.fakes import FakeVisualEncoder

EVIL = "red blue <script>window.ran=1</script> <img src=x onerror='window.ran=2'> \"><svg onload=window.ran=3>"


class Printed(ImagePicture):
    """A picture with a text layer."""

    def words(self):
        return [(EVIL, (0.52, 0.55, 0.58, 0.6)), ("Rot", (0.5, 0.5, 0.6, 0.7))]


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the page of an explanation of a red block in column 5 and row 2 of 10 x 4, and a blue one at the top left."""

    def opens(query="red blue", scheme="light", kind=ImagePicture):
        image = Image.new("RGB", (640, 256), "white")
        image.paste((255, 0, 0), (320, 128, 384, 192))
        image.paste((0, 0, 255), (0, 0, 64, 64))
        path = tmp_path / "page.html"
        reranker = Reranker(FakeVisualEncoder(block=64), codec="float32")
        path.write_text(explain(reranker, query, kind(image)).to_html(), encoding="utf-8")
        as_seen_in(browser, scheme)
        browser.get_log("browser")
        browser.get(path.as_uri())
        return Page(browser)

    yield opens
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def narrowed(page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def places(page, selector):
    """Left, top, right and bottom of what is seen, in fractions of the picture as it is seen."""
    script = """
      const image = document.querySelector('.lr-picture > img').getBoundingClientRect();
      return [...document.querySelectorAll(arguments[0])].map(element => {
        const box = element.getBoundingClientRect();
        return [(box.left - image.left) / image.width, (box.top - image.top) / image.height,
                (box.right - image.left) / image.width, (box.bottom - image.top) / image.height];
      });"""
    return page.run(script, selector)


@pytest.mark.parametrize("width", [390, 1000])
def test_boxes_lie_on_what_matches_on_wide_and_narrow_screens(opened, width):
    page = opened()
    narrowed(page, width)
    ((left, top, right, bottom),) = places(page, 'g[data-words="1"] > rect:first-of-type')

    assert (left, top, right, bottom) == pytest.approx((0.5, 0.5, 0.6, 0.75), abs=0.02)
    assert page.run("return document.documentElement.scrollWidth") <= width


def test_the_images_are_shown_under_the_pages_own_policy(opened):
    page = opened()

    assert page.run("return [...document.images].map(image => image.complete && image.naturalWidth > 0)") == [True, True]
    assert page.log() == []


def test_nothing_from_the_query_or_the_page_runs(opened):
    page = opened(EVIL, kind=Printed)
    for element in page.all("g, .lr-asked, td"):
        page.run("arguments[0].dispatchEvent(new MouseEvent('mouseover', {bubbles: true}))", element)

    assert page.run("return window.ran") is None
    assert page.all("script, svg svg, iframe, a") == []
    assert len(page.all("img")) == 2
    assert any(EVIL in text for text in page.texts(".lr-words td"))


def test_pointing_at_a_word_leaves_its_box_alone(opened):
    page = opened()
    opacity = "return [...document.querySelectorAll('g')].map(g => [g.dataset.words, getComputedStyle(g).opacity])"
    before = dict(page.run(opacity))
    page.point_at('[data-word="1"]')
    page.wait_until_still()

    assert before == {"1": "1", "2": "1"}
    assert dict(page.run(opacity)) == {"1": "1", "2": "0.12"}


def test_heat_is_shown_when_it_is_asked_for(opened):
    page = opened()
    before = page.find(".lr-heat").is_displayed()
    page.find(".lr-toggle input").click()

    assert not before
    assert page.find(".lr-heat").is_displayed()
    assert places(page, ".lr-heat")[0] == pytest.approx([0, 0, 1, 1], abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark(opened, scheme):
    page = opened("red blue white of", scheme, kind=Printed)
    found = page.contrasts("body *:not(svg, svg *)")
    white = "rgb(255, 255, 255)"

    assert (page.run("return getComputedStyle(document.body).backgroundColor") == white) == (scheme == "light")
    assert {"lr-swatch", "lr-asked"} <= {each["name"] for each in found}
    assert [each for each in found if each["contrast"] < 4.5] == []


def test_numbers_on_the_picture_are_readable_on_each_colour(opened):
    """White on each colour: WCAG's contrast of 4.5."""

    def light(colour):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)]
        return sum(v * share for v, share in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))

    assert all(1.05 / (light(colour_of(number)) + 0.05) >= 4.5 for number in range(1, 9))
    assert len({colour_of(number) for number in range(1, 9)}) == 8
    page = opened()
    narrowed(page, 1000)
    heights = page.run("return [...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect().height)")
    assert min(heights) > 11
