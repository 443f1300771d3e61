"""A Redis URL: checked at the door, and shown without its password."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from late_rerank.stores.checks import told

_DATABASE = re.compile(r"/?\d*")
SCHEMES = ("redis", "rediss", "unix")


def checked_url(url: str) -> SplitResult:
    """Split a URL that names a server into its parts.

    Raises:
        ValueError: If the URL names no server; the message never repeats what might be a password.
    """
    scheme = url.partition("://")[0] if isinstance(url, str) else ""
    if scheme not in SCHEMES:
        raise ValueError(
            f'url must begin with "redis://", "rediss://" (TLS) or "unix://", got {told(url)}; '
            "for example redis://localhost:6379/0"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port  # parsed when it is asked for
        # An unescaped "/", "?" or "#" in a password ends the part that has it.
        if parts.fragment or (scheme != "unix" and ("@" in parts.path + parts.query or not _DATABASE.fullmatch(parts.path))):
            raise ValueError(parts)  # noqa: TRY301
    except ValueError:
        # `from None`: a password with an unescaped "/" or "#" is taken for a port, and named in that error.
        raise ValueError(
            f'url must be "{scheme}://[user]:[password]@host:port/db", the port at most 65535 and db a number; percent-encode '
            "what is special in the password"
        ) from None
    if scheme == "unix" and not parts.path:
        raise ValueError('url must name the socket: "unix:///path/to/redis.sock"')
    return parts


def shown_url(url: str) -> str:
    """Return the URL for messages: a password becomes ***."""
    parts = checked_url(url)
    secret, at, place = parts.netloc.rpartition("@")
    user, colon, _ = secret.partition(":")
    query = urlencode([(name, "***" if "password" in name else value) for name, value in parse_qsl(parts.query)], safe="*/:")
    # Not `geturl`: it drops the slashes of "redis:///1" and "unix:///path".
    return f"{parts.scheme}://{user}{colon and ':***'}{at}{place}{parts.path}{query and '?' + query}"
