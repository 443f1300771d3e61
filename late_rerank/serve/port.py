"""The port: whether it is free, and which of several processes gets a connection."""

from __future__ import annotations

import inspect
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess


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


def run_processes(config: uvicorn.Config) -> None:
    """Run several workers, as `uvicorn.run` does. Linux deals out the connections among them.

    Raises:
        OSError: If the port isn't free.
        KeyboardInterrupt: If Ctrl-C ended it; requests that ran were finished.
        SystemExit: If a process couldn't begin, with 1; uvicorn has logged why.
    """
    with hold(config) if sys.platform == "linux" else config.bind_socket() as held:
        # Older versions of uvicorn take the function that a process runs.
        told = {"target": uvicorn.Server(config).run} if "target" in inspect.signature(Multiprocess).parameters else {}
        processes = _Processes(config, sockets=[held], **told)
        processes.run()
    if processes.is_interrupted:
        raise KeyboardInterrupt
    if any((one.process.exitcode or 0) > 0 for one in processes.processes):
        raise SystemExit(1)


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
    """A socket that is unpickled in another process as a new one on the same port (SO_REUSEPORT)."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _bound, (self.family, self.getsockname())


class _Processes(Multiprocess):
    """uvicorn's supervisor, which by itself doesn't tell Ctrl-C from SIGTERM."""

    is_interrupted = False

    def handle_int(self) -> None:
        self.is_interrupted = True
        super().handle_int()


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
