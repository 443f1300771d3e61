"""Rankings as JSON and as text."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

from late_rerank.arguments.given import finite, finite_within
from late_rerank.text.shown import escaped_json, first_characters, one_line
from late_rerank.types import RankedDocument, Ranking

_EXCERPT = 300
# A best passage has up to 144 tokens, of which nearly all are shorter than this.
_PASSAGE = 900


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object; non-ASCII characters as they are where stdout takes them, and a terminal can show them."""
    readable = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    print(escaped_json(json.dumps(value, ensure_ascii=not readable, allow_nan=False, indent=1)))


def ranking_json(query: str, model: str, k: int, ranking: Ranking) -> dict[str, Any]:
    """Make the JSON of `search` and `rerank`; `k` is the number of candidates asked for."""
    return {
        "query": query,
        "model": model,
        "k": k,
        "results": [_document_json(document) | _by_model(ranking, document) for document in ranking],
        "timings_ms": {name: round(ms, 3) for name, ms in {"first_stage": 0.0, **ranking.timings_ms}.items()},
        "store": {"hits": ranking.n_hits, "misses": ranking.n_misses},
    }


def _by_model(ranking: Ranking, document: RankedDocument) -> dict[str, Any]:
    """Give what each model says of a document, where several ranked it together."""
    scores: Mapping[str, Sequence[float | None]] | None = getattr(ranking, "scores_by_model", None)
    return {} if scores is None else {"scores_by_model": {name: found[document.index] for name, found in scores.items()}}


def print_ranking(ranking: Ranking) -> None:
    """Print rank, score, the first stage's place, and each document's best passage where it is known, else its beginning."""
    if not ranking:
        print("no documents")
    for document in ranking:
        score = "unscored" if document.score is None else f"score {document.score:.2f}  relevance {document.relevance:.2f}"
        score += "" if document.prior is None else f"  prior {document.prior:.2f}"
        name = source_of(document.id, document.metadata.get("path"), document.metadata.get("page"))
        print("  ".join(filter(None, (f"{document.rank:>3}.", name, score, f"(was {document.index + 1})"))))
        print(f"     {quoted(document)}\n")
    ms = ranking.timings_ms
    stages = "  ".join(f"{name} {ms[name]:.1f}" for name in ms if name != "total")
    print(f"{ms['total']:.1f} ms: {stages}; {ranking.n_hits} hits, {ranking.n_misses} misses")


def source_of(name: object, path: object, page: object) -> str | None:
    """Name where a document is from, on one line: "manual.pdf, page 12"; by its id where no page is known.

    Args:
        name: The document's id, or None.
        path: Its file, as metadata tell it.
        page: The page, as metadata tell it.
    """
    if isinstance(path, str) and isinstance(page, int) and not isinstance(page, bool):
        return one_line(f"{path}, page {page}")
    return None if name is None else one_line(str(name))


def changes_table(
    title: str, columns: Sequence[tuple[str, Mapping[str, float]]], changes: Mapping[str, Mapping[str, float]]
) -> Table:
    """Make a table with a row a measure: its figure in each column, and the change to the last column from the one before.

    Args:
        title: Above the table.
        columns: (head, measure -> figure); two may have one head.
        changes: Measure -> the parts of a Difference.
    """
    from rich.table import Table

    table = Table("", *(head for head, _ in columns), "change", "95 % range", "by chance", title=title)
    for name, change in changes.items():
        figures = [f"{column[name]:.4f}" for _, column in columns]
        spread = f"{change['low']:+.4f} to {change['high']:+.4f}"
        table.add_row(name, *figures, f"{change['mean']:+.4f}", spread, f"p = {change['p']:.4f}")
    return table


def size_text(n_bytes: float) -> str:
    """Write bytes for people: about three digits, and a unit of thousands."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} bytes" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} TB"


def counted(n: int, noun: str) -> str:
    """Write a number with its noun, which takes an "s" unless the number is 1."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def excerpt(text: str, length: int = _EXCERPT) -> str:
    """Give the beginning of a text on one line."""
    line = " ".join(text[: 2 * length].split())
    return line if len(line) <= length else f"{first_characters(line, length - 1)}…"


def quoted(document: RankedDocument) -> str:
    """Give a long document's best passage on one line; the beginning of other documents. "…" stands where text is left out."""
    text, span = document.text, document.best_span
    if span is None or span == (0, len(text)):
        return excerpt(text)
    start, end = span
    passage = excerpt(text[start:end], _PASSAGE)
    before, after = "… " if start else "", " …" if end < len(text) and not passage.endswith("…") else ""
    return f"{before}{passage}{after}"


def _order_json(document: RankedDocument) -> dict[str, Any]:
    """Tell what ordered a document, where more than its score did."""
    prior = {} if document.prior is None else {"prior": document.prior}
    return prior if document.ranked_by is None else {**prior, "ranked_by": document.ranked_by.to_dict()}


def _document_json(document: RankedDocument) -> dict[str, Any]:
    span = {} if document.passage is None else {"best_span": None if document.best_span is None else list(document.best_span)}
    return {
        "rank": document.rank,
        "index": document.index,
        "id": document.id,
        "score": document.score,
        "relevance": document.relevance,
        "candidate_score": finite(document.candidate_score),
        **_order_json(document),
        "truncated": document.truncated,
        **span,
        "text": document.text,
        "metadata": finite_within(document.metadata),
    }
