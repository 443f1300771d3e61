"""PDF files for tests, made by reportlab: text, tables, scans, pages of any size and rotation; encrypted and damaged ones."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import pytest

A4 = (595.28, 841.89)
LANDSCAPE = (841.89, 595.28)
HUGE = (14400, 14400)  # points: the largest that PDF allows, 5 metres
WITHOUT_PAGES = (
    b"%PDF-1.7\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Count 0/Kids[]>>\nendobj\nxref\n0 3\n"
    b"0000000000 65535 f \n0000000009 00000 n \n0000000054 00000 n \ntrailer\n<</Root 1 0 R/Size 3>>\nstartxref\n102\n%%EOF\n"
)


class Page(NamedTuple):
    """A page to make.

    Attributes:
        lines: One below another, from the top left. With `cells`, each is a row of a table, its cells parted by "|".
        size: Width and height in points, before the page is turned.
        rotation: By which a viewer turns the page, clockwise.
        kind: "text"; "scan", an image of the lines without a text layer; "table"; or "form", whose lines are filled fields.
        font: "Helvetica", or "DejaVu" for other scripts (needs matplotlib, which brings the font).
    """

    lines: Sequence[str] = ()
    size: tuple[float, float] = A4
    rotation: int = 0
    kind: str = "text"
    font: str = "Helvetica"


def make_pdf(*pages: Page | Sequence[str], password: str | None = None) -> bytes:
    """Make the bytes of a PDF file.

    Args:
        pages: Pages, or the lines of each.
        password: Which a reader must give.
    """
    pytest.importorskip("reportlab", reason="needs reportlab: pip install reportlab")
    from reportlab.pdfgen.canvas import Canvas

    file = io.BytesIO()
    canvas = Canvas(file, encrypt=password)
    for given in pages:
        page = given if isinstance(given, Page) else Page(given)
        # reportlab takes the size as it is shown.
        canvas.setPageSize(page.size if page.rotation in (0, 180) else page.size[::-1])
        canvas.setPageRotation(page.rotation)
        canvas.setFont(_font(page.font), 12)
        _DRAW[page.kind](canvas, page)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def scanned(lines: Sequence[str], width: int = 1240, height: int = 1754):
    """Draw lines as a scanner sees them: a Pillow image on paper that isn't quite white."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), (250, 248, 240))
    for i, line in enumerate(lines):
        ImageDraw.Draw(image).text((100, 80 + 26 * i), line, fill=(40, 40, 40))
    return image


def _text(canvas, page):
    for i, line in enumerate(page.lines):
        canvas.drawString(72, page.size[1] - 72 - 16 * i, line)


def _scan(canvas, page):
    from reportlab.lib.utils import ImageReader

    canvas.drawImage(ImageReader(scanned(page.lines)), 0, 0, *page.size)


def _table(canvas, page):
    for row, line in enumerate(page.lines):
        for column, cell in enumerate(line.split("|")):
            x, y = 72 + 110 * column, page.size[1] - 96 - 24 * row
            canvas.rect(x, y, 110, 24)
            canvas.drawString(x + 6, y + 7, cell)


def _form(canvas, page):
    for i, line in enumerate(page.lines):
        canvas.acroForm.textfield(name=f"field{i}", value=line, x=72, y=page.size[1] - 100 - 40 * i, width=300, height=20)


_DRAW = {"text": _text, "scan": _scan, "table": _table, "form": _form}


def _font(name: str) -> str:
    if name == "DejaVu":
        matplotlib = pytest.importorskip("matplotlib", reason="needs a font for other scripts: pip install matplotlib")
        from reportlab.pdfbase import pdfmetrics, ttfonts

        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(ttfonts.TTFont(name, f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"))
    return name
