"""The picture at the top of README.md: one question, before and after, by the built-in model.

`make docs` writes it, one SVG for light pages and one for dark ones.
"""

from html import escape
from pathlib import Path

from late_rerank import Reranker, explain
from late_rerank.retrieve import BM25Retriever

FOLDER = Path(__file__).parent
QUERY = "Do I get money back for a broken laptop?"
DOCUMENTS = [
    "Laptops come home from repair within ten days.",
    "Your money is safe: we never keep card numbers.",
    "A full refund is paid for a damaged computer.",
    "Report broken links on our pages here.",
    "Delivery takes two to four days.",
]
ANSWER = DOCUMENTS[2]
# Shorter words of the question match too. They would tell a reader nothing.
SHORTEST = 4
WIDTH, MARGIN = 720, 28
SCHEMES = {
    "light": {
        "back": "#ffffff",
        "card": "#f6f8fa",
        "line": "#d1d9e0",
        "text": "#1f2328",
        "quiet": "#59636e",
        "mark": "#0550ae",
    },
    "dark": {"back": "#0d1117", "card": "#151b23", "line": "#3d444d", "text": "#f0f6fc", "quiet": "#9198a1", "mark": "#79c0ff"},
}
_FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"


def paths() -> dict[str, Path]:
    return {scheme: FOLDER / f"before-after-{scheme}.svg" for scheme in SCHEMES}


def pictures() -> dict[str, str]:
    """The SVG of each colour scheme. ONNX Runtime runs the model, in float32, so that every machine draws the same."""
    with Reranker(backend="onnx") as reranker:
        found = BM25Retriever(DOCUMENTS).retrieve(QUERY)
        ranked = reranker.rerank(QUERY, found)
        explained = explain(reranker, QUERY, ranked[0].text)
    pairs = [(match.word.text, match.place.text) for match in explained.words if match.matched != "not at all" and match.place]
    pairs = [pair for pair in pairs if len(pair[0]) >= SHORTEST]
    before = [document.text for document in found]
    after = [(document.text, document.relevance) for document in ranked]
    return {scheme: _svg(before, after, pairs, colours) for scheme, colours in SCHEMES.items()}


def _svg(before: list[str], after: list[tuple[str, float]], pairs: list[tuple[str, str]], colours: dict[str, str]) -> str:
    place = before.index(ANSWER) + 1
    drawn = _Drawing(colours)
    drawn.line(_marked(QUERY, [asked for asked, _ in pairs]), size=25, weight=600, after=18)
    drawn.label(f"BM25 looks for the same words: the answer is number {place}")
    drawn.card([(str(i), escape(text), "", text == ANSWER) for i, text in enumerate(before[:place], 1)])
    drawn.label("late-rerank looks for the same meaning: the answer is number 1")
    rows = [
        (str(i), _marked(text, [met for _, met in pairs] if text == ANSWER else []), f"{relevance:.2f}", text == ANSWER)
        for i, (text, relevance) in enumerate(after[:3], 1)
    ]
    drawn.card(rows)
    told = "   ".join(f"{escape(asked)} → {escape(met)}" for asked, met in pairs)
    drawn.line(told, size=17, fill="mark", after=6)
    return drawn.finished(f"{QUERY} BM25 puts the answer at {place}, late-rerank at 1.")


def _marked(text: str, words: list[str]) -> str:
    """The text with each of these words marked once: bold and underlined, so that colour isn't all that tells."""
    pieces = text.split(" ")
    left = list(words)
    for i, piece in enumerate(pieces):
        bare = piece.rstrip(".?:,")
        if bare in left:
            left.remove(bare)
            pieces[i] = f'<tspan class="mark">{escape(bare)}</tspan>{escape(piece[len(bare) :])}'
        else:
            pieces[i] = escape(piece)
    return " ".join(pieces)


class _Drawing:
    """Lines of text and cards, from top to bottom."""

    def __init__(self, colours: dict[str, str]):
        self._colours = colours
        self._y = MARGIN
        self._parts: list[str] = []

    def line(self, text: str, *, size: int, weight: int = 400, fill: str = "text", after: int = 0) -> None:
        self._y += size
        self._parts.append(self._text(MARGIN, self._y, text, size, weight, fill))
        self._y += after

    def label(self, text: str) -> None:
        self._y += 8
        self.line(escape(text), size=17, fill="quiet", after=12)

    def card(self, rows: list[tuple[str, str, str, bool]]) -> None:
        step = 38
        height = step * len(rows) + 14
        colours = self._colours
        self._parts.append(
            f'<rect x="{MARGIN}" y="{self._y}" width="{WIDTH - 2 * MARGIN}" height="{height}" rx="8" '
            f'fill="{colours["card"]}" stroke="{colours["line"]}"/>'
        )
        for i, (rank, text, figure, is_answer) in enumerate(rows):
            y = self._y + 7 + step * i + 26
            fill, weight = ("text", 600) if is_answer else ("quiet", 400)
            self._parts.append(self._text(MARGIN + 16, y, rank, 20, weight, fill))
            self._parts.append(self._text(MARGIN + 48, y, text, 20, weight, fill))
            if figure:
                self._parts.append(self._text(WIDTH - MARGIN - 16, y, figure, 20, weight, fill, ' text-anchor="end"'))
        self._y += height + 10

    def finished(self, title: str) -> str:
        height = self._y + MARGIN - 8
        mark = f"fill: {self._colours['mark']}; font-weight: 700; text-decoration: underline;"
        size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
                f"<title>{escape(title)}</title>",
                f"<style>text {{ font-family: {_FONT}; }} .mark {{ {mark} }}</style>",
                f'<rect width="{WIDTH}" height="{height}" rx="12" fill="{self._colours["back"]}"/>',
                *self._parts,
                "</svg>",
                "",
            ]
        )

    def _text(self, x: int, y: int, text: str, size: int, weight: int, fill: str, more: str = "") -> str:
        return (
            f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{self._colours[fill]}" '
            f'xml:space="preserve"{more}>{text}</text>'
        )


def write() -> None:
    for scheme, drawn in pictures().items():
        paths()[scheme].write_text(drawn, encoding="utf-8")
