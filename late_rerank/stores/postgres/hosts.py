"""The addresses of a host, looked up in bounded time.

libpq looks them up itself, but in one call that waits as long as the name servers do, and lets no other thread run meanwhile.
"""

from __future__ import annotations

import ipaddress
import socket
from queue import Empty, SimpleQueue
from threading import Thread


def is_name(host: str) -> bool:
    """Whether a host has to be looked up: it is no address, and no folder of a Unix socket."""
    if not host or host.startswith("@") or "/" in host or "\\" in host:
        return False
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return False


def addresses_of(host: str, timeout_s: float) -> list[str]:
    """Look a host up; its addresses come in the order to try them in.

    Raises:
        TimeoutError: If no answer came in time.
        OSError: If there is no such host.
    """
    answers: SimpleQueue[list[str] | OSError] = SimpleQueue()
    # A thread that nobody waits for at the end of the process: a look-up can't be stopped.
    Thread(target=_look_up, args=[host, answers], name="late-rerank looks up a host", daemon=True).start()
    try:
        found = answers.get(timeout=max(timeout_s, 0))
    except Empty:
        raise TimeoutError(f'the address of host "{host}" was not found in time') from None
    if isinstance(found, OSError):
        raise found
    return found


def _look_up(host: str, answers: SimpleQueue[list[str] | OSError]) -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        answers.put(list(dict.fromkeys(str(address[0]) for *_, address in found)))
    except OSError as error:
        answers.put(error)
    except UnicodeError as error:  # a part of the name is too long
        answers.put(OSError(str(error)))
