"""Who can use the page: names for screen readers, contrast, a phone, no motion."""

from itertools import pairwise

import pytest
from browsers import DOCUMENTS, QUERY, as_seen_in


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
        page.point_at("#after .text")
        page.wait_until_still()
    found = page.contrasts("body *")

    assert (page.run("return matchMedia('(prefers-color-scheme: dark)').matches")) == (scheme == "dark")
    assert len(found) > 40
    assert [each for each in found if each["contrast"] < 4.5] == []
    assert page.faint_borders() == []
    assert page.driver.save_screenshot(str(tmp_path / "page.png"))


def test_nothing_moves_for_those_who_want_it_still(opened):
    page = opened()
    as_seen_in(page.driver, "light", motion="no-preference")
    assert page.find("#rank").value_of_css_property("transition-duration") != "0s"
    as_seen_in(page.driver, "light", motion="reduce")
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
