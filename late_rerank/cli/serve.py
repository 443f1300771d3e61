"""`late-rerank serve`: a rerank API that existing clients speak, and a page to try it on."""

from __future__ import annotations

import argparse
from typing import Any

from late_rerank.cli.environment import TOLD, add_environment, read_environment
from late_rerank.cli.options import (
    above_zero,
    add_folders,
    add_language,
    add_models,
    add_scoring,
    add_store,
    at_given_revision,
    at_least,
    at_least_one,
)
from late_rerank.cli.query_encoders import add_query_encoders, by_model


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "serve",
        help="a rerank API that clients of Cohere, Jina, TEI and vLLM speak, and a page to try it on",
        description="Serve /rerank, /v1/rerank and /v2/rerank, /score, /v1/models, /v1/index, /context, a page at /, its "
        "description at /docs, and /health, /ready, /info, /metrics. API keys come from --api-keys and from "
        f"LATE_RERANK_API_KEYS, with commas between. {TOLD}",
    )
    _add_processes(command)
    _add_store_and_models(command)
    command.add_argument("--api-keys", metavar="FILE", help="keys of which a request must bring one, one a line")
    add_folders(command, "documents that the page can search")
    add_language(command, "folders' documents")
    _add_limits(command)
    _add_names(command)
    _add_log(command)
    command.set_defaults(run=run)
    add_environment(command)


def _add_processes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", default="127.0.0.1", help="what it listens on (default: 127.0.0.1, this machine alone)")
    command.add_argument("--port", type=_port, default=8000, help="0 for any that is free (default: 8000)")
    command.add_argument(
        "--workers",
        type=at_least_one,
        default=1,
        metavar="N",
        help="processes; with ONNX Runtime on Linux they share one model (default: 1)",
    )
    command.add_argument(
        "--drain-s",
        type=above_zero,
        default=0.0,
        metavar="S",
        help="seconds after SIGTERM in which /ready says no and everything else is answered, so that proxies send requests "
        "elsewhere before the end (default: none)",
    )


def _add_store_and_models(command: argparse.ArgumentParser) -> None:
    add_store(command)
    add_models(command)
    add_query_encoders(command)
    add_scoring(command)
    command.add_argument(
        "--max-models",
        type=at_least_one,
        default=4,
        metavar="N",
        help="that stay loaded, at least 2; the least recently used go (default: 4)",
    )
    command.add_argument(
        "--calibration",
        metavar="FILE",
        help='what makes relevance of scores, of the first model; "minilm" is ours for that model',
    )


def _add_limits(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--deadline-s", type=above_zero, metavar="S", help="answer after so many seconds with what is scored by then"
    )
    command.add_argument("--timeout-s", type=above_zero, default=60.0, metavar="S", help="for one request (default: 60)")
    command.add_argument("--max-documents", type=at_least_one, default=1000, metavar="N", help="of one request (default: 1000)")
    command.add_argument("--max-images", type=at_least_one, default=100, metavar="N", help="of one request (default: 100)")
    command.add_argument(
        "--max-image-bytes",
        type=at_least_one,
        default=10 * 2**20,
        metavar="N",
        help="of one image, before base64 (default: 10485760)",
    )
    command.add_argument(
        "--max-image-pixels",
        type=at_least_one,
        default=25_000_000,
        metavar="N",
        help="of one image, which its header tells before it is decoded (default: 25000000)",
    )
    command.add_argument(
        "--max-requests", type=at_least_one, default=256, metavar="N", help="at once, of a process (default: 256)"
    )


def _add_names(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name under which this machine is asked, host.docker.internal for one",
    )
    command.add_argument(
        "--cors-origin", action="append", default=[], metavar="URL", help="a site whose pages may ask (default: none)"
    )


def _add_log(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="what is logged (default: info)"
    )
    command.add_argument(
        "--log-format", default="text", choices=["text", "json"], help="of the log, a line a request (default: text)"
    )


def run(options: argparse.Namespace) -> None:
    """Check what was given, then serve."""
    import sys
    import warnings

    from late_rerank.errors import MissingDependencyError

    read_environment(options)
    at_given_revision(options)

    try:
        from late_rerank.serve.running import Options, serve
    except ImportError as error:
        raise MissingDependencyError("the server", str(error.name), "server") from error
    from late_rerank.encode.loading import check_model
    from late_rerank.serve.access import ApiKeys, is_loopback
    from late_rerank.serve.limits import Limits
    from late_rerank.stores import open_store

    models = dict(options.model) or {"minilm": "minilm"}
    encoders = by_model(options.query_encoder, models)
    for name, model in models.items():
        check_model(model, backend=options.backend, pooling=options.pooling, query_encoder=encoders[name])
    rerankers = _arguments(options, models)
    if options.store is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the server's own store says it: the service is down, say
            open_store(options.store).close()
    if not is_loopback(options.host) and not ApiKeys.read(options.api_keys):
        print(f"warning: anybody who reaches {options.host}:{options.port} may ask: see --api-keys", file=sys.stderr)
    serve(
        Options(
            rerankers=rerankers,
            limits=Limits(
                n_documents=options.max_documents,
                n_images=options.max_images,
                image_bytes=options.max_image_bytes,
                image_pixels=options.max_image_pixels,
                in_flight=options.max_requests,
                timeout_s=options.timeout_s,
                deadline_s=options.deadline_s,
                models=options.max_models,
            ),
            keys_file=options.api_keys,
            host=options.host,
            allowed_hosts=tuple(options.allowed_host),
            cors_origins=tuple(options.cors_origin),
            folders=dict(options.folder),
            language=options.language,
            encoding=options.encoding,
            n_workers=options.workers,
            drain_s=options.drain_s,
            log_level=options.log_level,
            log_format=options.log_format,
        ),
        options.port,
    )


def _arguments(options: argparse.Namespace, models: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Give each model's arguments of a Reranker. The calibration is the first one's, since it was fitted to one model."""
    from late_rerank.cli.opening import reranker_arguments

    encoders, first = by_model(options.query_encoder, models), next(iter(models))
    return {
        name: reranker_arguments(
            options,
            model=model,
            query_encoder=encoders[name],
            calibration=options.calibration if name == first else None,
        )
        for name, model in models.items()
    }


def _port(text: str) -> int:
    port = at_least(0)(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, got {text!r}")
    return port
