"""What the server or libpq said -> a Failed, as a sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from late_rerank.stores.trouble import Failed

# SQLSTATEs, or the classes that they begin with, after which the same work may succeed at once: deadlock, another's change of
# the same rows, a session that the server ended, a server that starts.
_AGAIN = ("40", "57P01", "57P02", "57P03", "53300", "08")
# After these the server is left alone for a while: the next query would wait in vain too.
_DOWN = ("57", "53300", "08")
_CANCELED = "57014"
# PgBouncer's words, before it ends the session.
_STATEMENT_POOLING = "transaction blocks not allowed in statement pooling mode"

_ADVICE: Mapping[str, str] = {
    "25006": "It is a replica, or only reads: give its primary's URL.",
    "28": "It wants another user or password: postgresql://user:password@host/database.",
    "3D000": "Create the database, or give another.",
    "42501": "Its role may not do this.",
    "42P01": "Its tables are gone; the next put makes them again.",
    "53100": "Its disk is full: drop a model's vectors, give ttl_s, or give it more room.",
    "53200": "It has too little memory for this.",
    "53300": "Raise its max_connections, give max_connections below it, or put PgBouncer before it.",
    "55P03": "Another session holds its documents or tables for long (see pg_stat_activity); try again.",
    "57014": "Its statement_timeout is too short, or somebody canceled the statement.",
    "57P03": "It was started just now.",
}
# Said in a session's beginning, where libpq gives no SQLSTATE; a server that speaks another language gets no advice.
_BEGINNINGS: Mapping[str, str] = {
    r"password|no pg_hba.conf entry|authentication failed": "28",
    r"database .* does not exist": "3D000",
    r"too many clients|remaining connection slots|too many connections": "53300",
    r"starting up|shutting down|recovery|terminating|accepting connections": "57P03",
}


@dataclass(frozen=True, slots=True)
class Refusal(Failed):
    """A failure that the server gave a reason for.

    Attributes:
        code: The SQLSTATE; "" for an unknown one.
    """

    code: str = ""


class Hung(Failed):
    """The server was waited for in vain."""


class Busy(Failed):
    """The server wasn't asked: every session was in use."""


def is_slow(failed: Failed) -> bool:
    """Whether a statement took too long. Others may not: one that changes documents may have waited for a lock."""
    return isinstance(failed, Hung) or (isinstance(failed, Refusal) and failed.code == _CANCELED)


def refusal(where: str, code: str, said: str) -> Refusal:
    """Say that the server refused a statement.

    Args:
        where: The server, as messages name it.
        code: The SQLSTATE.
        said: The server's own words.
    """
    text = f"{where} refused: {said.rstrip('.')}. {_advice(code)}".strip()
    return Refusal(text, again=code.startswith(_AGAIN), refused=not code.startswith(_DOWN), code=code)


def loss(where: str, said: str, *, hung: bool) -> Failed:
    """Say that there is no session. A wait that was in vain isn't tried again: the caller has waited once."""
    begins = f"{where} did not answer: {said.rstrip('.')}."
    if hung:
        return Hung(f"{begins} It is too slow or hangs; timeout_s and write_timeout_s say how long to wait.")
    if _STATEMENT_POOLING in said:
        return Refusal(f"{begins} Set PgBouncer's pool_mode = transaction, or session.", refused=True)
    code = next((code for pattern, code in _BEGINNINGS.items() if re.search(pattern, said)), "")
    if code or "FATAL" in said:
        return Refusal(f"{begins} {_advice(code)}".strip(), again=not code or code.startswith(_AGAIN), code=code)
    return Failed(f"{begins} Is it running, and is this its URL?", again=True)


def _advice(code: str) -> str:
    return _ADVICE.get(code) or _ADVICE.get(code[:2], "")
