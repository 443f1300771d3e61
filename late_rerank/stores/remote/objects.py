"""Objects: bytes by name below one URL, in a bucket or a folder. The names are relative to the URL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from late_rerank.errors import StoreConnectionError, StoreError
from late_rerank.processes.forks import watch
from late_rerank.stores.remote.address import folder_of, read_address
from late_rerank.stores.remote.library import native, reason, wait_for

_T = TypeVar("_T")

# Ranges closer than this are read in one request: 64 KiB take less time than a request.
COALESCE_BYTES = 2**16
# obstore sends ten requests at once for one call; so ten calls of ten ranges each take as long as one.
_RANGES_A_CALL = 10
_MOST_CALLS = 64
_PART_BYTES = 8 * 2**20
_MOST_PARTS = 4
_STREAM_BYTES = 16 * 2**20
_DELETED_AT_ONCE = 1000
_TOO_SHORT = "fewer bytes came than were asked for"


class RequestError(StoreConnectionError):
    """A request failed.

    Attributes:
        text: What failed and why, without the URL.
    """

    def __init__(self, url: str, text: str) -> None:
        super().__init__(f"{url}: {text}")
        self.text = text


class GoneError(StoreError):
    """An object isn't there, though a manifest named it: the manifest is old, or the object was removed."""


Wanted = Mapping[str, tuple[Sequence[int], Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Read:
    """What came of ranges.

    Attributes:
        buffers: By object, a buffer for each asked range, or None where it couldn't be read.
        errors: What failed, a line for each call.
    """

    buffers: dict[str, list[Any]]
    errors: list[StoreError]


@dataclass(frozen=True, slots=True)
class Found:
    """One object, without its bytes.

    Attributes:
        name: Relative to the URL.
        size: In bytes.
        modified: When it was written.
    """

    name: str
    size: int
    modified: datetime


class Objects:
    """Objects below one URL. Threads may share it, and a forked child may go on with it.

    Args:
        url: "s3://bucket/prefix", "gs://...", "az://..." or "file:///folder". Credentials and endpoint come from the
            environment, as obstore reads it: AWS_ACCESS_KEY_ID, AWS_ENDPOINT, AWS_ALLOW_HTTP, GOOGLE_..., AZURE_...
        timeout_s: Seconds for one request.
        retries: How often a request that failed is sent again. Each waits longer than the one before.

    Raises:
        ValueError: If the URL is wrong.
        MissingDependencyError: If obstore isn't installed.
    """

    def __init__(self, url: str, *, timeout_s: float = 60.0, retries: int = 6) -> None:
        self.url = read_address(url).url
        self.n_calls = self.n_bytes = 0  # of ranges
        self._folder = folder_of(self.url)
        self._timeout_s, self._retries = timeout_s, retries
        self._store: Any = None
        self._kept: list[object] = []
        native()
        watch(self)

    @classmethod
    def at(cls, url: str) -> Objects:
        """Open the objects below a URL with the patience of a command, which has minutes."""
        return cls(url)

    def after_fork(self) -> None:
        """Connect anew in a child: the parent's connections have no threads there."""
        self._kept.append(self._store)
        self._store = None

    def put(self, name: str, data: bytes | Path) -> None:
        """Write an object, whole or not at all. A file is sent in parts and never read whole.

        Raises:
            StoreConnectionError: If the service can't be reached, or refuses.
        """
        self._make_folder()
        self._do(
            f"writing {name}",
            lambda: native().put(self._at, name, data, chunk_size=_PART_BYTES, max_concurrency=_MOST_PARTS),
        )
        self._make_durable(name)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless the name is taken. False if it is taken; of several who try at once one gets True.

        Raises:
            StoreConnectionError: If the service can't be reached, or refuses.
        """

        def attempt() -> bool:
            library = native()
            try:
                library.put(self._at, name, data, mode="create")
            except library.exceptions.AlreadyExistsError:
                return False
            return True

        self._make_folder()
        created = self._do(f"creating {name}", attempt)
        if created:
            self._make_durable(name)
        return created

    def get(self, name: str) -> bytes | None:
        """Read an object; None if it isn't there.

        Raises:
            StoreConnectionError: If the service can't be reached, or refuses.
        """

        def attempt() -> bytes | None:
            try:
                found = native().get(self._at, name)
            except FileNotFoundError:
                return None
            body = bytes(found.bytes())
            if len(body) != found.meta["size"]:
                raise EOFError
            return body

        return self._do(f"reading {name}", attempt)

    def look(self, name: str) -> Found | None:
        """Give an object's size and time; None if it isn't there.

        Raises:
            StoreConnectionError: If the service can't be reached, or refuses.
        """

        def attempt() -> Found | None:
            try:
                found = native().head(self._at, name)
            except FileNotFoundError:
                return None
            return Found(name, int(found["size"]), found["last_modified"])

        return self._do(f"looking at {name}", attempt)

    def size(self, name: str) -> int | None:
        """Give an object's size in bytes; None if it isn't there.

        Raises:
            StoreConnectionError: If the service can't be reached, or refuses.
        """
        found = self.look(name)
        return None if found is None else found.size

    def ranges(self, name: str, starts: Sequence[int], ends: Sequence[int]) -> list[Any]:
        """Read ranges of one object, many at once. Gives a buffer for each, in the asked order.

        Raises:
            GoneError: If the object isn't there.
            StoreConnectionError: If the service can't be reached, or refuses, or gave fewer bytes.
        """
        return self.ranges_of({name: (starts, ends)})[name]

    def ranges_of(self, wanted: Wanted) -> dict[str, list[Any]]:
        """Read ranges of several objects at once. Gives a buffer for each range, in the asked order.

        Args:
            wanted: For each name where the ranges start, ascending, and where they end.

        Raises:
            GoneError: If an object isn't there.
            StoreConnectionError: If the service can't be reached, or refuses, or gave fewer bytes.
        """
        read = self.fetch(wanted)
        if read.errors:
            raise read.errors[0]
        return read.buffers

    def fetch(self, wanted: Wanted) -> Read:
        """Read ranges of several objects at once, as many as can be read."""
        if not wanted:
            return Read({}, [])
        try:
            store = self._at
        except FileNotFoundError:
            empty: dict[str, list[Any]] = {name: [None] * len(starts) for name, (starts, _) in wanted.items()}
            return Read(empty, [GoneError(f"{self.url} is gone")])
        return wait_for(self._gather(wanted, store))

    async def _gather(self, wanted: Wanted, store: Any) -> Read:
        turn = asyncio.Semaphore(_MOST_CALLS)
        calls = [
            (name, starts[first : first + _RANGES_A_CALL], ends[first : first + _RANGES_A_CALL])
            for name, (starts, ends) in wanted.items()
            for first in range(0, len(starts), _RANGES_A_CALL)
        ]
        parts = await asyncio.gather(*(self._call(store, turn, *call) for call in calls))
        read = Read({name: [] for name in wanted}, [part for part in parts if isinstance(part, StoreError)])
        for (name, starts, _), part in zip(calls, parts, strict=True):
            read.buffers[name] += [None] * len(starts) if isinstance(part, StoreError) else part
        return read

    async def _call(
        self, store: Any, turn: asyncio.Semaphore, name: str, starts: Sequence[int], ends: Sequence[int]
    ) -> list[Any] | StoreError:
        library = native()
        try:
            async with turn:
                got = await library.get_ranges_async(store, name, starts=starts, ends=ends, coalesce=COALESCE_BYTES)
        except FileNotFoundError:
            return GoneError(f"{self.url}/{name} is gone")
        except (library.exceptions.BaseError, OSError, ValueError) as error:
            return RequestError(self.url, f"reading: {reason(error)}")
        if [len(part) for part in got] != [end - start for start, end in zip(starts, ends, strict=True)]:
            return RequestError(self.url, f"reading {name}: {_TOO_SHORT}")
        self.n_calls += 1
        self.n_bytes += sum(map(len, got))
        return list(got)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[Found]:
        """List the objects whose names begin with "prefix/".

        Args:
            prefix: Without a slash at its end.
            after: List names that sort after this one only.

        Raises:
            StoreConnectionError: If the service can't be reached, or refuses.
        """
        try:
            chunks = iter(self._do("listing", lambda: native().list(self._at, prefix=prefix, offset=after)))
        except FileNotFoundError:
            return
        while (chunk := self._do("listing", lambda: next(chunks, None))) is not None:
            for found in chunk:
                yield Found(found["path"], found["size"], found["last_modified"])

    def stream(self, name: str) -> Iterator[memoryview]:
        """Read a whole object, some megabytes at a time.

        Raises:
            GoneError: If the object isn't there.
            StoreConnectionError: If the service can't be reached, or refuses, or gave fewer bytes.
        """
        found = self.look(name)
        if found is None:
            raise GoneError(f"{self.url}/{name} is gone")
        for start in range(0, found.size, _STREAM_BYTES):
            yield memoryview(self.ranges(name, [start], [min(start + _STREAM_BYTES, found.size)])[0])

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects. A name that isn't there is passed over."""
        every = list(names)
        for first in range(0, len(every), _DELETED_AT_ONCE):
            some = every[first : first + _DELETED_AT_ONCE]
            try:
                self._do("removing", lambda some=some: native().delete(self._at, some))  # type: ignore[misc]
            except FileNotFoundError:  # of a folder; a service passes over it
                for name in some:
                    with suppress(FileNotFoundError):
                        self._do("removing", lambda name=name: native().delete(self._at, name))  # type: ignore[misc]

    @property
    def _at(self) -> Any:
        if self._store is None:
            self._store = self._do("opening", self._connected)
        return self._store

    def _connected(self) -> Any:
        if self._folder is not None:
            if not self._folder.is_dir():
                raise FileNotFoundError(self._folder)  # nothing is there; only a write makes the folder
            return native()._store.LocalStore(self._folder)  # noqa: SLF001 - the module without its Python part
        timeout = timedelta(seconds=self._timeout_s)
        return native()._store.from_url(  # noqa: SLF001
            self.url,
            client_options={
                "timeout": timeout,
                "connect_timeout": min(timeout, timedelta(seconds=10)),
                "pool_max_idle_per_host": "128",
                **({"allow_http": True} if os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true") else {}),
            },
            retry_config={
                "max_retries": self._retries,
                "retry_timeout": timeout * (self._retries + 1),
                "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=5), "base": 2},
            },
        )

    def _make_folder(self) -> None:
        if self._folder is not None:
            self._do("making the folder", lambda: self._folder.mkdir(parents=True, exist_ok=True))  # type: ignore[union-attr]

    def _do(self, what: str, work: Callable[[], _T]) -> _T:
        """Do some work, and tell its errors as StoreConnectionErrors without any secret."""
        try:
            return work()
        except (StoreError, FileNotFoundError):
            raise
        except EOFError:
            raise RequestError(self.url, f"{what}: {_TOO_SHORT}") from None
        except (native().exceptions.BaseError, OSError, ValueError) as error:
            # `from None`: the library's message may hold a signed address.
            raise RequestError(self.url, f"{what}: {reason(error)}") from None

    def _make_durable(self, name: str) -> None:
        """Bring a folder's new file to the disk; a service does so before it answers."""
        if self._folder is None:
            return
        path = self._folder / name
        for part in (path, path.parent):
            fd = os.open(part, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.url, self._timeout_s, self._retries)


def _again(url: str, timeout_s: float, retries: int) -> Objects:
    return Objects(url, timeout_s=timeout_s, retries=retries)
