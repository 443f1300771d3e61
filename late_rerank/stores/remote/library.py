"""obstore, and what it needs in each process: the library itself, one event loop, and words for its errors.

obstore's threads don't survive a fork: in the child every call would wait for ever. There the library is loaded once more, from
a copy of its file, with threads of its own. This is the only module that imports obstore.
"""

from __future__ import annotations

import asyncio
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from threading import Lock, Thread
from types import ModuleType
from typing import Any, TypeVar

from late_rerank.errors import MissingDependencyError, StoreError
from late_rerank.processes.forks import guarded, watch
from late_rerank.stores.remote.calls import Calls
from late_rerank.stores.remote.loading_again import load_again
from late_rerank.stores.remote.turns import Turns

_T = TypeVar("_T")

# A process may open about a thousand files, and a request takes one.
MOST_REQUESTS = 256
_NATIVE = "obstore._obstore"
_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_KIND = re.compile(r"kind: (Connect|Timeout|Decode|Body|Request|Interrupted)")
_KINDS = {
    "Connect": "no connection",
    "Timeout": "no answer in time",
    "Interrupted": "the connection broke",
    "Request": "the connection broke",
    "Decode": "the answer ended early",
    "Body": "the answer ended early",
}


class _Library:
    """This process's obstore and event loop, each made when it is first used."""

    def __init__(self) -> None:
        self._native: ModuleType | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.turns = Turns(MOST_REQUESTS)
        self.calls = Calls()
        self._is_forked = False
        self._error: StoreError | None = None
        self._kept: list[object] = []
        self._lock = guarded(Lock())

    def after_fork(self) -> None:
        """Leave the parent's library and loop alone: their threads aren't here. They are never freed."""
        self._is_forked = self._is_forked or _NATIVE in sys.modules
        self._kept += [self._native, self._loop]
        self._native = self._loop = None
        self._error = None
        self.calls.after_fork()
        self.turns = Turns(MOST_REQUESTS)

    def native(self) -> ModuleType:
        """Give the library, which is loaded if this process hasn't one.

        Raises:
            MissingDependencyError: If obstore isn't installed.
            StoreError: If this is a forked process, and the library's copy can't be loaded.
        """
        if self._native is None:
            with self._lock:
                if self._error is not None:
                    raise StoreError(str(self._error))  # not 14 MB copied for each query
                if self._native is None:
                    self._native = self._load_again() if self._is_forked else _load()
        return self._native

    def _load_again(self) -> ModuleType:
        try:
            return _load_copy()
        except StoreError as error:
            self._error = error
            raise

    def loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop of this process; a daemon thread runs it."""
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    loop = asyncio.new_event_loop()
                    Thread(target=loop.run_forever, name="late-rerank reads objects", daemon=True).start()
                    self._loop = loop
        return self._loop


_LIBRARY = _Library()
watch(_LIBRARY)


def native() -> ModuleType:
    """Give obstore's compiled module for this process.

    Raises:
        MissingDependencyError: If obstore isn't installed.
    """
    return _LIBRARY.native()


def running() -> AbstractContextManager[None]:
    """Call the library inside: the end of the process waits for that."""
    return _LIBRARY.calls.running()


def turns() -> Turns:
    """Give the bound on this process's requests."""
    return _LIBRARY.turns


def wait_for(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine on this process's event loop, and wait for its result. Any thread may call this."""
    with running():
        future = asyncio.run_coroutine_threadsafe(work, _LIBRARY.loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def reason(error: BaseException) -> str:
    """Say in a few words why a request failed. obstore's message isn't repeated: it may hold keys and signed addresses."""
    text = str(error)
    if isinstance(error, ValueError) or "Missing AccessKeyId" in text or "CredentialsProvider" in text:
        return "the credentials or the settings in the environment are missing or wrong"
    status, code, kind = _STATUS.search(text), _CODE.search(text), _KIND.search(text)
    if status:
        said = f"it answered {status[1].strip()}" + (f" ({code[1]})" if code else "")
        return f"{said}; check the credentials" if status[1][:3] in ("401", "403") else said
    if kind:
        return _KINDS[kind[1]]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Its first line, without addresses and answers.
    return re.sub(r"\S+://\S+|<.*", "", text.partition("\n")[0]).strip()[:160] or type(error).__name__


def is_conflict(error: BaseException) -> bool:
    """Whether the service answered that another put of the same name runs. The library calls that "already exists", too."""
    status = _STATUS.search(str(error))
    return status is not None and status[1].startswith("409")


def _load() -> ModuleType:
    try:
        import obstore  # noqa: PLC0415 - an extra, and 14 MB
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise MissingDependencyError("a store in object storage", "obstore", "remote") from error
    return sys.modules[f"{obstore.__name__}._obstore"]


def _load_copy() -> ModuleType:
    """Load the library again, from a copy of its file."""
    found = importlib.util.find_spec(_NATIVE)
    if found is None or found.origin is None:
        raise MissingDependencyError("a store in object storage", "obstore", "remote")
    others = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "obstore"}

    def load(path: str) -> ModuleType:
        loader = importlib.machinery.ExtensionFileLoader(_NATIVE, path)
        module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(_NATIVE, loader, origin=path))
        loader.exec_module(module)
        return module

    try:
        return load_again(found.origin, load)
    finally:
        sys.modules.update(others)  # the program's own obstore stays as it was
