"""A store's figures as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from late_rerank.cli.results import counted, size_text
from late_rerank.text.shown import one_line

if TYPE_CHECKING:
    from late_rerank.stores.disk import VerifyReport

_SHOWN_PROBLEMS = 20


def print_stats(stats: Mapping[str, Any]) -> None:
    """Print a line a figure, then a line a space. Stores differ in the figures that they know."""
    figures = {_label(name): _value(name, value) for name, value in stats.items() if name != "spaces"}
    width = max(map(len, figures))
    for label, value in figures.items():
        print(f"{label:<{width}}  {value}")
    for space in stats.get("spaces", []):
        size = f", {size_text(space['size_bytes'])}" if "size_bytes" in space else ""
        print(f"{space['fingerprint'][:16]}  {space['codec']}, dim {space['dim']}: {space['n_documents']:,} documents{size}")


def print_verified(store: str, report: VerifyReport) -> None:
    """Print what a verification read, what it found wrong, and how to repair it."""
    problems = report.problems
    print(
        f"checked {counted(report.n_segments, 'segment')} with {counted(report.n_records, 'record')}, "
        f"{counted(report.n_documents, 'document')}: "
        f"{counted(len(problems), 'problem') if problems else 'no problems'}"
    )
    for problem in problems[:_SHOWN_PROBLEMS]:
        print(f"{problem.where}: {problem.reason}")
    if len(problems) > _SHOWN_PROBLEMS:
        print(f"... and {len(problems) - _SHOWN_PROBLEMS:,} more; --json gives all")
    _tell_remedies(store, {problem.remedy for problem in problems})


def _tell_remedies(store: str, remedies: set[str]) -> None:
    """Print how to repair the store, step by step."""
    if "remove" in remedies:
        print(f"move files that are no segments of the index out of {store}/segments")
    if "rebuild" in remedies:
        print(f"`late-rerank store rebuild {store}` makes the index again from the segments")
    if "compact" in remedies:
        print(f"`late-rerank store compact {store}` drops damaged documents, so that they are encoded again")
    if remedies and not any(remedies):
        print("publish it again, or copy it again, to a new place")


def _label(name: str) -> str:
    said = {"size_bytes": "size", "dead_bytes": "dead", "max_bytes": "bound", "index_bytes": "index"}
    return said.get(name, name.removeprefix("n_").replace("_", " "))


def _value(name: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", False: "no", True: "yes"}[value]
    if name.endswith("_bytes") and isinstance(value, int):
        return size_text(value)
    return f"{value:,}" if isinstance(value, int) else one_line(str(value))
