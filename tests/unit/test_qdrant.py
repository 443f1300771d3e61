"""MaxSim inside Qdrant, by its client's local mode: the requests are those that a server gets."""

import socket
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker, Searcher, pack_context
from late_rerank.errors import IncompatibleError, StoreConnectionError, StoreError
from late_rerank.ranking.inside import InsideReranker
from late_rerank.ranking.wanted import Wanted
from late_rerank.testing.fakes import FakeEncoder

qdrant_client = pytest.importorskip("qdrant_client", reason="needs Qdrant's client: pip install qdrant-client")
import grpc  # noqa: E402
from qdrant_client import QdrantClient, models  # noqa: E402
from qdrant_client.http.exceptions import ResponseHandlingException  # noqa: E402

from late_rerank.retrieve import QdrantVectors  # noqa: E402

# The client says once that it compares all points anyway.
pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning")

TEXTS = ["the cat sat", "dogs and cats", "a cat on a mat", "nothing of the kind", "cat cat cat", "a dog ran " * 30]
QUERY = "the cat on a mat"


def multivector(size=64, distance="DOT", *, compared=True):
    config = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM) if compared else None
    return models.VectorParams(size=size, distance=models.Distance[distance], multivector_config=config)


class Counted:
    """A client that notes what it is asked."""

    def __init__(self, client):
        self._client, self.asked = client, []

    def __getattr__(self, name):
        def ask(*args, **kwargs):
            self.asked.append((name, args, kwargs))
            return getattr(self._client, name)(*args, **kwargs)

        return ask


def filled(vectors, documents, name="colbert"):
    """documents: id -> (payload, rows)."""
    client = Counted(QdrantClient(":memory:"))
    client.create_collection("docs", vectors_config=vectors)
    points = [
        models.PointStruct(id=point, vector={name: rows.tolist()} if name else rows.tolist(), payload=payload)
        for point, (payload, rows) in documents.items()
    ]
    client.upsert("docs", points)
    return client


def rows_of(text):
    return FakeEncoder().encode_document([text]).values


def payload(i, text):
    """What users keep, partly as LangChain lays it out."""
    metadata = {"id": f"doc {i}", "text": text, "also": [f"doc {i}", "all"], "pages": [{"n": i}, {"n": str(i + 10)}]}
    return {"text": text, "name": f"doc {i}", "n": 7, "number": i if i % 2 else str(i), "metadata": metadata}


@pytest.fixture
def client():
    documents = {i: (payload(i, text), rows_of(text)) for i, text in enumerate(TEXTS)}
    return filled({"colbert": multivector(), "other": multivector(32)}, documents)


@pytest.fixture
def inside(client):
    return InsideReranker(FakeEncoder(), QdrantVectors(client, "docs", vector="colbert", text="text"))


class TestRanking:
    @pytest.mark.parametrize("distance", ["DOT", "COSINE"])
    @settings(max_examples=10)
    @given(seed=st.integers(0, 2**32 - 1))
    def test_scores_are_those_of_our_own_maxsim(self, distance, seed):
        rng = np.random.default_rng(seed)
        documents = {}
        for i in range(12):
            rows = rng.standard_normal((int(rng.integers(1, 20)), 64)).astype(np.float32)
            documents[i] = ({}, rows / np.linalg.norm(rows, axis=1, keepdims=True))
        engine = QdrantVectors(filled(multivector(distance=distance), documents, name=None), "docs")
        ours = Reranker(FakeEncoder(), scoring="maxsim").rerank(
            QUERY, [Candidate(id=i, token_vectors=rows) for i, (_, rows) in documents.items()]
        )
        theirs = InsideReranker(FakeEncoder(), engine).rerank(QUERY, [Candidate(id=i) for i in documents])

        own = {document.id: (document.score, document.relevance) for document in ours}
        assert {document.id for document in theirs} == set(own)
        for document in theirs:
            assert (document.score, document.relevance) == pytest.approx(own[document.id], abs=1e-4)

    def test_a_query_encoder_encodes_the_queries_of_the_same_vectors(self, client, inside, monkeypatch):
        class LastWord(FakeEncoder):
            query_encoder, query_fingerprint = "fast", "last words"

            def encode_query(self, texts):
                return super().encode_query([text.split()[-1] for text in texts])

        made = []
        monkeypatch.setattr("late_rerank.ranking.inside.as_encoder", lambda *given: made.append(given) or LastWord())
        engine = QdrantVectors(client, "docs", vector="colbert", text="text")
        fast = InsideReranker("minilm", engine, query_encoder="fast")

        assert made == [("minilm", "auto", None, 1, "fast")]
        candidates = [Candidate(id=i) for i in range(len(TEXTS))]
        last = inside.rerank(QUERY.split()[-1], candidates)
        assert [document.score for document in fast.rerank(QUERY, candidates)] == [document.score for document in last]

    def test_one_request_asks_for_scores_alone(self, client, inside):
        client.asked.clear()
        ranking = inside.rerank(QUERY, [Candidate(id=i) for i in (5, 2, 0, 2)])
        (name, (collection, requests), _), *others = client.asked

        assert (name, collection, len(requests), others) == ("query_batch_points", "docs", 1, [])
        assert requests[0].filter == models.Filter(must=[models.HasIdCondition(has_id=[5, 2, 0])])
        assert (requests[0].using, requests[0].with_vector, requests[0].with_payload) == ("colbert", None, False)
        assert requests[0].params.exact
        assert [document.index for document in ranking] == [1, 3, 2, 0]
        assert (ranking.n_hits, ranking.n_misses) == (4, 0)
        assert set(ranking.timings_ms) >= {"encode_query", "fetch", "total"}

    def test_only_candidates_are_scored_and_absent_ones_come_last(self, inside):
        given_ids = [99, 2, "seven", None, -1, str(uuid.uuid4()), "0", 2**70, True]
        ranking = inside.rerank(QUERY, [Candidate(text="a cat" if each == 99 else "", id=each) for each in given_ids])

        assert [document.index for document in ranking] == [1, 6, 0, 2, 3, 4, 5, 7, 8]
        assert [document.score is None for document in ranking] == [False] * 2 + [True] * 7
        assert ranking.n_unscored == ranking.n_misses == 7

    def test_options_of_a_rerank_count(self, inside):
        candidates = [Candidate(id=i, score=float(i)) for i in range(len(TEXTS))]
        best = inside.rerank(QUERY, candidates)

        assert inside.rerank(QUERY, candidates, top_k=2) == best[:2]
        assert all(each.relevance >= 0.5 for each in inside.rerank(QUERY, candidates, min_relevance=0.5))
        assert inside.rerank(QUERY, candidates, first_stage_weight=100)[0].index == 5
        assert inside.rerank_batch([QUERY, "dog"], [candidates, candidates[:2]])[0] == best
        assert inside.rerank(QUERY, []) == []
        for wanted in (Wanted(deadline_s=1), Wanted(max_tokens=3)):
            with pytest.raises(ValueError, match="deadline_s and max_tokens aren't for vectors that another engine scores"):
                inside.rank([QUERY], [candidates], wanted)

    def test_candidates_may_name_a_field_of_the_payload(self, client):
        engine = QdrantVectors(client, "docs", vector="colbert", id="name")
        ranking = InsideReranker(FakeEncoder(), engine).rerank(
            QUERY, [Candidate(id=f"doc {i}") for i in (0, 2, 9)] + [Candidate(id=7)]
        )

        assert [document.id for document in ranking][:2] == ["doc 2", "doc 0"]
        assert ranking.n_unscored == 2
        with pytest.raises(StoreError, match="the id 7 names two points of the Qdrant collection 'docs'"):
            InsideReranker(FakeEncoder(), QdrantVectors(client, "docs", vector="colbert", id="n")).rerank(
                "cat", [Candidate(id=7)]
            )

    @pytest.mark.parametrize(
        ("field", "ids"),
        [
            ("metadata.id", ["doc 0", "doc 2", "doc 3"]),
            ("metadata.also", ["doc 0", "doc 2", "doc 3"]),
            ("metadata.pages[].n", [0, "2", 13]),
            ("number", ["0", 2, "3"]),
        ],
    )
    def test_a_field_may_lie_within_another_and_may_be_a_list_or_numbers(self, client, field, ids):
        engine = QdrantVectors(client, "docs", vector="colbert", text="metadata.text", id=field)
        inside = InsideReranker(FakeEncoder(), engine)
        others = [True, None, 2.5, 2**70, "absent", "half \ud800 a pair"]
        ranking = inside.rerank(QUERY, [Candidate(id=each) for each in [*ids, *others]])
        found = inside.retrieve(QUERY, k=1)

        assert [document.id for document in ranking if document.score is not None] == [ids[1], ids[0], ids[2]]
        assert (ranking.n_hits, ranking.n_misses) == (3, 6)
        assert (found[0].text, str(found[0].id)) == (TEXTS[2], str(ids[1]))

    def test_a_name_in_the_lists_of_two_points_is_refused(self, client):
        engine = QdrantVectors(client, "docs", vector="colbert", id="metadata.also")
        with pytest.raises(StoreError, match="the id all names two points"):
            InsideReranker(FakeEncoder(), engine).rerank("cat", [Candidate(id="all")])

    def test_points_may_have_uuids(self):
        name = uuid.UUID(int=15)
        engine = QdrantVectors(filled(multivector(), {str(name): ({}, rows_of("a cat"))}, name=None), "docs")
        ranking = InsideReranker(FakeEncoder(), engine).rerank("cat", [Candidate(id=str(name).upper()), Candidate(id=name)])

        assert [document.score for document in ranking] == [pytest.approx(1), pytest.approx(1)]


class TestRetrieving:
    def test_all_points_are_searched_best_first(self, inside):
        found = inside.retrieve(QUERY, k=3, exact=True)

        assert found[0].text == "a cat on a mat"
        assert [candidate.score for candidate in found] == sorted((candidate.score for candidate in found), reverse=True)
        assert (found[0].id, found[0].metadata["name"], len(found)) == (2, "doc 2", 3)
        assert [document.id for document in inside.rerank(QUERY, found)] == [candidate.id for candidate in found]

    def test_a_blank_query_and_no_depth_are_refused(self, inside):
        with pytest.raises(ValueError, match="query"):
            inside.retrieve(" ", k=3)
        with pytest.raises(ValueError, match="k must be"):
            inside.retrieve("cat", k=0)


class TestTheOtherEnds:
    def test_a_searcher_finds_and_ranks_within_qdrant(self, client, inside):
        searcher = Searcher(inside, inside, k=4)
        client.asked.clear()
        ranking = searcher.search(QUERY, top_k=2)

        assert ranking == inside.rerank(QUERY, inside.retrieve(QUERY, 4), top_k=2)
        assert ranking[0].text == "a cat on a mat"
        assert [name for name, *_ in client.asked][:2] == ["query_points", "query_batch_points"]
        with pytest.raises(ValueError, match="deadline_s and max_tokens aren't for vectors"):
            searcher.search(QUERY, deadline_s=1)

    def test_a_context_is_packed_from_the_best_few_by_a_reranker_of_the_model(self, inside):
        searcher = Searcher(inside, inside)
        ranking = searcher.search(QUERY, top_k=3)
        for call in (
            lambda: searcher.context(QUERY),
            lambda: pack_context(QUERY, ranking, reranker=inside, budget_tokens=50),
        ):
            with pytest.raises(TypeError, match=r"take its best few, .* reranker=Reranker\(model\)"):
                call()
        reranker = Reranker(FakeEncoder())

        assert pack_context(QUERY, ranking, reranker=reranker, budget_tokens=50).parts[0].id == 2
        assert reranker.stats()["n_documents"] == 3


class TestOtherCollections:
    @pytest.mark.parametrize(
        ("vectors", "message"),
        [
            (
                multivector(distance="EUCLID"),
                "must be a multivector compared by max_sim, by Dot or Cosine; it is compared by max_sim, by Euclid",
            ),
            (multivector(compared=False), "compared by nothing: one vector a point, by Dot"),
        ],
    )
    def test_vectors_that_are_not_compared_by_maxsim_are_refused(self, vectors, message):
        client = QdrantClient(":memory:")
        client.create_collection("docs", vectors_config=vectors)
        with pytest.raises(IncompatibleError, match=message):
            QdrantVectors(client, "docs")

    def test_unknown_collections_and_vectors_are_told(self, client):
        with pytest.raises(StoreError, match=r"the Qdrant collection 'absent' refused: .*absent"):
            QdrantVectors(client, "absent", vector="colbert")
        with pytest.raises(StoreError, match="has no vector 'dense'; it has 'colbert', 'other'"):
            QdrantVectors(client, "docs", vector="dense")

    def test_another_models_vectors_are_refused(self, client):
        with pytest.raises(IncompatibleError, match="has vectors of 32 components, but the model makes 64"):
            InsideReranker(FakeEncoder(), QdrantVectors(client, "docs", vector="other"))
        wrong = filled(multivector(), {7: ({"text": "the cat sat"}, rows_of("the dog sat"))}, name=None)
        with pytest.raises(
            IncompatibleError, match="point 7 of the Qdrant collection 'docs' is not what the model 'FakeEncoder' makes"
        ):
            InsideReranker(FakeEncoder(), QdrantVectors(wrong, "docs", text="text"))
        InsideReranker(FakeEncoder(), QdrantVectors(wrong, "docs"))  # nothing to compare with

    def test_a_server_that_does_not_answer_is_told(self, inside, monkeypatch):
        def refuse(*_, **__):
            raise ResponseHandlingException(OSError("connection refused"))

        monkeypatch.setattr(inside.engine._client._client, "query_batch_points", refuse)
        with pytest.raises(StoreConnectionError, match="the Qdrant collection 'docs' can't be asked: connection refused"):
            inside.rerank("cat", [Candidate(id=1)])

    @pytest.mark.filterwarnings("ignore:Failed to obtain server version:UserWarning")
    def test_a_server_that_does_not_answer_by_grpc_is_told(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        client = QdrantClient(host="127.0.0.1", grpc_port=port, prefer_grpc=True, check_compatibility=False)
        with pytest.raises(StoreConnectionError, match="the Qdrant collection 'docs' can't be asked: UNAVAILABLE: "):
            QdrantVectors(client, "docs")
        client.close()

    def test_a_server_that_refuses_by_grpc_is_told(self, inside, monkeypatch):
        class Refused(grpc.RpcError):
            def code(self):
                return grpc.StatusCode.INVALID_ARGUMENT

            def details(self):
                return "Wrong input"

        def refuse(*_, **__):
            raise Refused

        monkeypatch.setattr(inside.engine._client._client, "query_batch_points", refuse)
        with pytest.raises(StoreError, match="the Qdrant collection 'docs' refused: INVALID_ARGUMENT: Wrong input"):
            inside.rerank("cat", [Candidate(id=1)])
