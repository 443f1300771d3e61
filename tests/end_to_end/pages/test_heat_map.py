"""Why a passage is there: the heat map, in a frame in which nothing can run."""

import re


def test_a_heat_map_shows_why(opened):
    page = opened()
    page.ranked()
    button = page.find("#after .actions button")
    frame = page.explained()

    assert button.text.startswith("Why?")
    assert button.get_attribute("aria-expanded") == "true"
    assert frame.get_attribute("sandbox") == ""
    assert frame.rect["height"] > 200
    with page.inside(frame):
        assert [mark.text for mark in page.all("mark")] == ["when", "sleep", "cats", "do"]
        page.find("a.lr-word").click()  # a place in the frame, not on the page
        assert page.all("mark:target") == [page.find("mark")]
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
    with page.inside(page.explained()):  # loaded: scripts have had their turn, and handlers of images that can't be
        assert page.find("#there").value_of_css_property("color") == "rgba(255, 0, 0, 1)"
        assert len(page.all("script, img")) == 2
    page.log()  # there the browser may say what it stopped

    assert page.run("return window.ran") is None


def test_the_heat_map_is_dark_where_the_page_is(opened):
    page = opened(seen="dark")
    page.ranked()
    with page.inside(page.explained()):
        behind = page.run("return getComputedStyle(document.body).backgroundColor")
    assert all(int(part) < 60 for part in re.findall(r"\d+", behind)[:3])
