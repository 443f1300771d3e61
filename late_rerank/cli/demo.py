"""`late-rerank demo`: search and reranking on text that every machine has."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from late_rerank import Ranking

QUESTIONS = (
    "remember results of a slow function so it is not computed twice",
    "make a temporary file that deletes itself",
    "stop a program if it takes too long",
    "wait until several threads have all reached the same point",
    "how to ask for a password without showing it on screen",
)
_SHOWN = 4


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "demo",
        help="five questions about Python, answered from its own documentation",
        description="Search the docstrings of Python's standard library: BM25's order, the reranked one, and what it cost.",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:  # noqa: ARG001 - every command has this shape
    """Search twice: with an empty store, then with a full one."""
    from late_rerank import Reranker, Searcher
    from late_rerank.cli.terminal import shown_console
    from late_rerank.corpus.standard_library import read_standard_library
    from late_rerank.retrieve import BM25Retriever

    console = shown_console(highlight=False)
    started = time.perf_counter()
    documents = read_standard_library()
    retriever = BM25Retriever(documents)
    console.print(f"{len(documents):,} docstrings of Python's standard library, indexed by BM25 in {_since(started)}")
    started = time.perf_counter()
    with Reranker() as reranker:
        console.print(f"model {reranker.encoder.name}, kernel {reranker.kernel.name}, loaded in {_since(started)}\n")  # type: ignore[attr-defined]
        searcher = Searcher(retriever, reranker, k=100)
        cold = []
        for number, question in enumerate(QUESTIONS, start=1):
            with console.status(f"question {number} of {len(QUESTIONS)}: encoding its candidates for the first time"):
                cold.append(searcher.search(question, top_k=None))
            console.print(_orders(question, cold[-1]))
        warm = [searcher.search(question, top_k=None) for question in QUESTIONS]
        console.print(_timings(cold, warm))
        stats = reranker.stats()
    console.print(
        f"The store holds {stats['n_documents']} passages in {stats['size_bytes'] / 1e6:.0f} MB. With "
        f"vectors stored a search took {_median(warm, 'total'):.0f} ms, without {_median(cold, 'total'):,.0f} ms (medians)."
    )


def _orders(question: str, ranking: Ranking) -> Any:
    from rich.table import Table
    from rich.text import Text

    first_stage = sorted(ranking, key=lambda document: document.index)
    table = Table(title=Text(question, style="bold"), title_justify="left")
    for heading in ("BM25", "reranked"):
        table.add_column(heading, overflow="fold", ratio=1)
    for heading in ("was", "relevance"):
        table.add_column(heading, justify="right")
    for before, after in zip(first_stage[:_SHOWN], ranking[:_SHOWN], strict=False):
        table.add_row(before.id, after.id, str(after.index + 1), f"{after.relevance:.2f}")
    return table


def _timings(cold: list[Ranking], warm: list[Ranking]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("stage, median ms", title=Text("what it cost", style="bold"), title_justify="left")
    for heading in ("empty store", "full store"):
        table.add_column(heading, justify="right")
    for stage in cold[0].timings_ms:
        table.add_row(stage, f"{_median(cold, stage):,.1f}", f"{_median(warm, stage):,.1f}")
    hits = [sum(ranking.n_hits for ranking in rankings) for rankings in (cold, warm)]
    total = sum(ranking.n_hits + ranking.n_misses for ranking in cold)
    table.add_row("found in the store", f"{hits[0]} of {total}", f"{hits[1]} of {total}")
    return table


def _median(rankings: list[Ranking], stage: str) -> float:
    return sorted(ranking.timings_ms[stage] for ranking in rankings)[len(rankings) // 2]


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.1f} s"
