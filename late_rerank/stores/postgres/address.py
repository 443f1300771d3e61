"""A Postgres URL: checked at the door, and shown without its password."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

_DATABASE = re.compile(r"/?[^/]*")
SCHEMES = ("postgresql", "postgres")


def checked_url(url: str) -> SplitResult:
    """Split a URL that names a database into its parts.

    Raises:
        ValueError: If the URL names no database server; the message never repeats what might be a password.
    """
    scheme = url.partition("://")[0] if isinstance(url, str) else ""
    if scheme not in SCHEMES:
        raise ValueError(
            f'url must begin with "postgresql://" or "postgres://", got {scheme[:20] or type(url).__name__!r}; '
            "for example postgresql://user:password@localhost:5432/database"
        )
    try:
        parts = urlsplit(url)
        # An unescaped "/", "?" or "#" in a password ends the part that has it.
        wrong = parts.fragment or "@" in parts.path + parts.query or not _DATABASE.fullmatch(parts.path)
    except ValueError:
        wrong = True
    if wrong:
        # `from None`: the error of `urlsplit` quotes what it met.
        raise ValueError(
            f'url must be "{scheme}://user:password@host:port/database?option=value"; percent-encode what is special in the '
            "password"
        ) from None
    return parts


def shown_url(url: str) -> str:
    """Return the URL for messages: a password becomes ***."""
    parts = checked_url(url)
    secret, at, place = parts.netloc.rpartition("@")
    user, colon, _ = secret.partition(":")
    query = urlencode([(name, "***" if "password" in name else value) for name, value in parse_qsl(parts.query)], safe="*/:,")
    return f"{parts.scheme}://{user}{colon and ':***'}{at}{place}{parts.path}{query and '?' + query}"
