"""The port: whether it can be had, and which of several processes a connection goes to."""

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
    """See to it that the port can be had: uvicorn would end the process with a code of its own.

    Raises:
        OSError: It can't.
    """
    with _named(host, port):
        family, address = _address(host, port)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)


def run_processes(config: uvicorn.Config) -> None:
    """`uvicorn.run` with several workers, among which Linux deals the connections out.

    Raises:
        OSError: The port can't be had.
        KeyboardInterrupt: Ctrl-C, after what ran was finished.
        SystemExit: With 1: a process couldn't begin, which uvicorn has told.
    """
    with hold(config) if sys.platform == "linux" else config.bind_socket() as held:
        # Older versions want to be told what a process runs.
        told = {"target": uvicorn.Server(config).run} if "target" in inspect.signature(Multiprocess).parameters else {}
        processes = _Processes(config, sockets=[held], **told)
        processes.run()
    if processes.is_interrupted:
        raise KeyboardInterrupt
    if any((one.process.exitcode or 0) > 0 for one in processes.processes):
        raise SystemExit(1)


def hold(config: uvicorn.Config) -> OwnInEachProcess:
    """The port, which may have been 0: nobody else gets it from now on, though no process listens yet.

    Raises:
        OSError: It can't be had.
    """
    with _named(config.host, config.port):
        held = _bound(*_address(config.host, config.port))
    # Bound with it, or what an earlier server's connections left would be in the way. Kept, it would let anybody bind the
    # port until the first process listens: another server, which would be given a share of the connections.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    host = f"[{config.host}]" if ":" in config.host else config.host
    port = held.getsockname()[1]
    logging.getLogger("uvicorn.error").info("Uvicorn running on http://%s:%d (Press CTRL+C to quit)", host, port)
    return held


class OwnInEachProcess(socket.socket):
    """A socket that arrives in another process as a new one, on the same port (SO_REUSEPORT)."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _bound, (self.family, self.getsockname())


class _Processes(Multiprocess):
    """uvicorn's, which doesn't tell Ctrl-C from SIGTERM."""

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
    """Of a name with several ("localhost") the IPv4 one, uvicorn's choice for several processes too."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, address


@contextmanager
def _named(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
