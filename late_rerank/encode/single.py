"""Texts -> one vector each, for dense retrieval and for comparison with token vectors. The built-in model needs no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from late_rerank.encode.backends.names import installed_engines
from late_rerank.encode.base import Kind
from late_rerank.encode.builtin import MINILM, MINILM_LATE
from late_rerank.encode.compiled.builtin import builtin_model
from late_rerank.encode.compiled.pooling import unit
from late_rerank.encode.devices import torch_device
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.layout import Layout
from late_rerank.encode.revisions import at_revision
from late_rerank.errors import ModelError, check_installed
from late_rerank.observing.progress import progress_bar
from late_rerank.processes.forks import engine_call
from late_rerank.types import F32

_BATCH_SIZE = 32
# Of all-MiniLM-L6-v2 as a bi-encoder, markers included.
_MINILM_TOKENS = 256

Encode = Callable[[Sequence[str], Kind], F32]
"""Texts of a kind -> (n_texts, dim) float32, L2-normalised."""


class SingleVectorEncoder:
    """A bi-encoder: one vector a text, of unit length, so that dot products are cosines.

    Args:
        model: "minilm" (built in: all-MiniLM-L6-v2 with mean pooling), a folder, or a hub name that sentence-transformers'
            SentenceTransformer loads. All but "minilm" need the extra `torch`.
        revision: A branch, a tag or a commit of a hub name; None for the newest. `model` may also end in "@" and the revision.
        device: A torch device; None for the fastest of this machine.

    Attributes:
        name: `model` as given, and "@" and the revision if there is one.
        dim: Components of a vector.
        backend: What runs it: "onnx" or "torch".

    Raises:
        ModelError: If the model can't be found, or has no single vectors.
        MissingDependencyError: If the model needs torch, which isn't installed.
        ValueError: If the device isn't here. Also if a revision is given, and the model isn't a hub name.
    """

    def __init__(
        self, model: str | os.PathLike[str] = MINILM, *, revision: str | None = None, device: str | None = None
    ) -> None:
        model = at_revision(model, revision)
        if model == MINILM_LATE:
            raise ModelError(f'"{MINILM_LATE}" was trained for token vectors; single vectors are those of "{MINILM}"')
        self.name = str(model)
        on = torch_device(device, "auto")
        self._encode: Encode
        if model == MINILM and on is None and "onnx" in installed_engines():
            self.backend = "onnx"
            self._encode, self.dim = _minilm()
        else:
            check_installed(f"the single vectors of {self.name}", "torch", "torch", "sentence_transformers")
            from late_rerank.encode.torch.single import by_sentence_transformers  # noqa: PLC0415 - loads torch

            self.backend = "torch"
            self._encode, self.dim = by_sentence_transformers(model, on)

    def encode_query(self, texts: Sequence[str]) -> F32:
        """Encode queries.

        Returns:
            (n_texts, dim) float32, L2-normalised, in the order of `texts`.
        """
        return self._in_batches(texts, "query", progress=False)

    def encode_document(self, texts: Sequence[str], *, progress: bool = False) -> F32:
        """Encode documents. A document longer than the model takes is cut.

        Args:
            texts: Any number of documents.
            progress: Show a progress bar on stderr, if stderr is a terminal.

        Returns:
            (n_texts, dim) float32, L2-normalised, in the order of `texts`.
        """
        return self._in_batches(texts, "document", progress=progress)

    def _in_batches(self, texts: Sequence[str], kind: Kind, *, progress: bool) -> F32:
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        # Longest first, so that little of a batch is padding and the bar never estimates the time left too low.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
        with progress_bar(total=len(order), unit=" documents", desc="Dense vectors", progress=progress) as bar:
            for start in range(0, len(order), _BATCH_SIZE):
                batch = order[start : start + _BATCH_SIZE]
                vectors[batch] = self._encode([texts[i] for i in batch], kind)
                bar.update(len(batch))
        return vectors


def _minilm() -> tuple[Encode, int]:
    """Give the built-in bi-encoder: the mean of the last hidden states, by ONNX Runtime in float32."""
    from late_rerank.encode.backends import onnx  # noqa: PLC0415 - loads ONNX Runtime

    compiled = builtin_model(MINILM)
    layout = Layout.of_settings(compiled.description.layout, compiled.read_tokenizer(), max_tokens=None)
    n_own = _MINILM_TOKENS - len(layout.before) - len(layout.after)
    with engine_call():
        run = onnx.load(compiled, "f32", "hidden")

    def encode(texts: Sequence[str], kind: Kind) -> F32:  # noqa: ARG001 - the model has no prompts
        rows = [layout.before + layout.own_ids(text)[:n_own] + layout.after for text in texts]
        inputs = Inputs.of(rows, layout.pad_id)
        with engine_call():
            hidden = run(inputs.ids, inputs.mask)
        means: F32 = np.einsum("nwd,nw->nd", hidden, inputs.mask.astype(np.float32))
        return unit(means / inputs.mask.sum(axis=1, keepdims=True).astype(np.float32))

    return encode, compiled.description.dim
