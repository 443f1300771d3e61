"""Messages about the documents that a command reads."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from late_rerank.text.shown import one_line

if TYPE_CHECKING:
    from late_rerank.bulk import BulkReport
    from late_rerank.corpus import Corpus, CorpusStream

# At most so many endings are named; a folder of source code has hundreds.
_NAMED = 8
# Files that a command's JSON names, of each kind.
_MOST_TOLD = 1000


def tell_skipped(read: Corpus | CorpusStream | BulkReport) -> None:
    """Print a line to stderr for each file that can't be read, and for each encoding but UTF-8 that files were read as."""
    for path, reason in read.skipped:
        print(f"skipped {one_line(path)}: {reason}", file=sys.stderr)
    tell_encodings(read.encodings, read.misdeclared)


def tell_encodings(encodings: Mapping[str, str], misdeclared: Iterable[tuple[str, str]] = ()) -> None:
    """Print a line to stderr for each encoding but UTF-8, and for each file that isn't in the one that it declares."""
    from late_rerank.corpus.labels import told

    for line in told(encodings, misdeclared):
        print(line, file=sys.stderr)


def read_json(read: Corpus | CorpusStream | BulkReport) -> dict[str, Any]:
    """Give what a command's JSON tells of the files that were read or skipped: the same in all commands.

    Returns:
        "encodings" counts the files that aren't UTF-8, by Python's name of the encoding.
    """
    return {
        "n_skipped_files": len(read.skipped),
        "skipped": [{"path": str(path), "reason": reason} for path, reason in read.skipped[:_MOST_TOLD]],
        "passed_over": dict(read.passed_over),
        "encodings": dict(Counter(read.encodings.values())),
        "files_by_encoding": {
            name: [path for path, encoding in read.encodings.items() if encoding == name][:_MOST_TOLD]
            for name in dict.fromkeys(read.encodings.values())
        },
        "misdeclared": [{"path": path, "told": told} for path, told in read.misdeclared[:_MOST_TOLD]],
    }


def tell_passed_over(read: Corpus | CorpusStream | BulkReport) -> None:
    """Print a line to stderr for the files of kinds that aren't read, if there are any."""
    if read.passed_over:
        print(f"passed over {_passed_over(read)}", file=sys.stderr)


def no_documents(path: str, read: Corpus | CorpusStream | BulkReport | None = None) -> ValueError:
    """Make the error for a PATH without documents."""
    also = "" if read is None or not read.passed_over else f"; it has {_passed_over(read)}"
    return ValueError(f"{path} holds no documents (txt, md, rst, adoc, html, pdf, ipynb, or JSON Lines){also}")


def _passed_over(read: Corpus | CorpusStream | BulkReport) -> str:
    """Count the files of kinds that aren't read, by ending, most frequent first."""
    from late_rerank.cli.results import counted

    counts = sorted(read.passed_over.items(), key=lambda each: (-each[1], each[0]))
    said = [f"{n:,} {one_line(ending) or 'without ending'}" for ending, n in counts[:_NAMED]]
    if others := sum(n for _, n in counts[_NAMED:]):
        said.append(f"{others:,} other")
    text = f"{counted(sum(n for _, n in counts), 'file')} of kinds that aren't read: {', '.join(said)}"
    if read.passed_over.get(".pdf"):
        text += '. PDF files are read with: pip install "late-rerank[pdf]"'
    return text if read.json_lines is None else f"{text}. JSON Lines are read where named: pass {one_line(read.json_lines)}"
