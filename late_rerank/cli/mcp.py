"""`late-rerank mcp`: tools for agents, over the Model Context Protocol."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from late_rerank.cli.options import (
    add_first_stage,
    add_folders,
    add_fusion,
    add_model,
    add_relevance,
    add_scoring,
    add_store,
)
from late_rerank.cli.priors import add_priors, prior_of
from late_rerank.cli.query_encoders import NAMES, add_query_encoder


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "mcp",
        help="tools for agents (Claude Desktop, editors) over the Model Context Protocol: rerank, and search in folders",
        description="Serve the tools `rerank` and `search` over the Model Context Protocol, on stdin and stdout. A client "
        "starts it by itself; on a terminal it shows what to put into the client's configuration.",
    )
    add_folders(command, "documents that an agent can search; may be given several times")
    add_first_stage(command, files=False)
    add_fusion(command)
    add_priors(command)
    add_store(command)
    add_model(command)
    add_query_encoder(command)
    add_scoring(command)
    add_relevance(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Check what was given and read the folders, then serve."""
    import logging

    from late_rerank.errors import MissingDependencyError

    try:
        from late_rerank.mcp.server import create_server
        from late_rerank.mcp.stdio import serve
    except ImportError as error:
        raise MissingDependencyError("the MCP server", str(error.name), "mcp") from error
    from late_rerank import Reranker
    from late_rerank.cli.opening import read_retriever, reranker_arguments
    from late_rerank.cli.query_encoders import query_encoder_digest
    from late_rerank.encode import is_of_pictures
    from late_rerank.ranking.relevance import scoring_and_calibration
    from late_rerank.ranking.wanted import Wanted

    logging.basicConfig(level=logging.WARNING, format="late-rerank mcp: %(message)s")  # else the SDK's, in columns
    prior = prior_of(options)
    wanted = Wanted.of(options, prior=prior)
    _check(options)
    digest = query_encoder_digest(options.query_encoder, options.model)
    # A file of a calibration is read once: it may have moved when a session ends and another begins.
    scoring, calibration = scoring_and_calibration(options.scoring, options.calibration, digest)
    arguments = reranker_arguments(options) | {"scoring": scoring, "calibration": calibration}
    images = bool(options.folder) and is_of_pictures(options.model)
    retrievers = {name: read_retriever(path, options, images=images) for name, path in options.folder}
    # A misspelt field would change nothing without a word.
    tell = None if prior is None else prior.tell_absent
    server = create_server(lambda: Reranker(**arguments), retrievers, k=options.k, wanted=wanted, after_search=tell)
    if sys.stdin is not None and sys.stdin.isatty():
        print(_explained(options), file=sys.stderr)
    serve(server)


def _check(options: argparse.Namespace) -> None:
    """Check the model and the store before anything runs."""
    from late_rerank.encode.loading import check_model
    from late_rerank.stores import open_store

    check_model(options.model, backend=options.backend, pooling=options.pooling, query_encoder=options.query_encoder)
    if options.store is not None:
        open_store(options.store).close()


def _explained(options: argparse.Namespace) -> str:
    """Tell a person who started the server by hand what to do with it."""
    import json

    entry = {"command": "late-rerank", "args": _arguments(options)}
    shown = json.dumps({"mcpServers": {"late-rerank": entry}}, indent=2, ensure_ascii=False)
    return (
        "This speaks the Model Context Protocol on stdin and stdout: a client starts it, no person. Put this into the client's "
        f"configuration:\n\n{shown}\n\nCtrl-D ends it."
    )


def _arguments(options: argparse.Namespace) -> list[str]:
    """Give the arguments with whole paths: a client starts the command in a folder of its own choice."""
    from pathlib import Path

    from late_rerank.stores.opening import is_url

    whole = {f"{name}={path}": f"{name}={Path(path).absolute()}" for name, path in options.folder}
    places = [options.calibration, options.model, None if options.query_encoder in NAMES else options.query_encoder]
    whole |= {place: str(Path(place).absolute()) for place in places if place is not None and Path(place).exists()}
    if options.store is not None and not is_url(options.store):
        whole[options.store] = str(Path(options.store).absolute())
    given = [part for text in sys.argv[1:] for part in (text.split("=", 1) if text.startswith("--") else [text])]
    return [given[0], *(whole.get(part, part) for part in given[1:])] if given else ["mcp"]
