"""Models as clients name and list them: a request's `model`, and /v1/models."""

from __future__ import annotations

from typing import Any

# Names by which a client says that it names none.
_ANY = frozenset({"", "default", "default/not-specified"})


def is_served(asked: str | None, name: str) -> bool:
    """Tell whether a request's `model` is the server's: by its name, or by the last part of a name with an owner."""
    return asked is None or asked in _ANY or name in (asked, asked.rpartition("/")[2])


def listed(names: list[str], created: int) -> dict[str, Any]:
    """List models as OpenAI, vLLM and Infinity do."""
    return {"object": "list", "data": [described(name, created) for name in names]}


def described(name: str, created: int) -> dict[str, Any]:
    """Describe a model.

    Args:
        name: The model's, as clients are told it.
        created: When it was loaded, in seconds since 1970.

    Returns:
        OpenAI's fields, and those of which Xinference's clients see that it is a reranker.
    """
    of_openai = {"id": name, "object": "model", "created": created, "owned_by": "late-rerank"}
    return of_openai | {"model_type": "rerank", "model_name": name, "model_uid": name, "model_ability": ["rerank"]}
