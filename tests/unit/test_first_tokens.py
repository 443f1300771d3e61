"""`max_tokens`: of each document, only so many of its first tokens count."""

import pytest

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder


@pytest.fixture
def reranker():
    with Reranker(FakeEncoder()) as reranker:
        yield reranker


def test_only_so_many_of_each_document_count(reranker):
    texts = ["one two three", "three two one", "two"]
    ranking = reranker.rerank("one", texts, max_tokens=1)
    cut = reranker.rerank("one", ["one", "three", "two"])
    assert [(d.index, d.score) for d in ranking] == [(d.index, d.score) for d in cut]
    assert [d.truncated for d in sorted(ranking, key=lambda d: d.index)] == [True, True, False]
    assert ranking.n_tokens == 1 + 3
    assert reranker.rerank("one", texts, max_tokens=9).n_tokens == 1 + 7


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_what_is_no_number_of_tokens_is_refused(reranker, wrong):
    with pytest.raises((ValueError, TypeError), match="max_tokens"):
        reranker.rerank("a", ["b"], max_tokens=wrong)
