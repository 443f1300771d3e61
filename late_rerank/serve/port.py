"""The port: whether it is free, and which of several processes gets a connection."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


def check_free(host: str, port: int) -> None:
    """Check that the port is free. Otherwise uvicorn would end the process with a code of its own.

    Raises:
        OSError: If it isn't free.
    """
    with _named(host, port):
        family, address = _address(host, port)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)


def hold(config: uvicorn.Config) -> OwnInEachProcess:
    """Take the port, which may be 0: nobody else gets it from now on, though no process listens yet.

    Raises:
        OSError: If it isn't free.
    """
    with _named(config.host, config.port):
        held = _bound(*_address(config.host, config.port))
    # The socket is bound with SO_REUSEADDR, since leftovers of an earlier server's connections would be in the way. If the
    # option stayed, another server could bind the port until the first process listens, and would get a share of connections.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    host = f"[{config.host}]" if ":" in config.host else config.host
    port = held.getsockname()[1]
    logging.getLogger("uvicorn.error").info("Uvicorn running on http://%s:%d (Press CTRL+C to quit)", host, port)
    return held


class OwnInEachProcess(socket.socket):
    """A socket in whose place each other process has a new one on the same port (SO_REUSEPORT)."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickled as the new one."""
        return _bound, (self.family, self.getsockname())

    def in_child(self) -> OwnInEachProcess:
        """Give a forked child the new one, and close this one there."""
        with self:
            return _bound(self.family, self.getsockname())


def _bound(family: socket.AddressFamily, address: Any) -> OwnInEachProcess:
    bound = OwnInEachProcess(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _address(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Resolve a host. Of several addresses ("localhost") take the IPv4 one, as uvicorn does for several processes."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, address


@contextmanager
def _named(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
