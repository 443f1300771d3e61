"""A checkpoint -> a compiled model's folder, proved against sentence-transformers' own vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from late_rerank.encode.backends.choosing import UnfitError, choose, in_a_line
from late_rerank.encode.backends.onnx import VERSION
from late_rerank.encode.compiled.format import (
    GRAPH,
    PROBES,
    TOKENIZER,
    WEIGHTS,
    Compiled,
    Description,
    sha256,
    write_description,
    write_weights,
)
from late_rerank.encode.compiled.forward import NORMALIZE, POOLING
from late_rerank.encode.compiled.model import compiled_model
from late_rerank.encode.compiled.probes import Probes
from late_rerank.encode.encoding import encode_documents, encode_queries
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.layout import Layout
from late_rerank.encode.model import Model
from late_rerank.encode.samples import PASSAGE, PROBE, SENTENCES
from late_rerank.encode.torch.fingerprint import architecture_line, module_lines, tensors_of
from late_rerank.encode.torch.graph import Vectors, write_graph
from late_rerank.encode.torch.loading import TOKENS, quiet_loading
from late_rerank.encode.torch.model import torch_model
from late_rerank.encode.torch.reading import has_rotary_positions, positions
from late_rerank.observing.progress import progress_bar
from late_rerank.types import TokenVectors

_LAYERS = {"Transformer", "Dense", "Normalize"}
_MASK, _POOLING = "MultiVectorMask", "HierarchicalTokenPooling"

_TOOK_PART = ("late-rerank", "torch", "transformers", "sentence-transformers", "onnx", "tokenizers")

# Less than rounding costs, in float32.
_LEAST_COSINE = 0.9999

# Texts of every kind: short, long, of several windows, odd, empty, punctuation alone.
_QUERIES = (PROBE, "cats", "", "\u200b \U0001f600 \ufffd", "naïve façade Straße 12(b)?", "...!", *SENTENCES, PASSAGE)
# The longest has some 2,000 tokens: several windows of most models, and much of one window of the others.
_DOCUMENTS = (PROBE, PASSAGE, "cats", "?!...", "\x00", "", "Ünïcödé \U0001f600 東京 مرحبا", PASSAGE[:90], PASSAGE * 16)


@dataclass(frozen=True)
class _Plan:
    """How a model is split: modules in the graph, and steps after it."""

    modules: list[int]
    steps: list[dict[str, Any]]


def compile_model(name: str, checkpoint: Path, folder: Path) -> None:
    """Compile a checkpoint into a folder, with a progress bar on a terminal.

    Args:
        name: The model, as the user named it.
        checkpoint: Its folder.
        folder: An empty folder, for the compiled model.

    Raises:
        ModelError: If the checkpoint can't be what it says.
        UnfitError: If the model can't be compiled: its vectors would be others. Torch can run it.
        OSError: If the folder can't be written.
    """
    with progress_bar(total=3, desc=f"Compiling {name}: loading", leave=False) as bar:
        model, loaded = torch_model(name, checkpoint, device="cpu", max_tokens=None, pooling=1, reason="being compiled")
        bar.update()
        bar.set_description(f"Compiling {name}: tracing")
        try:
            description = written(model, loaded, folder, source={"model": Path(name).name, "format": model.format})
            bar.update()
            bar.set_description(f"Compiling {name}: comparing")
            write_description(folder, proved(model, loaded, folder, description))
        except (MemoryError, OSError):
            raise
        except Exception as error:  # torch's exporter raises errors of any kind
            # Who asked names the engine too.
            raise UnfitError(in_a_line(error).removeprefix("instead of onnx: ")) from error
        bar.update()


def written(
    model: Model,
    loaded: Any,
    folder: Path,
    *,
    source: dict[str, Any],
    weights: Path | None = None,
    prefix: str = "",
    hidden: bool = False,
) -> Description:
    """Write all files of a compiled model but its description, which is returned.

    Args:
        model: The model, as torch runs it.
        loaded: sentence-transformers' MultiVectorEncoder of it.
        folder: Where to.
        source: What `Description.source` says.
        weights: A safetensors file that holds the weights already; None to write them.
        prefix: What that file leaves out of the weights' names.
        hidden: Whether the graph gives last hidden states too.

    Raises:
        UnfitError: If a part of the model isn't known here.
        Exception: If torch's exporter can't convert the model; of any kind.
    """
    plan = _planned(loaded)
    if not model.layout.lays_out_queries:
        raise UnfitError("sentence-transformers lays out its queries in a way of its own")
    if weights is None:
        weights = folder / WEIGHTS
        write_weights(weights, dict(tensors_of(loaded)))
    vectors = Vectors(loaded, plan.modules, hidden=hidden).eval()
    with quiet_loading():
        write_graph(vectors, folder / GRAPH, weights, prefix)
    _probes(vectors, model.layout).write(folder / PROBES)
    own = folder / TOKENIZER
    own.write_text(model.layout.tokenizer.to_str(), encoding="utf-8")
    return Description(
        dim=model.dim,
        fingerprint=model.fingerprint,
        layout=model.layout.settings(),
        steps=plan.steps,
        modules=module_lines(loaded),
        architecture=architecture_line(loaded),
        weights={"file": weights.name, "prefix": prefix},
        vocabulary=int(loaded[0].config.vocab_size),
        longest=None if has_rotary_positions(loaded) else positions(loaded),
        notes=dict(model.notes),
        source=source,
        proved={},
        versions={name: version(name) for name in _TOOK_PART},
        sha256={file.name: sha256(file) for file in (folder / GRAPH, weights, own, folder / PROBES)},
    )


def proved(model: Model, loaded: Any, folder: Path, description: Description) -> Description:
    """Compare the compiled model with torch's Model and with sentence-transformers itself, on texts of every kind.

    Raises:
        UnfitError: If vectors differ.
    """
    files = {name: folder / name for name in (GRAPH, TOKENIZER, PROBES)}
    weights = folder / description.weights["file"]
    compiled = Compiled(description, files[GRAPH], weights, files[TOKENIZER], files[PROBES])
    run, backend = choose(compiled, ["onnx"])
    ours = compiled_model(compiled, run, backend, name=description.source["model"])
    found = _compared(ours, model, loaded)
    least = min(found, key=found.__getitem__)
    if found[least] < _LEAST_COSINE:
        raise UnfitError(f"its vectors of {least!r} have a cosine of {found[least]:.5f} to torch's, less than {_LEAST_COSINE}")
    told = {"engine": f"onnxruntime {VERSION}", "precision": backend.precision, "n_texts": len(found)}
    return replace(description, proved={**told, "least_cosine": found[least], "text": least})


def _compared(ours: Model, model: Model, loaded: Any) -> dict[str, float]:
    """Give the lowest cosine of each text's vectors to torch's, and to sentence-transformers' for texts that it takes whole."""
    short = [text for text in _DOCUMENTS if len(ours.layout.document_pieces(text)[0]) == 1]
    with quiet_loading():
        # One document at a time: beside the longest, all others would be padded to its length.
        theirs = [loaded.encode_query(list(_QUERIES)), loaded.encode_document(short, batch_size=1)]
    queries, parts = encode_queries(ours, _QUERIES), encode_documents(ours, short)
    pairs = [
        ("query", _QUERIES, queries, encode_queries(model, _QUERIES)),
        ("document", _DOCUMENTS, encode_documents(ours, _DOCUMENTS), encode_documents(model, _DOCUMENTS)),
        ("query", _QUERIES, queries, _of_rows(theirs[0], queries)),
        ("document", short, parts, _of_rows(theirs[1], parts)),
    ]
    found: dict[str, float] = {}
    for kind, texts, one, other in pairs:
        for text, cosine in zip(texts, _cosines(one, other), strict=True):
            name = f"{kind}: {text[:50]}"
            found[name] = min(found.get(name, 1.0), cosine)
    return found


def _of_rows(given: Any, like: TokenVectors) -> TokenVectors:
    rows = [np.asarray(row, dtype=np.float32) for row in given]
    return TokenVectors.from_arrays(rows, like.values.shape[1], like.truncated.tolist())


def _cosines(ours: TokenVectors, theirs: TokenVectors) -> list[float]:
    """Give the lowest cosine of each text; 1 for a text without vectors, 0 where texts have other numbers of vectors."""
    if not np.array_equal(ours.offsets, theirs.offsets) or not np.array_equal(ours.truncated, theirs.truncated):
        return [0.0] * len(ours.truncated)
    with np.errstate(invalid="ignore"):
        each = (ours.values * theirs.values).sum(axis=1)
    each[~np.isfinite(each)] = 0.0
    return [float(each[start:stop].min(initial=1.0)) for start, stop in pairwise(ours.offsets.tolist())]


def _planned(loaded: Any) -> _Plan:
    """Split a model's modules into the graph and the steps after it.

    Raises:
        UnfitError: If the model has other modules, or has them in an order that isn't known here.
    """
    _check_output(loaded[0])
    modules: list[int] = []
    steps: list[dict[str, Any]] = []
    masked_at = max((i for i, module in enumerate(loaded) if type(module).__name__ == _MASK), default=-1)
    for i, module in enumerate(loaded):
        kind = type(module).__name__
        if kind == _POOLING:
            if i < masked_at:
                raise UnfitError("its mask comes after its pooling")
            steps.append(_pooling(module))
        elif kind == "Normalize" and steps:
            steps.append({"step": NORMALIZE})
        elif kind in _LAYERS and not steps:
            modules.append(i)
        elif kind != _MASK:
            raise UnfitError(f"its module {i}, {kind}, isn't known to the compiler, or comes after pooling")
        if kind in ("Dense", "Normalize") and getattr(module, "module_input_name", TOKENS) != TOKENS:
            raise UnfitError(f"its module {i}, {kind}, doesn't work on {TOKENS}")
    return _Plan(modules, steps)


def _pooling(module: Any) -> dict[str, Any]:
    return {
        "step": POOLING,
        "factor": module.pool_factor,
        "n_protected": module.num_protected_tokens,
        "normalises": module.normalize_embeddings,
        "kinds": [kind for kind in ("query", "document") if module.applies_to(kind)],
    }


def _check_output(transformer: Any) -> None:
    """Refuse models that conversion doesn't know: all but text models that give their last hidden states."""
    modality = transformer.modality_config.get("text", {})
    method, output = modality.get("method"), modality.get("method_output_name")
    if method != "forward" or output not in ("last_hidden_state", ("last_hidden_state",), ["last_hidden_state"]):
        raise UnfitError(f"the model gives its vectors by {method} and {output}, not by forward and last_hidden_state")


def _probes(vectors: Vectors, layout: Layout) -> Probes:
    """Lay out texts of several lengths, and let torch run the modules of the graph on them."""
    documents = (PROBE, PASSAGE, PASSAGE[: len(PASSAGE) // 3])
    pieces = [piece for text in documents for piece in layout.document_pieces(text)[0]]
    inputs = Inputs.of([layout.query_ids(PROBE)[0], *(piece.ids for piece in pieces)], layout.pad_id)
    with torch.inference_mode():
        found = vectors(torch.from_numpy(inputs.ids), torch.from_numpy(inputs.mask))[0].numpy()
    return Probes(inputs.ids, inputs.mask, found[inputs.real])
