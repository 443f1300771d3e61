"""`late-rerank search`: a folder and a question -> its best passages."""

from __future__ import annotations

import argparse
from typing import Any

from late_rerank.cli.options import add_searching, at_least_one
from late_rerank.cli.priors import prior_of


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "search",
        help="search a folder of text and PDF files, one such file, a JSON Lines file or a BEIR folder",
        description="Find passages with a first stage, rerank them by late interaction, print the best.",
    )
    command.add_argument("--top-k", type=at_least_one, default=10, help="results to print (default: 10)")
    add_searching(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, retrieve, rerank, print."""
    from late_rerank.cli.opening import opened_searcher
    from late_rerank.cli.results import print_json, print_ranking, ranking_json

    prior = prior_of(options)
    with opened_searcher(options) as searcher:
        ranking = searcher.search(options.query, top_k=options.top_k, min_relevance=options.min_relevance, prior=prior)
    if prior is not None:
        prior.tell_missing()
    if options.json:
        model = searcher.reranker.model_name if options.fuse else options.model
        print_json(ranking_json(options.query, model, options.k, ranking) | options.read)
    else:
        print_ranking(ranking)
