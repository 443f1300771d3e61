"""A loaded model -> what its fingerprint digests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from late_rerank.encode.fingerprint import fingerprint, is_pooler, module_line
from late_rerank.encode.layout import Layout


def fingerprint_of(model: Any, layout: Layout) -> str:
    """Digest a MultiVectorEncoder with float32 weights.

    Args:
        model: As loaded.
        layout: Its layout.
    """
    return fingerprint(
        layout.document_settings(), module_lines(model), architecture_line(model), tensors_of(model), layout.tokenizer
    )


# Keys of a module's config that don't change document vectors: queries' own settings, and notes on the module's origin.
_NOT_DOCUMENTS = {"query_length", "query_expansion", "max_seq_length", "do_lower_case", "modality_config", "unpad_inputs"}


def module_lines(model: Any) -> list[str]:
    """Write each module with the settings that change document vectors."""
    return [module_line(type(module).__name__, _document_config(module)) for module in model]


def _document_config(module: Any) -> dict[str, Any]:
    names = getattr(module, "config_keys", [])
    return {name: getattr(module, name, None) for name in names if name not in _NOT_DOCUMENTS}


# Keys of an architecture's config that don't change its results.
_NOTES = {"_name_or_path", "architectures", "dtype", "initializer_range", "transformers_version", "use_cache"}


def architecture_line(model: Any) -> str:
    """Write the architecture's config as JSON: the same weights under another activation or norm are another model.

    Unset values are left out, because releases of transformers add such keys.
    """
    config = {name: value for name, value in model[0].config.to_dict().items() if value and name not in _NOTES}
    return json.dumps(config, sort_keys=True, default=str)


def tensors_of(model: Any) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Give the weights that make token vectors, as float32, in the order of their names."""
    for name, tensor in sorted(model.state_dict().items()):
        if not is_pooler(name):
            yield name, tensor.detach().to("cpu", torch.float32).contiguous().numpy()
