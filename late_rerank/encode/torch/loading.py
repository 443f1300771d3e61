"""A folder -> a sentence-transformers MultiVectorEncoder that is what its files say, or a ModelError."""

from __future__ import annotations

import logging
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from transformers.utils import logging as transformers_logging

from late_rerank.encode.adapter import adapted
from late_rerank.encode.adapter_base import adapter_base
from late_rerank.encode.builtin import (
    MINILM_LATE,
    MINILM_LATE_ADAPTER,
    MINILM_QUERY_TOKENS,
    MINILM_WINDOW_TOKENS,
    minilm_source,
)
from late_rerank.encode.checkpoint import Checkpoint, read_text_checkpoint, stanford_metadata
from late_rerank.encode.files import loading, tensor_names
from late_rerank.encode.sources import loading_builtin, local_folder
from late_rerank.encode.torch.adapters import check_adapter, merge_adapter
from late_rerank.encode.torch.stanford import as_trained
from late_rerank.errors import ModelError
from late_rerank.processes.forks import guarded

TOKENS = "token_embeddings"
"""sentence-transformers' name for token vectors, between its modules."""

# The least share of rows in a model's embedding table that are tokens of its tokenizer.
_LEAST_FILLED = 0.9

# The loggers of both libraries belong to the process, so one load at a time may silence them.
_LOADING = guarded(Lock())


def load_builtin(name: str, device: str | None) -> MultiVectorEncoder:
    """Load a built-in model: all-MiniLM-L6-v2 as a late-interaction encoder.

    "minilm" gives the last hidden states, all 384 dimensions, without a projection; "minilm-late" has an adapter and a
    projection of its own. Both are built from modules: sentence-transformers' conversion would append a random projection.

    Raises:
        ModelError: If the weights are neither installed nor available from the hub.
    """
    folder = local_folder(minilm_source())
    if name == MINILM_LATE:
        tensor_names(MINILM_LATE_ADAPTER)  # raises if the file is damaged
    with quiet_loading(), loading_builtin(folder):
        transformer = Transformer(str(folder), query_length=MINILM_QUERY_TOKENS, document_length=MINILM_WINDOW_TOKENS).float()
        modules: list[Any] = [transformer, MultiVectorMask()]
        if name == MINILM_LATE:
            weight = _adapt(transformer.model)
            dim, n_hidden = weight.shape
            modules.append(
                Dense(n_hidden, dim, bias=False, activation_function=None, init_weight=weight, module_input_name=TOKENS)
            )
        modules.append(Normalize(module_input_name=TOKENS))
        return MultiVectorEncoder(modules=modules, device=device).float()


def load_checkpoint(folder: Path, device: str | None) -> tuple[MultiVectorEncoder, Checkpoint]:
    """Load a native, PyLate or Stanford folder with its own weights, markers, expansion and skiplist.

    Raises:
        ModelError: If the projection, the prefixes or some of the weights can't be found.
    """
    checkpoint = read_text_checkpoint(folder)
    backbone = folder / checkpoint.backbone
    base = adapter_base(folder, checkpoint.backbone, extra="train")
    with quiet_loading(), loading(f"{folder} ({checkpoint.format} format)", backbone):
        # float32 for any files: half precision on a CPU makes a token's vector depend on its neighbours.
        model = MultiVectorEncoder(str(folder), device=device, local_files_only=True).float()
        if checkpoint.format == "stanford":
            _set_metadata(model, stanford_metadata(folder))
        missing, left_over = _unlike_weights(model, base or backbone)
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} weights of its own architecture, {missing[0]!r} first: they would be random"
        )
    if left_over:
        raise ModelError(
            f"{backbone / 'config.json'} describes fewer layers than the weights have: {len(left_over)} of them, "
            f"{left_over[0]!r} first, would be left out. Download both again."
        )
    if base is not None:
        check_adapter(model, backbone)
        merge_adapter(model, backbone)
    _refuse_other_vocabulary(model, backbone)
    checkpoint = as_trained(model, checkpoint)
    _refuse_split_markers(model, checkpoint)
    return model, checkpoint


def _set_metadata(model: Any, metadata: dict[str, Any]) -> None:
    """Set what artifact.metadata says: sentence-transformers doesn't look into an object "config" in it."""
    model[0].document_length = metadata["doc_maxlen"]
    attends = bool(metadata.get("attend_to_mask_tokens"))
    model[0].query_expansion = {"strategy": "fixed", "attend": attends, "length": metadata["query_maxlen"]}
    mask = next(module for module in model if isinstance(module, MultiVectorMask))
    mask.skiplist_words = list(string.punctuation) if metadata.get("mask_punctuation", True) else []
    mask.resolve_with_tokenizer(model.tokenizer)


def document_prompt(model: MultiVectorEncoder) -> str:
    """Find the prompt before each document; empty if there is none.

    Source: the order of names in sentence-transformers 6.2's encode_document.
    """
    prompts = model.prompts
    return next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), None) or ""


def _unlike_weights(model: MultiVectorEncoder, folder: Path) -> tuple[list[str], list[str]]:
    """Name the backbone's weights that no file holds, and the weights of layers that the backbone doesn't have.

    BERT's unused pooler is passed over, and so are weights of other kinds: heads that the model was pre-trained with.
    transformers names all of them in a log message, whose wording and level may change, so they are asked for instead.
    """
    transformer: Any = model[0]
    loaded, report = type(transformer.model).from_pretrained(str(folder), output_loading_info=True, local_files_only=True)
    kinds = {_kind(name) for name in loaded.state_dict()}
    # Names with and without the prefix that some files have, such as "bert.".
    left_over = [name for name in report["unexpected_keys"] if {_kind(name), _kind(name.partition(".")[2])} & kinds]
    return sorted(name for name in report["missing_keys"] if "pooler." not in name), sorted(left_over)


def _kind(name: str) -> str:
    """Take the number of its layer out of a weight's name."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "N", name)


def _refuse_other_vocabulary(model: MultiVectorEncoder, folder: Path) -> None:
    """Refuse a vocabulary that doesn't belong to the weights.

    In a vocabulary that was cut off, words behind the cut are silently unknown. A vocabulary with tokens beyond the weights
    works until a text has such a token.
    """
    transformer: Any = model[0]
    n_tokens, n_rows = len(model.tokenizer), len(transformer.model.get_input_embeddings().weight)
    # Embedding tables are padded to a multiple of 64, or a little more.
    if n_tokens < _LEAST_FILLED * n_rows:
        raise ModelError(
            f"{folder}: its tokenizer has {n_tokens:,} tokens, its weights are for {n_rows:,}: a vocabulary is cut off"
        )
    token, last = max(model.tokenizer.get_vocab().items(), key=itemgetter(1))
    if last >= n_rows:
        raise ModelError(
            f"{folder}: its tokenizer numbers {token!r} {last:,}, its weights are for {n_rows:,} tokens: they belong to "
            "different models. Download the tokenizer again, or the weights."
        )


def _refuse_split_markers(model: MultiVectorEncoder, checkpoint: Checkpoint) -> None:
    """Refuse markers like "[unused0]" that aren't one token: split by the tokenizer, they would silently spoil every vector."""
    for role, prompt in (("query", model.prompts.get("query") or ""), ("document", document_prompt(model))):
        prefix = checkpoint.prefixes.get(role, "").strip()
        marker = prefix or next(iter(re.findall(r"^\[[^\]\s]+\]", prompt)), "")
        pieces = model.tokenizer.tokenize(prompt)
        if marker and (not pieces or pieces[0].strip() != marker):
            raise ModelError(
                f"{checkpoint.path}: the {role} prefix {marker!r} is not a token of its tokenizer, which splits it into "
                f"{pieces}. The checkpoint was trained with one token there: add it to the tokenizer as a special token."
            )


def _adapt(transformer: Any) -> torch.Tensor:
    """Add the matrices of "minilm-late" to a transformer's weights, and return its projection."""
    weights = {name: weight.detach().numpy() for name, weight in transformer.named_parameters()}
    changed, projection = adapted(MINILM_LATE_ADAPTER, weights)
    with torch.no_grad():
        for name, weight in changed.items():
            transformer.get_parameter(name).copy_(torch.from_numpy(weight))
    return torch.from_numpy(projection)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence both libraries while they load. Their messages are mostly expected noise, and we check the model ourselves."""
    with _LOADING:
        loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
        before = [(logger.handlers[:], logger.propagate) for logger in loggers]
        bars = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            for logger in loggers:
                logger.handlers, logger.propagate = [logging.NullHandler()], False
            yield
        finally:
            for logger, (handlers, propagate) in zip(loggers, before, strict=True):
                logger.handlers, logger.propagate = handlers, propagate
            if bars:
                transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
