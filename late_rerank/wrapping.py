"""What framework wrappers share: a reranker from their arguments, and the check of their numbers."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any

from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.reranker import Reranker
from late_rerank.stores import Store


def reranker_from(
    reranker: Reranker | None,
    *,
    model: str | Encoder | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    codec: str | Codec | None = None,
    **more: Any,
) -> Reranker:
    """A ready reranker as it is, or one made from the other arguments.

    Args:
        reranker: A ready one, to be shared; then none of the others may be given.
        model: As `Reranker` takes it; None for its default, as with the others.
        store: As `Reranker` takes it.
        codec: As `Reranker` takes it.
        more: Further arguments of `Reranker`; None is as if it weren't given.

    Raises:
        TypeError: `reranker` is no Reranker.
        ValueError: Both a ready reranker and arguments for a new one.
    """
    given = {"model": model, "store": store, "codec": codec, **more}
    given = {name: value for name, value in given.items() if value is not None}
    if reranker is None:
        return Reranker(**given)
    if not isinstance(reranker, Reranker):
        raise TypeError(f"reranker must be a late_rerank.Reranker, got {type(reranker).__name__}: {reranker!r:.60}")
    if given:
        raise ValueError(f"give either a ready reranker or {', '.join(given)}, not both: the reranker has its own")
    return reranker


def check_count(name: str, value: object, *, or_none: bool = False) -> None:
    """See to it that a number of documents is a whole number of at least 1.

    Raises:
        TypeError: It is no int.
        ValueError: It is below 1.
    """
    if or_none and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral):  # NumPy's numbers too, as `top_k` takes them
        raise TypeError(f"{name} must be an int{' or None' if or_none else ''}, got {value!r:.60}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
