"""Models that pool a text's token vectors into fewer."""

from __future__ import annotations

from copy import copy
from typing import Any, Literal

from sentence_transformers.multi_vector_encoder.modules import BaseTokenPooling

Kind = Literal["query", "document"]


def pools(model: Any, kind: Kind | None = None) -> bool:
    """Whether a model pools texts of that kind; None for any."""
    found = (module for module in model if isinstance(module, BaseTokenPooling))
    return any(kind is None or module.applies_to(kind) for module in found)


def without_pooling(model: Any) -> Any:
    """The same model without its pooling modules; the others, and their weights, are shared."""
    plain = copy(model)
    kept = {name: module for name, module in model.named_children() if not isinstance(module, BaseTokenPooling)}
    plain._modules = kept  # noqa: SLF001 - where torch keeps them; deleting one would delete it from the original too
    return plain
