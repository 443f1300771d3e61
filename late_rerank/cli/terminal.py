"""Output to a terminal: no control sequence reaches it, wherever the text comes from."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from late_rerank.text.shown import shown

if TYPE_CHECKING:
    from rich.console import Console

# tqdm moves to the line's beginning, or down and up to another bar's line. No other module may.
_PROGRESS = re.compile(r"\r(?P<text>.*)|(?:\n|\x1b\[A)*|\r?", re.DOTALL)


class ShownStream:
    """A stream that writes text as it can be shown. All else is the stream's own.

    Args:
        stream: Where text goes.
        progress: Let the movements of tqdm's bars pass.
    """

    def __init__(self, stream: TextIO, *, progress: bool = False) -> None:
        self._stream = stream
        self._progress = progress

    def write(self, text: str) -> int:
        """Write a text as `shown` gives it."""
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 - nothing else tells a bar from a document
        if self._progress and caller.startswith("tqdm.") and (move := _PROGRESS.fullmatch(text)):
            bar = move["text"]
            self._stream.write(text if bar is None else f"\r{shown(bar)}")
        else:
            self._stream.write(shown(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each text as `shown` gives it."""
        for line in lines:
            self.write(line)

    @property
    def beneath(self) -> TextIO:
        """Give the stream for text with styles, which `shown` has seen already."""
        return self._stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Closed(ShownStream):
    """Stands for stdout or stderr where the shell closed it (`>&-`)."""

    def __init__(self, complaint: str | None) -> None:
        super().__init__(io.StringIO())
        self._complaint = complaint

    @property
    def beneath(self) -> TextIO:
        return cast("TextIO", self)

    def write(self, text: str) -> int:
        if self._complaint is not None:
            raise OSError(self._complaint)
        return len(text)


@contextmanager
def shown_streams() -> Iterator[None]:
    """Keep control sequences from stdout and stderr within this context, whoever writes there, warnings included.

    Writing to a closed stdout is an OSError. Text for a closed stderr is lost, since there is no place to report it.
    """
    _occupy_closed()
    streams = []
    for stream, complaint in ((sys.stdout, "stdout is closed, so there is no place for the result"), (sys.stderr, None)):
        # A terminal may be ASCII: print characters that it lacks as escapes.
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        known = cast("TextIO | None", stream)
        streams.append(_Closed(complaint) if known is None else ShownStream(known, progress=complaint is None))
    out, err = (cast("TextIO", stream) for stream in streams)
    with redirect_stdout(out), redirect_stderr(err):
        yield


def _occupy_closed() -> None:
    """Open the null device where the shell closed a standard stream. Otherwise a store's file would take its descriptor."""
    for descriptor in range(3):
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def leave_stdout() -> None:
    """Discard the rest of stdout: its reader has left, or its disk is full."""
    if sys.stdout is not None:
        with suppress(OSError, ValueError):  # ValueError: a stream without a descriptor, in a notebook for example
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def shown_console(*, highlight: bool = True) -> Console:
    """Make a console for tables and styles on stdout. Text is shown literally: no markup, no control sequences."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class ShownConsole(Console):
        def render_str(self, text: str, **how: Any) -> Text:
            return super().render_str(shown(text), **how)  # here too, so that widths fit the shown text

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else shown(text), style, control)

        def on_broken_pipe(self) -> None:  # rich would exit with code 1
            raise BrokenPipeError

    # rich's own styles pass; text goes through `shown` above.
    file = sys.stdout.beneath if isinstance(sys.stdout, ShownStream) else sys.stdout
    return ShownConsole(file=file, highlight=highlight, markup=False, emoji=False)
