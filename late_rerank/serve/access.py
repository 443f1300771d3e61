"""API keys, request ids, and the names under which a server on this machine may be asked."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

KEYS_VARIABLE = "LATE_RERANK_API_KEYS"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SHORTEST_KEY = 8


class ApiKeys:
    """API keys. A request must bring one of them.

    Keys are kept as digests of one length. A given key is compared with all of them, so that the time tells nothing of how much
    of it was right.

    Args:
        keys: Empty for a server that anybody who reaches it may ask.

    Raises:
        ValueError: If a key is shorter than 8 characters, or not of printable ASCII, which a header can't hold.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        keys = list(keys)
        for key in keys:
            if len(key) < _SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
                raise ValueError(f"an API key must have at least {_SHORTEST_KEY} printable ASCII characters and no spaces")
        self._salt = secrets.token_bytes(16)
        self._digests = [self._digest(key) for key in keys]

    @classmethod
    def read(cls, file: str | None) -> ApiKeys:
        """Read the keys of a file, one a line, and of the environment, with commas between.

        Args:
            file: Lines that begin with # are comments; None for the environment alone.

        Raises:
            ValueError: If the file or the variable holds no keys, or one can't be a key.
            OSError: If the file can't be read.
        """
        of_environment = os.environ.get(KEYS_VARIABLE, "")
        keys = [key.strip() for key in of_environment.split(",") if key.strip()]
        if of_environment and not keys:
            raise ValueError(f"{KEYS_VARIABLE} is set, but holds no API key: unset it, or put keys there with commas between")
        if file is not None:
            lines = [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines()]
            of_file = [line for line in lines if line and not line.startswith("#")]
            if not of_file:
                raise ValueError(f"{file} holds no API keys: put one on a line")
            keys += of_file
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a request brings a key: `Authorization: Bearer KEY`, the key alone there, `X-API-Key` or `Api-Key`."""
        if not self._digests:
            return True
        authorization = headers.get("authorization", "")
        scheme, _, rest = authorization.partition(" ")
        bearer = rest.strip() if scheme.lower() == "bearer" else authorization.strip()
        # Azure's and Pinecone's clients send `Api-Key`. A proxy may have an Authorization of its own.
        given = [key for key in (bearer, headers.get("x-api-key"), headers.get("api-key")) if key] or [""]
        digests = [self._digest(key) for key in given]
        return sum(hmac.compare_digest(digest, known) for digest in digests for known in self._digests) > 0  # all are compared

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), key=self._salt, digest_size=32).digest()


def request_id(headers: Mapping[str, str]) -> str:
    """Give the client's own request id if it is a plain one, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def is_loopback(host: str) -> bool:
    """Tell whether a name or address is this machine's own for itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # another name: 127.0.0.1.example.com is one
        return False


def host_of(header: str) -> str:
    """Give the name in a Host header, without its port."""
    address, _, rest = header[1:].partition("]")
    return address if header.startswith("[") and rest[:1] in ("", ":") else header.partition(":")[0]
