"""Processes that serve: one, or several that share a port and a store."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from logging.config import dictConfig
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from late_rerank.encode import Encoder
from late_rerank.reranker import Reranker
from late_rerank.serve import logs, memory
from late_rerank.serve.access import ApiKeys, is_loopback
from late_rerank.serve.app import create_app
from late_rerank.serve.connections import TimedHttp
from late_rerank.serve.folders import Folders, read_folders
from late_rerank.serve.limits import Limits
from late_rerank.serve.loading import shared_encoder
from late_rerank.serve.metrics import counts_in_files
from late_rerank.serve.port import check_free
from late_rerank.serve.settings import Settings
from late_rerank.serve.workers import run_workers

# After SIGTERM requests have their time to finish, and so many seconds more to be sent.
_SENDING_S = 5


@dataclass(frozen=True)
class Options:
    """Options of a server. They are pickled for spawned workers; each worker reads the API keys anew.

    Attributes:
        rerankers: Name -> arguments of a Reranker. The first is for requests that name no model of these; without a name it is
            called as its model calls itself.
        limits: Of one process.
        keys_file: A file of API keys; None for those of the environment alone.
        host: The address that the server listens on.
        allowed_hosts: Further names under which it may be asked.
        cors_origins: Sites whose pages may ask.
        folders: Name -> path, for /v1/search.
        language: Of the folders' documents, as BM25Retriever takes it.
        encoding: Of the folders' files that aren't UTF-8, as CorpusStream takes it.
        n_workers: Processes that share the port.
        drain_s: Seconds from SIGTERM in which the server says that it isn't ready, and still answers.
        log_level: One of logs.LEVELS.
        log_format: One of logs.FORMATS.
    """

    rerankers: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    limits: Limits = field(default_factory=Limits)
    keys_file: str | None = None
    host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict)
    language: str | None = "auto"
    encoding: str | None = None
    n_workers: int = 1
    drain_s: float = 0.0
    log_level: str = "info"
    log_format: str = "text"


def serve(options: Options, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that run then are finished.

    Args:
        options: On Linux workers share one model if ONNX Runtime runs it; otherwise each worker loads its own. Workers share
            the files that a store maps.
        port: From 0, for any that is free, to 65535.

    Raises:
        ValueError: If the keys can't be read, or a folder holds no documents.
        OSError: If the port is taken, or a folder can't be read.
        KeyboardInterrupt: If Ctrl-C ended it.
        SystemExit: If a process couldn't begin, with 1.
    """
    memory.bound()
    log_config = logs.config(options.log_level, options.log_format)
    dictConfig(log_config)  # what fails before uvicorn begins is logged in the same way
    ApiKeys.read(options.keys_file)  # wrong keys are told before anything runs
    check_free(options.host, port)
    given: dict[str, Any] = {
        "factory": True,
        "http": TimedHttp,
        "ws": "none",
        "host": options.host,
        "port": port,
        "workers": options.n_workers,  # else uvicorn takes $WEB_CONCURRENCY
        "log_config": log_config,
        "log_level": options.log_level,
        "access_log": False,  # ours knows documents, hits and the reason
        "server_header": False,
        "timeout_graceful_shutdown": math.ceil(options.limits.timeout_s) + _SENDING_S,
        "timeout_keep_alive": 30,
    }
    if options.n_workers == 1:
        uvicorn.run(partial(app, options), **given)
        return
    _folders(options)  # a worker that can't read them would be restarted again and again
    encoder = shared_encoder(next(iter(options.rerankers.values())))
    with counts_in_files():
        run_workers(uvicorn.Config(partial(app, options, encoder), **given), forks=encoder is not None)


def app(options: Options, encoder: Encoder | None = None) -> ASGIApp:
    """Make the app of one process.

    Args:
        options: The server's.
        encoder: The first model's, which forked workers share; None where the process loads its own.
    """
    memory.give_back_often()
    # The warning quotes the query, which belongs to the client. The answer's meta tells the client.
    warnings.filterwarnings("ignore", message="query .* is longer than the model's limit")
    keys = ApiKeys.read(options.keys_file)
    # If anybody on this machine may ask without a key, a page in its browser must not ask in another site's name.
    is_open = is_loopback(options.host) and not keys
    hosts = tuple(options.allowed_hosts) if is_open or options.allowed_hosts else None
    settings = Settings(
        limits=options.limits,
        keys=keys,
        hosts=hosts,
        cors_origins=tuple(options.cors_origins),
        folders=_folders(options),
        load_first=options.n_workers > 1,
        drain_s=options.drain_s,
    )
    # An encoder pools by itself, and has its query encoder.
    shared = {} if encoder is None else {"model": encoder, "pooling": 1, "query_encoder": "full"}
    first = next(iter(options.rerankers))
    makers = {
        name: partial(Reranker, **{**arguments, **(shared if name == first else {})})
        for name, arguments in options.rerankers.items()
    }
    return create_app(makers, settings)


def _folders(options: Options) -> Folders:
    models = [arguments.get("model", "minilm") for arguments in options.rerankers.values()]
    return read_folders(options.folders, models, options.language, encoding=options.encoding)
