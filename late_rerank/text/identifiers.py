"""Text -> names, versions, numbers and addresses that signs hold together: `snake_case`, `v1.2.3`, `E-4021`, `C++`, URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import regex

from late_rerank.text.words import UNSPACED

# Each line is one kind. The longest kinds come first, since a place belongs to one kind. A kind that may run on begins only
# where its letters begin, or a text without spaces would cost its length's square.
_KINDS = r"""
    https?://[^\s<>"'`]+                                            # https://example.com/a?b=1
  | (?<![\w,.]) \d{1,3} (?:,\d{3}){1,6} (?:\.\d+)? (?![\w,])        # 1,000.5; without end they are a table's columns
  | (?<![\w.%+-]) [\w.%+-]+ @ \w+ (?:[.-]\w+)+                      # someone@example.com
  | (?<!\w) (?:[a-z]:|~|\.{1,2})? (?:[/\\][\w.+-]*\w){2,}           # /etc/hosts
  | (?<![\w.+-]) \w[\w.+-]* (?:[/\\][\w.+-]*\w)+ (?:\+\+|\#(?!\w))? # src/main.py, 2020/01/31, c/c++
  | (?<![\w.-]) \w[\w.-]* (?:::?\w[\w.-]*)+                         # 12:30, std::vector, 10.0.0.1:8080
  | (?<![\w+\#%)\]-]) (?<!\w') --?[a-z][\w-]*                       # --flag-name, -v; not 5'-end
  | (?<!\w) [a-z]\w*\+\+\d* (?!\w) | (?<!\w) [a-z]\# (?!\w)         # C++, C#
  | (?<![\w.]) \.[a-z][\w-]* (?:[.-]\w+)*                           # .gitignore
"""
# Found within the kinds above, too: the file's name in a path, the host in an address.
_JOINED = r"""
    \d{4}-\d\d-\d\d (?=t\d)                                         # the date of 2020-01-31T12:30
  | (?<!\d,) \w+ (?:[.-]\w+)+                                          # foo.bar.baz, v1.2.3, E-4021
  | (?<!\w) [a-z]\w*\+\+ (?=\d*(?!\w)) | (?<!\w) [a-z]\# (?!\w)       # C++ in C++20 and C/C++
  | \w+                                                             # snake_case
"""
# Prose has words with hyphens, slashes and colons too: they aren't kept whole unless one of these tells that they are names.
_TELLS = re.compile(r"[\d_@+#]|::|//|^[-.~/\\]|[^\W_]\.[^\W_]")
_MAY_TELL = re.compile(r"[\d_@+#./:\\~]|^[^\w\s]*-")  # the same for a piece of text, much faster
# In Chinese, Thai or Korean a name ends where its letters end.
_LETTER = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--{UNSPACED}--\p{{Hangul}}]"
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_VERSION = re.compile(r"v(?=\d+\.\d)")
_AFTER = ".,;:!?)]}\"'`>/\\"


def identifiers(text: str) -> list[str]:
    """Find what signs hold together: names in code, versions, numbers, dates, paths, flags, addresses.

    Args:
        text: In small letters.

    Returns:
        Each whole, as it stands, but numbers without the commas between thousands. Those within others come too: the file's
        name in a path, the whole thousands of a number, "1.2.3" in "v1.2.3". Words that only a hyphen, a slash or a colon
        joins are prose, unless they have a digit.
    """
    pieces = (piece.rstrip(_AFTER) for piece in text.split() if not piece.isalpha())
    signed = [piece for piece in pieces if not piece.isalnum() and _MAY_TELL.search(piece)]
    if not signed:
        return []
    plain, other = "\n".join(filter(str.isascii, signed)), "\n".join(piece for piece in signed if not piece.isascii())
    return [*_identifiers(plain), *(_identifiers(other) if other else ())]


def _identifiers(text: str) -> Iterator[str]:
    kinds, joined = _patterns(text.isascii())
    large = [found.group().rstrip(_AFTER) for found in kinds.finditer(text)]
    small = [found.group() for found in joined.finditer(text)]
    for name in filter(_TELLS.search, large):
        yield (number := name.replace(",", "") if _THOUSANDS.fullmatch(name) else name)
        if number != name and "." in number:
            yield number.partition(".")[0]
    seen = set(large)
    for name in map(_without_words_after, small):
        if name not in seen and not name.isalnum() and _TELLS.search(name):
            yield name
            if _VERSION.match(name):  # written with the letter or without
                yield name[1:]


def _without_words_after(name: str) -> str:
    """Leave off the words of prose that hyphens join to a name: "IL-10-dependent" tells of IL-10."""
    if "-" not in name or "." in name or "_" in name:
        return name
    parts = name.split("-")
    while len(parts) > 1 and len(parts[-1]) > 2 and parts[-1].isalpha():  # a shorter one is mostly the name's
        parts.pop()
    return "-".join(parts)


@lru_cache(maxsize=2)
def _patterns(is_ascii: bool) -> tuple[Any, Any]:  # noqa: FBT001
    """Compile the patterns when they are needed: it takes 40 ms."""
    if is_ascii:
        return re.compile(_KINDS, re.VERBOSE | re.ASCII), re.compile(_JOINED, re.VERBOSE | re.ASCII)
    kinds, joined = (regex.compile(kinds.replace(r"\w", _LETTER), regex.VERBOSE | regex.V1) for kinds in (_KINDS, _JOINED))
    return kinds, joined
