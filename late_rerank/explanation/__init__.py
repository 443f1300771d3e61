"""Why a document is there. In: a query and one text. Out: which words match, with their places, and a page of it."""

from late_rerank.explanation.explaining import explain
from late_rerank.explanation.result import Explanation, Match, Matched, Span, Token, WordMatch
from late_rerank.explanation.words import Word

__all__ = ["Explanation", "Match", "Matched", "Span", "Token", "Word", "WordMatch", "explain"]
