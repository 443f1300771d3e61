"""The digest of all that changes document vectors by more than rounding. No torch here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


def fingerprint(
    settings: Mapping[str, Any],
    modules: Sequence[str],
    architecture: str,
    tensors: Iterable[tuple[str, NDArray[np.float32]]],
    tokenizer: Tokenizer,
) -> str:
    """Digest a model into 32 hexadecimal digits.

    Weights are digested as float32 values, not as files: the same model in another format or on another device keeps
    its stored vectors.

    Args:
        settings: `Layout.document_settings`. JSON values.
        modules: A line for each module: its name and its settings.
        architecture: The transformer's settings.
        tensors: Names and weights, in the order of the names. Poolers are passed over: BERT's makes a sentence vector, no token
            vectors. In checkpoints that lack it, it is random on every load.
        tokenizer: The model's. Its truncation and padding don't count.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for line in modules:
        digest.update(line.encode())
    digest.update(architecture.encode())
    for name, tensor in tensors:
        if not is_pooler(name):
            digest.update(f"{name} {tensor.shape}".encode())
            digest.update(np.ascontiguousarray(tensor).data)
    digest.update(tokenizer_line(tokenizer).encode())
    return digest.hexdigest()


def is_pooler(name: str) -> bool:
    """Tell whether a weight belongs to BERT's pooler."""
    return ".pooler." in name


def module_line(name: str, settings: Mapping[str, Any]) -> str:
    """Write a module for the digest."""
    return f"{name} {json.dumps(settings, sort_keys=True, default=str)}"


def pooling_line(factor: int) -> str:
    """Write the module that pools documents by a factor which the user gave."""
    settings = {"pool_factor": factor, "num_protected_tokens": 1, "normalize_embeddings": True, "tasks": ["document"]}
    return module_line("HierarchicalTokenPooling", settings)


def tokenizer_line(tokenizer: Tokenizer) -> str:
    """Write a tokenizer for the digest. Truncation and padding change with every call; they don't belong to it."""
    config = json.loads(tokenizer.to_str())
    return json.dumps({name: value for name, value in config.items() if name not in ("truncation", "padding")}, sort_keys=True)
