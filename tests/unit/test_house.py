"""The tree tells where a thing lives: maps are true, few files lie loose, no file imports itself by way of others."""

import re
from itertools import count
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "late_rerank"
ROOMS = sorted(path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")
# What their room's README draws otherwise, or needn't name.
_UNNAMED = {"__init__", "__main__"}


def test_at_most_nine_files_lie_loose():
    assert len(list(PACKAGE.glob("*.py"))) <= 9


def test_the_map_names_every_room_and_every_loose_file():
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    section = text.split("## The map")[1].split("## The data's path")[0]
    assert [room.name for room in ROOMS if f"\n{room.name}/" not in section] == []
    assert [path.name for path in PACKAGE.glob("*.py") if path.name not in ("__main__.py",) and path.name not in section] == []
    named = re.findall(r"^(\w+)/ ", section, re.MULTILINE)
    assert sorted(named) == [room.name for room in ROOMS]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_has_a_readme_that_names_its_files(room):
    text = (room / "README.md").read_text(encoding="utf-8")
    files = {path.stem for path in room.rglob("*.py") if "__pycache__" not in path.parts} - _UNNAMED
    assert sorted(name for name in files if not re.search(rf"\b{name}\b", text)) == []


def test_no_file_imports_itself_by_way_of_others():
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("late_rerank")
    # A package's own `__init__` may load one of its files late, and that file may need a compiled one beside it.
    packages = {module for module in graph.modules if graph.find_children(module)}
    modules = graph.modules - packages
    imports = {module: graph.find_modules_directly_imported_by(module) & modules for module in modules}
    assert circles(imports) == []


def circles(imports):
    """Strongly connected parts of more than one module. Source: Tarjan 1972."""
    numbers, lowest, stack, found = {}, {}, [], []
    numbering = count()

    def visit(module):
        numbers[module] = lowest[module] = next(numbering)
        stack.append(module)
        for other in imports[module]:
            if other not in numbers:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], numbers[other])
        if lowest[module] == numbers[module]:
            part = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(part) > 1:
                found.append(sorted(part))

    for module in imports:
        if module not in numbers:
            visit(module)
    return found
