"""Ports for servers that tests stop and start again."""

import socket


def lasting_port(*above):
    """A free port, where the ports so far above it are free too.

    It lies below the range from which clients get theirs, so that a server finds it free when it is started again.
    """
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1] % 12000 + 15000
        if all(_binds(port + more) for more in (0, *above)):
            return port


def _binds(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
