"""Objects: bytes by name below one URL, in a bucket or a folder. The names are relative to the URL."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from late_rerank.errors import StoreError
from late_rerank.processes.forks import watch
from late_rerank.stores.disk import files
from late_rerank.stores.remote.address import folder_of, read_address
from late_rerank.stores.remote.failures import NO_BUCKET, NO_FOLDER, TOO_SHORT, GoneError, RequestError, lacks_bucket
from late_rerank.stores.remote.found import Found
from late_rerank.stores.remote.library import is_conflict, native, reason, running, wait_for
from late_rerank.stores.remote.ranges import Read, Wanted, read_ranges

_T = TypeVar("_T")

_PART_BYTES = 8 * 2**20
_MOST_PARTS = 4
_STREAM_BYTES = 16 * 2**20
_DELETED_AT_ONCE = 1000
_MOST_CONFLICTS = 20


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
        self._folder = folder_of(self.url)
        self._timeout_s, self._retries = timeout_s, retries
        self._store: Any = None
        self._kept: list[object] = []
        native()
        watch(self)

    @classmethod
    def at(cls, url: str) -> Objects:
        """Open the objects below a URL with the patience of a command."""
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
        self._make_folder(name)
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
        self._make_folder(name)
        for attempt in range(_MOST_CONFLICTS):
            created = self._do(f"creating {name}", lambda: self._create(name, data))
            if created is not None:
                break
            time.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 6)))
        else:
            raise RequestError(self.url, f"creating {name}: it answered 409 Conflict {_MOST_CONFLICTS} times")
        if created:
            self._make_durable(name)
        return created

    def _create(self, name: str, data: bytes) -> bool | None:
        """Try to write an object. None if the service can't tell yet, since another such put runs (409)."""
        library = native()
        try:
            library.put(self._at, name, data, mode="create")
        except library.exceptions.AlreadyExistsError as error:
            return None if is_conflict(error) else False
        return True

    def get(self, name: str) -> bytes | None:
        """Read an object; None if it isn't there.

        Raises:
            StoreConnectionError: If the service can't be reached, or refuses.
        """
        read = self.read(name)
        return None if read is None else read[1]

    def read(self, name: str) -> tuple[Found, bytes] | None:
        """Read an object, and what is told of these very bytes; None if it isn't there.

        Raises:
            StoreConnectionError: If the service can't be reached, or refuses.
        """

        def attempt() -> tuple[Found, bytes] | None:
            try:
                found = native().get(self._at, name)
            except FileNotFoundError as error:
                if lacks_bucket(error):
                    raise
                return None
            body = bytes(found.bytes())
            if len(body) != found.meta["size"]:
                raise EOFError
            return Found.of(name, found.meta), body

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
            return Found.of(name, found)

        return self._do(f"looking at {name}", attempt)

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
        if self._is_nowhere():
            empty: dict[str, list[Any]] = {name: [None] * len(starts) for name, (starts, _) in wanted.items()}
            return Read(empty, [GoneError(self.url, "")])
        return wait_for(read_ranges(self._do("opening", lambda: self._at), self.url, wanted))

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[Found]:
        """List the objects whose names begin with "prefix/".

        Args:
            prefix: Without a slash at its end.
            after: List names that sort after this one only.

        Raises:
            StoreConnectionError: If the service can't be reached, or refuses.
        """
        if self._is_nowhere():
            return
        chunks = iter(self._do("listing", lambda: native().list(self._at, prefix=prefix, offset=after)))
        while (chunk := self._do("listing", lambda: next(chunks, None))) is not None:
            for found in chunk:
                yield Found.of(found["path"], found)

    def stream(self, name: str) -> Iterator[memoryview]:
        """Read a whole object, some megabytes at a time.

        Raises:
            GoneError: If the object isn't there.
            StoreConnectionError: If the service can't be reached, or refuses, or gave fewer bytes.
        """
        found = self.look(name)
        if found is None:
            raise GoneError(self.url, name)
        for start in range(0, found.size, _STREAM_BYTES):
            yield memoryview(self.ranges(name, [start], [min(start + _STREAM_BYTES, found.size)])[0])

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects. A name that isn't there is passed over."""
        every = list(names)
        for first in range(0, len(every), _DELETED_AT_ONCE):
            some = every[first : first + _DELETED_AT_ONCE]
            self._do("removing", lambda some=some: self._delete(some))  # type: ignore[misc]

    def _delete(self, names: Sequence[str]) -> None:
        if self._folder is None:
            native().delete(self._at, names)
            return
        for name in names:
            with suppress(FileNotFoundError):  # a service passes over it
                (self._folder / name).unlink()

    @property
    def _at(self) -> Any:
        if self._store is None:
            self._store = self._connected()
        return self._store

    def _is_nowhere(self) -> bool:
        """Tell whether the folder isn't there, if it is one. Of a bucket the service tells with each answer."""
        return self._folder is not None and not self._folder.is_dir()

    def _connected(self) -> Any:
        if self._folder is not None:
            if self._is_nowhere():
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

    def _make_folder(self, name: str) -> None:
        if self._folder is not None:
            path = self._folder / name
            self._do("making the folder", lambda: files.make_folder(path.parent))

    def _do(self, what: str, work: Callable[[], _T]) -> _T:
        """Do some work, and tell its errors as StoreConnectionErrors without any secret."""
        try:
            with running():
                return work()
        except StoreError:
            raise
        except FileNotFoundError:  # reads of one object know what it means there
            raise RequestError(self.url, f"{what}: {NO_FOLDER if self._folder else NO_BUCKET}") from None
        except EOFError:
            raise RequestError(self.url, f"{what}: {TOO_SHORT}") from None
        except (native().exceptions.BaseError, OSError, ValueError) as error:
            # `from None`: the library's message may hold a signed address.
            raise RequestError(self.url, f"{what}: {NO_BUCKET if lacks_bucket(error) else reason(error)}") from None

    def _make_durable(self, name: str) -> None:
        """Bring a folder's new file to the disk; a service does so before it answers."""
        if self._folder is not None:
            with (self._folder / name).open("rb") as file:
                files.sync(file.fileno())
            files.sync_folder((self._folder / name).parent)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.url, self._timeout_s, self._retries)


def _again(url: str, timeout_s: float, retries: int) -> Objects:
    return Objects(url, timeout_s=timeout_s, retries=retries)
