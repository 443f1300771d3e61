"""Single vectors of any model that sentence-transformers' SentenceTransformer loads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from sentence_transformers import SentenceTransformer

from late_rerank.encode.base import Kind
from late_rerank.encode.builtin import MINILM, minilm_source
from late_rerank.encode.files import check_whole, loading
from late_rerank.encode.sources import loading_builtin, local_folder
from late_rerank.encode.tokens import without_surrogates
from late_rerank.encode.torch.loading import quiet_loading
from late_rerank.encode.torch.threads import alone_after_a_fork
from late_rerank.processes.forks import check_device, engine_call
from late_rerank.types import F32


@alone_after_a_fork()
def by_sentence_transformers(
    name: str | os.PathLike[str], device: str | None
) -> tuple[Callable[[Sequence[str], Kind], F32], int]:
    """Load a bi-encoder.

    Args:
        name: "minilm", a folder, or a hub name.
        device: A torch device; None for the processor.

    Returns:
        What encodes texts of a kind, and the components of a vector.

    Raises:
        ModelError: If the model can't be found, or has no single vectors.
    """
    folder = local_folder(minilm_source() if name == MINILM else name)
    with quiet_loading(), loading_builtin(folder) if name == MINILM else loading(str(folder), folder):
        check_whole(folder)  # sentence-transformers' own errors don't name the file
        model = SentenceTransformer(str(folder), device=device or "cpu")

    def encode(texts: Sequence[str], kind: Kind) -> F32:
        by_kind = model.encode_query if kind == "query" else model.encode_document
        clean = [without_surrogates(text) for text in texts]
        check_device(model.device.type)
        with engine_call(), alone_after_a_fork():
            vectors: F32 = by_kind(clean, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
        return vectors.astype("float32", copy=False)

    return encode, int(model.get_embedding_dimension() or 0)
