"""Texts -> token vectors with sentence-transformers' MultiVectorEncoder; long documents in overlapping windows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from late_rerank.arguments.numbers import whole_number
from late_rerank.encode.backends.choosing import LEAST_TRIED, accelerate
from late_rerank.encode.backends.names import check_backend
from late_rerank.encode.backends.threads import alone_after_a_fork
from late_rerank.encode.base import Kind, Token
from late_rerank.encode.batches import in_batches
from late_rerank.encode.builtin import MINILM
from late_rerank.encode.devices import checked_device
from late_rerank.encode.files import loading
from late_rerank.encode.fingerprint import fingerprint
from late_rerank.encode.forward import ModuleForward
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.loading import check_encodes, load_model, quiet_loading
from late_rerank.encode.pooling import pool_documents
from late_rerank.encode.reading import layout_of, longest_input
from late_rerank.encode.tokens import PASSAGE, PROBE
from late_rerank.encode.windows import Piece
from late_rerank.errors import IncompatibleError
from late_rerank.types import F32, TokenVectors

BATCH_QUERIES = 64


class TextEncoder:
    """A late-interaction text model. Safe to share between threads.

    Args:
        model: "minilm" or "minilm-late" (built in), a folder (native, PyLate or Stanford ColBERT format), or a hub name.
        backend: What runs the transformer: "torch", "openvino", "onnx", or "auto" for the fastest installed whose token vectors
            have a cosine of at least .999 to torch's in float32.
        device: A torch device; None for the fastest of this machine. On a device other than a CPU torch runs the model.
        max_tokens: Cap on a document's own tokens, markers not counted. A longer document is cut and marked in `truncated`.
            None, the default, encodes documents of any length whole, window by window.
        pooling: Each document keeps one of so many token vectors, similar ones merged; 1 keeps all of them.

    Attributes:
        name: `model` as given.
        backend: The Backend that runs the model: its name, its precision, and why it was chosen.
        checkpoint: The format of the model's files; None for a built-in model.
        dim: Components of one token vector.
        fingerprint: Digest of all that changes document vectors by more than rounding.

    Raises:
        ModelError: If the model can't be found, or can't be what it says.
        MissingDependencyError: If the named backend isn't installed.
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already.
        ValueError: If `max_tokens` or `pooling` is below 1, the backend is unknown, or the device isn't here.
        TypeError: If `max_tokens` or `pooling` is no whole number.
    """

    @alone_after_a_fork()
    def __init__(
        self,
        model: str | os.PathLike[str] = MINILM,
        *,
        backend: str = "auto",
        device: str | None = None,
        max_tokens: int | None = None,
        pooling: int = 1,
    ) -> None:
        self.name = str(model)
        self.max_tokens = whole_number("max_tokens", max_tokens, or_none="for no cap")
        self.pooling = whole_number("pooling", pooling)
        check_backend(backend)
        self._model, self.checkpoint = load_model(model, checked_device(device))
        with loading(self.name):
            _make_ready(self._model, self.pooling, self.name)
            self._forward = ModuleForward(self._model)
            with quiet_loading():  # sentence-transformers warns of probes that it cuts
                self._layout = layout_of(self._model, self.name, self.max_tokens)
            self.dim = int(self._model.get_embedding_dimension() or 0)
            for kind, encode in (("query", self.encode_query), ("document", self.encode_document)):
                check_encodes(self.name, kind, encode, self.dim)
            self.fingerprint = fingerprint(self._model, self._layout.document_settings())
        self.backend = accelerate(self._model, backend, self.fingerprint, self._sample)

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        """Encode queries with the model's own markers and expansion.

        Returns:
            In the order of `texts`; `truncated` marks the queries that were longer than the model takes, and were cut.
        """
        rows: list[F32] = []
        truncated: list[bool] = []
        for start in range(0, len(texts), BATCH_QUERIES):
            batch = texts[start : start + BATCH_QUERIES]
            inputs, cut = self._queries(batch)
            rows += self._forward(inputs, "query")
            truncated += cut
        return TokenVectors.from_arrays(rows, self.dim, truncated)

    def encode_document(self, texts: Sequence[str]) -> TokenVectors:
        """Encode documents whole. A document longer than a window is encoded in overlapping windows, whose vectors are joined.

        A document's rows are its tokens in order, as if the model had no limit: the opening markers once, each token
        once (from the window in which it stands further from the edge), the closing markers once. A text without
        any token (blank, or control characters alone) has no rows.

        Returns:
            In the order of `texts`.
        """
        pieces: list[Piece] = []
        owners: list[int] = []
        truncated = []
        for i, text in enumerate(texts):
            own, cut = self._layout.document_pieces(text)
            pieces += own
            owners += [i] * len(own)
            truncated.append(cut)
        # An upper bound: pooling models give fewer vectors, and some models leave out words of a list.
        most = [len(piece.ids) if self._layout.pooled else len(piece.ids[piece.keep]) for piece in pieces]
        values, n_rows = in_batches(pieces, most, self.dim, self._encode_batch)
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.add.at(offsets, np.array(owners, dtype=np.int64) + 1, n_rows)
        return TokenVectors(values, np.cumsum(offsets), np.array(truncated, dtype=np.bool_))

    def tokens(self, text: str, kind: Kind) -> list[Token]:
        """Name the tokens of one text with their places in it, row for row with its vectors.

        Args:
            text: As `encode_query` or `encode_document` takes it.
            kind: Which of the two.

        Returns:
            (token, start, end): the token as the vocabulary names it, offsets in code points of `text`. Tokens that the model
            adds have start == end: a prompt and opening markers stand at 0, closing markers and mask expansion at the end.

        Raises:
            IncompatibleError: If the model pools texts of that kind: a vector is then no token's. `unpooled` gives the tokens.
            ValueError: If `kind` is neither "query" nor "document".
        """
        if kind not in ("query", "document"):
            raise ValueError(f'kind must be "query" or "document", got {kind!r}')
        if kind in self._layout.pooled:
            raise IncompatibleError(
                f"{self.name} pools the tokens of a {kind}: a vector stands for several, and has no place in the text. "
                "unpooled() gives the same model before pooling."
            )
        inputs = self._queries([text])[0] if kind == "query" else self._layout.document(text)
        return self._layout.tokens(text, kind, inputs)

    def unpooled(self) -> TextEncoder:
        """Give this model before its token pooling, one vector a token, for explanations; itself if it pools nothing.

        Both share the weights. The vectors differ from the vectors that a store holds of the pooling model.
        """
        if not self._layout.pooled:
            return self
        plain = copy(self)
        plain._forward = self._forward.unpooled()  # noqa: SLF001 - a copy of this encoder
        plain._model = plain._forward.model  # noqa: SLF001 - a copy of this encoder
        plain._layout = replace(self._layout, pooled=frozenset())  # noqa: SLF001 - a copy of this encoder
        plain.fingerprint = f"{self.fingerprint}-unpooled"
        return plain

    @property
    def query_tokens(self) -> int:
        """The most tokens of a query that count, markers included."""
        return self._layout.query_tokens

    @property
    def window_tokens(self) -> int:
        """Tokens in one forward pass of a document, markers included."""
        return self._layout.window_tokens

    @property
    def overlap_tokens(self) -> int:
        """Tokens that neighbouring windows share."""
        return self._layout.overlap_tokens

    def describe(self) -> dict[str, Any]:
        """Say how queries and documents are encoded, as `doctor` shows it. JSON values."""
        transformer: Any = self._model[0]
        mask = next((module for module in self._model if type(module).__name__ == "MultiVectorMask"), None)
        return {
            "model": self.name,
            "format": self.checkpoint.format if self.checkpoint else "built in",
            "fingerprint": self.fingerprint,
            "backend": self.backend.name,
            "precision": self.backend.precision,
            "why_this_backend": self.backend.reason,
            "least_cosine_to_torch": round(self.backend.least_cosine, 5),
            "least_cosine_allowed": LEAST_TRIED,
            "device": str(self._forward.device),
            "dim": self.dim,
            "query_prefix": self._layout.query_prompt,
            "document_prefix": self._layout.document_prompt,
            "query_tokens": self.query_tokens,
            "query_expansion": transformer.query_expansion,
            "window_tokens": self.window_tokens,
            "overlap_tokens": self.overlap_tokens,
            "max_tokens": self.max_tokens,
            "pooling": "the checkpoint's own" if self._layout.pooled and self.pooling == 1 else self.pooling,
            "skiplist": "".join(getattr(mask, "skiplist_words", [])),
            "similarity": self._model.similarity_fn_name,
        }

    def _queries(self, texts: Sequence[str]) -> tuple[Inputs, list[bool]]:
        """Lay out queries, and tell which were cut."""
        layout = self._layout
        if layout.lays_out_queries:
            return layout.queries(texts)
        inputs = self._forward.queries(texts, layout.query_prompt)
        return inputs, [layout.query_ids(text)[1] for text in texts]

    def _encode_batch(self, pieces: Sequence[Piece]) -> list[F32]:
        """Encode windows of documents in one forward pass: for each (n_kept, dim) float32."""
        return self._forward(self._layout.documents(pieces), "document")

    def _sample(self) -> F32:
        """Encode a few queries, and documents of several lengths: (n_tokens, dim) float32, for comparing backends."""
        documents = [PROBE, PASSAGE, PASSAGE[: len(PASSAGE) // 3], PASSAGE * 3]
        queries = [PROBE, *PASSAGE.split(". ")]
        found: F32 = np.concatenate([self.encode_document(documents).values, self.encode_query(queries).values])
        return found


def _make_ready(model: Any, pooling: int, name: str) -> None:
    """Change a loaded model as an encoder needs it: pooled, in evaluation mode, cutting queries where its positions end.

    Raises:
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already.
    """
    if pooling > 1:
        pool_documents(model, pooling, name)
    model.eval()
    if model[0].query_expansion is None:
        # On the left, padding would shift a query's positions by its neighbours' lengths.
        model.tokenizer.padding_side = "right"
    # Here sentence-transformers cuts a query whose length the model doesn't state.
    model.tokenizer.model_max_length = longest_input(model)
