"""The port: whether it can be had, and which of several processes a connection goes to."""

from __future__ import annotations

import inspect
import logging
import socket
import sys
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess


def check_free(host: str, port: int) -> None:
    """See to it that the port can be had: uvicorn would end the process with a code of its own.

    Raises:
        OSError: It can't.
    """
    try:
        family, address = _address(host, port)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error


def run_processes(config: uvicorn.Config) -> None:
    """`uvicorn.run` with several workers, among which Linux deals the connections out."""
    listener = _dealt(config) if sys.platform == "linux" else config.bind_socket()
    # Older versions want to be told what a process runs.
    told = {"target": uvicorn.Server(config).run} if "target" in inspect.signature(Multiprocess).parameters else {}
    with listener:
        Multiprocess(config, sockets=[listener], **told).run()


class PortOfEach(socket.socket):
    """A socket that arrives in another process as a new one, on the same port.

    Where all processes listen on one socket, connections that come at once go to whichever wakes first: one of two had all
    64 in a quarter of the tries, and they got half of the answers. Over sockets of their own that share the port
    (SO_REUSEPORT) Linux deals connections out by chance, whoever is awake.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _bound, (self.family, self.getsockname())


def _dealt(config: uvicorn.Config) -> PortOfEach:
    """Holds the port, which may have been 0, and listens to nobody."""
    listener = _bound(*_address(config.host, config.port))
    host = f"[{config.host}]" if ":" in config.host else config.host
    port = listener.getsockname()[1]
    logging.getLogger("uvicorn.error").info("Uvicorn running on http://%s:%d (Press CTRL+C to quit)", host, port)
    return listener


def _bound(family: socket.AddressFamily, address: Any) -> PortOfEach:
    listener = PortOfEach(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    return listener


def _address(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # "localhost" has two, and what asks it tries this one in any case.
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, address
