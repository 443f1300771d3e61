"""Whether a reply fits its command: the server at a URL may be no Redis, or a proxy that mixes up its clients."""

from __future__ import annotations

from typing import Any


def fits(command: tuple[Any, ...], reply: Any) -> bool:
    """Whether `reply` has the shape that Redis gives to `command`. Whoever reads it needn't check again."""
    match command[0]:
        case "GET":
            return _value(reply)
        case "MGET":
            return isinstance(reply, list) and len(reply) == len(command) - 1 and all(map(_value, reply))
        case "SET":
            return isinstance(reply, bytes)
        case "ZRANGE":
            return _names(reply)
        case "SCAN":
            return isinstance(reply, list) and len(reply) == 2 and _number(reply[0]) and _names(reply[1])
        case "CLUSTER":
            return isinstance(reply, list) and all(map(_slots, reply))
    return isinstance(reply, int)


def _value(reply: Any) -> bool:
    return reply is None or isinstance(reply, bytes)


def _names(reply: Any) -> bool:
    return isinstance(reply, list) and all(isinstance(name, bytes) for name in reply)


def _number(reply: Any) -> bool:
    return isinstance(reply, bytes) and reply.isdigit()


def _slots(reply: Any) -> bool:
    """Whether it is [first, last, [host, port, ...], replicas...]."""
    match reply:
        case [int(), int(), [bytes() | None, int(), *_], *_]:
            return True
    return False
