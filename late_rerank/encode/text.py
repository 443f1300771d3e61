"""Texts -> token vectors with sentence-transformers' MultiVectorEncoder; long documents in overlapping windows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from itertools import compress
from threading import Lock
from typing import Any, cast

import numpy as np
import torch
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from late_rerank.encode.arguments import check_max_tokens, check_pooling
from late_rerank.encode.backends.choosing import FEW_TOKENS, LEAST_TRIED, Backend, accelerate
from late_rerank.encode.backends.names import check_backend
from late_rerank.encode.backends.threads import alone_after_a_fork, one_thread
from late_rerank.encode.base import Kind, Token
from late_rerank.encode.batches import in_batches
from late_rerank.encode.builtin import BUILT_IN, MINILM
from late_rerank.encode.checkpoint import Checkpoint
from late_rerank.encode.devices import checked_device
from late_rerank.encode.files import loading
from late_rerank.encode.fingerprint import fingerprint
from late_rerank.encode.loading import check_encodes, document_prompt, load_builtin, load_checkpoint, local_folder
from late_rerank.encode.pooling import pool_documents, pools, without_pooling
from late_rerank.encode.tokens import PASSAGE, PROBE, laid_out, own_tokenizer, special_tokens, without_surrogates
from late_rerank.encode.windows import Piece, in_windows
from late_rerank.errors import IncompatibleError, ModelError
from late_rerank.processes.forks import check_device, engine_call, guarded, lost_threads
from late_rerank.types import F32, TokenVectors

BATCH_QUERIES = 64
OVERLAP_TOKENS = 50


class TextEncoder:
    """A late-interaction text model. Safe to share between threads.

    Args:
        model: "minilm" or "minilm-late" (built in), a folder (native, PyLate or Stanford ColBERT format), or a hub name.
        backend: What runs the transformer: "torch", "openvino", "onnx", or "auto" for the fastest installed whose token vectors
            have a cosine of at least .999 to torch's in float32.
        device: A torch device; None for the fastest there is. On any but a CPU torch runs the model.
        max_tokens: Cap on a document's own tokens, markers not counted; longer ones are cut and say so in
            `truncated`. None, the default, encodes documents of any length whole, window by window.
        pooling: A document keeps one of so many vectors, those that are alike merged; 1 for all of them.

    Attributes:
        name: `model` as given.
        backend: The Backend that runs it: its name, precision, and why it is this one.
        checkpoint: What the files are; None for the built-in ones.
        dim: Components of one token vector.
        fingerprint: Digest of all that changes document vectors by more than rounding.
        window_tokens: Tokens in one forward pass of a document, markers included.
        overlap_tokens: Tokens that neighbouring windows share.

    Raises:
        ModelError: The model can't be found, or can't be what it says.
        MissingDependencyError: The named backend isn't installed.
        IncompatibleError: `pooling` is above 1, and the model pools its tokens already.
        ValueError: `max_tokens` or `pooling` is below 1, the backend isn't known, or the device isn't here.
        TypeError: `pooling` is no whole number.
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
        check_max_tokens(max_tokens)
        check_backend(backend)
        check_pooling(pooling)
        device = checked_device(device)
        self.name = str(model)
        self.max_tokens = max_tokens
        self.pooling = int(pooling)
        self.checkpoint: Checkpoint | None = None
        if model in BUILT_IN:
            self._model = load_builtin(self.name, device)
        else:
            self._model, self.checkpoint = load_checkpoint(local_folder(model), device)
        with loading(self.name):
            self._prepare()
            self.fingerprint = fingerprint(self._model, self._document_settings())
        self.backend = accelerate(self._model, backend, self.fingerprint, self._try_out)

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        """Encode queries with the model's own markers and expansion.

        Returns:
            In the order of `texts`; `truncated` says which were longer than the model takes, and were cut.
        """
        rows: list[F32] = []
        truncated: list[bool] = []
        for start in range(0, len(texts), BATCH_QUERIES):
            features, cut = self._query_features(texts[start : start + BATCH_QUERIES])
            vectors, mask = self._forward(features, "query")
            rows += [row[kept] for row, kept in zip(vectors, mask, strict=True)]
            truncated += cut
        return TokenVectors.from_arrays(rows, self.dim, truncated)

    def encode_document(self, texts: Sequence[str]) -> TokenVectors:
        """Encode documents whole; longer ones than a window in overlapping windows, whose vectors are joined.

        A document's rows are its tokens in order, as if the model had no limit: opening markers once, each token
        once (from the window in which it stands further from the edge), the closing marker once. A text without
        any token (blank, or control characters only) has no rows.

        Returns:
            In the order of `texts`.
        """
        pieces: list[Piece] = []
        owners: list[int] = []
        truncated = []
        for i, text in enumerate(texts):
            opening, ids = self._token_ids(text)
            truncated.append(self.max_tokens is not None and len(ids) > self.max_tokens)
            for piece in self._pieces(opening, ids[: self.max_tokens]):
                pieces.append(piece)
                owners.append(i)
        # At most: a pooling model gives fewer, and some leave out words of a list.
        most = [len(piece.ids) if self._pools else len(piece.ids[piece.keep]) for piece in pieces]
        values, n_rows = in_batches(pieces, most, self.dim, self._encode_batch)
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.add.at(offsets, np.array(owners, dtype=np.int64) + 1, n_rows)
        return TokenVectors(values, np.cumsum(offsets), np.array(truncated, dtype=np.bool_))

    def tokens(self, text: str, kind: Kind) -> list[Token]:
        """The tokens of one text with their places in it, row for row with its vectors.

        Args:
            text: As `encode_query` or `encode_document` would take it.
            kind: Which of the two.

        Returns:
            (token, start, end): the token as the vocabulary names it, offsets in code points of `text`. What the model adds
            has start == end: a prompt's tokens and opening markers stand at 0, closing ones and mask expansion at the end.

        Raises:
            IncompatibleError: The model pools its tokens, so that its vectors are no tokens'. `unpooled` shows them.
            ValueError: `kind` is neither.
        """
        if kind not in ("query", "document"):
            raise ValueError(f'kind must be "query" or "document", got {kind!r}')
        if pools(self._model, kind):
            raise IncompatibleError(
                f"{self.name} pools the tokens of a {kind}: a vector stands for several, and has no place in the text. "
                "unpooled() gives the same model before pooling."
            )
        features = self._query_features([text])[0] if kind == "query" else self._document_features(text)
        prompt = self._query_prompt if kind == "query" else self._prompt
        tokens = laid_out(features, self._tokenizer, text, prompt, (self._before, self._after))
        for module in self._model:
            if isinstance(module, MultiVectorMask):
                features = module(features, task=kind)
        return list(compress(tokens, features["attention_mask"][0].tolist()))

    def unpooled(self) -> TextEncoder:
        """This model before its token pooling, a vector a token, for explanations; itself where it pools nothing.

        It shares the weights. Its vectors are not those that a store holds of the pooling model.
        """
        if not self._pools:
            return self
        plain = copy(self)
        plain._model = without_pooling(self._model)  # noqa: SLF001 - of its own class
        plain._pools = False  # noqa: SLF001
        plain.fingerprint = f"{self.fingerprint}-unpooled"
        return plain

    @property
    def query_tokens(self) -> int:
        """The most tokens of a query that count, markers included."""
        expansion = self._transformer.query_expansion
        longest = self._transformer.query_length or self._longest()
        if expansion is None:
            return longest
        return int(expansion["length"]) if expansion["strategy"] == "fixed" else max(longest, int(expansion["length"]))

    def describe(self) -> dict[str, Any]:
        """What `doctor` shows: how queries and documents are encoded. JSON values."""
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
            "device": str(self._device),
            "dim": self.dim,
            "query_prefix": self._query_prompt,
            "document_prefix": self._prompt,
            "query_tokens": self.query_tokens,
            "query_expansion": self._transformer.query_expansion,
            "window_tokens": self.window_tokens,
            "overlap_tokens": self.overlap_tokens,
            "max_tokens": self.max_tokens,
            "pooling": "the checkpoint's own" if self._pools and self.pooling == 1 else self.pooling,
            "skiplist": "".join(getattr(mask, "skiplist_words", [])),
            "similarity": self._model.similarity_fn_name,
        }

    def _query_features(self, texts: Sequence[str]) -> tuple[dict[str, Any], list[bool]]:
        """What the model is given for queries: ids, and masks that say which of them are the text's. And which were cut."""
        clean = [without_surrogates(text) for text in texts]
        ids = [self._tokenizer.encode(self._query_prompt + text, add_special_tokens=False).ids for text in clean]
        room = self.query_tokens - len(self._before) - len(self._after)
        truncated = [len(own) > room for own in ids]
        if self._plain_queries and len(ids) == 1:
            given = torch.tensor([self._before + ids[0][:room] + self._after], dtype=torch.int64)
            return {"input_ids": given, "attention_mask": torch.ones_like(given)}, truncated
        return self._preprocessed(clean), truncated

    def _preprocessed(self, texts: Sequence[str]) -> dict[str, Any]:
        with self._preprocess_lock:
            features: dict[str, Any] = self._model.preprocess(texts, prompt=self._query_prompt or None, task="query")
        return features

    # Documents: ids -> pieces -> batches -> vectors.

    def _document_features(self, text: str) -> dict[str, Any]:
        """What the model would be given for a document without a limit of length: all that its rows stand for."""
        opening, ids = self._token_ids(text)
        whole = [opening + ids[: self.max_tokens] + self._after] if ids else [[]]
        given = torch.tensor(whole, dtype=torch.int64)
        return {"input_ids": given, "attention_mask": torch.ones_like(given)}

    def _token_ids(self, text: str) -> tuple[list[int], list[int]]:
        """What stands before the text in every window, and the text's own tokens."""
        # Tokenised together with its prompt, as sentence-transformers does: in "passage: cat" a byte-level tokenizer gives
        # the space to the cat. Then the prompt's tokens are set aside.
        encoding = self._tokenizer.encode(self._prompt + without_surrogates(text), add_special_tokens=False)
        n_prompt = sum(end <= len(self._prompt) for _, end in encoding.offsets[: len(self._prompt_ids)])
        return self._before + encoding.ids[:n_prompt], encoding.ids[n_prompt:]

    def _pieces(self, opening: list[int], ids: list[int]) -> Iterator[Piece]:
        return in_windows(opening, ids, self._after, self.window_tokens, self.overlap_tokens)

    def _encode_batch(self, pieces: Sequence[Piece]) -> list[F32]:
        width = max(len(piece.ids) for piece in pieces)
        ids = torch.full((len(pieces), width), self._model.tokenizer.pad_token_id or 0)
        real = torch.zeros((len(pieces), width), dtype=torch.int64)
        keep = torch.zeros((len(pieces), width), dtype=torch.bool)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece.ids)] = torch.tensor(piece.ids)
            real[row, : len(piece.ids)] = 1
            keep[row, piece.keep] = True
        vectors, mask = self._forward({"input_ids": ids, "attention_mask": real}, "document")
        # A pooling model's rows are no longer its tokens, so all of them count (and its windows don't overlap).
        counted = mask if self._pools else mask & keep.numpy()
        return [row[kept] for row, kept in zip(vectors, counted, strict=True)]

    def _forward(self, features: dict[str, Any], task: str) -> tuple[F32, np.ndarray]:
        """Vectors (n, width, dim) float32 and which of them count (n, width) bool."""
        check_device(self._device.type)
        moved = {name: value.to(self._device) if isinstance(value, torch.Tensor) else value for name, value in features.items()}
        few = self.backend.name == "torch" and moved["input_ids"].numel() <= FEW_TOKENS
        alone = few or lost_threads()
        with engine_call(), torch.inference_mode(), one_thread() if alone else nullcontext():
            out = self._model(moved, task=task)
        vectors: F32 = out["token_embeddings"].to("cpu", torch.float32).numpy()
        return vectors, out["attention_mask"].bool().cpu().numpy()

    # Once, at load.

    def _prepare(self) -> None:
        """Learn how the model wants its texts, and try both kinds: what its files say wrongly shows here."""
        if self.pooling > 1:
            pool_documents(self._model, self.pooling, self.name)
        self._model.eval()
        self._device = self._model.device
        self.backend = Backend("torch", "f32", 1.0, "until the model is checked")
        self._transformer = cast(Any, self._model[0])
        self.dim = int(self._model.get_embedding_dimension() or 0)
        self._preprocess_lock = guarded(Lock())  # sentence-transformers sets the shared tokenizer's padding on each call
        self._tokenizer = own_tokenizer(self._model.tokenizer)
        self._prompt = document_prompt(self._model)
        self._query_prompt = self._model.prompts.get("query") or ""
        self._before, self._after = special_tokens(self._tokenizer)
        self._prompt_ids = self._tokenizer.encode(self._prompt, add_special_tokens=False).ids
        self._pools = pools(self._model)
        if self._transformer.query_expansion is None:
            # On the left, padding would shift a query's positions by its neighbours' lengths.
            self._model.tokenizer.padding_side = "right"
        self._positions = self._count_positions()
        self._model.tokenizer.model_max_length = self._longest()  # where sentence-transformers cuts a query of no stated length
        self._set_window()
        self._check_layout()
        self._plain_queries = False
        self._plain_queries = self._are_queries_plain()
        for kind, encode in (("query", self.encode_query), ("document", self.encode_document)):
            check_encodes(self.name, kind, encode, self.dim)

    def _longest(self) -> int:
        tokenizer_limit = int(self._model.tokenizer.model_max_length)
        return min(tokenizer_limit, self._positions or tokenizer_limit)

    def _count_positions(self) -> int | None:
        """Tokens that the model has positions for; None where it has no table of them."""
        size = getattr(self._transformer.config, "max_position_embeddings", None)
        table = getattr(getattr(self._transformer.model, "embeddings", None), "position_embeddings", None)
        # RoBERTa and its kin count positions from padding_idx + 1.
        padding = getattr(table, "padding_idx", None)
        return None if size is None else int(size) - (0 if padding is None else int(padding) + 1)

    def _set_window(self) -> None:
        n_markers = len(self._before) + len(self._prompt_ids) + len(self._after)
        self.window_tokens = int(self._transformer.document_length or self._longest())
        longest = max(self.window_tokens, self.query_tokens)
        if longest > (self._positions or longest):
            raise ModelError(f"{self.name} says a length of {longest} tokens, but has positions for {self._positions}")
        content = self.window_tokens - n_markers
        if content < 1:
            raise ModelError(f"document length {self.window_tokens} leaves no room beside {n_markers} marker tokens")
        self.overlap_tokens = 0 if self._pools else min(OVERLAP_TOKENS, content // 4)

    def _are_queries_plain(self) -> bool:
        """Whether a query is no more than its markers and tokens, as we would lay it out: that saves half a millisecond."""
        if self._transformer.query_expansion is not None:
            return False
        self._plain_queries = True
        for text in (PROBE, PROBE * self.query_tokens):
            ours, theirs = self._query_features([text])[0], self._preprocessed([text])
            if any(not torch.equal(ours[name], theirs[name].cpu()) for name in ours) or _other_inputs(theirs):
                return False
        return True

    def _try_out(self) -> F32:
        """Token vectors of some text, as a query and as documents of several lengths."""
        documents = [PROBE, PASSAGE, PASSAGE[: len(PASSAGE) // 3], PASSAGE * 3]
        queries = [PROBE, *PASSAGE.split(". ")]
        found: F32 = np.concatenate([self.encode_document(documents).values, self.encode_query(queries).values])
        return found

    def _document_settings(self) -> dict[str, Any]:
        return {
            "prompt_ids": self._prompt_ids,
            "window_tokens": self.window_tokens,
            "overlap_tokens": self.overlap_tokens,
            "max_tokens": self.max_tokens,
            # Those of a pooling model are of one length and share no token; another layout would give other vectors.
            **({"windows": "even"} if self._pools else {}),
        }

    def _check_layout(self) -> None:
        """Our ids of a short document must be sentence-transformers' own."""
        with self._preprocess_lock:
            features = self._model.preprocess([PROBE], prompt=self._prompt or None, task="document")
        if others := _other_inputs(features):
            raise ModelError(f"{self.name}: its tokenizer gives documents {', '.join(others)}, which aren't supported for text")
        theirs = features["input_ids"][0][features["attention_mask"][0].bool()].tolist()
        ours = next(self._pieces(*self._token_ids(PROBE))).ids
        if ours != theirs:
            raise ModelError(f"{self.name}: document tokens {ours} are not sentence-transformers' {theirs}")


def _other_inputs(features: dict[str, Any]) -> list[str]:
    """What a tokenizer gives beside ids and mask, and isn't all 0: type ids other than those of one text, for example."""
    tensors = {name: value for name, value in features.items() if isinstance(value, torch.Tensor)}
    return [name for name, value in tensors.items() if name not in ("input_ids", "attention_mask") and value.any()]
