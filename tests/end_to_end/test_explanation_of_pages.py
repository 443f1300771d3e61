"""Explanations of pages with tiny checkpoints of page-image models, and by command."""

import json
from copy import copy, deepcopy

import numpy as np
import pytest
import visual_checkpoints
from pdfs import Page, make_pdf
from PIL import Image, ImageDraw

from late_rerank import Reranker, explain
from late_rerank.cli import main
from late_rerank.encode import as_encoder
from late_rerank.pictures import ImagePicture, PdfPage

QUERY = "total of the invoice?"
SIZES = ((420, 594), (594, 420), (300, 900))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of NeoMME's family."""
    return visual_checkpoints.neomme(tmp_path_factory.mktemp("visual") / "neomme")


@pytest.fixture(scope="module", params=["colsmol", "neomme", "colpali", "qwen2_5"])
def encoder(request, tmp_path_factory):
    made = visual_checkpoints.FAMILIES[request.param](tmp_path_factory.mktemp("visual") / request.param)
    return as_encoder(made, "auto", "cpu", 1)


@pytest.fixture
def report(tmp_path):
    file = tmp_path / "report.pdf"
    file.write_bytes(make_pdf(["Annual report", "Total profit: 12 EUR"], Page(["A scan"], kind="scan")))
    return file


def page(size, dot=None):
    image = Image.new("RGB", size, "white")
    if dot is not None:
        ImageDraw.Draw(image).ellipse([dot[0] - 4, dot[1] - 4, dot[0] + 4, dot[1] + 4], fill="black")
    return ImagePicture(image)


def without_layers(encoder):
    """The same encoder, whose patches don't see each other. It encodes queries as before: padding alone would be all zeros."""
    from torch.nn import ModuleList

    flat = copy(encoder)
    flat._model = copy(encoder._model)
    flat._model.model = deepcopy(encoder._model.model)
    for module in list(flat._model.model.modules()):
        for name in ("layers", "blocks"):
            if isinstance(getattr(module, name, None), ModuleList):
                setattr(module, name, ModuleList())
    flat.encode_query = encoder.encode_query
    return flat


def test_its_score_is_the_rankings_and_its_contributions_sum_to_it(encoder):
    for scoring in (None, "proximity"):
        reranker = Reranker(encoder, codec="float32", scoring=scoring)
        picture = page((420, 594), (100, 300))
        explanation = explain(reranker, QUERY, picture)

        assert explanation.score == pytest.approx(reranker.rerank(QUERY, [picture])[0].score, abs=1e-4)
        assert float(explanation.contributions.sum()) == explanation.score
        assert explanation.similarity.shape == (len(explanation.query_tokens), len(explanation.patches))
        assert 0 <= explanation.share_outside <= 1
        assert [match.word.text for match in explanation.words] == ["total", "of", "the", "invoice"]


def test_what_a_dot_changes_most_is_a_match_whose_box_holds_it(encoder):
    """Random weights see no meaning, but without layers each patch is seen alone: a dot changes its own patch's matches."""
    reranker, random = Reranker(without_layers(encoder), codec="float32"), np.random.default_rng(1)
    for width, height in SIZES:
        white = explain(reranker, QUERY, page((width, height)))
        for _ in range(5):
            x, y = int(random.integers(12, width - 12)), int(random.integers(12, height - 12))
            dotted = explain(reranker, QUERY, page((width, height), (x, y)))
            left, top, right, bottom = dotted.patches[int(np.abs(dotted.similarity - white.similarity).max(axis=0).argmax())]

            # Where a page is resized, a patch beside the dot sees a part of it.
            assert left - 0.04 <= x / width <= right + 0.04
            assert top - 0.04 <= y / height <= bottom + 0.04


def test_a_pooling_model_is_explained_before_pooling(folder, report):
    plain, pooling = (Reranker(as_encoder(folder, "auto", "cpu", n), codec="float32") for n in (1, 2))
    explanation, expected = (explain(reranker, QUERY, PdfPage(report, 1)) for reranker in (pooling, plain))

    assert (explanation.pooled, expected.pooled) == (True, False)
    assert explanation.score == pytest.approx(expected.score, abs=1e-4)
    assert explanation.patches == expected.patches
    assert len(pooling.encoder.encode_document([PdfPage(report, 1)]).values) < len(explanation.patches)


def test_the_command_prints_words_places_and_what_is_written_there(folder, report, capsys):
    assert main(["explain", "total profit \x1b[31m", "--file", str(report), "--page", "1", "--model", str(folder)]) == 0
    out = capsys.readouterr().out

    assert f"page      {report}, page 1" in out.replace("\n", "")
    assert "% of the score fell on vectors that see no part of the page" in out
    assert "words near it" in out
    assert "profit" in out
    assert "no quotation" in out.replace("\n", " ")
    assert "\x1b" not in out


def test_the_command_writes_a_page_and_a_picture_and_prints_json(folder, report, tmp_path, capsys):
    html, png = tmp_path / "page.html", tmp_path / "page.png"
    arguments = ["explain", QUERY, "--file", str(report), "--page", "2", "--model", str(folder)]
    assert main([*arguments, "--html", str(html), "--png", str(png)]) == 0
    assert capsys.readouterr().out == ""
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert html.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert html.stat().st_size < 600_000
    with Image.open(png) as image:
        assert max(image.size) == 1400
    assert [word["text"] for word in told["words"]] == ["total", "of", "the", "invoice"]
    assert all(word["near"] == [] for word in told["words"])  # a scan
    assert main(["explain", QUERY, "--file", str(png), "--model", str(folder)]) == 0
    assert "the picture has no text layer" in capsys.readouterr().out


def test_a_model_of_texts_explains_the_text_of_a_page(minilm, report, capsys):
    assert main(["explain", "total profit", "--file", str(report), "--page", "1"]) == 0
    assert "Total[1] profit[2]: 12 EUR" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--file", "{report}"], "has 2 pages: choose one by --page, from 1"),
        (["--file", "{report}", "--page", "3"], "has 2 pages, so that there is no page 3"),
        (["--text", "cats", "--page", "3"], "--page 3 is for a PDF file, got a text"),
        (["--file", "{report}", "--page", "2"], "sees no images"),
        (["--file", "scan.png"], "sees no images"),
        (["--text", "cats", "--png", "out.png"], "--png draws on a page, but"),
    ],
)
def test_the_command_says_what_does_not_fit(tiny, report, arguments, said, capsys):
    given = [argument.format(report=report) for argument in arguments]
    assert main(["explain", "cats", *given, *tiny[:2]]) == 1
    assert said in capsys.readouterr().err
