"""Installed Python sources -> technical texts: sentences of docstrings, signatures, and messages of raised errors."""

from __future__ import annotations

import ast
import random
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

_FEWEST_WORDS, _MOST_WORDS = 2, 45
_SENTENCES = 4  # of a docstring, at most: those at its beginning tell what it is about
_NAMED, _SIGNED = 0.15, 0.6
_VALUES = ("'x'", "3", "None", "foo", "1.5", "'NoneType'")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


def technical_texts(packages: Sequence[str], most: int, seed: int) -> list[str]:
    """Read Python's standard library and some packages, in random order.

    Args:
        packages: Names as they are imported. One that isn't installed is left out.
        most: No further file is read once there are so many texts.
        seed: Of chance.

    Returns:
        Texts, each once.
    """
    chance, found = random.Random(seed), dict[str, None]()
    files = sorted(file for folder in _folders(packages) for file in folder.rglob("*.py") if _is_source(file, folder))
    chance.shuffle(files)
    for file in files:
        if len(found) >= most:
            break
        found.update(dict.fromkeys(texts_of(file.read_text(encoding="utf-8", errors="replace"), chance)))
    return list(found)[:most]


def texts_of(source: str, chance: random.Random) -> Iterator[str]:
    """Give the technical texts of one source; none of one that Python can't read.

    Args:
        source: Python.
        chance: Draws the signatures, and values for the gaps in messages.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the source's own escapes
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield from _sentences(ast.get_docstring(node) or "")
        if isinstance(node, ast.FunctionDef) and chance.random() < _NAMED:
            yield f"def {node.name}({', '.join(argument.arg for argument in node.args.args[:4])})"
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            yield from _message(node.exc, chance)


def _folders(packages: Sequence[str]) -> Iterator[Path]:
    yield Path(sysconfig.get_paths()["stdlib"])
    for package in packages:
        spec = find_spec(package)
        yield from map(Path, (spec.submodule_search_locations or ()) if spec else ())


def _is_source(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    return "site-packages" not in parts and not any(part.startswith("test") for part in parts)


def _sentences(docstring: str) -> Iterator[str]:
    for sentence in _SENTENCE_END.split(re.sub(r"[ \t]+", " ", docstring))[:_SENTENCES]:
        yield from _fit(sentence)


def _message(raised: ast.Call, chance: random.Random) -> Iterator[str]:
    given = raised.args[0]
    parts = given.values if isinstance(given, ast.JoinedStr) else [given]
    if not isinstance(given, (ast.JoinedStr, ast.Constant)):
        return
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else chance.choice(_VALUES) for part in parts)
    name = raised.func.id if isinstance(raised.func, ast.Name) else "Error"
    for message in _fit(text):
        yield f"{name}: {message}" if chance.random() < _SIGNED else message


def _fit(text: str) -> Iterator[str]:
    words = text.split()
    if _FEWEST_WORDS <= len(words) <= _MOST_WORDS:
        yield " ".join(words)
