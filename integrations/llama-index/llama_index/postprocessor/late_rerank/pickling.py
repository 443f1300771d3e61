"""Parts of a postprocessor, written down."""

from __future__ import annotations

import os
import pickle
from typing import Any


def check_picklable(name: str, part: object, instead: str) -> None:
    """See to it that a part can be pickled: the framework would leave it out, and go on with another one.

    Raises:
        TypeError: If it can't.
    """
    try:
        pickle.dumps(part)
    except Exception as error:  # whatever a part's own __reduce__ raises
        why = f"its {name}, {type(part).__name__}, can't: {error}"
        raise TypeError(f"LateRerank can't be pickled, since {why}. Give {instead}.") from error


def as_text(place: Any) -> Any:
    """A path as text, which JSON takes too."""
    return os.fspath(place) if isinstance(place, os.PathLike) else place
