"""Encoded bytes within a text: images in Markdown, certificates. They cost as much encoding as a book, and answer nothing."""

from __future__ import annotations

import regex

# A data URI ends with the quote or bracket that it stands in. Base64 may be wrapped.
_BASE64 = r"[a-z0-9+/=_%-]*+(?:\r?\n[ \t]*+[a-z0-9+/=]{40,}+)*+(?:\r?\n[ \t]*+[a-z0-9+/=]++(?=[)\"'>]))?+"
_DATA_URI = rf"""(?<![\w-])(?:(?<=(?P<quote>["']))|)data:(?:
    (?:[\w.+*-]++/[\w.+*-]++)?+(?:;[\w.+-]++=[^;,\s"']*+)*+;base64,{_BASE64}
    | (?:image|font|audio|video|application)/[\w.+*-]++(?:;[\w.+-]++(?:=[^;,\s"']*+)?+)*+,
        (?(quote)(?:(?!(?P=quote)).)*+|[^\s)>\]"'`]*+)
    | text/[\w.+*-]++(?:;[\w.+-]++(?:=[^;,\s"']*+)?+)*+,[^\s)>\]"'`]{{64,}}+
)"""
# Longer than any word, hash or protein sequence that a person looks up. A key or a certificate has lines of 64.
_RUN = r"(?<![a-z0-9+/_-])[a-z0-9+/_-]{256,}+={0,2}"
_LINES = r"^[ \t>]*+[a-z0-9+/]{60,}+(?:\r?\n[ \t>]*+[a-z0-9+/]{60,}+){3,}+(?:\r?\n[ \t>]*+[a-z0-9+/]*+={1,2}(?=\r?$))?+"
_BLOB = regex.compile(rf"(?simx)(?P<uri>{_DATA_URI})|(?P<run>{_RUN}|{_LINES})")


def blobs(text: str) -> list[tuple[int, int]]:
    """Find data URIs, and long runs or many full lines of base64 or hexadecimal digits.

    Returns:
        (start, end) in code points, in order and apart.
    """
    return [found.span() for found in _BLOB.finditer(text) if found["uri"] or _is_encoded(found["run"])]


def _is_encoded(run: str) -> bool:
    """Tell whether a run looks random, unlike a sequence of bases, a line of dashes, a path, or many words with hyphens."""
    n_digits, n_joints = sum(map(run.count, "0123456789")), sum(map(run.count, "-_/"))
    return len(run) / 40 < n_digits < len(run) and n_joints < len(run) / 10 and len(set(run)) > 12
