"""What framework wrappers share. In: a wrapper's arguments, its framework's documents. Out: a reranker, and those chosen.

Wrappers import these names from `late_rerank.wrapping`.
"""
