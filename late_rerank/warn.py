"""Warnings that point at the user's line, however deep in this package they arise."""

from __future__ import annotations

import contextlib
import inspect
import os
import warnings

# contextlib's frames stand between ours where a context manager decorates a function.
_INSIDE = (os.path.dirname(__file__) + os.sep, contextlib.__file__)  # noqa: PTH120 - code objects name their files as text


def warn_caller(message: str, kind: type[Warning] = UserWarning) -> None:
    """Warn at the line outside this package that called into it.

    A fixed `stacklevel` can't do that: a store is called by its user, by `rerank`, or by a Searcher through a TieredStore. In a
    thread that was started for a call (`arerank`) the line is the thread pool's.
    """
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, kind, stacklevel=level)
