"""LangChain's own tests of retrievers, none overridden."""

from langchain_late_rerank import LateRerankRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests
from support import QUERY, base

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder


class TestLateRerankRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        return LateRerankRetriever

    @property
    def retriever_constructor_params(self):
        return {"base_retriever": base(), "reranker": Reranker(FakeEncoder())}

    @property
    def retriever_query_example(self):
        return QUERY


class TestLateRerankRetrieverWithFetchK(TestLateRerankRetriever):
    @property
    def retriever_constructor_params(self):
        return {"base_retriever": base(k=1), "fetch_k": 7, "model": FakeEncoder()}
