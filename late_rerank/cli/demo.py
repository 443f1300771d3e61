"""`late-rerank demo`: search and reranking on text that every machine has."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import add_json

if TYPE_CHECKING:
    import rich.console
    from rich.text import Text

    from late_rerank import RankedDocument, Ranking, Reranker
    from late_rerank.cli.excerpts import MarkedText

QUESTIONS = (
    "make a temporary folder that deletes itself",
    "end a program if it takes too long",
    "a queue that gives the smallest item first",
    "escape text for a web page",
    "sort a list so that it stays sorted when I add something",
)
_K = 50
_IN_JSON = 5

# Lines above the first width are hard to read; those below the second hold too little of a passage.
_WIDEST, _NARROWEST = 100, 40
_INDENT = 12
# Characters of the best passage, lines of them at most, and the least room for some of the other passage.
_EXCERPT, _MOST_LINES, _LEAST_ROOM = 136, 3, 16
_NEXT = (
    ('late-rerank search FOLDER "QUESTION" --store vectors', "keeps the vectors"),
    ("late-rerank eval BEIR_FOLDER", "does it help there?"),
    ("late-rerank serve --store vectors", "for other programs"),
)


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "demo",
        help="five questions about Python, answered from its own documentation",
        description="Search the docstrings of Python's standard library. For each question, show the best passage after "
        "reranking with its matching words marked, and BM25's first; then what it cost. The questions are chosen: they use "
        "other words than the docstrings, which is where reranking helps most.",
    )
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Search twice: with an empty store, then with a full one."""
    from late_rerank import Reranker, Searcher
    from late_rerank.cli.results import print_json
    from late_rerank.cli.terminal import shown_console
    from late_rerank.corpus.standard_library import read_standard_library
    from late_rerank.retrieve import BM25Retriever

    console = shown_console(highlight=False)
    console.quiet = options.json
    started = time.perf_counter()
    retriever = BM25Retriever(read_standard_library())
    console.print(_beginning(console, len(retriever.documents), time.perf_counter() - started))
    with Reranker() as reranker:
        searcher = Searcher(retriever, reranker, k=_K)
        cold = []
        for number, question in enumerate(QUESTIONS, start=1):
            with console.status(f"question {number} of {len(QUESTIONS)}: encoding {_K} passages"):
                cold.append(searcher.search(question, top_k=None))
            console.print(_answer(console, reranker, question, cold[-1]))
        warm = [searcher.search(question, top_k=None) for question in QUESTIONS]
        stats = reranker.stats()
    console.print(_end(console, cold, warm, stats))
    if options.json:
        print_json(_json(len(retriever.documents), cold, warm, stats))


def _beginning(console: rich.console.Console, n_documents: int, seconds: float) -> Text:
    from rich.text import Text

    from late_rerank.cli.excerpts import STYLES

    marked = ("marked", STYLES["well"]) if console.color_system else "in [brackets]"
    return Text.assemble(
        f"{n_documents:,} docstrings of Python's standard library, indexed by BM25 in {seconds:.1f} s.\n"
        f"late-rerank reorders the {_K} that BM25 finds. Words that match are ",
        marked,
        ".\n",
    )


def _answer(console: rich.console.Console, reranker: Reranker, question: str, ranking: Ranking) -> Text:
    """Show a question, the best passage after reranking, and below it the passage that BM25 had first."""
    from rich.text import Text

    best, before = ranking[0], min(ranking, key=lambda document: document.index)
    width = max(min(console.width, _WIDEST), _NARROWEST) - _INDENT
    first, *more = _best(console, reranker, question, best, width)
    below = [] if best is before else [_in_a_line(console, reranker, question, before, width)]
    lines = [
        Text(question, style="bold"),
        Text.assemble((f"  {'reranked':{_INDENT - 2}}", "dim"), first),
        *(Text(" " * _INDENT).append_text(line) for line in more),
        *(Text.assemble((f"  {'BM25':{_INDENT - 2}}", "dim"), line) for line in below),
    ]
    return Text("\n").join([*lines, Text()])


def _best(console: rich.console.Console, reranker: Reranker, question: str, document: RankedDocument, width: int) -> list[Text]:
    """Show a passage's name and BM25's place for it, and below them the part that matches best."""
    from late_rerank.cli.excerpts import excerpt

    name, text = _parts(reranker, question, document)
    place = f"  up from BM25's no. {document.index + 1}" if document.index else "  BM25's first too"
    if len(name.text) + len(place) > width:
        place = f"  was {document.index + 1}"
    heading = _name(console, name, width - len(place), "bold").append(place, "dim")
    return [heading, *excerpt(console, text, width=width, n_lines=min(-(-_EXCERPT // width), _MOST_LINES))]


def _in_a_line(console: rich.console.Console, reranker: Reranker, question: str, document: RankedDocument, width: int) -> Text:
    """Show a passage's name, and behind it what has room of the part that matches best."""
    from late_rerank.cli.excerpts import excerpt

    name, text = _parts(reranker, question, document)
    line = _name(console, name, width, "dim")
    room = width - len(line) - 2
    found = excerpt(console, text, width=room, n_lines=1, style="dim") if room >= _LEAST_ROOM else []
    return line.append(": ", "dim").append_text(found[0]) if found else line


def _parts(reranker: Reranker, question: str, document: RankedDocument) -> tuple[MarkedText, MarkedText]:
    """Give a passage's name and the rest of its text: each docstring has its name before it."""
    from late_rerank import explain
    from late_rerank.cli.excerpts import marked_text

    return marked_text(explain(reranker, question, document.text)).split(len(f"{document.id}:"))


def _name(console: rich.console.Console, name: MarkedText, width: int, style: str) -> Text:
    from late_rerank.cli.excerpts import styled

    line = styled(console, name, style)
    line.right_crop(1)  # its colon
    line.truncate(width, overflow="ellipsis")
    return line


def _end(console: rich.console.Console, cold: Sequence[Ranking], warm: Sequence[Ranking], stats: dict[str, Any]) -> Text:
    """Show what a search cost, and what to type next."""
    from rich.text import Text

    cost = (
        f"A search: {_median(cold):,.0f} ms at first, {_median(warm):,.0f} ms with vectors stored "
        f"({stats['n_documents']} passages, {stats['size_bytes'] / 1e6:.1f} MB)."
    )
    widest = max(len(command) for command, _ in _NEXT) + 2
    is_wide = console.width >= 2 + widest + max(len(why) for _, why in _NEXT)
    commands = (
        Text.assemble("  ", (f"{command:{widest}}", "bold"), (why, "dim")) if is_wide else Text(f"  {command}", style="bold")
        for command, why in _NEXT
    )
    return Text("\n").join([Text(cost), Text(), Text("Next, with files of your own:"), *commands])


def _median(rankings: Sequence[Ranking]) -> float:
    return sorted(ranking.timings_ms["total"] for ranking in rankings)[len(rankings) // 2]


def _json(n_documents: int, cold: Sequence[Ranking], warm: Sequence[Ranking], stats: dict[str, Any]) -> dict[str, Any]:
    """Give for each question the JSON of `search` with an empty store, and the place and the costs that the text shows."""
    from late_rerank.cli.results import ranking_json

    questions = []
    for question, first, again in zip(QUESTIONS, cold, warm, strict=True):
        found = ranking_json(question, stats["model"], _K, first[:_IN_JSON])
        bm25 = sorted(first, key=lambda document: document.index)[:_IN_JSON]
        repeated = ranking_json(question, stats["model"], _K, again)
        questions.append(
            {
                **found,
                "first_stage": [document.id for document in bm25],
                "again": {key: repeated[key] for key in ("timings_ms", "store")},
            }
        )
    return {
        "n_documents": n_documents,
        "kernel": stats["kernel"],
        "questions": questions,
        "store": {"n_documents": stats["n_documents"], "size_bytes": stats["size_bytes"]},
    }
