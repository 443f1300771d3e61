"""Texts -> one vector each, for dense retrieval and for comparison with token vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer
from tqdm import tqdm

from late_rerank.encode.backends.threads import alone_after_a_fork
from late_rerank.encode.builtin import MINILM, MINILM_LATE, minilm_source
from late_rerank.encode.devices import checked_device
from late_rerank.encode.files import check_whole, loading
from late_rerank.encode.loading import loading_builtin, local_folder, quiet_loading
from late_rerank.encode.tokens import without_surrogates
from late_rerank.errors import ModelError
from late_rerank.processes.forks import check_device, engine_call
from late_rerank.types import F32

_BATCH_SIZE = 32


class SingleVectorEncoder:
    """A bi-encoder: sentence-transformers' single vector of a text, of unit length, so that dot products are cosines.

    Args:
        model: "minilm" (built in: all-MiniLM-L6-v2 with mean pooling), a folder, or a hub name that sentence-transformers'
            SentenceTransformer loads.
        device: A torch device; None for the fastest of this machine.

    Attributes:
        name: `model` as given.
        dim: Components of a vector.

    Raises:
        ModelError: If the model can't be found, or has no single vectors.
        ValueError: If the device isn't here.
    """

    @alone_after_a_fork()
    def __init__(self, model: str | os.PathLike[str] = MINILM, *, device: str | None = None) -> None:
        if model == MINILM_LATE:
            raise ModelError(f'"{MINILM_LATE}" was trained for token vectors; single vectors are those of "{MINILM}"')
        device = checked_device(device)
        self.name = str(model)
        folder = local_folder(minilm_source() if model == MINILM else model)
        with quiet_loading(), loading_builtin(folder) if model == MINILM else loading(str(folder), folder):
            check_whole(folder)  # sentence-transformers' own errors don't name the file
            self._model = SentenceTransformer(str(folder), device=device)
        self.dim = int(self._model.get_embedding_dimension() or 0)

    def encode_query(self, texts: Sequence[str]) -> F32:
        """Encode queries.

        Returns:
            (n_texts, dim) float32, L2-normalised, in the order of `texts`.
        """
        return self._encode(texts, "query")

    def encode_document(self, texts: Sequence[str], *, progress: bool = False) -> F32:
        """Encode documents. A document longer than the model takes is cut.

        Args:
            texts: Any number of documents.
            progress: Show a progress bar on stderr, if stderr is a terminal.

        Returns:
            (n_texts, dim) float32, L2-normalised, in the order of `texts`.
        """
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        # Longest first, so that little of a batch is padding and the bar never estimates the time left too low.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
        with tqdm(total=len(order), unit=" documents", desc="Dense vectors", disable=None if progress else True) as bar:
            for start in range(0, len(order), _BATCH_SIZE):
                batch = order[start : start + _BATCH_SIZE]
                vectors[batch] = self._encode([texts[i] for i in batch], "document")
                bar.update(len(batch))
        return vectors

    def _encode(self, texts: Sequence[str], kind: str) -> F32:
        encode = self._model.encode_query if kind == "query" else self._model.encode_document
        clean = [without_surrogates(text) for text in texts]
        check_device(self._model.device.type)
        with engine_call(), alone_after_a_fork():
            vectors: F32 = encode(clean, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
        return vectors.astype(np.float32, copy=False)
