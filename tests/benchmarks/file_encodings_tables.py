"""The tables of file_encodings.json, for the page of `corpus/`."""

import json
from collections import Counter
from pathlib import Path

from late_rerank.corpus.labels import shown

ENCODINGS = Path(__file__).parent / "file_encodings.json"
HEADER = "| bytes of text | read right | skipped as uncertain | read wrong | wrong by charset-normalizer alone | time |"
HEADER_OF_EACH = "| | texts | read right | skipped | read wrong |"
_DECISIONS = ("right", "uncertain", "wrong")


def result():
    return json.loads(ENCODINGS.read_text(encoding="utf-8"))


def rows():
    """One row a length."""
    for length, counts in result()["lengths"].items():
        n = sum(counts["late_rerank"].values())
        wrong = _share(counts["detector"], "wrong")
        shares = [_share(counts["late_rerank"], name) for name in _DECISIONS]
        yield f"| {int(length):,} ({n:,} texts) | {' | '.join(shares)} | {wrong} | {counts['milliseconds']:.0f} ms |"


def rows_of_each():
    """One row an encoding."""
    for name, counts in sorted(result()["encodings"].items(), key=lambda each: shown(each[0])):
        yield f"| {shown(name)} | {sum(counts.values()):,} | {' | '.join(_share(counts, each) for each in _DECISIONS)} |"


def sentence():
    """What became of the tutor's files, of files that are no text, and of encodings that aren't known."""
    found = result()
    tutors, binary = Counter(found["tutors"].values()), found["binary"]
    others = Counter()
    for counts in found["others"].values():
        others.update(counts)
    n_files = sum(n for name, n in binary.items() if name.startswith("file"))
    n_parts = sum(n for name, n in binary.items() if name.startswith("part"))
    return (
        f"Of vim's {tutors.total()} tutors in old encodings {tutors['right']} are right. {tutors['uncertain']} are skipped. "
        f"Of {n_files:,} binary files {binary.get('file, text', 0)} are taken for text in an old encoding, and of {n_parts:,} "
        f"parts of 400 bytes {binary.get('part, text', 0)}. Of {others.total()} texts in six encodings that aren't known here, "
        f"{others['wrong']} are read wrong, {found['others']['cp437'].get('wrong', 0)} of them in DOS's cp437."
    )


def _share(counts, name):
    return f"{100 * counts.get(name, 0) / sum(counts.values()):.1f} %"
