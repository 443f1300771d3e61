"""The entry point: find the command, run it, turn errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from late_rerank import __version__
from late_rerank.cli import (
    bench,
    calibrate,
    compiling,
    context,
    demo,
    distil,
    doctor,
    evaluate,
    explain,
    importing,
    index,
    mcp,
    rerank,
    search,
    serve,
    store,
    train,
    tune,
)
from late_rerank.cli.options import at_given_revision
from late_rerank.cli.terminal import leave_stdout, shown_streams
from late_rerank.errors import LateRerankError
from late_rerank.text.shown import shown

_INTERRUPTED = 128 + signal.SIGINT


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(shown(message))  # the message quotes what was typed, or what a script put there


def parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line. Imports nothing but the standard library."""
    top = _Parser(prog="late-rerank", description="Rerank documents by late interaction (ColBERT), with token vectors kept.")
    top.add_argument("--version", action="version", version=f"late-rerank {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for room in (
        demo,
        search,
        index,
        importing,
        rerank,
        context,
        explain,
        evaluate,
        store,
        doctor,
        compiling,
        bench,
        calibrate,
        tune,
        train,
        distil,
        serve,
        mcp,
    ):
        room.register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: As typed after `late-rerank`; None for those of this process.

    Returns:
        The exit code.
    """
    command = ""
    try:
        with _interrupts():
            options = parser().parse_args(arguments)  # interruptible too: it loads NumPy where a store is named
            command = options.command
            with shown_streams():
                return _run(options)
    except KeyboardInterrupt:
        _complain("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        return 0  # the reader, `head` for example, has read enough
    except (LateRerankError, OSError, ValueError) as error:
        _complain(f"late-rerank {command}: {_said(error)}")
        return 1
    finally:
        _flush()


def _run(options: argparse.Namespace) -> int:
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _complain(f"warning: {message}")
        if "command_parser" not in options:  # else the environment may name the model: the command reads it first
            at_given_revision(options)
        # A command that worked, but found a fault, returns its own exit code.
        code = options.run(options) or 0
    sys.stdout.flush()
    return int(code)


def _flush() -> None:
    """Write the rest of stdout, if possible: otherwise Python complains again while closing stdout."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        leave_stdout()


def _said(error: Exception) -> str:
    """Make a sentence of an error; a system error on a file comes without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


@contextmanager
def _interrupts() -> Iterator[None]:
    """Make Ctrl-C arrive as KeyboardInterrupt, even while libraries are imported.

    In a callback of the import machinery Python only reports the interrupt and goes on. C code under import may turn it into
    an ImportError.
    """
    interrupted = False

    def note(signal_number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(signal_number, frame)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only that thread is interrupted
        return
    handler, hook = signal.signal(signal.SIGINT, note), sys.unraisablehook
    sys.unraisablehook = lambda report: None if interrupted else hook(report)
    try:
        yield
    except Exception:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, handler)
        sys.unraisablehook = hook
    if interrupted:
        raise KeyboardInterrupt


def _complain(text: str) -> None:
    if sys.stderr is not None:  # print would take None for stdout
        with suppress(OSError):  # nobody reads stderr any more, and there is no other place to complain
            print(shown(text), file=sys.stderr, flush=True)
