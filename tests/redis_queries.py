"""A query whose result is known, over a store that may fail."""

import time

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder

QUERY = "late interaction"
TEXTS = [f"document {i} about late interaction number {i}" for i in range(20)]


def ranked(reranker):
    return [(document.text, document.score) for document in reranker.rerank(QUERY, TEXTS)]


EXPECTED = ranked(Reranker(FakeEncoder()))


def hits(reranker):
    """How many documents the store gave; the ranking is right however many."""
    ranking = reranker.rerank(QUERY, TEXTS)
    assert [(document.text, document.score) for document in ranking] == EXPECTED
    return ranking.n_hits


def until(condition):
    """Wait until it holds; fails after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def used_again(reranker):
    """Whether every document is a hit before long: nobody tells the store that the server is back."""
    until(lambda: hits(reranker) == len(TEXTS))
    return True
