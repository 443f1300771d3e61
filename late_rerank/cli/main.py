"""The entry point: finds the command, runs it, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress

from late_rerank import __version__
from late_rerank.cli import demo, doctor, evaluate, rerank, search
from late_rerank.errors import LateRerankError

_INTERRUPTED = 128 + signal.SIGINT


def parser() -> argparse.ArgumentParser:
    """The whole command line. Makes no import but the standard library's."""
    top = argparse.ArgumentParser(
        prog="late-rerank", description="Rerank documents by late interaction (ColBERT), with token vectors kept."
    )
    top.add_argument("--version", action="version", version=f"late-rerank {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for room in (demo, search, rerank, evaluate, doctor):
        room.register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: As typed after `late-rerank`; None for those of this process.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    # A document may hold lone surrogates, and a terminal may be ASCII: print what can't be shown as an escape.
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _complain(f"warning: {message}")
            options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _complain("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, say) has what it wanted. Python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (LateRerankError, OSError, ValueError) as error:
        _complain(f"late-rerank {options.command}: {error}")
        return 1
    return 0


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
