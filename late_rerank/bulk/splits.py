"""Split: a part of a corpus that one worker reads, encodes and writes. It is named before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["lines", "rows", "files"]


@dataclass(frozen=True, slots=True)
class File:
    """A file of a corpus as it was when the job was planned.

    Attributes:
        name: Seen from the corpus' folder.
        size_bytes: Its length.
        state: What changes when its content does: its time of modification; in object storage its etag too.
    """

    name: str
    size_bytes: int
    state: str


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a corpus.

    Attributes:
        kind: "lines" for bytes of a JSON Lines file, "rows" for row groups of a Parquet file, "files" for whole files.
        part: Which of the places that were given for the corpus, and which of those that match a pattern. It tells files of
            equal names apart, and stays if all of the corpus is moved.
        root: The folder of that place, or the URL of one.
        files: One file; for the kind "files" at least one.
        start: The first byte or row group.
        end: The byte or row group behind the last one.
        size_bytes: Bytes to read, about.
    """

    kind: Kind
    part: str
    root: str
    files: tuple[File, ...]
    start: int
    end: int
    size_bytes: int

    @property
    def place(self) -> str:
        """Say for people where it is in the corpus."""
        first, last = self.files[0].name, self.files[-1].name
        if self.kind == "lines":
            return f"{first}, bytes {self.start:,} to {self.end:,}"
        if self.kind == "rows":
            return f"{first}, row groups {self.start:,} to {self.end - 1:,}"
        return first if first == last else f"{first} to {last} ({len(self.files):,} files)"

    def name(self, identity: str) -> str:
        """Name its receipt: a digest of the files' places and states, the range, and what the vectors depend on.

        A corpus that was moved keeps its names; one that was written to gets new ones.

        Args:
            identity: As `Job.identity` gives it.
        """
        files = [[file.name, file.size_bytes, file.state] for file in self.files]
        what = json.dumps([identity, self.kind, self.part, files, self.start, self.end])
        return hashlib.blake2b(what.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Split:
        """Read it from JSON values."""
        return cls(**{**given, "files": tuple(File(**file) for file in given["files"])})
