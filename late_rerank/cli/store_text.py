"""A store's figures as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from late_rerank.cli.results import size_text
from late_rerank.text.shown import one_line


def print_stats(stats: Mapping[str, Any]) -> None:
    """Print a line a figure, then a line a space. Stores differ in the figures that they know."""
    figures = {_label(name): _value(name, value) for name, value in stats.items() if name != "spaces"}
    width = max(map(len, figures))
    for label, value in figures.items():
        print(f"{label:<{width}}  {value}")
    for space in stats.get("spaces", []):
        size = f", {size_text(space['size_bytes'])}" if "size_bytes" in space else ""
        print(f"{space['fingerprint'][:16]}  {space['codec']}, dim {space['dim']}: {space['n_documents']:,} documents{size}")


def _label(name: str) -> str:
    said = {"size_bytes": "size", "dead_bytes": "dead", "max_bytes": "bound", "index_bytes": "index"}
    return said.get(name, name.removeprefix("n_").replace("_", " "))


def _value(name: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", False: "no", True: "yes"}[value]
    if name.endswith("_bytes") and isinstance(value, int):
        return size_text(value)
    return f"{value:,}" if isinstance(value, int) else one_line(str(value))
