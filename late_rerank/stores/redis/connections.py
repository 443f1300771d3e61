"""One server's connections: commands sent, replies read, errors told. The only module that imports redis.

It speaks to redis-py's connections, not to its clients: all servers of a cluster are sent their commands before any reply
is read, so they work at the same time without threads, which a fork would lose.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from late_rerank.stores.redis.replies import fits
from late_rerank.stores.trouble import Breaker, Failed

Command = tuple[Any, ...]
_Given = TypeVar("_Given")
_Got = TypeVar("_Got")

BACK_OFF_S = 0.05

# A name under which somebody keeps a list, say, is damage like a string that is no record.
_OF_ANOTHER_TYPE: Mapping[str, Any] = {"GET": b"", "STRLEN": 0}


def options_of(url: str, timeout_s: float) -> dict[str, Any]:
    """Make the options with which redis-py connects; options in the URL come before ours.

    Raises:
        ValueError: If redis-py doesn't know an option, or its value.
    """
    # RESP2: RESP3 gives nothing here, and costs a HELLO a connection. Retries are ours, since redis-py's would wait out
    # every timeout several times.
    options = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        **parse_url(url),  # type: ignore[no-untyped-call]
    }
    pool = redis.ConnectionPool(**options)
    try:
        # Made, not connected: a wrong option is an error now, not in a query.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, RedisError) as error:
        raise ValueError(f"url has an option that redis-py refuses: {error}") from error
    return options


def slot_of(name: bytes) -> int:
    """Tell which of a cluster's 16384 slots holds a name."""
    return int(key_slot(name))


class Node:
    """One server: its connections, and whether to ask it.

    Attributes:
        name: For messages: host:port, or the socket's path.
    """

    def __init__(self, options: Mapping[str, Any], pause_s: float) -> None:
        self.name = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        self.pool = redis.ConnectionPool(**options)
        self.breaker = Breaker(pause_s)
        self.failure = ""  # the last one, as a sentence

    def send(self, commands: Sequence[Command]) -> _Call:
        """Send commands; read their replies from what this returns, and close it."""
        call = _Call(self, commands)
        try:
            call.connection.send_packed_command(call.connection.pack_commands(commands))
        except BaseException:
            call.close()
            raise
        return call


class _Call:
    """Commands on their way over a connection that nobody else uses meanwhile."""

    def __init__(self, node: Node, commands: Sequence[Command]) -> None:
        self._node, self._commands = node, commands
        self.connection: Any = node.pool.get_connection()
        self._whole = False

    def replies(self, deadline: float) -> list[Any]:
        """Read one reply a command; Failed in place of a refusal, or of a reply that doesn't fit.

        Raises:
            RedisError: If the connection broke, or no reply came until `deadline` (as time.monotonic tells it).
        """
        # Nodes that hang together are waited for together: the first takes the time, the rest is only looked at.
        if not self.connection.can_read(max(deadline - time.monotonic(), 0.001)):
            raise redis.TimeoutError("no reply in time")
        replies = [self._reply(command) for command in self._commands]
        self._whole = True
        return replies

    def _reply(self, command: Command) -> Any:
        try:
            reply = self.connection.read_response(disable_decoding=True)
        except ResponseError as refusal:
            if _is_of_another_type(refusal) and command[0] in _OF_ANOTHER_TYPE:
                return _OF_ANOTHER_TYPE[command[0]]
            return _refused(self._node, refusal)
        if not fits(command, reply):
            return Failed(f"{self._node.name} answered {command[0]} with {reply!r:.40}. Is this Redis's URL?", refused=True)
        return reply

    def close(self) -> None:
        """Give the connection back; one with replies unread would answer the next command with them."""
        if not self._whole:
            self.connection.disconnect()
        self._node.pool.release(self.connection)


def exchange(requests: Mapping[Node, Sequence[Command]], *, timeout_s: float, retries: int) -> dict[Node, list[Any] | Failed]:
    """Send commands to several servers at once.

    Returns:
        Each server's replies, Failed in place of refusals; or Failed if none came after retries, or the server is left alone.
    """
    answers: dict[Node, list[Any] | Failed] = {
        node: Failed(f"{node.failure} It is left alone for a while after that.") for node in requests
    }
    tried = waiting = [node for node in requests if node.breaker.lets_through()]
    for attempt in range(retries + 1):
        if not waiting:
            break
        if attempt:
            time.sleep(BACK_OFF_S * 2 ** (attempt - 1) * random.uniform(0.5, 1))
        answers.update(_once({node: requests[node] for node in waiting}, timeout_s))
        waiting = [node for node in waiting if isinstance(answer := answers[node], Failed) and answer.again]
    for node in tried:
        answer = answers[node]
        if isinstance(answer, Failed):
            node.failure = answer.text
            node.breaker.failed()
        else:
            node.breaker.succeeded()
    return answers


def _once(requests: Mapping[Node, Sequence[Command]], timeout_s: float) -> dict[Node, list[Any] | Failed]:
    calls: dict[Node, _Call | Failed] = {}
    try:
        for node, commands in requests.items():
            calls[node] = _try(node, node.send, commands)
        deadline = time.monotonic() + timeout_s
        return {node: call if isinstance(call, Failed) else _try(node, call.replies, deadline) for node, call in calls.items()}
    finally:
        for call in calls.values():
            if not isinstance(call, Failed):
                call.close()


def _try(node: Node, work: Callable[[_Given], _Got], given: _Given) -> _Got | Failed:
    try:
        return work(given)
    except (RedisError, OSError) as error:
        return _lost(node, error)


def _refused(node: Node, error: ResponseError) -> Failed:
    moved = isinstance(error, (MovedError, ClusterCrossSlotError))
    stale = moved or isinstance(error, ClusterDownError)
    return Failed(_sentence(f"{node.name} refused", error), refused=True, moved=moved, stale=stale)


def _lost(node: Node, error: Exception) -> Failed:
    """Say that no reply came. A timeout isn't tried again: the caller has waited once."""
    final = (AuthenticationError, AuthorizationError)
    again = isinstance(error, (redis.ConnectionError, OSError)) and not isinstance(error, final)
    return Failed(_sentence(f"{node.name} did not answer", error), again=again, stale=True)


def _sentence(beginning: str, error: Exception) -> str:
    return f"{beginning}: {str(error).rstrip('.')}. {_advice(error)}".strip()


def _is_of_another_type(error: Exception) -> bool:
    return str(error).startswith("WRONGTYPE")


def _advice(error: Exception) -> str:
    if _is_of_another_type(error):
        return "Somebody else keeps something under this store's names: give another prefix."
    if str(error) == "Too many connections":  # redis-py's own, of a pool with a bound
        return "max_connections in the URL is below the number of threads."
    for kinds, advice in _ADVICE:
        if isinstance(error, kinds):
            return advice
    return "Is it running, and is this its URL?" if isinstance(error, (redis.ConnectionError, OSError)) else ""


_ADVICE: Sequence[tuple[tuple[type[Exception], ...], str]] = (
    ((AuthenticationError, AuthorizationError), "It wants another user or password: redis://user:password@host:port."),
    ((NoPermissionError,), "Its user may not do this; see ACL SETUSER."),
    ((OutOfMemoryError,), "It is full: raise its maxmemory, set maxmemory-policy allkeys-lru, or give ttl_s."),
    ((ReadOnlyError,), "It is a replica: give its primary's URL."),
    ((BusyLoadingError,), "It was started just now and reads its files."),
    ((MovedError, ClusterCrossSlotError), "It is one server of a cluster, which must be asked about the others: cluster=None."),
    ((AskError, TryAgainError), "The cluster moves keys between servers now."),
    ((redis.TimeoutError,), "It is too slow or hangs; timeout_s says how long to wait."),
)
