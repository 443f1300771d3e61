"""One query's candidates -> a Ranking: what is asked, the scores, the first stage's part in the order, relevance, matches.

In: candidates, the query's token vectors and packed documents. Out: a Ranking. This room knows no store.
"""

from late_rerank.ranking.priors import from_metadata, recency, sum_of

__all__ = ["from_metadata", "recency", "sum_of"]
