import pytest

from late_rerank.retrieve import BM25Retriever, HybridRetriever, PagesRetriever
from late_rerank.testing import RetrieverTests


class TestRankBM25(RetrieverTests):
    def make_retriever(self, documents):
        return BM25Retriever(documents)


class TestBm25s(RetrieverTests):
    def make_retriever(self, documents):
        return BM25Retriever(documents, engine="bm25s")


class TestDense(RetrieverTests):
    @pytest.fixture(autouse=True)
    def _model(self, minilm):
        """Skips where the model isn't installed."""

    def make_retriever(self, documents):
        from late_rerank.retrieve import DenseRetriever

        return DenseRetriever(documents)


class TestHybrid(RetrieverTests):
    def make_retriever(self, documents):
        return HybridRetriever([BM25Retriever(documents), BM25Retriever(documents, language=None)])


class TestPages(RetrieverTests):
    """Documents with text only: scans would come on top of `k`."""

    def make_retriever(self, documents):
        return PagesRetriever(BM25Retriever(documents), documents)
