"""FORMAT.json: what a folder is, so that nothing else is taken for a store and no later format is misread."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk import files

NAME = "FORMAT.json"
STORE = "late-rerank store"
PUBLISHED = "late-rerank published store"
VERSION = 1


class DamagedFormatError(StoreFormatError):
    """FORMAT.json can't be read."""


def write_format(folder: Path, kind: str) -> str:
    """Write what `folder` is. Returns the store's new id."""
    store_id = secrets.token_hex(16)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = json.dumps({"format": kind, "version": VERSION, "id": store_id, "created": created}, indent=1)
    files.replace(folder / NAME, text + "\n")
    return store_id


def read_format(folder: Path) -> dict[str, Any]:
    """Read what `folder` is: "format", "version", "id".

    Raises:
        FileNotFoundError: If there is no FORMAT.json.
        StoreFormatError: If FORMAT.json can't be read, is of another kind, or of a later version.
    """
    path = folder / NAME
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} holds no late-rerank store: it has no {NAME}") from None
    try:
        given = json.loads(text)
        kind, version, store_id = given["format"], given["version"], given["id"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFormatError(
            f"{path} is damaged: it must say format, version and id, got {text[:80]!r}. Make it again: "
            f"late-rerank store rebuild {folder}; a published store is published or copied again"
        ) from error
    if kind not in (STORE, PUBLISHED):
        raise StoreFormatError(f"{path} is of the kind {kind!r}, not {STORE!r}")
    if version != VERSION:
        raise StoreFormatError(f"{path} is of version {version}; this late-rerank reads {VERSION}: install a later one")
    return {"format": kind, "version": version, "id": store_id}


def has_segments(folder: str | Path) -> bool:
    """Whether segments are left of a store that isn't published: all the rest can be made from them."""
    root = Path(folder)
    return not (root / "keys").exists() and any((root / "segments").glob("*.seg"))


def is_store(folder: str | Path) -> bool:
    """Whether there is a store, published or not, at `folder`."""
    return (Path(folder) / NAME).is_file()
