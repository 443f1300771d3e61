"""Stand-ins without a model, for tests and benchmarks. Needs neither pytest nor torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from late_rerank.text.words import folded, word_spans
from late_rerank.types import F32, TokenVectors


class FakeEncoder:
    """Deterministic token vectors from words: equal words, however written, have equal vectors; others are nearly orthogonal.

    Args:
        dim: Components of one token vector.
        max_words: Cap on a text's words; longer texts are cut and say so in `truncated`.

    Attributes:
        n_queries, n_documents: How many texts of each kind were encoded: tests assert on them.
    """

    def __init__(self, dim: int = 64, max_words: int | None = None) -> None:
        self.dim = dim
        self.max_words = max_words
        self.fingerprint = f"fake-{dim}-{max_words}"
        self.n_queries = 0
        self.n_documents = 0

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        """One vector a word."""
        self.n_queries += len(texts)
        return self._encode(texts)

    def encode_document(self, texts: Sequence[str]) -> TokenVectors:
        """One vector a word."""
        self.n_documents += len(texts)
        return self._encode(texts)

    def tokens(self, text: str, kind: str) -> list[tuple[str, int, int]]:
        """The words with their places in the text, row for row with the vectors; queries and documents alike."""
        if kind not in ("query", "document"):
            raise ValueError(f'kind must be "query" or "document", got {kind!r}')
        return [(text[start:end].lower(), start, end) for start, end in word_spans(text)[: self.max_words]]

    def _encode(self, texts: Sequence[str]) -> TokenVectors:
        words = [[folded(text[start:end]) for start, end in word_spans(text)] for text in texts]
        truncated = [self.max_words is not None and len(found) > self.max_words for found in words]
        arrays = [self._vectors(found[: self.max_words]) for found in words]
        return TokenVectors.from_arrays(arrays, self.dim, truncated)

    def _vectors(self, words: Sequence[str]) -> F32:
        vectors = np.empty((len(words), self.dim), dtype=np.float32)
        for i, word in enumerate(words):
            seed = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
            vector = np.random.default_rng(seed).standard_normal(self.dim)
            vectors[i] = vector / np.linalg.norm(vector)
        return vectors
