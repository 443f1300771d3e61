"""A checkpoint -> a sentence-transformers MultiVectorEncoder that is what it says, or a ModelError."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from transformers.utils import logging as transformers_logging

from late_rerank.encode.builtin import MINILM_QUERY_TOKENS, MINILM_WINDOW_TOKENS, minilm_source
from late_rerank.encode.checkpoint import Checkpoint, read_checkpoint
from late_rerank.errors import ModelError

# Other people's exports of the same weights, hundreds of MB that we never read.
_NOT_NEEDED = ["*.onnx", "*.h5", "*.ot", "*.msgpack", "*.gguf", "onnx/*", "openvino/*"]

_RANDOM_PROJECTION = "randomly-initialised"
_MISSING_WEIGHT = re.compile(r"^\s*(\S+)\s*\|\s*MISSING", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def load_minilm(device: str | None) -> MultiVectorEncoder:
    """all-MiniLM-L6-v2 as a late-interaction encoder: its last hidden states, all 384 dimensions, no projection.

    Built from its modules: sentence-transformers' own conversion would append a random projection.

    Raises:
        ModelError: The weights are neither installed nor to be had from the hub.
    """
    folder = local_folder(minilm_source())
    with captured_logs():
        transformer = Transformer(str(folder), query_length=MINILM_QUERY_TOKENS, document_length=MINILM_WINDOW_TOKENS)
        modules = [transformer, MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
        return MultiVectorEncoder(modules=modules, device=device)


def load_checkpoint(folder: Path, device: str | None) -> tuple[MultiVectorEncoder, Checkpoint]:
    """Load a native, PyLate or Stanford folder with its own weights, markers, expansion and skiplist.

    Raises:
        ModelError: Its projection, its prefixes or some of its weights can't be resolved.
    """
    checkpoint = read_checkpoint(folder)
    with captured_logs() as messages:
        try:
            model = MultiVectorEncoder(str(folder), device=device, local_files_only=True)
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(f"{folder} ({checkpoint.format} format) can't be loaded: {error!r}") from error
    _refuse_random_weights(folder, "\n".join(messages))
    _refuse_split_markers(model, checkpoint)
    return model, checkpoint


def local_folder(name: str) -> Path:
    """The folder of that path, or the hub's snapshot of that name (fetched once, then kept by the hub's cache).

    Raises:
        ModelError: There is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(name, ignore_patterns=_NOT_NEEDED))
    except HFValidationError as error:
        raise ModelError(f"model={name!r} is neither a folder that exists nor a hub name (owner/name)") from error
    # The hub client raises its own errors, its HTTP library's, and OSError, as the network fails in different ways.
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"model={name!r} is no folder here, and the hub can't give it: {type(error).__name__}. Check the name and the "
            'network, or pass a local folder. Without a network: pip install "late-rerank[offline]" and model="minilm".'
        ) from error


def document_prompt(model: MultiVectorEncoder) -> str:
    """What stands before each document. Source: the order in which sentence-transformers 6.2's encode_document looks."""
    prompts = model.prompts
    return next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), None) or ""


def _refuse_random_weights(folder: Path, messages: str) -> None:
    if _RANDOM_PROJECTION in messages:
        raise ModelError(f"{folder} has no trained token projection: sentence-transformers appended a random one")
    missing = [name for name in _MISSING_WEIGHT.findall(_COLOURS.sub("", messages)) if "pooler" not in name]
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} weights of its own architecture, {missing[0]!r} first: they would be random"
        )


def _refuse_split_markers(model: MultiVectorEncoder, checkpoint: Checkpoint) -> None:
    """A marker like "[unused0]" that isn't a token is split into pieces without a word, and every vector is off."""
    for role, prompt in (("query", model.prompts.get("query") or ""), ("document", document_prompt(model))):
        prefix = checkpoint.prefixes.get(role, "").strip()
        marker = prefix or next(iter(re.findall(r"^\[[^\]\s]+\]", prompt)), "")
        pieces = model.tokenizer.tokenize(prompt)
        if marker and (not pieces or pieces[0].strip() != marker):
            raise ModelError(
                f"{checkpoint.path}: the {role} prefix {marker!r} is not a token of its tokenizer, which splits it into "
                f"{pieces}. The checkpoint was trained with one token there: add it to the tokenizer as a special token."
            )


@contextmanager
def captured_logs() -> Iterator[list[str]]:
    """Collect what both libraries say while they load, instead of showing it: most of it is expected noise."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    # The random projection is told at INFO, by this logger; the rest at WARNING.
    levels = {
        "sentence_transformers.multi_vector_encoder.model": logging.INFO,
        "sentence_transformers": None,
        "transformers": None,
    }
    loggers = [logging.getLogger(name) for name in levels]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        for logger, level in zip(loggers, levels.values(), strict=True):
            logger.handlers, logger.propagate = [handler], False
            logger.setLevel(logger.level if level is None else level)
        yield messages
    finally:
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
