"""With the real built-in model: the order gets better, and a folder's token vectors serve the second run."""

import pytest
from langchain_core.documents import Document
from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever
from support import texts, vector_store

from late_rerank import Reranker

QUESTION = "Which animal is kept at home and chases mice?"
ANSWER = "Cats are popular household pets and hunt small rodents."
OTHERS = [
    "A computer mouse is an input device that is moved by hand.",
    "Which kept of at and home: the animal farm shop sells animal feed.",
    "The home page shows the latest articles of the chase.",
    "Interest rates were kept unchanged by the central bank.",
]


@pytest.fixture(scope="module")
def reranker(minilm):
    with Reranker(minilm) as made:
        yield made


def found_by_words():
    """As a search for words orders them, by how many words they share with the question: the answer shares one, and is last."""
    words = set(QUESTION.lower().rstrip("?").split())
    shared = {text: len(words & set(text.lower().rstrip(".").split())) for text in [*OTHERS, ANSWER]}
    ordered = sorted(shared, key=lambda text: -shared[text])
    return [Document(text, id=str(i), metadata={"score": shared[text]}) for i, text in enumerate(ordered)]


def test_the_answer_that_a_search_for_words_puts_last_comes_first(reranker):
    given = found_by_words()
    assert given[-1].page_content == ANSWER
    (best,) = LateRerankCompressor(reranker=reranker, top_n=1).compress_documents(given, QUESTION)
    assert best.page_content == ANSWER
    assert 0 < best.metadata["relevance_score"] <= 1
    assert best.metadata["retrieval_score"] == best.metadata["score"]


async def test_a_retriever_finds_the_answer_among_documents_in_chance_order(reranker):
    base = vector_store([Document(text) for text in [*OTHERS, ANSWER]]).as_retriever()
    retriever = LateRerankRetriever(base_retriever=base, fetch_k=50, k=1, reranker=reranker)
    assert texts(retriever.invoke(QUESTION)) == [ANSWER]
    assert texts(await retriever.ainvoke(QUESTION)) == [ANSWER]


def test_a_folder_serves_the_second_run_without_a_forward_pass_over_documents(minilm, tmp_path, monkeypatch):
    given = found_by_words()

    def run():
        compressor = LateRerankCompressor(model=minilm, store=tmp_path / "vectors", top_n=5)
        try:
            return compressor.compress_documents(given, QUESTION), compressor.reranker.stats()
        finally:
            compressor.reranker.close()

    first, stats = run()
    assert (stats["hits"], stats["misses"]) == (0, 5)
    monkeypatch.setattr(minilm, "encode_document", lambda texts: pytest.fail(f"encoded {len(texts)} documents"))
    second, stats = run()
    assert (stats["hits"], stats["misses"]) == (5, 0)
    assert second == first
    base = vector_store(given).as_retriever()
    retriever = LateRerankRetriever(base_retriever=base, fetch_k=5, model=minilm, store=tmp_path / "vectors")
    assert retriever.invoke(QUESTION)[0].page_content == ANSWER
    assert retriever.reranker.stats()["misses"] == 0
    retriever.reranker.close()


def test_minilm_is_the_default_and_is_named_in_the_metadata(minilm):
    with_default = LateRerankRetriever(base_retriever=vector_store().as_retriever(search_kwargs={"k": 7}))
    assert with_default.metadata == {"late_rerank_model": "minilm"}
    assert repr(with_default) == "LateRerankRetriever(base_retriever='VectorStoreRetriever', k=3, model='minilm')"
    assert with_default.reranker.encoder.fingerprint == minilm.fingerprint
