"""The log: one line a request, as text or as JSON; never the text of a query or a document.

The logger is `late_rerank.serve`. Its records have the fields of a line as attributes, for whoever formats them otherwise.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import Scope

from late_rerank.errors import raised_at
from late_rerank.text.shown import one_line
from late_rerank.types import Ranking

logger = logging.getLogger("late_rerank.serve")

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

# Watchdogs ask for these every few seconds.
_HEALTH = frozenset({"/health", "/ready", "/metrics"})
_FIELDS = ("client", "method", "path", "status", "ms", "documents", "hits", "reason", "request_id")
_LONGEST_PATH = 200
_LONGEST_REASON = 500


@dataclass(frozen=True)
class Ranked:
    """What a request ranked, all its queries together.

    Attributes:
        n_documents: Documents that were ranked, or left unscored.
        n_hits: Those whose vectors the store held.
    """

    n_documents: int
    n_hits: int

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> Ranked:
        """Count rankings together; blank documents are neither hit nor miss."""
        n_hits = sum(ranking.n_hits for ranking in rankings)
        return cls(n_hits + sum(ranking.n_misses for ranking in rankings), n_hits)


@dataclass(frozen=True)
class Answered:
    """A request, when its answer is sent.

    Attributes:
        scope: Of ASGI, with the canonical path.
        path: As the client wrote it.
        status: Of the answer.
        seconds: From its arrival to the end of its answer.
        reason: Why it was refused; empty if it wasn't.
        request_id: The request's.
    """

    scope: Scope
    path: str
    status: int
    seconds: float
    reason: str
    request_id: str


def log_answer(answered: Answered) -> None:
    """Write a request's line: refused ones as warnings, health checks at debug level."""
    level = _level(answered)
    if not logger.isEnabledFor(level):
        return
    client = answered.scope.get("client")
    fields: dict[str, Any] = {
        "client": client[0] if client else "-",
        "method": answered.scope["method"],
        "path": one_line(answered.path[:_LONGEST_PATH]),
        "status": answered.status,
        "ms": round(answered.seconds * 1000, 1),
    }
    ranked = answered.scope["state"].get("ranked")
    if ranked is not None:
        fields |= {"documents": ranked.n_documents, "hits": ranked.n_hits}
    if answered.reason:
        fields["reason"] = one_line(answered.reason[:_LONGEST_REASON])
    fields["request_id"] = answered.request_id
    logger.log(level, "%s", _line(fields), extra=fields)


def log_failure(error: Exception, request_id: str) -> None:
    """Write where the server failed. Messages may quote documents, so none is written."""
    logger.error("request %s: %s at %s", request_id, type(error).__name__, raised_at(error))


def config(level: str, form: str) -> dict[str, Any]:
    """Give the logging configuration of a server's process, which goes to spawned workers too.

    Args:
        level: One of LEVELS.
        form: One of FORMATS.
    """
    formatters: dict[str, Any] = {
        "text": {
            "()": "uvicorn.logging.DefaultFormatter",
            "fmt": "%(asctime)s %(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "json": {"()": JsonLines},
    }
    own = {"handlers": ["stderr"], "level": level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": formatters,
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form, "stream": "ext://sys.stderr"}},
        "loggers": {"uvicorn": own, "uvicorn.error": {"level": level.upper()}, "late_rerank": own},
    }


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger; then a request's fields, or the message."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        fields = {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        told |= fields or {"message": record.getMessage()}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


def _level(answered: Answered) -> int:
    if answered.status == 500:
        return logging.ERROR
    if answered.scope["path"] in _HEALTH and not 400 <= answered.status < 500:
        return logging.DEBUG
    return logging.WARNING if answered.status >= 400 else logging.INFO


def _line(fields: dict[str, Any]) -> str:
    head = "{client} {method} {path} {status} {ms} ms".format_map(fields)
    counts = f" documents={fields['documents']} hits={fields['hits']}" if "documents" in fields else ""
    return head + counts + (f": {fields['reason']}" if "reason" in fields else "")
