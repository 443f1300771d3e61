"""Real manuals, as Debian ships them: the commands answer with the right pages."""

import json
from pathlib import Path

import pytest
from pdfs import Page, make_pdf

from late_rerank.cli import main

MANUALS = {
    "/usr/share/R/doc/manual/R-FAQ.pdf": "r-doc-pdf",
    "/usr/share/doc/libtasn1-doc/libtasn1.pdf": "libtasn1-doc",
    "/usr/share/doc/gnuplot/gnuplot.pdf": "gnuplot-doc",
}
# A question, and words of its answer that stand on one page. By hand: pages 43, 12 and 21 in Debian 12.
QUESTIONS = [
    ("R-FAQ", "why are p-values not displayed when using lmer?", "Doug Bates has kindly"),
    ("libtasn1", "how do I delete an ASN.1 structure and set the pointer to NULL?", "Deletes the structure"),
    ("gnuplot", "may I distribute binaries produced by compiling modified sources?", "Permission to distribute binaries"),
]


def manual(name):
    pytest.importorskip("pypdfium2", reason='needs pypdfium2: pip install "late-rerank[pdf]"')
    path, package = next(each for each in MANUALS.items() if Path(each[0]).stem == name)
    if not Path(path).is_file():
        pytest.skip(f"needs {path}: apt-get install {package}")
    return path


def page_with(path, words):
    """Find the page that holds these words with PDFium itself."""
    import pypdfium2

    with pypdfium2.PdfDocument(path) as document:
        texts = [document[n].get_textpage().get_text_range() for n in range(len(document))]
    (page,) = (number for number, text in enumerate(texts, start=1) if words in text)
    return page


@pytest.mark.parametrize(("name", "question", "words"), QUESTIONS, ids=[name for name, *_ in QUESTIONS])
def test_a_search_finds_the_page_that_answers(minilm, capsys, name, question, words):
    path = manual(name)
    page = page_with(path, words)
    assert main(["search", path, question, "--k", "15", "--top-k", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"  1.  {name}.pdf, page {page}  score")
    assert err == ""


def test_a_context_cites_the_page(minilm, capsys):
    name, question, words = QUESTIONS[0]
    path = manual(name)
    assert main(["context", path, question, "--k", "5", "--budget-tokens", "300", "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert (f"{name}.pdf", page_with(path, words)) in [(part["path"], part["page"]) for part in parts]


@pytest.mark.slow("splits 2,415 pages: 12 s")
def test_a_manual_of_two_thousand_pages_is_read_in_bounded_memory():
    # Resident memory: tracemalloc would not see what PDFium holds.
    from late_rerank.corpus import CorpusStream

    path = Path(manual("R-FAQ")).with_name("fullrefman.pdf")
    sizes, stream = [], CorpusStream(path)
    for n, document in enumerate(stream):
        if n % 300 == 0:
            sizes.append((document.metadata["page"], resident_bytes()))
    assert sizes[-1][0] > 2000
    after_a_few_hundred_pages = next(size for page, size in sizes if page > 300)
    assert sizes[-1][1] - after_a_few_hundred_pages < 40e6
    assert stream.n_bytes_read == stream.size_bytes
    assert stream.skipped == []


def test_a_folder_of_good_and_bad_files_is_searched_and_the_bad_ones_told(minilm, capsys, tmp_path):
    pytest.importorskip("pypdfium2", reason='needs pypdfium2: pip install "late-rerank[pdf]"')
    whole = make_pdf(["The pump is cleaned with vinegar every month."], Page(["a scan"], kind="scan"))
    files = {"whole": whole, "cut": whole[:400], "empty": b"", "locked": make_pdf(["secret"], password="pw")}
    for name, content in files.items():
        (tmp_path / f"{name}.pdf").write_bytes(content)
    assert main(["search", str(tmp_path), "how often must the pump be cleaned?"]) == 0
    out, err = capsys.readouterr()
    assert "whole.pdf, page 1  score" in out
    assert [line.split(": ")[1].split(":")[0] for line in err.splitlines()] == [
        "no whole PDF file",
        "empty",
        "encrypted",
        "page 2 has no text, as scans have none",
    ]


def resident_bytes():
    """Read how much memory this process holds."""
    import resource

    statm = Path("/proc/self/statm")
    if not statm.is_file():
        pytest.skip("needs /proc")
    return int(statm.read_text().split()[1]) * resource.getpagesize()
