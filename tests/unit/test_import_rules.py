"""The architecture's sentence on libraries names the same rooms as the contracts that `make check` enforces."""

import re
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")

ROOT = Path(__file__).parents[2]
CONTRACTS = [
    contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    if contract["type"] == "forbidden" and contract["forbidden_modules"][0].partition(".")[0] != "late_rerank"
]
ENGINES = "openvino, onnxruntime, onnx"


def allowed():
    """(library, the file or room that may import it) of every contract, as paths below late_rerank/."""
    edges = [edge.split(" -> ") for contract in CONTRACTS for edge in contract.get("ignore_imports", [])]
    return {(library, module.removeprefix("late_rerank.").replace(".", "/").replace("*", "")) for module, library in edges}


def told(text):
    """(libraries, places) of each part of the sentence, as "redis in stores/redis/"."""
    _, _, section = text.partition("## Who may import whom")
    sentence = " ".join(section[section.index("Down only") : section.index("## What an extension")].split())
    libraries = {library for contract in CONTRACTS for library in contract["forbidden_modules"]}
    for part in re.split("[;:()]", sentence.replace("engines in", f"{ENGINES} in")):
        names, _, where = part.partition(" in ")
        places = {place.removesuffix(".py") for place in re.findall(r"[a-z_/]+/(?:[a-z_]+\.py)?", where)}
        named = {name for name in re.findall(r"[\w-]+", names.replace("-", "_")) if name in libraries}
        if named and places:
            yield named, places


PARTS = list(told((ROOT / "late_rerank" / "README.md").read_text(encoding="utf-8")))


def test_every_contract_has_its_part_of_the_sentence():
    named = set().union(*(libraries for libraries, _ in PARTS))
    assert [contract["name"] for contract in CONTRACTS if not named & set(contract["forbidden_modules"])] == []


def test_every_import_that_a_contract_allows_is_told():
    for library in set().union(*(libraries for libraries, _ in PARTS)):
        places = tuple(place for libraries, places in PARTS if library in libraries for place in places)
        assert [path for name, path in allowed() if name == library and not path.startswith(places)] == [], library


def test_every_place_that_is_told_has_an_import_that_its_contract_allows():
    for libraries, places in PARTS:
        paths = [path for name, path in allowed() if name in libraries]
        assert [place for place in places if not any(path.startswith(place) for path in paths)] == [], libraries


def test_the_comparison_notices_a_room_too_many_and_one_too_few():
    text = "## Who may import whom\nDown only: torch in encode/ and stores/.\n## What an extension touches"
    ((libraries, places),) = told(text)
    assert (libraries, places) == ({"torch"}, {"encode/", "stores/"})
