"""Markers follow from what a test uses. A test that does more than its markers say fails."""

import inspect
import sys
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest

from late_rerank.encode.builtin import MINILM_PACKAGES

TESTS = Path(__file__).parent
MODULES = {
    "subprocess": "process",
    "multiprocessing": "process",
    "redis_servers": "redis",
    "postgres_servers": "postgres",
    "browsers": "browser",
}
"""Module that a test or one of its fixtures reaches -> marker."""
STARTS_A_PROCESS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}
LISTS_FONTS = ("fc-list",)
"""What matplotlib starts once on each machine, in whichever test is the first to draw."""
MODEL_FOLDERS = tuple(f"{package}/model/" for package in MINILM_PACKAGES)

_running: list["_Watch"] = []


def set_markers(item: pytest.Item) -> None:
    """Mark a test by its fixtures, and by the modules that it and its fixtures reach."""
    search = _Search(item.cls)
    for function in [item.function, *(each.func for defs in item._fixtureinfo.name2fixturedefs.values() for each in defs)]:
        search.follow(function)
    if "minilm" in item.fixturenames:
        search.markers.add("model")
    if (search.markers | {marker.name for marker in item.iter_markers()}) & {"redis", "postgres", "browser"}:
        search.markers.add("process")
    for marker in sorted(search.markers):
        item.add_marker(marker)


class _Search:
    """Follows the functions and classes of tests/ by the names in their code."""

    def __init__(self, cls: type | None):
        self.markers: set[str] = set()
        self._cls = cls
        self._seen: set[int] = set()

    def follow(self, value: object) -> None:
        value = inspect.unwrap(getattr(value, "__func__", value))
        module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
        if isinstance(module, str) and module.partition(".")[0] in MODULES:
            self.markers.add(MODULES[module.partition(".")[0]])
        if id(value) in self._seen or not _is_of_tests(value):
            return
        self._seen.add(id(value))
        if isinstance(value, FunctionType):
            self._follow_code(value)
        elif isinstance(value, type):
            for each in vars(value).values():
                self.follow(each)

    def _follow_code(self, function: FunctionType) -> None:
        names = _names(function.__code__)
        if {"os", "fork"} <= names:
            self.markers.add("process")
        for name in names:
            if name in MODULES:  # also one that is imported in the function
                self.markers.add(MODULES[name])
            elif name in function.__globals__:
                self.follow(function.__globals__[name])
            elif self._cls is not None and hasattr(self._cls, name):
                self.follow(getattr(self._cls, name))


def _is_of_tests(value: object) -> bool:
    if isinstance(value, FunctionType):
        file = value.__code__.co_filename
    else:
        file = getattr(sys.modules.get(getattr(value, "__module__", None)), "__file__", None)
    return file is not None and Path(file).is_relative_to(TESTS)


def _names(code: CodeType) -> set[str]:
    """Globals and attributes that a function's code names, functions within it included."""
    return set(code.co_names).union(*(_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)))


class _Watch:
    """One running test and what it did beyond its markers."""

    def __init__(self, item: pytest.Item):
        self._may = {marker.name for marker in item.iter_markers()}
        self.beyond: dict[str, str] = {}

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and "model" not in self._may and any(folder in str(arguments[0]) for folder in MODEL_FOLDERS):
            self.beyond["model"] = "it loads the real model"
        elif event in STARTS_A_PROCESS and "process" not in self._may and arguments[:1] != LISTS_FONTS:
            self.beyond["process"] = f"it starts a process: {event} {arguments}"


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _running and (event == "open" or event in STARTS_A_PROCESS):
        _running[-1].see(event, arguments)


@contextmanager
def watched(item: pytest.Item):
    """Fail a test that loads the real model or starts a process without the marker for it."""
    _running.append(_Watch(item))
    try:
        yield
    finally:
        watch = _running.pop()
    for marker, what in watch.beyond.items():
        pytest.fail(f"{what}, but has no marker {marker!r}: use tests/checkpoints.py, or mark it", pytrace=False)


sys.addaudithook(_hook)
