"""A Postgres URL: checked at the door, and shown without its password."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from late_rerank.stores.checks import told

_DATABASE = re.compile(r"/?[^/]*")
SCHEMES = ("postgresql", "postgres")
# Options of libpq that messages show. Any other one may be a secret, or lead to one, and libpq learns new ones.
_SHOWN = re.compile(
    "application_name|channel_binding|client_encoding|connect_timeout|dbname|fallback_application_name|gssencmode|host|hostaddr"
    "|keepalives(_count|_idle|_interval)?|load_balance_hosts|port|require_auth|service|sslmode|sslnegotiation|sslrootcert"
    "|ssl_(max|min)_protocol_version|target_session_attrs|tcp_user_timeout|user"
)


def checked_url(url: str) -> SplitResult:
    """Split a URL that names a database into its parts.

    Raises:
        ValueError: If the URL names no database server; the message never repeats what might be a password.
    """
    scheme = url.partition("://")[0] if isinstance(url, str) else ""
    if scheme not in SCHEMES:
        raise ValueError(
            f'url must begin with "postgresql://" or "postgres://", got {told(url)}; '
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
    """Return the URL for messages: a password becomes ***, and so does each option that might hold a secret."""
    parts = checked_url(url)
    secret, at, place = parts.netloc.rpartition("@")
    user, colon, _ = secret.partition(":")
    shown = [(name, value if _SHOWN.fullmatch(name) else "***") for name, value in parse_qsl(parts.query)]
    query = urlencode(shown, safe="*/:,")
    return f"{parts.scheme}://{user}{colon and ':***'}{at}{place}{parts.path}{query and '?' + query}"
