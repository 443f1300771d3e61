"""TextEncoder: texts -> token vectors, by a model that an engine or torch runs. No torch here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from typing import Any

from late_rerank.arguments.numbers import whole_number
from late_rerank.encode.backends.choosing import LEAST_TRIED
from late_rerank.encode.backends.names import check_backend
from late_rerank.encode.base import Kind, Token
from late_rerank.encode.builtin import MINILM
from late_rerank.encode.encoding import encode_documents, encode_queries
from late_rerank.encode.layout import Layout
from late_rerank.encode.loading import open_model
from late_rerank.encode.model import Model
from late_rerank.encode.query_side.names import FULL, as_query_encoder
from late_rerank.encode.revisions import at_revision
from late_rerank.encode.unknown import scripts_of
from late_rerank.errors import IncompatibleError
from late_rerank.types import TokenVectors


class TextEncoder:
    """A late-interaction text model. Safe to share between threads.

    Args:
        model: "minilm" or "minilm-late" (built in), a folder (native, PyLate or Stanford ColBERT format, or compiled), or a hub
            name. A checkpoint is compiled when it is loaded first, which needs the extra `torch`.
        revision: A branch, a tag or a commit of a hub name; None for the newest. `model` may also end in "@" and the revision.
        backend: What runs the model: "torch", "openvino", "onnx", or "auto" for the fastest installed engine whose token
            vectors have a cosine of at least .999 to torch's in float32.
        device: A torch device; None for the fastest of this machine. On a device other than a CPU torch runs the model.
        max_tokens: Cap on a document's own tokens, markers not counted. A longer document is cut and marked in `truncated`.
            None, the default, encodes documents of any length whole, window by window.
        pooling: Each document keeps one of so many token vectors, similar ones merged; 1 keeps all of them.
        query_encoder: What encodes queries: "full" for the model itself, "fast" for the small student that is built in for
            "minilm", or the folder of a student, as `late-rerank distil-query` writes it. Documents and stores are the same
            for all. A student runs on the processor.

    Attributes:
        name: `model` as given, and "@" and the revision if there is one.
        backend: The Backend that runs the model: its name, its precision, and why it was chosen.
        format: The format of the model's files: "native", "pylate", "stanford" or "built in".
        dim: Components of one token vector.
        fingerprint: Digest of all that changes document vectors by more than rounding.
        query_encoder: As given: "full", "fast" or the folder's path.

    Raises:
        ModelError: If the model can't be found, or can't be what it says. Also if there is no such query encoder.
        MissingDependencyError: If the named backend isn't installed, or a package that the model needs.
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already. Also if the query encoder is another
            model's.
        ValueError: If `max_tokens` or `pooling` is below 1, the backend is unknown, or the device isn't here. Also if a
            revision is given, and the model isn't a hub name.
        TypeError: If `max_tokens` or `pooling` is no whole number, or `query_encoder` is neither str nor path.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = MINILM,
        *,
        revision: str | None = None,
        backend: str = "auto",
        device: str | None = None,
        max_tokens: int | None = None,
        pooling: int = 1,
        query_encoder: str | os.PathLike[str] = FULL,
    ) -> None:
        model = at_revision(model, revision)
        self.name = str(model)
        self.max_tokens = whole_number("max_tokens", max_tokens, or_none="for no cap")
        asked = whole_number("pooling", pooling)
        check_backend(backend)
        self.query_encoder = as_query_encoder(query_encoder)
        self._model = open_model(
            model,
            backend=backend,
            device=device,
            max_tokens=self.max_tokens,
            pooling=asked,
            query_encoder=self.query_encoder,
        )
        self.backend, self.format = self._model.backend, self._model.format
        self.dim, self.fingerprint = self._model.dim, self._model.fingerprint
        self._pools_by_itself = asked == 1 and bool(self._model.layout.pooled)

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        """Encode queries with the model's own markers and expansion.

        Returns:
            In the order of `texts`; `truncated` marks the queries that were longer than the model takes, and were cut.
        """
        return encode_queries(self._model, texts)

    def encode_document(self, texts: Sequence[str]) -> TokenVectors:
        """Encode documents whole. A document longer than a window is encoded in overlapping windows, whose vectors are joined.

        A document's rows are its tokens in order, as if the model had no limit: the opening markers once, each token
        once (from the window in which it stands further from the edge), the closing markers once. A text without
        any token (blank, or control characters alone) has no rows.

        Returns:
            In the order of `texts`.
        """
        return encode_documents(self._model, texts)

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
        layout = self._model.layout
        if kind in layout.pooled:
            raise IncompatibleError(
                f"{self.name} pools the tokens of a {kind}: a vector stands for several, and has no place in the text. "
                "unpooled() gives the same model before pooling."
            )
        inputs = self._model.queries([text])[0] if kind == "query" else layout.document(text)
        return layout.tokens(text, kind, inputs)

    def unpooled(self) -> TextEncoder:
        """Give this model before its token pooling, one vector a token, for explanations; itself if it pools nothing.

        Both share the weights. The vectors differ from the vectors that a store holds of the pooling model.
        """
        if not self._model.layout.pooled:
            return self
        plain = copy(self)
        plain._model = self._model.unpooled()  # noqa: SLF001 - a copy of this encoder
        plain.fingerprint = plain._model.fingerprint  # noqa: SLF001 - a copy of this encoder
        return plain

    @property
    def model(self) -> Model:
        """The Model that runs, for code that makes models."""
        return self._model

    @property
    def query_fingerprint(self) -> str:
        """Digest of what makes query vectors: the query encoder's own; `fingerprint` if the model itself encodes queries.

        Query vectors of equal digests are exchangeable.
        """
        return self._model.query_fingerprint

    @property
    def unknown_token(self) -> str | None:
        """What `tokens` calls a token that the vocabulary lacks; None if the tokenizer has no such token."""
        return self._model.layout.unknown_token

    @property
    def pooling(self) -> float:
        """How many token vectors of a document become one, by `pooling` or by the checkpoint itself; 1 if none are merged."""
        return self._model.pooling

    @property
    def query_tokens(self) -> int:
        """The most tokens of a query that count, markers included."""
        return self._model.layout.query_tokens

    @property
    def window_tokens(self) -> int:
        """Tokens in one forward pass of a document, markers included."""
        return self._model.layout.window_tokens

    @property
    def overlap_tokens(self) -> int:
        """Tokens that neighbouring windows share."""
        return self._model.layout.overlap_tokens

    def describe(self) -> dict[str, Any]:
        """Say how queries and documents are encoded, as `doctor` shows it. JSON values."""
        model, layout = self._model, self._model.layout
        return {
            "model": self.name,
            "format": model.format,
            "fingerprint": self.fingerprint,
            "backend": self.backend.name,
            "precision": self.backend.precision,
            "why_this_backend": self.backend.reason,
            "least_cosine_to_torch": round(self.backend.least_cosine, 5),
            "least_cosine_allowed": LEAST_TRIED,
            "compiled": None if model.compiled is None else str(model.compiled),
            "proved_when_compiled": model.notes.get("proved"),
            "device": model.device,
            "dim": self.dim,
            "query_prefix": layout.query_prompt,
            "document_prefix": layout.document_prompt,
            "query_tokens": self.query_tokens,
            "query_expansion": _with_token(model.notes["query_expansion"], layout),
            "window_tokens": self.window_tokens,
            "overlap_tokens": self.overlap_tokens,
            "max_tokens": self.max_tokens,
            "pooling": "the checkpoint's own" if layout.pooled and self._pools_by_itself else self.pooling,
            "skiplist": model.notes["skiplist"],
            "similarity": model.notes["similarity"],
            "query_encoder": self._model.query_side and dict(self._model.query_side.described),
            "scripts": None if self.unknown_token is None else scripts_of(layout.tokenizer),
            **{name: model.notes[name] for name in ("language_adapter", "markers") if name in model.notes},
        }


def _with_token(expansion: dict[str, Any] | None, layout: Layout) -> dict[str, Any] | None:
    """Name the token that fills queries up, where a model's settings leave it to its tokenizer."""
    if expansion is None or layout.expansion is None:
        return expansion
    return {**expansion, "token": layout.tokenizer.id_to_token(layout.expansion.token)}
