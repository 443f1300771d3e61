"""`late-rerank explain`: which words of a query a text or a page matches, and where."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import add_encoding, add_json, add_revision, add_scoring, at_least_one, blank_refused
from late_rerank.cli.query_encoders import add_query_encoder

if TYPE_CHECKING:
    from rich.text import Text

    from late_rerank import Candidate
    from late_rerank.explanation import Explanation, PageExplanation

_STYLES = {"well": "bold reverse", "weakly": "underline", "not at all": "dim italic"}
# Of a longer text only the parts around matches are shown.
_WHOLE = 2000
_AROUND = 120
# Of the best passage only so much of both ends is shown.
_ENDS = 60


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "explain",
        help="show which words of a query a text or a page matches, and where",
        description="Show the best match of each word of the query in a text, or on a page if the model sees pages. The "
        "document is encoded anew; no store is read.",
    )
    command.add_argument("query", metavar="QUERY", type=blank_refused, help="what the document should answer")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", metavar="T", help="the text")
    source.add_argument(
        "--file", metavar="F", help="a file: text, - for stdin; a PDF file; an image, for a model that sees pages"
    )
    add_encoding(command)
    command.add_argument("--page", type=at_least_one, metavar="N", help="which page of a PDF file, from 1")
    command.add_argument("--html", metavar="OUT", help="write an HTML page that needs nothing else, instead of printing")
    command.add_argument("--png", metavar="OUT", help="write the page with its matches drawn on it, instead of printing")
    command.add_argument(
        "--model", default="minilm", help='"minilm" or "minilm-late" (built in), a folder, or a hub name (default: minilm)'
    )
    add_revision(command)
    add_query_encoder(command)
    add_scoring(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, explain, print or write."""
    from late_rerank import Reranker, explain
    from late_rerank.cli.results import print_json

    document = _read_document(options)
    with Reranker(options.model, scoring=options.scoring, query_encoder=options.query_encoder) as reranker:
        explanation = explain(reranker, options.query, document)
    _write(explanation, options)
    if options.json:
        print_json(explanation.to_dict(similarity=False))
    elif options.html is None and options.png is None:
        _show(explanation, options)


def _read_document(options: argparse.Namespace) -> str | Candidate:
    """Read the document: a text, or a Candidate with a picture, and with a PDF page's text for a model of texts.

    Raises:
        ValueError: If --page doesn't fit, or the file can't be read as what its name says.
    """
    from late_rerank import Candidate
    from late_rerank.corpus.folders import IMAGES

    kind = "" if options.file in (None, "-") else Path(options.file).suffix.lower()
    if kind == ".pdf":
        return _pdf_page(options.file, options.page)
    if options.page is not None:
        raise ValueError(f"--page {options.page} is for a PDF file, got {options.file or 'a text'}")
    if kind in IMAGES:
        return Candidate(image=options.file)
    return options.text if options.file is None else _read(options.file, options.encoding)


def _pdf_page(file: str, number: int | None) -> Candidate:
    from late_rerank import Candidate
    from late_rerank.pictures import PdfPage, open_pdf

    with open_pdf(file) as pdf:
        if number is None and pdf.n_pages > 1:
            raise ValueError(f"{file} has {pdf.n_pages:,} pages: choose one by --page, from 1")
        number = number or 1
        return Candidate(pdf.text(number), image=PdfPage(file, number))


def _read(file: str, encoding: str | None) -> str:
    """Read the text as it is, line ends too, since places are counted in it."""
    from late_rerank.cli.documents import tell_encodings
    from late_rerank.corpus.decoding import decode
    from late_rerank.corpus.folders import HTML

    if file == "-" and sys.stdin is None:
        raise ValueError("stdin is closed; name a file")
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        read = decode(content, encoding=encoding, html=Path(file).suffix.lower() in HTML)
    except ValueError as error:
        raise ValueError(f"{file} is {error}; or pass --text") from error
    if read.encoding not in ("utf-8", "utf-8-sig"):
        tell_encodings({file: read.encoding})
    return read.text


def _write(explanation: Explanation | PageExplanation, options: argparse.Namespace) -> None:
    """Write the files that are asked for, and name them on stderr.

    Raises:
        ValueError: If a PNG of a text is asked for.
    """
    from late_rerank.explanation import Explanation

    if options.png is not None:
        if isinstance(explanation, Explanation):
            raise ValueError(
                f"--png draws on a page, but {explanation.model} reads text: use --html, or a model that sees pages"
            )
        Path(options.png).write_bytes(explanation.to_png())
        print(f"wrote {options.png}", file=sys.stderr)
    if options.html is not None:
        Path(options.html).write_text(explanation.to_html(), encoding="utf-8", newline="\n")
        print(f"wrote {options.html}", file=sys.stderr)


def _show(explanation: Explanation | PageExplanation, options: argparse.Namespace) -> None:
    from late_rerank.explanation import Explanation

    if isinstance(explanation, Explanation):
        _print(explanation)
        return
    from late_rerank.cli.explain_page import print_page

    is_pdf = Path(options.file).suffix.lower() == ".pdf"
    print_page(explanation, f"{options.file}, page {options.page or 1}" if is_pdf else options.file)


def _print(explanation: Explanation) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from late_rerank.cli.terminal import shown_console
    from late_rerank.text.shown import around, shown

    console = shown_console(highlight=False)
    console.print(Text.assemble(("query     ", "dim"), _query(explanation)))
    console.print(Text.assemble(("score     ", "dim"), f"{explanation.score:.2f}"))
    if explanation.best_span is not None:
        console.print(Text.assemble(("passage   ", "dim"), _passage(explanation.text, *explanation.best_span)))
    console.print(Text.assemble(("unmatched ", "dim"), shown(", ".join(explanation.unmatched)) or "none"), "")
    console.print(_document(explanation), "")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "word", "similarity", "", "best match", "at"):
        table.add_column(name, justify="right" if name in ("", "at", "similarity") else "left")
    table.columns[3].justify = "left"
    for match in explanation.words:
        place = match.place
        pieces = ("", "", "") if place is None else around(explanation.text, place.start, place.end, 20)
        best = Text.assemble(pieces[0], (pieces[1], _STYLES[match.matched]), pieces[2])
        where = "" if place is None else str(place.start)
        word = Text(shown(match.word.text))
        table.add_row(str(match.number), word, f"{match.similarity:.2f}", match.matched, best, where)
    console.print(table)
    console.print(Text("\n".join(_notes(explanation)), style="dim"))


def _query(explanation: Explanation) -> Text:
    """Show the query, each word numbered and styled by how well it is matched."""
    pieces = [(m.word.start, m.word.end, _STYLES[m.matched], f"[{m.number}]") for m in explanation.words]
    return _marked(explanation.query, pieces, whole=True)


def _passage(text: str, start: int, end: int) -> str:
    """Name the best passage: its place, its first words and its last words."""
    from late_rerank.text.shown import around, one_line

    if (start, end) == (0, len(text)):
        return "the whole text"
    passage = one_line(text[start:end]).strip()
    if len(passage) > 2 * _ENDS:
        passage = around(passage, 0, 0, _ENDS)[2] + around(passage, len(passage), len(passage), _ENDS)[0].removeprefix("…")
    return f"{start} to {end}: {passage}"


def _document(explanation: Explanation) -> Text:
    from late_rerank.explanation.matches import matched

    pieces = [(s.start, s.end, _STYLES[matched(s.similarity)], f"[{','.join(map(str, s.words))}]") for s in explanation.spans]
    return _marked(explanation.text, pieces, whole=len(explanation.text) <= _WHOLE)


def _marked(text: str, pieces: list[tuple[int, int, str, str]], *, whole: bool) -> Text:
    """Mark pieces (start, end, style, number) of a text; unless `whole`, leave out text far from all pieces."""
    from rich.text import Text

    from late_rerank.text.shown import first_characters, shown

    marked, last = Text(), 0
    for start, end, style, number in pieces:
        marked.append(shown(_shortened(text[last:start], whole=whole, first=last == 0)))
        marked.append(shown(text[start:end]), style)
        marked.append(number, "dim")
        last = end
    rest = text[last:]
    marked.append(shown(rest if whole or len(rest) <= _AROUND else f"{first_characters(rest, _AROUND)} …"))
    return marked


def _shortened(gap: str, *, whole: bool, first: bool) -> str:
    """Shorten the text between two matches, or before the first."""
    if whole or len(gap) <= 2 * _AROUND:
        return gap
    from late_rerank.text.shown import first_characters, last_characters

    ending = f"… {last_characters(gap, _AROUND)}"
    return ending if first else f"{first_characters(gap, _AROUND)} {ending}"


def _notes(explanation: Explanation) -> list[str]:
    notes = ["encoded anew for this view: the ranking's score may differ by the codec's rounding"]
    if explanation.windows:
        notes.append(
            f"scoring {explanation.scoring}: the score counts matches in the best windows; similarities are of the whole text"
        )
    if explanation.pooled:
        notes[0] = "the model pools its tokens; this is the same model before pooling, so the score is not the ranking's"
    if explanation.query_truncated:
        notes.append("the query is longer than the model takes and was cut")
    return notes
