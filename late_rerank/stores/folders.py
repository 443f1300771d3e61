"""A folder as a user names it -> its path; the folder of a user's caches."""

from __future__ import annotations

import os
from pathlib import Path

from late_rerank.errors import StoreError


def folder_at(where: str | os.PathLike[str]) -> Path:
    """Return the folder that a place names: "~" is the user's home, "~name" that user's, as in a shell.

    Raises:
        ValueError: If no user has that name, and no folder is called so: it would be made where the program happens to run.
    """
    text = os.path.expanduser(os.fspath(where))  # noqa: PTH111 - Path's own raises RuntimeError for "~no-such-user"
    folder = Path(text)
    if text.startswith("~") and not folder.exists():
        raise ValueError(f'{where} begins with the home of a user that isn\'t known here; a folder of that name is "./{where}"')
    # A Path forgets the "./" that told "./~" from the home: it isn't to be taken for that when it is asked again.
    return folder.absolute() if str(folder).startswith("~") else folder


def cache_home() -> Path:
    """Give the folder of this user's caches: $XDG_CACHE_HOME, else ~/.cache.

    Raises:
        StoreError: If the user has no home: one of a container, say.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # the specification of XDG: a relative path is to be passed over
        return given
    try:
        return Path.home() / ".cache"
    except RuntimeError as error:
        raise StoreError("this user has no home directory; name a folder for caches by XDG_CACHE_HOME") from error
