"""The digest of all that changes document vectors by more than rounding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from sentence_transformers import MultiVectorEncoder


def fingerprint(model: MultiVectorEncoder, settings: Mapping[str, Any]) -> str:
    """Digest weights, modules, tokenizer and `settings` into 32 hexadecimal digits.

    Weights are digested as float32 values, not as files: the same model in another format or on another device keeps
    its stored vectors.

    Args:
        model: With float32 weights, as loaded.
        settings: All else that changes document vectors: marker tokens, window, overlap, caps. JSON values.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for module in model:
        digest.update(f"{type(module).__name__} {json.dumps(_document_config(module), sort_keys=True, default=str)}".encode())
    digest.update(_architecture(model).encode())
    for name, tensor in sorted(model.state_dict().items()):
        # BERT's pooler makes a sentence vector, no token vectors. In checkpoints that lack it, it is random on every load.
        if ".pooler." in name:
            continue
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy())
    digest.update(_tokenizer_config(model).encode())
    return digest.hexdigest()


# Keys of a module's config that don't change document vectors: queries' own settings, and notes on the module's origin.
_NOT_DOCUMENTS = {"query_length", "query_expansion", "max_seq_length", "do_lower_case", "modality_config", "unpad_inputs"}


def _document_config(module: Any) -> dict[str, Any]:
    names = getattr(module, "config_keys", [])
    return {name: getattr(module, name, None) for name in names if name not in _NOT_DOCUMENTS}


# Keys of an architecture's config that don't change its results.
_NOTES = {"_name_or_path", "architectures", "dtype", "initializer_range", "transformers_version", "use_cache"}


def _architecture(model: MultiVectorEncoder) -> str:
    """Write the architecture's config as JSON: the same weights under another activation or norm are another model.

    Unset values are left out, because releases of transformers add such keys.
    """
    module: Any = model[0]
    config = {name: value for name, value in module.config.to_dict().items() if value and name not in _NOTES}
    return json.dumps(config, sort_keys=True, default=str)


def _tokenizer_config(model: MultiVectorEncoder) -> str:
    config = json.loads(model.tokenizer.backend_tokenizer.to_str())
    # Truncation and padding change with every call; they don't belong to the tokenizer.
    return json.dumps({name: value for name, value in config.items() if name not in ("truncation", "padding")}, sort_keys=True)
