"""The teacher's query vectors: encoded when they are needed first, kept in a file of float16."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.encoding import encode_queries
from late_rerank.encode.layout import Layout
from late_rerank.encode.model import Model
from late_rerank.types import F32, I64

_AT_ONCE = 1024  # texts encoded before their vectors are written: seconds of work
_LAID_OUT = 512
_VECTORS, _TAUGHT = "vectors.f16", "taught"
_KEPT_FREE = 1 << 28


@dataclass(frozen=True)
class Lengths:
    """What is known of texts before any is encoded.

    Attributes:
        widths: (n,) int64: positions that the model is given for each text, markers and mask expansion included.
        counted: (n,) int64: the vectors of each text that count.
        frequencies: (vocabulary,) int64: the texts that each token stands in, by its id.
    """

    widths: I64
    counted: I64
    frequencies: I64

    @classmethod
    def of(cls, texts: Sequence[str], layout: Layout) -> Lengths:
        """Lay texts out as queries."""
        widths, counted = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=np.int64)
        frequencies = np.zeros(max(layout.tokenizer.get_vocab().values(), default=0) + 1, dtype=np.int64)
        for start in range(0, len(texts), _LAID_OUT):
            inputs, _ = layout.queries(texts[start : start + _LAID_OUT])
            given = inputs.real if inputs.filled is None else inputs.real | inputs.filled
            rows = slice(start, start + len(inputs.ids))
            widths[rows], counted[rows] = given.sum(axis=1), inputs.counted.sum(axis=1)
            for ids, mask in zip(inputs.ids, given, strict=True):
                frequencies[np.unique(ids[mask])] += 1
        return cls(widths, counted, frequencies)


class TeacherVectors:
    """The teacher's vectors of some texts. An interrupted training finds them again.

    Args:
        teacher: The model. It encodes.
        texts: Queries.
        lengths: Of the texts.
        folder: Where the file is, or will be.

    Attributes:
        size_bytes: Of the file, once all texts are encoded.

    Raises:
        OSError: If the disk has no room for the file.
    """

    def __init__(self, teacher: Model, texts: Sequence[str], lengths: Lengths, folder: Path) -> None:
        self._teacher, self._texts, self._lengths = teacher, texts, lengths
        self._offsets = np.concatenate([[0], np.cumsum(lengths.counted)])
        self.size_bytes = int(self._offsets[-1]) * teacher.dim * 2
        self._file, self._marks = folder / _VECTORS, folder / _TAUGHT
        self._make_room(folder)
        self._taught = self._read_marks()
        shape = (int(self._offsets[-1]), teacher.dim)
        self._vectors: NDArray[np.float16] = np.memmap(self._file, np.float16, "r", shape=shape)

    def teach(self, which: Iterable[int]) -> None:
        """Encode the texts that aren't yet.

        Args:
            which: Positions in `texts`.
        """
        absent = sorted({i for i in which if not self._taught[i]}, key=lambda i: (self._lengths.widths[i], i))
        for start in range(0, len(absent), _AT_ONCE):
            self._encode(absent[start : start + _AT_ONCE])

    def rows(self, which: Sequence[int]) -> F32:
        """Give the vectors of some texts, one text after the other: (n_counted, dim) float32.

        Args:
            which: Positions of texts that were taught.
        """
        parts = [self._vectors[self._offsets[i] : self._offsets[i + 1]] for i in which]
        return np.concatenate(parts).astype(np.float32)

    def _encode(self, which: Sequence[int]) -> None:
        found = encode_queries(self._teacher, [self._texts[i] for i in which])
        if found.offsets[-1] != self._lengths.counted[list(which)].sum():
            raise RuntimeError("the teacher gave another number of vectors than its layout counts")  # a defect of ours
        values = found.values.astype(np.float16)
        with self._file.open("r+b") as file:
            for row, i in enumerate(which):
                file.seek(int(self._offsets[i]) * self._teacher.dim * 2)
                file.write(values[found.offsets[row] : found.offsets[row + 1]].tobytes())
            file.flush()
            os.fsync(file.fileno())
        self._taught[list(which)] = True
        scratch = self._marks.with_suffix(".new")
        scratch.write_bytes(np.packbits(self._taught).tobytes())
        scratch.replace(self._marks)  # after the vectors: a mark never lies

    def _make_room(self, folder: Path) -> None:
        """Make the file at its full length. It takes room on the disk only as it is filled."""
        if self._file.is_file() and self._file.stat().st_size == self.size_bytes:
            return
        free = shutil.disk_usage(folder).free
        if self.size_bytes + _KEPT_FREE > free:
            raise OSError(
                f"the teacher's vectors of {len(self._texts):,} texts take up to {self.size_bytes / 1e9:.1f} GB beside the "
                f"result, and {folder} has {free / 1e9:.1f} GB free: take fewer texts, or another disk"
            )
        self._marks.unlink(missing_ok=True)
        with self._file.open("wb") as file:
            file.truncate(self.size_bytes)

    def _read_marks(self) -> NDArray[np.bool_]:
        taught = np.zeros(len(self._texts), dtype=np.bool_)
        if self._marks.is_file():
            held = np.frombuffer(self._marks.read_bytes(), dtype=np.uint8)
            taught |= np.unpackbits(held, count=len(taught)).astype(np.bool_)
        return taught
