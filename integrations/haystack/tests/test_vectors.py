"""Documents that hold their token vectors already."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.rankers.late_rerank import LateRerankRanker

from late_rerank import Reranker
from late_rerank.errors import IncompatibleError
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.types import GivenVectors

TEXTS = ["the cat sat on a mat", "dogs bark", "a cat", "rivers run to the sea"]


@dataclass
class LaterDocument(Document):
    """A document of a Haystack that has the field itself."""

    multivector_embedding: Any = field(default=None)

    def __post_init__(self):
        with warnings.catch_warnings():  # Haystack lets its own classes alone set an id
            warnings.simplefilter("ignore")
            super().__post_init__()


def rows_of(text):
    return FakeEncoder().encode_document([text]).values


def ranker(encoder, field="multivector_embedding", **more):
    return LateRerankRanker(reranker=Reranker(encoder, codec="float32"), token_vectors_field=field, **more)


def found(made, documents, query="cat mat"):
    return [(document.content, round(document.score, 4)) for document in made.run(query, documents)["documents"]]


class TestRanking:
    @pytest.mark.parametrize(
        "make", [lambda text: rows_of(text).tolist(), rows_of, lambda text: rows_of(text).astype(np.float16)]
    )
    def test_a_field_of_the_document_or_of_meta_is_ranked_without_encoding(self, make):
        encoder = FakeEncoder()
        expected = found(ranker(FakeEncoder(), None), [Document(content=text) for text in TEXTS])
        own = [LaterDocument(content=text, multivector_embedding=make(text)) for text in TEXTS]
        meta = [Document(content=text, id=text, meta={"vectors": make(text)}) for text in TEXTS]

        for documents, name in ((own, "multivector_embedding"), (meta, "vectors")):
            for (content, score), (text, wanted) in zip(found(ranker(encoder, name), documents), expected, strict=True):
                assert content == text
                assert score == pytest.approx(wanted, abs=2e-3)
        assert encoder.n_documents == 0

    def test_documents_with_and_without_vectors_are_mixed(self):
        encoder = FakeEncoder()
        documents = [
            Document(content=TEXTS[0]),
            *(LaterDocument(content=text, multivector_embedding=rows_of(text)) for text in TEXTS[1:]),
        ]

        assert found(ranker(encoder), documents) == found(
            ranker(FakeEncoder(), None), [Document(content=text) for text in TEXTS]
        )
        assert encoder.n_documents == 1

    def test_documents_of_one_text_and_other_vectors_are_two(self):
        made = ranker(FakeEncoder())
        documents = [LaterDocument(id=word, multivector_embedding=rows_of(word)) for word in ("dog", "cat", "mat cat")]

        assert [document.id for document in made.run("cat mat", documents)["documents"]] == ["mat cat", "cat", "dog"]

    def test_nothing_is_looked_at_without_the_argument(self):
        encoder = FakeEncoder()
        found(ranker(encoder, None), [LaterDocument(content="a cat", multivector_embedding=[["nonsense"]])])

        assert encoder.n_documents == 1

    def test_within_a_budget(self):
        made = ranker(FakeEncoder(), budget_tokens=30)
        documents = [LaterDocument(content=text, multivector_embedding=rows_of(text)) for text in TEXTS]

        assert made.run("cat mat", documents)["documents"][0].content == TEXTS[0]

    def test_in_a_pipeline_that_is_written_and_read(self, fake_model):
        store = InMemoryDocumentStore()
        store.write_documents([Document(content=text, meta={"vectors": rows_of(text).tolist()}) for text in TEXTS])
        pipeline = Pipeline()
        pipeline.add_component("retriever", InMemoryBM25Retriever(store))
        pipeline.add_component("ranker", LateRerankRanker(top_k=1, token_vectors_field="vectors"))
        pipeline.connect("retriever", "ranker")
        read = Pipeline.loads(pipeline.dumps())
        result = read.run({"retriever": {"query": "cat mat"}, "ranker": {"query": "cat mat"}})

        assert [document.content for document in result["ranker"]["documents"]] == [TEXTS[0]]


class TestErrors:
    @pytest.mark.parametrize(
        ("vectors", "error", "message"),
        [
            ([0.5] * 64, ValueError, r"the document 'd7' must be one row .* got shape \(64,\)"),
            ([[0.5] * 64, [0.5]], ValueError, "the document 'd7' must be one row"),
            ([["x"]], ValueError, "the document 'd7' must be one row"),
            ([[np.nan] * 64], ValueError, "the document 'd7': .* NaN or infinity in row 0"),
            ([[0.5] * 32], IncompatibleError, r"\(id 'd7'\) has token vectors of 32"),
        ],
    )
    def test_wrong_vectors_are_told_with_the_documents_id(self, vectors, error, message):
        with pytest.raises(error, match=message):
            ranker(FakeEncoder()).run("cat", [LaterDocument(id="d7", content="a cat", multivector_embedding=vectors)])

    def test_the_field_is_a_name(self):
        with pytest.raises(TypeError, match="token_vectors_field must be a name, or None, got 3"):
            LateRerankRanker(token_vectors_field=3)

    def test_what_is_ranked_are_the_vectors(self):
        content = ranker(FakeEncoder()).content_of(LaterDocument(content="a cat", multivector_embedding=rows_of("a cat")))

        assert isinstance(content, GivenVectors)
