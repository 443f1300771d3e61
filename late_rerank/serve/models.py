"""Models as clients name and list them: a request's `model`, and /v1/models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Names by which a client says that it names none.
_ANY = frozenset({"", "default", "default/not-specified"})


def is_served(asked: str | None, name: str) -> bool:
    """Tell whether a request's `model` is the server's: by its name, or by the last part of a name with an owner."""
    return asked is None or asked in _ANY or name in (asked, asked.rpartition("/")[2])


def listed(names: Mapping[str, Sequence[str] | None], created: int) -> dict[str, Any]:
    """List models as OpenAI, vLLM and Infinity do.

    Args:
        names: The models' names -> what their documents may be.
        created: As in `described`.
    """
    return {"object": "list", "data": [described(name, created, modalities) for name, modalities in names.items()]}


def described(name: str, created: int, modalities: Sequence[str] | None = None) -> dict[str, Any]:
    """Describe a model.

    Args:
        name: The model's, as clients are told it.
        created: When it was loaded, in seconds since 1970.
        modalities: What its documents may be: "text", "image" or both; None while it isn't loaded.

    Returns:
        OpenAI's fields, and those of which Xinference's clients see that it is a reranker.
    """
    of_openai = {"id": name, "object": "model", "created": created, "owned_by": "late-rerank"}
    told = of_openai | {"model_type": "rerank", "model_name": name, "model_uid": name, "model_ability": ["rerank"]}
    return told if modalities is None else told | {"modalities": list(modalities)}
