"""Models that pool a text's token vectors into fewer."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import partial
from typing import Any

import torch
from sentence_transformers.multi_vector_encoder.modules import BaseTokenPooling, HierarchicalTokenPooling

from late_rerank.encode.base import Kind
from late_rerank.encode.compiled.pooling import Pooling
from late_rerank.errors import IncompatibleError


def pools(model: Any, kind: Kind | None = None) -> bool:
    """Tell whether a model pools texts of that kind; of any kind for None."""
    found = (module for module in model if isinstance(module, BaseTokenPooling))
    return any(kind is None or module.applies_to(kind) for module in found)


def pool_documents(model: Any, factor: int, name: str) -> None:
    """Make a model keep one of `factor` token vectors of each document; queries keep all of theirs.

    Similar vectors are merged (Ward's clusters of cosines). An opening [CLS] is left alone.

    Args:
        model: A MultiVectorEncoder that gives unit vectors. A module is appended to it.
        factor: At least 2.
        name: The model's name, for the error.

    Raises:
        IncompatibleError: If the model pools already.

    Source: Clavié, Chaffin and Adams 2024, "Reducing the footprint of multi-vector retrieval with minimal performance impact
    via token pooling".
    """
    if pools(model):
        raise IncompatibleError(
            f"{name} pools its tokens already, so that pooling={factor} can't be asked for: leave pooling=1"
        )
    model.append(HierarchicalTokenPooling(factor, tasks=["document"]))


def keep_order(model: Any) -> None:
    """Make a model put merged token vectors in the order of their first tokens, as compiled models do.

    Scorings with windows need an order. sentence-transformers gives clusters in none. Poolings of other kinds stay as they are.
    """
    for module in _known(model):
        # For this module alone: its type names it in fingerprints.
        vars(module)["pool_one"] = partial(_pooled, _pooling(module))


def poolings(model: Any) -> Iterator[Pooling]:
    """Give the poolings of a model, in order. Poolings of other kinds than sentence-transformers' own keep an unknown share."""
    return map(_pooling, _known(model))


def _known(model: Any) -> list[HierarchicalTokenPooling]:
    return [module for module in model if type(module) is HierarchicalTokenPooling]  # a subclass may pool in a way of its own


def _pooling(module: HierarchicalTokenPooling) -> Pooling:
    kinds: tuple[Kind, ...] = ("query", "document")
    applied = tuple(kind for kind in kinds if module.applies_to(kind))
    return Pooling(module.pool_factor, module.num_protected_tokens, module.normalize_embeddings, applied)


def _pooled(pooling: Pooling, embedding: torch.Tensor) -> torch.Tensor:
    rows = pooling(embedding.detach().to("cpu", torch.float32).numpy())
    return torch.from_numpy(rows).to(embedding)


def without_pooling(model: Any) -> Any:
    """Copy a model without its pooling modules. All other modules, and their weights, are shared."""
    plain = copy(model)
    kept = {name: module for name, module in model.named_children() if not isinstance(module, BaseTokenPooling)}
    plain._modules = kept  # noqa: SLF001 - torch keeps modules there; deleting one would delete it from the original too
    return plain
