"""Found: what is told of an object, without its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Found:
    """One object, without its bytes.

    Attributes:
        name: Relative to the URL.
        size: In bytes.
        modified: When it was written.
        etag: What changes with its bytes, alike in a listing and in an answer; "" where the service gives none.
    """

    name: str
    size: int
    modified: datetime
    etag: str

    @classmethod
    def of(cls, name: str, meta: Mapping[str, Any]) -> Found:
        """Read what obstore tells of an object."""
        # Azure quotes an etag in an answer's header alone, and a proxy may mark one as weak.
        etag = (meta["e_tag"] or "").removeprefix("W/").strip('"')
        return cls(name, int(meta["size"]), meta["last_modified"], etag)
