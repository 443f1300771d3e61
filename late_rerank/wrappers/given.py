"""A reranker from a wrapper's arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.encode.builtin import MINILM
from late_rerank.encode.revisions import at_revision
from late_rerank.fused import AnyReranker, FusedReranker
from late_rerank.maxsim import Kernel, Scoring
from late_rerank.ranking.relevance import Calibration
from late_rerank.reranker import Reranker
from late_rerank.stores import Store


def reranker_from(  # noqa: PLR0913 - all arguments of a Reranker
    reranker: Reranker | None,
    *,
    model: str | Encoder | None = None,
    revision: str | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    codec: str | Codec | None = None,
    device: str | None = None,
    backend: str | None = None,
    kernel: str | Kernel | None = None,
    on_missing: str | None = None,
    calibration: Calibration | str | os.PathLike[str] | None = None,
    pooling: int | None = None,
    scoring: str | Scoring | None = None,
    query_encoder: str | os.PathLike[str] | None = None,
) -> Reranker:
    """Give a ready reranker as it is, or make one from the other arguments.

    Args:
        reranker: A ready one, to be shared; then none of the others may be given.
        model: As `Reranker` takes it, as are all others; None for its default.
        revision: A branch, a tag or a commit of the model on the hub.
        store: Where token vectors are kept.
        codec: How they are packed.
        device: What the model runs on.
        backend: What runs it.
        kernel: What computes MaxSim.
        on_missing: What is done with documents that the store doesn't hold.
        calibration: What makes relevance of scores.
        pooling: How many token vectors of a document become one.
        scoring: How the matches of a query's tokens become a score.
        query_encoder: What encodes queries.

    Raises:
        TypeError: If `reranker` is no Reranker.
        ValueError: If both a ready reranker and arguments for a new one are given. Also as in `Reranker`.
    """
    arguments = {
        "model": model,
        "revision": revision,
        "store": store,
        "codec": codec,
        "device": device,
        "backend": backend,
        "kernel": kernel,
        "on_missing": on_missing,
        "calibration": calibration,
        "pooling": pooling,
        "scoring": scoring,
        "query_encoder": query_encoder,
    }
    given: dict[str, Any] = {name: value for name, value in arguments.items() if value is not None}
    if reranker is None:
        return Reranker(**given)
    if not isinstance(reranker, Reranker):
        raise TypeError(f"reranker must be a late_rerank.Reranker, got {type(reranker).__name__}: {reranker!r:.60}")
    if given:
        raise ValueError(f"give either a ready reranker or {', '.join(given)}, not both: the reranker has its own")
    return reranker


def any_reranker_from(
    reranker: AnyReranker | None,
    *,
    model: str | Encoder | None = None,
    revision: str | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    codec: str | Codec | None = None,
    scoring: str | Scoring | None = None,
    query_encoder: str | os.PathLike[str] | None = None,
) -> AnyReranker:
    """Give a ready reranker of one model or of several, or make one from the other arguments, as `reranker_from` does.

    Raises:
        TypeError: If `reranker` is neither.
        ValueError: If both a ready reranker and arguments for a new one are given.
    """
    ready = reranker.rerankers[0] if isinstance(reranker, FusedReranker) else reranker
    made = reranker_from(
        ready, model=model, revision=revision, store=store, codec=codec, scoring=scoring, query_encoder=query_encoder
    )
    return reranker if isinstance(reranker, FusedReranker) else made


def model_at(model: str | Encoder | None, revision: str | None) -> str | Encoder | None:
    """Give a wrapper's model at a revision: a hub name, then "@" and the revision; without a revision, the model as it is.

    Raises:
        ValueError: If the model isn't a hub name.
    """
    return None if model is None and revision is None else at_revision(MINILM if model is None else model, revision)


def read_scoring(given: str | Scoring | Mapping[str, Any] | None) -> str | Scoring | None:
    """Give the Scoring that a wrapper's dict or file holds as a mapping of its name and window_tokens; all else as it is.

    Raises:
        ValueError: If the mapping holds something else.
    """
    if not isinstance(given, Mapping):
        return given
    if set(given) != {"name", "window_tokens"}:
        raise ValueError(f"a scoring that is read back must hold name and window_tokens, got {dict(given)!r:.60}")
    return Scoring(given["name"], tuple(given["window_tokens"]))
