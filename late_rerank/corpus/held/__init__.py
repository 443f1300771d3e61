"""Files of token vectors that somebody made -> documents that bring them. In: .npy, safetensors, Parquet. Out: Candidates."""

from late_rerank.corpus.held.reading import HeldVectors, read_vectors

__all__ = ["HeldVectors", "read_vectors"]
