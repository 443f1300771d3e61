"""`late-rerank context`: a folder and a question -> the text for an LLM's context window."""

from __future__ import annotations

import argparse
from typing import Any

from late_rerank.cli.options import add_searching, at_least_one
from late_rerank.cli.priors import prior_of


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "context",
        help="the text to put before the LLM, with citations",
        description="Search, rerank, and choose what fits a budget of tokens: passages that together cover the question.",
    )
    command.add_argument("--budget-tokens", type=_tokens, default=2000, metavar="N", help="estimated (default: 2000)")
    command.add_argument("--strategy", choices=("coverage", "relevance", "mmr"), default="coverage", help="default: coverage")
    command.add_argument("--order", choices=("relevance", "edges", "source"), default="relevance", help="default: relevance")
    command.add_argument("--top-k", type=at_least_one, metavar="N", help="documents at most (default: as many as fit)")
    command.add_argument("--compress", action="store_true", help="fill the room that is left with the best sentences of others")
    command.add_argument(
        "--neighbours", action="store_true", help="with the pieces before and after in the file, where there is room"
    )
    add_searching(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, retrieve, rerank, pack, print."""
    import sys

    from late_rerank.cli.opening import opened_searcher
    from late_rerank.cli.results import counted, print_json, source_of

    prior = prior_of(options)
    with opened_searcher(options) as searcher:
        context = searcher.context(
            options.query,
            options.budget_tokens,
            min_relevance=options.min_relevance,
            top_k=options.top_k,
            prior=prior,
            strategy=options.strategy,
            order=options.order,
            compress=options.compress,
            neighbours=options.neighbours,
        )
    if prior is not None:
        prior.tell_missing()
    if options.json:
        print_json({"query": options.query, "budget_tokens": options.budget_tokens, **context.to_dict(), **options.read})
        return
    if not context.parts:
        print("an empty context: nothing fits the budget, or is relevant enough", file=sys.stderr)
        return
    print(context.text)
    names = (source_of(part.path or part.id or part.index, part.path, part.page) for part in context.parts)
    places = "; ".join(f"[{i}] {name}" for i, name in enumerate(names, start=1))
    print(
        f"about {context.n_tokens} of {options.budget_tokens} tokens. {counted(len(context.parts), 'part')}: {places}",
        file=sys.stderr,
    )


def _tokens(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number of 0 or more, got {text!r}")
    return number
