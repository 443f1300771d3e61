"""Arguments of the component -> what a file can hold."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from haystack.utils import ComponentDevice, deserialize_callable, serialize_callable

from late_rerank import Reranker
from late_rerank.wrapping import Choice, Scoring, read_prior, read_scoring, written_prior

NAMED = ("model", "store", "codec", "scoring", "query_encoder")
"""Arguments of a Reranker that the component has too, under the same names; and "device", which Haystack has a class for."""


_PLAIN = (
    "meta_fields_to_embed",
    "embedding_separator",
    "score_threshold",
    "root_path",
    "file_path_meta_field",
    "token_vectors_field",
)


def all_written_down(ranker: Any, ready: Reranker | None) -> dict[str, Any]:
    """Give all arguments of a ranker as YAML takes them; those of a Reranker from the ready one, if the ranker was given one.

    Raises:
        ValueError: If one is an object that a file can't hold, or the ready one has an argument that the component hasn't.
        SerializationError: If `count_tokens` is a function that no file can name.
    """
    parts, device = {name: getattr(ranker, name) for name in NAMED}, ranker.device
    if ready is not None:
        check_expressible(ready)
        parts = {name: ready.arguments[name] for name in parts}
        name = ready.arguments["device"]
        device = None if name is None else ComponentDevice.from_str(name)
    return {
        **{name: written_down(name, part) for name, part in parts.items()},
        "device": device.to_dict() if device else None,
        **{name: getattr(ranker, name) for name in _PLAIN},
        **Choice.of(ranker).options(vars(ranker)),
        "count_tokens": counter_written_down(ranker.count_tokens),
        "prior": written_prior(ranker.prior),
    }


def read(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Give arguments as the component takes them, from what `all_written_down` gave."""
    device, counter = arguments.get("device"), arguments.get("count_tokens")
    return {
        **arguments,
        "device": None if device is None else ComponentDevice.from_dict(device),
        "scoring": read_scoring(arguments.get("scoring")),
        "count_tokens": None if counter is None else deserialize_callable(counter),
        "prior": read_prior(arguments.get("prior")),
    }


def check_expressible(reranker: Reranker) -> None:
    """See to it that nothing is lost: what was written would else work in another way when it is read."""
    parameters = inspect.signature(Reranker).parameters
    for name, value in reranker.arguments.items():
        if name not in (*NAMED, "device") and value != parameters[name].default:
            raise ValueError(
                f"the ranker's reranker was made with {name}={value!r:.60}, for which the component has no argument"
            )


def written_down(name: str, part: object) -> str | dict[str, object] | None:
    """An argument as YAML takes it. A Scoring is a few numbers, which `read_scoring` reads."""
    if part is None or isinstance(part, str):
        return part
    if isinstance(part, Scoring):
        return {**asdict(part), "window_tokens": list(part.window_tokens)}
    if isinstance(part, os.PathLike):
        return str(os.fspath(part))
    raise ValueError(
        f"the ranker was given its {name} as an object, {type(part).__name__}, which no file can name; give model=, store= and "
        "codec= as names or paths instead"
    )


def counter_written_down(count_tokens: object) -> str | None:
    """A function that counts tokens, by its name.

    Raises:
        ValueError: It is an object, a tokenizer say.
        SerializationError: It is a function that no file can name: a lambda, a function inside another, a method.
    """
    if count_tokens is None:
        return None
    if callable(count_tokens) and hasattr(count_tokens, "__qualname__"):
        return str(serialize_callable(count_tokens))
    raise ValueError(
        f"the ranker was given its count_tokens as an object, {type(count_tokens).__name__}, which no file can name; give a "
        "function of a module of yours that counts with it"
    )
