"""Why a document is ranked. In: a query and one text or picture. Out: what matches, its places, and a page that shows it."""

from late_rerank.explanation.explaining import explain
from late_rerank.explanation.matches import Match, Matched, Span, Token, Window, WordMatch
from late_rerank.explanation.pages.matches import NearWord, PageWordMatch, PatchMatch, Spot
from late_rerank.explanation.pages.result import PageExplanation
from late_rerank.explanation.result import Explanation
from late_rerank.explanation.words import Word

__all__ = [
    "Explanation",
    "Match",
    "Matched",
    "NearWord",
    "PageExplanation",
    "PageWordMatch",
    "PatchMatch",
    "Span",
    "Spot",
    "Token",
    "Window",
    "Word",
    "WordMatch",
    "explain",
]
