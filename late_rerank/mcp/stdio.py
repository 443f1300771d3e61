"""Messages over stdin and stdout."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import re
import signal
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO, cast

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.stdio import stdio_server

# A pair of escapes, which is one character; a lone one; any other escape, lest `\\ud800`, six plain characters, look like one.
_ESCAPE = re.compile(r"(?i)\\(?:u(d[89ab]..\\ud[c-f]..)|(ud[89a-f]..)|.)")
_LONE = re.compile(r"(?i)\\ud[89a-f]")


def serve(server: MCPServer[Any]) -> None:
    """Serve until stdin ends. Nothing but messages goes to stdout.

    Raises:
        BrokenPipeError: If nobody reads stdout any more.
        KeyboardInterrupt: If Ctrl-C ended it; the model is closed.
    """
    # The warning quotes the query, which belongs to the agent.
    warnings.filterwarnings("ignore", message="query .* is longer than the model's limit")
    try:
        server.run()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except Exception as error:
        if _is_broken_pipe(error):
            raise BrokenPipeError from None
        raise


class StdioServer(MCPServer[Any]):
    """An MCPServer that Ctrl-C ends, and that answers a client which cut its text within an emoji.

    The SDK's own server waits for a line of stdin in a thread that has to finish. It drops messages with a lone surrogate,
    whose senders would wait for ever.
    """

    async def run_stdio_async(self) -> None:
        lines = cast("anyio.AsyncFile[str]", _lines(_diverted_stdin()))  # iterated, and nothing else
        with _cancelled_by_ctrl_c():
            async with stdio_server(stdin=lines) as (received, sent):
                inner = self._lowlevel_server
                await inner.run(received, sent, inner.create_initialization_options())


@contextmanager
def _cancelled_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C cancel the current task. As KeyboardInterrupt it would be raised in whichever task runs just then.

    Errors that the SDK raises on its way out (of messages that nobody takes any more) become CancelledError too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # which is never interrupted
        return
    loop, task = asyncio.get_running_loop(), cast("asyncio.Task[Any]", asyncio.current_task())
    interrupted = False

    def cancel(signal_number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:  # a second time: at once
            signal.default_int_handler(signal_number, frame)
        interrupted = True
        loop.call_soon_threadsafe(task.cancel)

    handler = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    except Exception:
        if interrupted:
            raise asyncio.CancelledError from None
        raise
    finally:
        signal.signal(signal.SIGINT, handler)


def repaired(line: str) -> str:
    r"""Replace each escape of a lone surrogate (`\ud800`), which UTF-8 can't hold, by U+FFFD in a line of JSON."""
    return _ESCAPE.sub(lambda escape: r"\ufffd" if escape[2] else escape[0], line) if _LONE.search(line) else line


async def _lines(file: TextIO) -> AsyncIterator[str]:
    """Give lines as they come, read by a thread that nobody waits for."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[str] = asyncio.Queue(1)

    def read() -> None:
        # When the server has ended there is no loop, or nobody to take the line.
        with suppress(RuntimeError, concurrent.futures.CancelledError):
            for line in file:
                asyncio.run_coroutine_threadsafe(waiting.put(repaired(line)), loop).result()
            asyncio.run_coroutine_threadsafe(waiting.put(""), loop).result()

    threading.Thread(target=read, name="late-rerank-stdin", daemon=True).start()
    while line := await waiting.get():
        yield line


def _diverted_stdin() -> TextIO:
    """Take stdin for the server alone: child processes of libraries get an empty one, and can't take its messages."""
    file = os.fdopen(os.dup(0), encoding="utf-8", errors="replace")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return file


def _is_broken_pipe(error: BaseException) -> bool:
    parts = getattr(error, "exceptions", None)  # of an exception group, whose class Python 3.10 doesn't have
    return all(map(_is_broken_pipe, parts)) if parts else isinstance(error, BrokenPipeError)
