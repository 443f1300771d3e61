"""Token vectors of one text -> fewer, similar ones merged. Needs the extra `pooling`, which is SciPy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from late_rerank.encode.base import Kind
from late_rerank.types import F32


@dataclass(frozen=True)
class Pooling:
    """Merges Ward's clusters of cosines, each into its mean. The means stand in the order of their first tokens.

    Attributes:
        factor: One of so many vectors is kept.
        n_protected: The first vectors, which are left alone.
        normalises: Whether the results are made unit vectors.
        kinds: Kinds of texts that are pooled.

    Source: sentence-transformers 6.2's HierarchicalTokenPooling.
    """

    factor: float
    n_protected: int
    normalises: bool
    kinds: tuple[Kind, ...]

    def __call__(self, rows: F32) -> F32:
        """Merge the vectors of one text: (n, dim) float32 -> fewer."""
        own = rows[self.n_protected :]
        n_clusters = max(int(len(own) // self.factor), 1)
        if self.factor > 1 and n_clusters < len(own):
            rows = np.concatenate([rows[: self.n_protected], _means(own, n_clusters)])
        return unit(rows) if self.normalises else rows


def factor_of(poolings: Iterable[Pooling]) -> float:
    """Give the number of a document's token vectors that become one: an int where it is whole, 1 where none are merged."""
    factor = prod(pooling.factor for pooling in poolings if "document" in pooling.kinds)
    return int(factor) if factor == int(factor) else factor


def unit(rows: F32) -> F32:
    """Make unit vectors."""
    lengths: Any = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: F32 = rows / np.maximum(lengths, 1e-12)
    return scaled


def _means(rows: F32, n_clusters: int) -> F32:
    """Give the mean of each cluster, (n_clusters, dim), in the order of the first rows; fewer where distances tie."""
    from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415 - an extra, and a third of a second
    from scipy.spatial.distance import squareform  # noqa: PLC0415

    distances = squareform(np.clip(1 - rows @ rows.T, 0, 2), checks=False)
    cluster = fcluster(linkage(distances, method="ward"), t=n_clusters, criterion="maxclust")
    order = cluster.argsort(kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    counts = np.diff(starts, append=len(rows)).astype(np.float32)
    sums: F32 = np.add.reduceat(rows[order], starts, axis=0)
    means: F32 = np.divide(sums, counts[:, None], dtype=np.float32)
    in_order: F32 = means[order[starts].argsort()]
    return in_order
