"""Several setups over one run, each against the first."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from late_rerank import Candidate, Reranker
from late_rerank.encode.base import DescribesItself
from late_rerank.encode.describe import described
from late_rerank.encode.samples import SAMPLES
from late_rerank.evaluate import Judged, Setup, compare, crossed, difference, evaluate
from late_rerank.evaluate.comparison import Remembering
from late_rerank.stores import DiskStore, MemoryStore
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.types import TokenVectors

WORDS = ["cat", "dog", "bird", "fish", "horse", "cow"]
DOCUMENTS = [Candidate(f"{WORDS[i % 6]} {WORDS[(i * i) % 6]} {i}", str(i)) for i in range(30)]
QUERIES = {f"q{i}": f"{WORDS[i]} {i}" for i in range(6)}
QRELS = {f"q{i}": {str(i): 2, str(i + 6): 1} for i in range(6)}
JUDGED = Judged(dict.fromkeys(QUERIES, DOCUMENTS[::-1]), QUERIES, QRELS)


class Halved(FakeEncoder):
    """Every second vector of a document."""

    pooling = 2

    def __init__(self):
        super().__init__()
        self.fingerprint += "-halved"

    def encode_document(self, texts):
        found = super().encode_document(texts)
        rows = [found.values[start:stop:2] for start, stop in zip(found.offsets[:-1], found.offsets[1:], strict=True)]
        return TokenVectors.from_arrays(rows, self.dim, [False] * len(texts))


class FirstWord(FakeEncoder):
    """A query encoder that reads the first word alone: it finds the words' documents, and misses the number."""

    query_encoder, query_fingerprint = "fast", "first words"

    def encode_query(self, texts):
        return super().encode_query([text.split()[0] for text in texts])


class Loader:
    def __init__(self):
        self.loaded = []

    def __call__(self, model, pooling, *, query_encoder=None):
        if query_encoder is not None:
            assert (query_encoder, pooling) == ("fast", 1)
            self.loaded.append((model, query_encoder, FirstWord()))
            return self.loaded[-1][2]
        self.loaded.append((model, pooling, FakeEncoder() if pooling == 1 else Halved()))
        return self.loaded[-1][2]


@pytest.fixture
def load():
    return Loader()


def test_axes_are_crossed_with_the_model_slowest():
    found = crossed(k=[20, 50], codec=["int8", "binary"], pooling=[1, 2])

    assert found[:3] == [Setup(k=20), Setup(k=50), Setup(codec="binary", k=20)]
    assert found[4:5] == [Setup(pooling=2, k=20)]
    assert len(found) == len(set(found)) == 8
    assert crossed() == [Setup()]
    with pytest.raises(
        ValueError, match=r"some of model, pooling, query_encoder, codec, scoring, k, first_stage_weight, got \{'depth'"
    ):
        crossed(depth=[1])
    with pytest.raises(ValueError, match="expected values"):
        crossed(k=[])


def test_each_setup_is_what_evaluating_it_alone_gives(load):
    setups = crossed(k=[5, 30], codec=["int8", "binary"], pooling=[1, 2])
    found = compare(setups, JUDGED, load=load)

    assert [each.setup for each in found] == setups
    for each in found:
        reranker = Reranker(load("m", each.setup.pooling), codec=each.setup.codec, scoring=each.setup.scoring)
        run = {name: candidates[: each.setup.k] for name, candidates in JUDGED.run.items()}
        alone = evaluate(reranker, run, QUERIES, QRELS)
        assert each.evaluation.measures == alone.measures
        assert each.evaluation.ranked == alone.ranked
    assert found[0].evaluation.measures != found[1].evaluation.measures  # the depths do differ


# For q0 to q5 a document with the words at its ends, then one in which they are neighbours: MaxSim can't tell them apart.
_FILLER = " ".join(f"filler{i}" for i in range(320))
FAR_AND_NEAR = [
    Candidate(text, f"{i}-{kind}")
    for i, word in enumerate(WORDS)
    for kind, text in (("far", f"{word} {_FILLER} {i}"), ("near", f"{_FILLER} {word} {i}"))
]
FAR_BEFORE_NEAR = Judged(
    {f"q{i}": FAR_AND_NEAR[2 * i : 2 * i + 2] for i in range(6)}, QUERIES, {f"q{i}": {f"{i}-near": 1} for i in range(6)}
)


def test_scorings_are_compared_on_the_same_vectors(load):
    setups = crossed(codec=["int8", "binary"], scoring=["maxsim", "proximity"], k=[2])
    found = compare(setups, FAR_BEFORE_NEAR, load=load)

    assert [(each.setup.codec, each.setup.scoring) for each in found] == [
        (codec, scoring) for codec in ("int8", "binary") for scoring in ("maxsim", "proximity")
    ]
    assert [each.evaluation.measures["reranked"]["RR@10"] for each in found] == [0.5, 1.0, 0.5, 1.0]
    assert load.loaded[0][2].n_documents == len(FAR_AND_NEAR) + len(SAMPLES)
    alone = Reranker(FakeEncoder(), scoring="proximity").rerank(QUERIES["q3"], FAR_AND_NEAR[6:8])
    assert found[1].evaluation.ranked["q3"] == [(document.id, document.score) for document in alone]


def test_each_scoring_is_combined_with_each_pooling():
    found = crossed(pooling=[1, 2], scoring=["maxsim", "proximity"])

    expected = [(1, "maxsim"), (1, "proximity"), (2, "maxsim"), (2, "proximity")]
    assert [(each.pooling, each.scoring) for each in found] == expected
    with pytest.raises(ValueError, match="scoring='best' is not known"):
        crossed(scoring=["best"])


def test_query_encoders_are_compared_on_the_same_vectors(load):
    full, fast = compare(crossed(query_encoder=["full", "fast"], k=[30]), JUDGED, load=load)

    assert [(model, what) for model, what, _ in load.loaded] == [("minilm", 1), ("minilm", "fast")]
    assert [encoder.n_documents for *_, encoder in load.loaded] == [len(DOCUMENTS), 0]
    asked = len(QUERIES) + 1  # one is asked before any is timed
    assert [encoder.n_queries for *_, encoder in load.loaded] == [asked, asked]
    assert full.evaluation.ranked == evaluate(Reranker(FakeEncoder()), JUDGED.run, QUERIES, QRELS).ranked
    assert fast.evaluation.ranked == evaluate(Reranker(FirstWord()), JUDGED.run, QUERIES, QRELS).ranked
    assert fast.difference.mean < 0
    assert [each.to_dict()["query_encoder"] for each in (full, fast)] == ["full", "fast"]
    assert min(each.evaluation.latency_ms["encode_query"] for each in (full, fast)) > 0


def test_a_document_is_encoded_once_for_all_query_encoders_and_codecs(load):
    setups = crossed(query_encoder=["fast", "full"], codec=["int8", "binary"])
    compare(setups, JUDGED, load=load)
    assert [encoder.n_documents for *_, encoder in load.loaded] == [len(DOCUMENTS) + len(SAMPLES), 0]  # samples for binary
    # Setups needn't be crossed.
    compare([setups[0], setups[3]], JUDGED, load=load)
    assert [encoder.n_documents for *_, encoder in load.loaded[2:]] == [len(DOCUMENTS) + len(SAMPLES), 0]


def test_differences_are_to_the_first_and_paired(load):
    first, *others = compare(crossed(k=[5, 15, 30]), JUDGED, load=load)
    before = first.evaluation.by_query["reranked"]["nDCG@10"]

    assert first.difference is None
    for other in others:
        assert other.difference == difference(before, other.evaluation.by_query["reranked"]["nDCG@10"])
    assert others[-1].difference.mean > 0


def test_a_model_is_loaded_and_a_document_encoded_once_for_all_codecs_and_depths(load):
    compare(crossed(model=["a", "b"], k=[5, 30], codec=["int8", "int4", "binary"]), JUDGED, load=load)

    assert [(model, pooling) for model, pooling, _ in load.loaded] == [("a", 1), ("b", 1)]
    assert [encoder.n_documents for *_, encoder in load.loaded] == [len(DOCUMENTS) + len(SAMPLES)] * 2  # samples for binary


def test_what_a_given_store_holds_is_not_encoded_and_what_it_lacks_is_kept(load, tmp_path):
    with DiskStore(tmp_path / "store") as store:
        Reranker(FakeEncoder(), store=store).index(DOCUMENTS[:10])
        compare(crossed(codec=["int8"], k=[30]), JUDGED, store=store, load=load)
        assert load.loaded[0][2].n_documents == 20
        compare(crossed(codec=["int8", "binary"], k=[5, 30]), JUDGED, store=store, load=load)
        assert load.loaded[1][2].n_documents == 30 + len(SAMPLES)  # for binary alone
        compare(crossed(codec=["int8", "binary"], k=[5, 30]), JUDGED, store=store, load=load)
        assert load.loaded[2][2].n_documents == len(SAMPLES)


def test_bytes_a_token_are_a_vectors_shared_by_the_pooled(load):
    found = compare(crossed(codec=["int8", "binary"], pooling=[1, 2]), JUDGED, load=load)
    sizes = {(each.setup.codec, each.setup.pooling): each.bytes_per_token for each in found}

    assert sizes == {("int8", 1): 68, ("int8", 2): 34.0, ("binary", 1): 12, ("binary", 2): 6.0}
    assert {each.backend for each in found} == {"the encoder's own"}


def test_candidates_of_unjudged_queries_are_not_encoded(load):
    run = {**JUDGED.run, "unjudged": [Candidate("something else", "x")]}
    compare(crossed(), Judged(run, QUERIES, QRELS), load=load)

    assert load.loaded[0][2].n_documents == len(DOCUMENTS)


class Named(FakeEncoder):
    """An encoder that describes itself."""

    name, pooling, query_tokens = "a model", 3, 32
    backend = SimpleNamespace(name="engine")


def test_an_encoder_that_remembers_tells_what_the_encoder_tells():
    assert isinstance(Remembering(Named()), DescribesItself)
    for encoder in (Named(), FakeEncoder()):
        assert described(Remembering(encoder)) == described(encoder)
    queries = Remembering(FirstWord())
    assert (queries.query_encoder, queries.query_fingerprint) == ("fast", "first words")


def test_an_encoder_that_remembers_encodes_a_batch_once():
    encoder = FakeEncoder()
    remembering = Remembering(encoder)
    first = remembering.encode_document(["cats", "dogs"])

    assert remembering.encode_document(iter(["cats", "dogs"])) is first
    assert encoder.n_documents == 2
    remembering.encode_document(["dogs"])
    assert encoder.n_documents == 3


def test_a_row_of_a_report_holds_the_setup_and_its_figures(load):
    first, second = (each.to_dict() for each in compare(crossed(k=[5, 30]), JUDGED, load=load))

    assert list(first)[:7] == ["model", "pooling", "query_encoder", "codec", "scoring", "k", "first_stage_weight"]
    assert (first["difference"], second["difference"].keys()) == (None, {"mean", "low", "high", "p"})
    assert json.loads(json.dumps(second)) == second


def test_no_setups_are_refused(load):
    with pytest.raises(ValueError, match="no setups"):
        compare([], JUDGED, load=load)


def test_a_store_that_was_given_stays_open(load):
    store = MemoryStore()
    compare(crossed(), JUDGED, store=store, load=load)

    assert store.stats()["n_documents"] == len(DOCUMENTS)


class TestSingleVectors:
    """The bi-encoder in a Reranker's place, with a fake model's vectors."""

    @pytest.fixture
    def bi_encoder(self, monkeypatch):
        from late_rerank.evaluate import single_vector

        class Bag(FakeEncoder):
            def __init__(self, model, *, device=None):
                super().__init__()

            def _means(self, texts):
                found = self._encode(texts)
                sums = np.add.reduceat(found.values, found.offsets[:-1])
                return sums / np.linalg.norm(sums, axis=1, keepdims=True)

            def encode_query(self, texts):
                return self._means(texts)

            def encode_document(self, texts, *, progress=False):
                self.n_documents += len(texts)
                return self._means(texts) if texts else np.empty((0, self.dim), dtype=np.float32)

        monkeypatch.setattr(single_vector, "SingleVectorEncoder", Bag)
        return single_vector.SingleVectorReranker("any")

    def test_candidates_are_ordered_by_cosine_and_equal_ones_keep_their_order(self, bi_encoder):
        candidates = [
            Candidate(text, str(i), float(-i)) for i, text in enumerate(["dog", "cat dog", "cat", "bird", "cat", "cat"])
        ]
        (found,) = bi_encoder.rank(["cat"], [candidates])

        assert [(document.index, document.rank) for document in found][:4] == [(2, 1), (4, 2), (5, 3), (1, 4)]
        assert [found[i].score for i in (0, 3)] == pytest.approx([1, 2**-0.5], abs=0.1)
        assert (found[3].id, found[3].candidate_score, found[3].text) == ("1", -1.0, "cat dog")
        assert all(0 <= document.relevance <= 1 for document in found)
        assert found.timings_ms["total"] > 0
        assert bi_encoder.rank(["cat"], [[]]) == [[]]

    def test_blank_candidates_come_last(self, bi_encoder):
        candidates = [Candidate(" ", "blank"), Candidate("dog", "dog"), Candidate("", "empty"), Candidate("cat", "cat")]
        found, blank = bi_encoder.rank(["cat", "cat"], [candidates, [Candidate("", "empty")]])

        assert [document.id for document in found] == ["cat", "dog", "blank", "empty"]
        assert [document.score for document in found[2:]] == [-1e9, -1e9]
        assert bi_encoder.encoder.n_documents == 2
        assert [document.score for document in blank] == [-1e9]

    def test_a_document_is_encoded_once(self, bi_encoder):
        evaluate(bi_encoder, JUDGED.run, QUERIES, QRELS)
        evaluate(bi_encoder, JUDGED.run, QUERIES, QRELS)

        assert bi_encoder.encoder.n_documents == len(DOCUMENTS)
        assert bi_encoder.bytes_per_document == 256
