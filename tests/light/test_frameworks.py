"""The four wrappers in their frameworks: a first stage that has the answer last, and the answer comes first."""

import pytest

from late_rerank import Reranker

QUESTION = "Which animal is kept at home and chases mice?"
ANSWER = "Cats are popular household pets and hunt small rodents."
TEXTS = [
    "A computer mouse is an input device that is moved by hand.",
    "Which kept of at and home: the animal farm shop sells animal feed.",
    "The home page shows the latest articles of the chase.",
    ANSWER,
]


@pytest.fixture
def reranker():
    with Reranker() as made:
        yield made


def test_a_langchain_retriever(reranker):
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever

    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=16))
    store.add_documents([Document(text) for text in TEXTS])
    retriever = LateRerankRetriever(base_retriever=store.as_retriever(), fetch_k=50, k=1, store="vectors")
    assert [document.page_content for document in retriever.invoke(QUESTION)] == [ANSWER]
    compressor = LateRerankCompressor(reranker=reranker, top_n=1)
    (best,) = compressor.compress_documents([Document(text) for text in TEXTS], QUESTION)
    assert best.page_content == ANSWER
    assert 0 < best.metadata["relevance_score"] < 1


def test_a_llamaindex_postprocessor():
    from llama_index.core import Document, MockEmbedding, VectorStoreIndex
    from llama_index.core.llms import MockLLM
    from llama_index.postprocessor.late_rerank import LateRerank

    index = VectorStoreIndex.from_documents([Document(text=text) for text in TEXTS], embed_model=MockEmbedding(embed_dim=8))
    engine = index.as_query_engine(
        llm=MockLLM(), similarity_top_k=50, node_postprocessors=[LateRerank(top_n=1, store="vectors")]
    )
    response = engine.query(QUESTION)
    assert [source.text for source in response.source_nodes] == [ANSWER]
    assert ANSWER in str(response)  # MockLLM answers with its prompt


def test_a_haystack_ranker():
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack_integrations.components.rankers.late_rerank import LateRerankRanker

    documents = InMemoryDocumentStore()
    documents.write_documents([Document(content=text) for text in TEXTS])
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(documents, top_k=100))
    pipeline.add_component("ranker", LateRerankRanker(top_k=1, store="vectors"))
    pipeline.connect("retriever", "ranker")
    found = pipeline.run({"retriever": {"query": QUESTION}, "ranker": {"query": QUESTION}})["ranker"]["documents"]
    assert [document.content for document in found] == [ANSWER]


def test_a_lancedb_reranker(reranker):
    import lancedb
    from lancedb.index import FTS
    from late_rerank_lancedb import LateRerankReranker

    rows = [{"text": text, "vector": [float(i)]} for i, text in enumerate(TEXTS)]
    table = lancedb.connect("database").create_table("texts", rows)
    table.create_index("text", config=FTS())
    assert table.search([0.0]).limit(50).to_list()[-1]["text"] == ANSWER
    found = table.search([0.0]).limit(50).rerank(LateRerankReranker(store="vectors"), query_string=QUESTION).to_list()
    assert found[0]["text"] == ANSWER
    hybrid = table.search(query_type="hybrid").vector([0.0]).text(QUESTION).limit(50)
    best = hybrid.rerank(LateRerankReranker(reranker=reranker)).to_list()[0]
    assert best["text"] == ANSWER
    assert 0 < best["_relevance_score"] < 1
