"""Document key -> packed vectors. A store never sees text, queries or scores, and never opens a codec.

A document's key is a digest of its content, made outside; a space holds the vectors of one encoder under one codec.
"""

from late_rerank.stores.base import Space, Store
from late_rerank.stores.memory import MemoryStore

__all__ = ["MemoryStore", "Space", "Store"]
