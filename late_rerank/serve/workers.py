"""Worker processes of one server: forked from a process that holds the model, or spawned by uvicorn."""

from __future__ import annotations

import inspect
import sys

import uvicorn
from uvicorn.supervisors import Multiprocess

from late_rerank.serve.forked import Forked
from late_rerank.serve.port import hold

# How long a spawned worker may be silent. On a machine that is busy, importing torch holds the interpreter for longer than
# the five seconds that uvicorn allows by itself. A new worker would take as long, and be killed too.
_LONGEST_SILENCE_S = 30


def run_workers(config: uvicorn.Config, *, forks: bool) -> None:
    """Run several workers until SIGTERM or Ctrl-C. Linux deals out the connections among them.

    Args:
        config: Spawned workers get the config pickled.
        forks: Whether to fork the workers from this process, whose memory they then share. Linux only.

    Raises:
        OSError: If the port isn't free.
        KeyboardInterrupt: If Ctrl-C ended it; requests that ran were finished.
        SystemExit: If a worker couldn't begin, with 1; the log says why.
    """
    workers: Forked | _Spawned
    if forks:
        with hold(config) as port:
            workers = Forked(config, port)
            workers.run()
    else:
        with hold(config) if sys.platform == "linux" else config.bind_socket() as shared:
            if hasattr(config, "timeout_worker_healthcheck"):  # older versions of uvicorn allow 5 s, whatever they are told
                config.timeout_worker_healthcheck = _LONGEST_SILENCE_S
            # Older versions of uvicorn take the function that a process runs.
            told = {"target": uvicorn.Server(config).run} if "target" in inspect.signature(Multiprocess).parameters else {}
            workers = _Spawned(config, sockets=[shared], **told)
            workers.run()
    if workers.is_interrupted:
        raise KeyboardInterrupt
    if workers.could_not_begin:
        raise SystemExit(1)


class _Spawned(Multiprocess):
    """uvicorn's supervisor, which by itself doesn't tell Ctrl-C from SIGTERM."""

    is_interrupted = False

    @property
    def could_not_begin(self) -> bool:
        """Whether a worker ended by itself with an error."""
        return any((one.process.exitcode or 0) > 0 for one in self.processes)

    def handle_int(self) -> None:
        self.is_interrupted = True
        super().handle_int()
