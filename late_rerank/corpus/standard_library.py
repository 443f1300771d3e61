"""The docstrings of Python's standard library as a corpus: thousands of documents on every machine."""

from __future__ import annotations

import ast
import inspect
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from late_rerank.types import Candidate

# Tests, demos, generated tables and vendored packages: a programmer doesn't look these up.
_NOT_DOCUMENTATION = frozenset(
    (
        "site-packages",
        "dist-packages",
        "distutils",
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "turtledemo",
        "ensurepip",
        "pydoc_data",
        "__pycache__",
    )
)
_MIN_WORDS = 8


def read_standard_library() -> list[Candidate]:
    """Read one document for each docstring, with the qualified name as id and before the text; by file, then by place.

    Raises:
        FileNotFoundError: If this Python comes without the sources of its library.
    """
    root = Path(sysconfig.get_path("stdlib"))
    documents = [document for file in _sources(root) for document in _docstrings(file, root)]
    if not documents:
        raise FileNotFoundError(
            f"{root} holds no Python sources with docstrings; pass a folder of your own to `late-rerank search`"
        )
    return documents


def _sources(root: Path) -> Iterator[Path]:
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).parts
        if not _NOT_DOCUMENTATION.intersection(parts) and not any(part.startswith("_") for part in parts[:-1]):
            yield file


def _docstrings(file: Path, root: Path) -> Iterator[Candidate]:
    path = file.relative_to(root).with_suffix("")
    module = ".".join(part for part in path.parts if part != "__init__")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's sources
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    yield from _walk(tree, module)


def _walk(node: ast.AST, name: str) -> Iterator[Candidate]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        docstring = ast.get_docstring(node, clean=False)
        if docstring and len(docstring.split()) >= _MIN_WORDS:
            yield Candidate(f"{name}: {inspect.cleandoc(docstring)}", name, None, {"module": name.split(".")[0]})
        for child in node.body:
            child_name = getattr(child, "name", None)
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not _is_private(child_name):
                yield from _walk(child, f"{name}.{child_name}")


def _is_private(name: str | None) -> bool:
    return name is None or name.startswith("_")
