"""`late-rerank rerank`: candidates of any retriever, from a file or a pipe -> the same candidates in a better order."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from late_rerank.cli.options import (
    add_encoding,
    add_fusion,
    add_json,
    add_model,
    add_relevance,
    add_scoring,
    add_store,
    at_least_one,
    blank_refused,
    wanted_of,
)
from late_rerank.cli.priors import add_priors, prior_of
from late_rerank.cli.query_encoders import add_query_encoder

if TYPE_CHECKING:
    from late_rerank import Candidate


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "rerank",
        help="rerank candidates given as JSON Lines",
        description='Rerank candidates given as JSON Lines, {"text", "id"?, "score"?, "metadata"?}, in FILE or on stdin. '
        'With a model of page images also {"image", "page"?}: the path of an image, or of a PDF file and its page, seen from '
        "the folder of FILE.",
    )
    command.add_argument("query", metavar="QUERY", type=blank_refused, help="what the candidates should answer")
    command.add_argument("file", metavar="FILE", nargs="?", default="-", help="JSON Lines; - or nothing for stdin")
    command.add_argument("--top-k", type=at_least_one, default=None, help="results to print (default: all)")
    add_encoding(command)
    add_fusion(command)
    add_priors(command)
    add_store(command)
    add_model(command)
    add_query_encoder(command)
    add_scoring(command)
    add_relevance(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, rerank, print."""
    from late_rerank.cli.opening import opened_reranker
    from late_rerank.cli.results import print_json, print_ranking, ranking_json
    from late_rerank.encode import is_of_pictures

    prior = prior_of(options)
    images = is_of_pictures(options.model)
    if options.file == "-":
        if sys.stdin is None:
            raise ValueError("stdin is closed; name a FILE of candidates")
        if sys.stdin.isatty():
            print("reading candidates as JSON Lines from the terminal; end with Ctrl-D", file=sys.stderr)
        candidates = _read(sys.stdin.buffer, "stdin", options.encoding, Path() if images else None)
    else:
        path = Path(options.file)
        with path.open("rb") as file:
            candidates = _read(file, options.file, options.encoding, path.parent if images else None)
    with opened_reranker(options) as reranker:
        (ranking,) = reranker.rank([options.query], [candidates], wanted_of(options, prior=prior))
    if prior is not None:
        prior.tell_missing()
    if options.json:
        print_json(ranking_json(options.query, options.model, len(candidates), ranking))
    else:
        print_ranking(ranking)


def _read(file: BinaryIO, source: str, encoding: str | None, images_in: Path | None) -> list[Candidate]:
    """Read JSON Lines, and tell their encoding if it isn't UTF-8."""
    from late_rerank.cli.documents import tell_encodings
    from late_rerank.corpus import parse_json_lines
    from late_rerank.corpus.lines import TextLines, lines_of

    lines = TextLines(lines_of(file, source), encoding)
    candidates = list(parse_json_lines(lines, source, images_in=images_in))
    if lines.encoding not in ("utf-8", "utf-8-sig"):
        tell_encodings({source: lines.encoding})
    return candidates
