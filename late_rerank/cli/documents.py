"""What commands say about the documents that they read."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def tell_skipped(skipped: Iterable[tuple[str, str]]) -> None:
    """A line on stderr for each file that gave no documents."""
    for path, reason in skipped:
        print(f"skipped {path}: {reason}", file=sys.stderr)


def no_documents(path: str) -> ValueError:
    """The error for a PATH without documents."""
    return ValueError(f"{path} holds no documents (txt, md, rst, html, or JSON Lines)")
