"""What came of a bulk encoding: counts, and the error if splits failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from late_rerank.bulk.planning import Plan
from late_rerank.bulk.receipts import Receipt


@dataclass(frozen=True)
class BulkReport:
    """Counts of a bulk encoding.

    Attributes:
        n_documents: Documents of the corpus.
        n_encoded: Documents that were encoded and stored, by this run or by the one that it goes on with. A document that
            stands in two splits may be encoded twice; it is stored once.
        n_cached: Documents that were in the store already, or stood earlier in the same split. The rest are blank.
        n_tokens: Token vectors of the encoded documents.
        size_bytes: The packed bytes of the encoded documents.
        seconds: Wall time of this run.
        engine: The engine's name.
        n_workers: Workers that gave a receipt to this run.
        n_splits: Splits of the corpus.
        n_resumed: Splits that an earlier run had finished.
        documents_per_s: Documents a second of this run, models' loading included.
        fingerprint: The model's.
        commit: The number of the store's manifest that has the documents; None where there are no manifests, or nothing was
            new.
        skipped: (path, reason) of each file that could not be read, wholly or in part.
        passed_over: File ending -> how many files with it are of a kind that isn't read.
        json_lines: A file of JSON Lines that was passed over: such a file is read if it is named.
        encodings: Path of each text file that isn't UTF-8 -> Python's name of the encoding that it was decoded by.
        misdeclared: (path, what it declares) of each file that was decoded by another encoding than it declares.
    """

    n_documents: int
    n_encoded: int
    n_cached: int
    n_tokens: int
    size_bytes: int
    seconds: float
    engine: str
    n_workers: int
    n_splits: int
    n_resumed: int
    documents_per_s: float
    fingerprint: str
    commit: int | None = None
    skipped: list[tuple[str, str]] = field(default_factory=list)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    json_lines: str | None = None
    encodings: Mapping[str, str] = field(default_factory=dict)
    misdeclared: list[tuple[str, str]] = field(default_factory=list)


def report_of(
    planned: Plan, done: Sequence[Receipt], new: Sequence[Receipt], *, seconds: float, engine: str, fingerprint: str
) -> BulkReport:
    """Sum receipts up.

    Args:
        planned: The corpus.
        done: One receipt a split, in the corpus' order.
        new: Those of them that this run brought.
        seconds: Wall time.
        engine: The engine's name.
        fingerprint: The model's.
    """
    return BulkReport(
        n_documents=sum(receipt.n_documents for receipt in done),
        n_encoded=sum(receipt.n_encoded for receipt in done),
        n_cached=sum(receipt.n_cached for receipt in done),
        n_tokens=sum(receipt.n_tokens for receipt in done),
        size_bytes=sum(receipt.size_bytes for receipt in done),
        seconds=seconds,
        engine=engine,
        n_workers=len({receipt.worker for receipt in new}),
        n_splits=len(planned.splits),
        n_resumed=len(done) - len(new),
        documents_per_s=round(sum(receipt.n_documents for receipt in new) / max(seconds, 1e-9), 1),
        fingerprint=fingerprint,
        skipped=[*planned.closed, *((path, reason) for receipt in done for path, reason in receipt.skipped)],
        passed_over=planned.passed_over,
        json_lines=planned.json_lines,
        encodings={path: name for receipt in done for path, name in receipt.encodings},
        misdeclared=[(path, declaration) for receipt in done for path, declaration in receipt.misdeclared],
    )
