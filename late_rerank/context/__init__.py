"""Ranked documents -> the context window. In: a query and its ranking. Out: numbered parts within a budget of tokens."""

from late_rerank.context.packing import pack_context
from late_rerank.context.result import Context, ContextPart, Coverage, Dropped

__all__ = ["Context", "ContextPart", "Coverage", "Dropped", "pack_context"]
