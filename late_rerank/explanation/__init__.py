"""Why a document is ranked. In: a query and one text. Out: the words that match, their places, and a page that shows them."""

from late_rerank.explanation.explaining import explain
from late_rerank.explanation.matches import Match, Matched, Span, Token, Window, WordMatch
from late_rerank.explanation.result import Explanation
from late_rerank.explanation.words import Word

__all__ = ["Explanation", "Match", "Matched", "Span", "Token", "Window", "Word", "WordMatch", "explain"]
