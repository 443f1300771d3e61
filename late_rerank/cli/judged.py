"""Messages about judged queries, beside the figures of a command that measures."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from late_rerank.cli.results import counted

if TYPE_CHECKING:
    from late_rerank.types import Candidate

Qrels = Mapping[str, Mapping[str, int]]


def tell(text: str) -> None:
    """Print a line on stderr."""
    print(f"note: {text}", file=sys.stderr)


def left_out_text(n: int) -> str | None:
    """Make a line on candidates that had their query's id; None if there were none."""
    if not n:
        return None
    return f"left out {counted(n, 'candidate')} of the query's own id, as BEIR does; --keep-identical-ids counts them"


def tell_of_judgements(documents: Iterable[Candidate], qrels: Qrels, split: str, *, ignore_identical_ids: bool) -> None:
    """Report judgements that can't count as they may be meant to."""
    from late_rerank.corpus import absent_text

    if (absent := absent_text(documents, qrels, split)) is not None:
        tell(absent)
    own = [query for query, judged in qrels.items() if judged.get(query, 0) > 0]
    if own and ignore_identical_ids:
        tell(
            f"{len(own)} of {len(qrels)} queries have a document judged relevant that has the query's id, {own[0]!r} first: it "
            "is left out, as BEIR does. If queries and documents are numbered apart, use --keep-identical-ids"
        )


def tell_of_nothing_relevant(qrels: Qrels, command: str) -> None:
    """Report judged queries without a relevant document, which `command` can't use."""
    nothing = [query for query, judged in qrels.items() if not any(judgement > 0 for judgement in judged.values())]
    if nothing:
        tell(
            f"{len(nothing)} of {len(qrels)} judged queries have no document judged relevant, {nothing[0]!r} first: "
            f"`{command}` passes over them, where `eval` counts 0"
        )
