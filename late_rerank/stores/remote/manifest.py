"""Manifests: which runs a store has. The one with the highest number counts; none is ever changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from late_rerank.errors import StoreFormatError
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run

FOLDER = "manifests"
VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """A store's runs at one moment.

    Attributes:
        number: From 1 on; 0 for a store in which nothing was committed.
        id: A random name, by which a writer knows its own manifest.
        parent: The id of the manifest before it.
        committed_at: Seconds since 1970.
        runs: Newest first.
        generation: Grows with each commit that replaced, deleted or dropped documents: copies from before may be old ones.
    """

    number: int
    id: str
    parent: str
    committed_at: int
    runs: tuple[Run, ...]
    generation: int = 0

    def objects(self) -> set[str]:
        """Name every object that its runs need."""
        return {name for run in self.runs for name in run.objects()}

    def to_bytes(self) -> bytes:
        """Give its object: JSON with a checksum of everything else in it."""
        body = {
            "version": VERSION,
            "number": self.number,
            "id": self.id,
            "parent": self.parent,
            "committed_at": self.committed_at,
            "generation": self.generation,
            "runs": [run.to_json() for run in self.runs],
        }
        return json.dumps({**body, "checksum": _checksum(body)}, indent=1).encode()


NOTHING = Manifest(0, "", "", 0, ())


def name_of(number: int) -> str:
    """Name the object of a manifest."""
    return f"{FOLDER}/{number:012}.json"


def number_of(name: str) -> int | None:
    """Read the number in an object's name; None if it isn't a manifest's."""
    text = name.removeprefix(f"{FOLDER}/").removesuffix(".json")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
    return number if number and name == name_of(number) else None


def read_manifest(raw: bytes, name: str) -> Manifest:
    """Read a manifest.

    Raises:
        StoreFormatError: If it is damaged, or of a later version.
    """
    try:
        given = json.loads(raw)
        version = given["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(f"{name} is no manifest: it begins with {raw[:20]!r}") from error
    if version != VERSION:
        raise StoreFormatError(f"{name} is of version {version}; this late-rerank reads {VERSION}: install a later one")
    if given.pop("checksum", None) != _checksum(given):
        raise StoreFormatError(f"{name} is damaged: its checksum doesn't match")
    runs = tuple(Run.from_json(run) for run in given["runs"])
    return Manifest(
        given["number"], given["id"], given["parent"], given["committed_at"], runs, generation=given.get("generation", 0)
    )


def newest(objects: Objects, *, known: Manifest = NOTHING) -> Manifest:
    """Find the manifest with the highest number. A listing may be stale, so `known` is given back if it shows nothing newer.

    Raises:
        StoreFormatError: If that manifest is damaged.
        StoreConnectionError: If the service can't be reached.
    """
    while True:
        after = name_of(known.number) if known.number else None
        numbers = [number for found in objects.list(FOLDER, after=after) if (number := number_of(found.name)) is not None]
        if not numbers or max(numbers) <= known.number:
            return known
        found = read(objects, max(numbers))
        if found is not None:
            return found
        # It was cleaned away since it was listed, so there are newer ones.


def read(objects: Objects, number: int) -> Manifest | None:
    """Read the manifest of that number; None if there is none."""
    name = name_of(number)
    raw = objects.get(name)
    if raw is None:
        return None
    manifest = read_manifest(raw, f"{objects.url}/{name}")
    if manifest.number != number:
        raise StoreFormatError(f"{objects.url}/{name} says that it is number {manifest.number}")
    return manifest


def _checksum(body: Mapping[str, Any]) -> str:
    return blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()
