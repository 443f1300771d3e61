"""RemoteStore: documents in a bucket or a shared folder, read by ranges."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from late_rerank.stores.base import Edition, Space, Store
from late_rerank.stores.record import parse_space, space_json
from late_rerank.stores.remote.address import read_address
from late_rerank.stores.remote.counting import Count, count, summed
from late_rerank.stores.remote.manifest import NOTHING
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.shared import Shared
from late_rerank.stores.remote.snapshot import Snapshot
from late_rerank.stores.remote.space import RemoteSpace
from late_rerank.stores.trouble import OnError, Trouble
from late_rerank.types import CodecSpec

POLL_S = 30.0


class RemoteStore(Store):
    """Token vectors in object storage, shared by every machine that reaches it. Threads and forked children may share it.

    It is read-only: a store changes by commits of whole runs (`late-rerank store publish`, `late-rerank index --store`), which
    an open store notices. Put a near store before it: `open_store("s3://...")` does. A document that can't be read in time
    counts as missing, with one RuntimeWarning, and `stats` counts on. Every record's checksum is compared.

    Args:
        url: "s3://bucket/prefix", "gs://...", "az://..." or "file:///folder". Credentials come from the environment.
        timeout_s: Seconds to wait for one request.
        retries: How often a request that failed is sent again.
        pause_s: Seconds for which a service that failed is left alone. Each further failure doubles them, up to 30 s.
        poll_s: Seconds between two looks for a new manifest. A look is made behind a query, which doesn't wait for it.
        on_error: "miss" counts documents as missing. "raise" raises a StoreConnectionError, or a StoreFormatError of damage.

    Raises:
        ValueError: If an argument is wrong.
        MissingDependencyError: If obstore isn't installed.
        StoreError: If there is no store, or a later version's.
        StoreConnectionError: If the service can't be reached and `on_error` is "raise". Then every method may raise it.
    """

    read_only = True

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 2.0,
        retries: int = 1,
        pause_s: float = 1.0,
        poll_s: float = POLL_S,
        on_error: OnError = "miss",
    ) -> None:
        if on_error not in ("miss", "raise"):
            raise ValueError(f'on_error must be "miss" or "raise", got {on_error!r}')
        for name, seconds in (("timeout_s", timeout_s), ("pause_s", pause_s), ("poll_s", poll_s)):
            if not 0 < seconds < float("inf"):
                raise ValueError(f"{name} must be a number of seconds above 0, got {seconds!r}")
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, got {retries!r}")
        self.url = read_address(url).url
        self._given = (
            self.url,
            {"timeout_s": timeout_s, "retries": retries, "pause_s": pause_s, "poll_s": poll_s, "on_error": on_error},
        )
        objects = Objects(self.url, timeout_s=timeout_s, retries=retries)
        trouble = Trouble("Object storage", self.url, on_error, store="RemoteStore")
        self._shared = Shared(objects, trouble, pause_s=pause_s, poll_s=poll_s)

    @property
    def edition(self) -> Edition | None:
        return self._shared.edition()

    def refuse_index(self) -> None:
        self._shared.refuse_change()

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        self._shared.refuse_if_closed()
        return RemoteSpace(self._shared, space_json(fingerprint, codec), fingerprint, codec)

    def spaces(self) -> list[Space]:
        return [RemoteSpace(self._shared, name, *parse_space(name)) for name in self._shared.names()]

    def drop(self, fingerprint: str) -> int:  # noqa: ARG002 - a store's interface
        """Raise a StoreError: nothing can be dropped through an open store."""
        self._shared.refuse_change()

    def stats(self) -> dict[str, Any]:
        """Count documents, bytes and runs, over all spaces and of each, and failures in this process.

        "manifest" is the number of the last commit that is known here, 0 if none is. Nothing is read: a document that is in two
        runs counts twice, and "estimated" is true if there may be such. With `on_error="raise"` runs are compared, once a
        manifest; then it is true only of runs that are too large for that.

        Raises:
            StoreError: If the service can't be reached and `on_error` is "raise".
        """
        snapshot = self._shared.known() or Snapshot(self._shared.objects, NOTHING)
        spaces = []
        estimated = False
        for name, runs in snapshot.spaces().items():
            fingerprint, codec = parse_space(name)
            counted = self._count(snapshot, name)
            estimated = estimated or counted.is_estimated
            sizes = {run.keys: run.size_bytes for run in runs}
            spaces.append(
                {
                    "fingerprint": fingerprint,
                    "codec": codec.name,
                    "dim": codec.dim,
                    "n_documents": counted.n_documents,
                    "size_bytes": sum(sizes.values()),
                    "n_runs": len(runs),
                    "n_segments": len({segment for run in runs for segment in run.segments.values()}),
                }
            )
        return {
            "n_documents": sum(space["n_documents"] for space in spaces),
            "size_bytes": sum(space["size_bytes"] for space in spaces),
            "estimated": estimated,
            "url": self.url,
            "manifest": snapshot.manifest.number,
            "committed_at": _time(snapshot.manifest.committed_at),
            **self._shared.trouble.counts(),
            "spaces": spaces,
        }

    def _count(self, snapshot: Snapshot, space: str) -> Count:
        # Who answers queries must not wait for millions of keys.
        if self._shared.trouble.on_error == "raise":
            return count(self._shared.objects, snapshot, space)
        return summed(snapshot, space)

    def close(self) -> None:
        """Read nothing any more. Fetched documents stay valid."""
        self._shared.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, self._given


def _time(seconds: int) -> str | None:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat() if seconds else None


def _reopen(url: str, options: dict[str, Any]) -> RemoteStore:
    return RemoteStore(url, **options)
