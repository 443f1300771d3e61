"""A URL of a store in object storage: checked at the door, and its parts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES = ("s3://", "gs://", "az://", "file://")

_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_OPTIONS = ("cache", "cache_bytes", "poll_s")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store lies, and how it is kept near.

    Attributes:
        url: Without options and without a slash at its end. It holds no secret.
        cache: The folder of the near store; None for the default one.
        cache_bytes: The bound of the near store; None for the default one.
        poll_s: Seconds between two looks for a new manifest; None for the default.
    """

    url: str
    cache: Path | None = None
    cache_bytes: int | None = None
    poll_s: float | None = None


def read_address(url: str) -> Address:
    """Read a URL and the options behind its "?": cache, cache_bytes, poll_s.

    Raises:
        ValueError: If it names no bucket or folder, has a user or a password, or has another option. The message never repeats
            what may be a password.
    """
    if not isinstance(url, str) or not url.startswith(SCHEMES):
        given = url.partition("://")[0][:20] if isinstance(url, str) else type(url).__name__
        raise ValueError(
            f"a store in object storage is s3://BUCKET/PREFIX, gs://..., az://... or file:///FOLDER; got {given!r}"
        )
    parts = urlsplit(url)
    scheme = f"{parts.scheme}://"
    if "@" in parts.netloc:
        raise ValueError(
            f"{scheme}... holds a user or a password; credentials come from the environment (AWS_ACCESS_KEY_ID ...)"
        )
    if parts.fragment:
        raise ValueError(f"{scheme}{parts.netloc}{parts.path} is followed by '#'; percent-encode it as %23")
    path = parts.path.rstrip("/")
    if scheme == "file://" and (parts.netloc or not path):
        raise ValueError(
            f"a folder's URL has three slashes and names a folder: file:///folder; got {scheme}{parts.netloc}{path}"
        )
    if scheme != "file://" and not parts.netloc:
        raise ValueError(f"{scheme} must be followed by a bucket: {scheme}bucket/prefix")
    return _with_options(f"{scheme}{parts.netloc}{path}", parts.query)


def folder_of(url: str) -> Path | None:
    """Give the folder that a "file://" URL names; None for another URL."""
    return Path(unquote(url.removeprefix("file://"))) if url.startswith("file://") else None


def _with_options(url: str, query: str) -> Address:
    given = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(given.keys() - set(_OPTIONS))
    if unknown:
        raise ValueError(f"{url} has unknown options: {', '.join(unknown)}; there are {', '.join(_OPTIONS)}")
    cache = given.get("cache")
    if cache is not None and not cache.strip():
        raise ValueError(f"{url}?cache= must name a folder")
    return Address(
        url,
        None if cache is None else Path(cache).expanduser(),
        _bytes(given["cache_bytes"]) if "cache_bytes" in given else None,
        _seconds(given["poll_s"]) if "poll_s" in given else None,
    )


def _bytes(text: str) -> int:
    match = _BYTES.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise ValueError(f"cache_bytes must be a size such as 20GB or 500MB, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < float("inf"):
        raise ValueError(f"poll_s must be a number of seconds above 0, got {text!r}")
    return seconds
