"""Verbs of `late-rerank store` for object storage: each gives its report as JSON values, and a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from late_rerank.stores.disk.verification import VerifyReport

Told = tuple[dict[str, Any], str]


def publish(folder: Path, url: str) -> Told:
    """Send a folder's documents to object storage, and commit them."""
    from late_rerank.cli.results import counted, size_text
    from late_rerank.stores.remote.publishing import publish

    report = publish(folder, url, progress=True)
    known = f"; {report.n_known:,} of them were published before, and stay as old as they were" if report.n_known else ""
    return {"out": url, **asdict(report)}, (
        f"{counted(report.n_documents, 'document')}, {size_text(report.size_bytes)} in "
        f"{counted(report.n_segments, 'segment')}, published in {url} as manifest {report.manifest}{known}"
    )


def verify(url: str) -> VerifyReport:
    """Read and check every byte."""
    from late_rerank.stores.remote.verification import verify

    return verify(_objects(url), progress=True)


def drop(url: str, choose: Callable[[list[str]], list[str]]) -> Told:
    """Forget the vectors of the encoders that are chosen from all fingerprints."""
    from late_rerank.cli.results import counted
    from late_rerank.stores.record import parse_space
    from late_rerank.stores.remote.deleting import drop
    from late_rerank.stores.remote.manifest import newest

    objects = _objects(url)
    fingerprints = choose(sorted({parse_space(run.space)[0] for run in newest(objects).runs}))
    n_documents = sum(drop(objects, fingerprint) for fingerprint in fingerprints)
    return {"fingerprints": fingerprints, "n_documents": n_documents}, (
        f"dropped {counted(n_documents, 'document')} of {', '.join(fingerprints) or 'no encoder'}; "
        f"`late-rerank store clean {url}` gives the room back, after a grace time"
    )


def merge(url: str) -> Told:
    """Merge the runs of each space."""
    from late_rerank.cli.results import counted
    from late_rerank.stores.remote.merging import merge

    report = merge(_objects(url), progress=True)
    return asdict(report), (
        f"{counted(report.n_runs_before, 'run')} before, {report.n_runs_after:,} after: "
        f"{counted(report.n_documents, 'document')} merged, {report.n_left_out:,} replaced or deleted ones left out"
    )


def clean(url: str, grace_hours: float) -> Told:
    """Remove what no manifest names."""
    from late_rerank.cli.results import counted, size_text
    from late_rerank.stores.remote.cleaning import clean

    report = clean(_objects(url), grace=timedelta(hours=grace_hours))
    return asdict(report), (
        f"removed {counted(report.n_objects, 'object')}, {size_text(report.size_bytes)}, and "
        f"{counted(report.n_manifests, 'old manifest')}; {report.n_kept:,} kept"
    )


def _objects(url: str) -> Any:
    """Open the objects below a URL that holds a store.

    Raises:
        FileNotFoundError: If there is no store.
    """
    from late_rerank.stores.remote.committing import read_format
    from late_rerank.stores.remote.objects import Objects

    objects = Objects.at(url)
    if read_format(objects) is None:
        raise FileNotFoundError(f"{url} holds no store; `late-rerank store publish DIR {url}` makes one")
    return objects
