"""The contenders that run in torch: two ways to score, a cross-encoder, and sentence-transformers' own encoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.util import maxsim

from late_rerank.encode.builtin import minilm_source
from late_rerank.encode.sources import local_folder
from late_rerank.encode.torch.loading import load_builtin, quiet_loading
from late_rerank.evaluate.bench.base import Peer, Scores
from late_rerank.evaluate.bench.turns import fastest, timed
from late_rerank.evaluate.bench.workload import Workload


def one_thread() -> None:
    """Limit torch to one thread, in this process."""
    torch.set_num_threads(1)


def torch_peer(work: Workload, stack: ExitStack) -> Peer:  # noqa: ARG001 - every Build has this shape
    """Time one product over all documents, with the faster of torch's two ragged maxima."""
    query, documents = torch.from_numpy(work.query.values), torch.from_numpy(work.documents.values)
    lengths = torch.from_numpy(np.diff(work.documents.offsets))
    owner = torch.repeat_interleave(torch.arange(len(lengths)), lengths)[:, None].expand(-1, len(query))
    lowest = torch.full((len(lengths), len(query)), -torch.inf)

    def by_segments() -> Scores:
        maxima = torch.segment_reduce(documents @ query.T, "max", lengths=lengths, axis=0, unsafe=True)
        return _numpy(maxima.sum(1))

    def by_scattering() -> Scores:
        return _numpy(lowest.scatter_reduce(0, owner, documents @ query.T, "amax").sum(1))

    score = fastest(by_segments, by_scattering)
    return Peer(score(), timed(score))


def sentence_transformers_peer(work: Workload, stack: ExitStack) -> Peer:  # noqa: ARG001
    """Time sentence-transformers' `maxsim` over a list of documents, as its `encode_document` gives."""
    query, documents = torch.from_numpy(work.query.values), [torch.from_numpy(rows) for rows in work.rows()]

    def score() -> Scores:
        return _numpy(maxsim(query, documents)[0])

    return Peer(score(), timed(score))


def cross_encoder(query: str, texts: Sequence[str]) -> Callable[[], Any]:
    """Give a call that scores each text together with the query by a cross-encoder of the built-in model's size.

    Its backbone is the built-in model's and its head is random. The scores mean nothing; the time is that of a trained model.
    sentence-transformers sorts the pairs by length, so batches hold little padding.
    """
    with quiet_loading():
        model = CrossEncoder(str(local_folder(minilm_source())), num_labels=1, device="cpu", local_files_only=True)
    pairs = [(query, text) for text in texts]
    return lambda: model.predict(pairs, batch_size=32, show_progress_bar=False)


def sentence_transformers_encode(texts: Sequence[str]) -> Callable[[], Any]:
    """Give a call that encodes documents by sentence-transformers' own `encode_document`, in float32."""
    model = load_builtin("minilm", "cpu")
    return lambda: model.encode_document(list(texts), show_progress_bar=False)


def _numpy(scores: torch.Tensor) -> Scores:
    values: Scores = scores.numpy()
    return values
