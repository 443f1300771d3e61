"""A folder as a user names it -> its path."""

from __future__ import annotations

import os
from pathlib import Path


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
