"""What the page must not run, and where it must not ask."""

import pytest

EVIL = (
    '<script>window.ran = 1</script> <img src=x onerror="window.ran = 2"> </style></textarea></div></iframe> '
    '"><svg onload=window.ran=3> <a href="javascript:window.ran=4">cats</a> &lt;b&gt; &amp; <!-- ]]> {{7*7}} ${7*7}'
)


def test_nothing_of_a_document_or_a_question_runs(opened, tmp_path):
    file = tmp_path / "<img src=x onerror=window.ran=5>.md"
    file.write_text(EVIL, encoding="utf-8")
    page = opened()
    page.ranked(f"{EVIL} cats", [EVIL, "cats", f"{EVIL} cats"])
    before = page.run("return document.querySelectorAll('script, img, svg, a, iframe').length")
    page.packed(500)
    with page.inside(page.explained()):
        assert page.all("script, img, svg, iframe, a[href^=javascript]") == []

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
    image = """new Promise(go => {
      document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.ran = 1">');
      document.body.lastElementChild.addEventListener('error', go); // called after the handler of the attribute
    })"""
    page.settled(f"{image}.then(() => true)")
    page.wait(lambda: "violates the following Content Security Policy" in str(page.log()))
    assert page.run("return window.ran") is None


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
