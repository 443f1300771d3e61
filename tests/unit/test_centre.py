"""codec="binary" for models whose token vectors share a large part: which codec a Reranker takes, and what that is worth."""

import pickle

import numpy as np
import pytest

from late_rerank import Reranker
from late_rerank.codecs import BinaryCodec, Float32Codec
from late_rerank.encode.samples import SAMPLES
from late_rerank.errors import StoreConnectionError, StoreError
from late_rerank.maxsim import MAXSIM, NumpyKernel, reference
from late_rerank.stores import DiskStore, MemoryStore, PublishedStore, TieredStore
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.vectors import random_vectors
from late_rerank.types import CodecSpec, TokenVectors
from late_rerank.vectors.centre import shared_part

TEXTS = ["the cat sat", "dogs and cats", "a cat on a mat", "nothing of the kind", "cat cat cat"]


def with_common_part(vectors, weight=4.4):
    """Unit vectors to which a common one is added: the mean cosine of two of them is .95."""
    values = vectors.values + np.float32(weight) * random_vectors([1], vectors.dim, seed=99).values[0]
    return TokenVectors(values / np.linalg.norm(values, axis=1, keepdims=True), vectors.offsets, vectors.truncated)


class AlikeEncoder(FakeEncoder):
    """A FakeEncoder all of whose vectors are alike. On another `machine` they differ in rounding."""

    def __init__(self, machine=0, dim=64):
        super().__init__(dim)
        self.fingerprint = f"alike-{dim}"
        self.machine = machine

    def _encode(self, texts):
        vectors = with_common_part(super()._encode(texts))
        rounding = np.random.default_rng(self.machine).normal(0, 0.016 / self.dim**0.5, vectors.values.shape).astype(np.float32)
        return TokenVectors(vectors.values + rounding, vectors.offsets, vectors.truncated)


def made(encoder=None, **arguments):
    return Reranker(encoder or AlikeEncoder(), **{"codec": "binary", **arguments})


def is_centred(reranker):
    assert reranker.stats()["codec_centred"] == (reranker.codec.centre is not None)
    return reranker.codec.centre is not None


def filled(store, codec, encoder=None):
    """Index documents by a codec that is given as an object."""
    made(encoder, store=store, codec=codec).index(TEXTS)
    return store


CENTRE = np.linspace(-0.5, 0.5, 64, dtype=np.float32)


class TestWithoutAStore:
    def test_vectors_that_share_a_large_part_get_a_centre(self):
        reranker = made()
        vectors = AlikeEncoder().encode_document(SAMPLES)
        np.testing.assert_allclose(reranker.codec.centre, vectors.values.mean(axis=0), atol=1e-3)
        assert is_centred(reranker)
        assert reranker.stats()["codec"] == "binary"

    def test_other_vectors_get_none(self, fake):
        assert not is_centred(made(fake))
        assert fake.n_documents == len(SAMPLES)

    @pytest.mark.parametrize("name", ["minilm", "minilm-late"])
    def test_the_built_in_models_get_none(self, minilm, name):
        from late_rerank.encode import TextEncoder

        encoder = minilm if name == "minilm" else TextEncoder(name)
        assert not is_centred(made(encoder))
        values = encoder.encode_document(SAMPLES).values
        assert np.square(values.mean(axis=0)).sum() < 0.25

    @pytest.mark.parametrize("codec", ["int8", "int4", "float16", "float32", BinaryCodec(), BinaryCodec(CENTRE)])
    def test_a_codec_of_another_name_and_a_codec_object_are_taken_as_given(self, codec):
        encoder = AlikeEncoder()
        reranker = made(encoder, codec=codec)
        assert encoder.n_documents == 0
        assert codec in (reranker.codec, reranker.codec.name)

    def test_the_least_cosine_is_a_half(self):
        rows = random_vectors([4000], 64)
        for weight, centred in ((0.95, False), (1.1, True)):
            encoder = _Given(with_common_part(rows, weight).values)
            assert (shared_part(encoder) is not None) == centred, np.square(encoder.rows.mean(axis=0)).sum()

    def test_long_vectors_count_by_their_directions(self):
        """The centre is the mean of the vectors as they are."""
        rows = with_common_part(random_vectors([400], 64)).values * 30
        np.testing.assert_allclose(shared_part(_Given(rows)), rows.mean(axis=0), atol=1e-3)
        rows = np.concatenate([random_vectors([4000], 64).values, rows[:1] * 1000])
        assert shared_part(_Given(rows)) is None

    def test_a_single_vector_shares_nothing(self):
        assert shared_part(_Given(random_vectors([1], 64).values)) is None
        assert shared_part(_Given(np.empty((0, 64), np.float32))) is None
        assert shared_part(_Given(np.zeros((5, 64), np.float32))) is None


class _Given:
    """Gives these rows for the first text, and none for the others."""

    fingerprint = "given"

    def __init__(self, rows):
        self.rows, self.dim = rows, rows.shape[1]

    def encode_document(self, texts):
        return TokenVectors.from_arrays([self.rows, *[self.rows[:0]] * (len(texts) - 1)], self.dim)

    encode_query = encode_document


class TestEncodersThatFail:
    """The start must not fail with them: an encoder may know its own documents alone."""

    def test_an_error_is_a_warning(self):
        def fail(texts):
            if texts[0] in SAMPLES:
                raise KeyError(texts[0])

        encoder = FakeEncoder(before_document=fail)
        with pytest.warns(RuntimeWarning, match=r"failed on sample texts: KeyError.*BinaryCodec\(their mean\)"):
            reranker = made(encoder)
        assert not is_centred(reranker)
        assert reranker.rerank("cat mat", TEXTS)[0].text == "a cat on a mat"

    @pytest.mark.parametrize(
        "answer",
        [
            None,
            TokenVectors(np.full((len(SAMPLES), 64), np.nan, np.float32), np.arange(len(SAMPLES) + 1)),
            random_vectors([3], 64),
            random_vectors([1] * len(SAMPLES), 63),
        ],
    )
    def test_vectors_that_are_none_are_a_warning(self, fake, answer):
        fake.encode_document = lambda texts: answer
        with pytest.warns(RuntimeWarning, match="failed on sample texts"):
            assert not is_centred(made(fake))

    def test_ctrl_c_is_none_of_them(self, fake):
        def interrupted(texts):
            raise KeyboardInterrupt

        fake.encode_document = interrupted
        with pytest.raises(KeyboardInterrupt):
            made(fake)


class TestAStoreThatHasVectors:
    def test_its_centre_is_taken_on_though_this_machines_is_another(self):
        store = MemoryStore()
        first = made(store=store)
        first.index(TEXTS)
        encoder = AlikeEncoder(machine=1)
        second = made(encoder, store=store)
        assert (second.codec.centre == first.codec.centre).all()
        assert encoder.n_documents == 0
        assert second.rerank("cat", TEXTS).n_hits == 5
        assert (made(AlikeEncoder(machine=1)).codec.centre != first.codec.centre).any()

    def test_a_folder_that_is_opened_again(self, tmp_path):
        with made(store=tmp_path / "store") as first:
            first.index(TEXTS)
            ranked = first.rerank("cat mat", TEXTS)
        with made(AlikeEncoder(machine=1), store=tmp_path / "store") as second:
            again = second.rerank("cat mat", TEXTS)
            assert again.n_hits == 5
            assert is_centred(second)
            assert [document.index for document in again] == [document.index for document in ranked]
            third = pickle.loads(pickle.dumps(second))
            assert (third.codec.centre == first.codec.centre).all()
            third.close()

    @pytest.mark.parametrize("dim", [64, 2048])
    def test_a_store_verifies_publishes_and_rebuilds_it(self, tmp_path, dim):
        """At dim 2048 a centre takes 5.5 kB: a segment's header has two pages."""
        with DiskStore(tmp_path / "store") as store:
            ranked = made(AlikeEncoder(dim=dim), store=store).rerank("cat mat", TEXTS)
            assert store.verify().problems == []
            assert [space["codec"] for space in store.stats()["spaces"]] == ["binary"]
            store.compact(min_live=1)
            store.publish(tmp_path / "published")
        (tmp_path / "store" / "index.sqlite").unlink()
        with pytest.warns(UserWarning, match="lost its index"):
            rebuilt = DiskStore(tmp_path / "store")
        for store in (rebuilt, PublishedStore(tmp_path / "published", check=True)):
            with store:
                again = made(AlikeEncoder(machine=1, dim=dim), store=store, on_missing="raise").rerank("cat mat", TEXTS)
                assert again.n_hits == 5
                assert again[0].index == ranked[0].index

    def test_vectors_stored_without_a_centre_stay_in_use(self):
        store = filled(MemoryStore(), BinaryCodec())
        reranker = made(store=store)
        assert not is_centred(reranker)
        assert reranker.rerank("cat", TEXTS).n_hits == 5

    def test_a_centre_comes_before_none(self):
        store = filled(filled(MemoryStore(), BinaryCodec()), BinaryCodec(CENTRE))
        assert (made(store=store).codec.centre == BinaryCodec(CENTRE).centre).all()

    def test_the_oldest_of_two_centres_is_taken(self):
        store = filled(filled(MemoryStore(), BinaryCodec(CENTRE)), BinaryCodec(-CENTRE))
        assert (made(store=store).codec.centre == BinaryCodec(CENTRE).centre).all()

    def test_a_space_without_documents_does_not_count_beside_one_that_has_some(self):
        store = MemoryStore()
        made(store=store, codec=BinaryCodec(CENTRE))
        filled(store, BinaryCodec())
        assert not is_centred(made(store=store))

    def test_documents_that_were_all_deleted_leave_the_choice_free(self, tmp_path):
        with DiskStore(tmp_path / "store") as store:
            filled(store, BinaryCodec())
            assert not is_centred(made(store=store))
            store.drop("alike-64")
            assert is_centred(made(store=store))
        store = MemoryStore()
        made(store=store, codec=BinaryCodec())  # opened, but nothing was put
        assert is_centred(made(store=store))

    def test_vectors_of_another_model_dim_or_codec_do_not_count(self, fake):
        store = filled(MemoryStore(), BinaryCodec(CENTRE))
        assert not is_centred(made(fake, store=store))
        other = AlikeEncoder(dim=32)
        other.fingerprint = "alike-64"
        assert len(made(other, store=store).codec.centre) == 32
        assert is_centred(made(store=filled(MemoryStore(), "int8")))

    def test_a_space_that_this_version_cannot_read_is_passed_over(self):
        store, plain = MemoryStore(), BinaryCodec().spec(64)
        for config in ({**plain.config, "n_rounds": 4}, {**plain.config, "centre": "?"}):
            store.space("alike-64", CodecSpec("binary", 64, plain.columns, config))
        assert (made(store=store).codec.centre == made().codec.centre).all()

    def test_two_that_begin_at_once_are_both_right(self, tmp_path):
        with DiskStore(tmp_path / "store") as one, DiskStore(tmp_path / "store") as other:
            first, second = made(store=one), made(AlikeEncoder(machine=1), store=other)
            assert (first.codec.centre != second.codec.centre).any()
            for reranker in (second, first):
                reranker.index(TEXTS)
                assert reranker.rerank("cat mat", TEXTS)[0].text == "a cat on a mat"
            assert (made(AlikeEncoder(machine=2), store=one).codec.centre == second.codec.centre).all()

    def test_the_far_store_of_two_decides(self):
        far = MemoryStore()
        first = made(store=far)
        first.index(TEXTS)
        tiered = made(AlikeEncoder(machine=1), store=TieredStore(MemoryStore(), far))
        assert (tiered.codec.centre == first.codec.centre).all()
        assert tiered.rerank("cat", TEXTS).n_hits == 5


class TestAStoreThatCannotBeRead:
    @pytest.mark.parametrize("error", [StoreError("gone"), StoreConnectionError("down"), OSError("disk")])
    def test_the_sample_texts_decide(self, fake, error):
        class Unlisted(MemoryStore):
            def spaces(self):
                raise error

        assert is_centred(made(store=Unlisted()))
        assert not is_centred(made(fake, store=Unlisted()))

    def test_spaces_that_cannot_be_counted_hold_nothing(self):
        store = filled(MemoryStore(), BinaryCodec())
        (space,) = store.spaces()
        type(space).__len__, counted = _failing, type(space).__len__
        try:
            assert is_centred(made(store=store))
        finally:
            type(space).__len__ = counted

    def test_a_redis_server_that_is_down(self):
        pytest.importorskip("redis", reason='needs the package redis: pip install "late-rerank[redis]"')
        from late_rerank.stores import RedisStore

        with RedisStore("redis://127.0.0.1:1/0", timeout_s=0.2) as store:
            with pytest.warns(RuntimeWarning):
                reranker = made(store=store)
            assert is_centred(reranker)
            assert reranker.rerank("cat mat", TEXTS)[0].text == "a cat on a mat"


def _failing(space):
    raise StoreError("gone")


def test_scores_are_those_of_the_decoded_vectors():
    encoder = AlikeEncoder()
    for kernel in ("auto", NumpyKernel(), _Float32Kernel()):
        reranker = made(encoder, kernel=kernel, scoring=MAXSIM)
        scores = {document.index: document.score for document in reranker.rerank("a cat on the mat", TEXTS)}
        decoded = reranker.codec.decode(reranker.codec.encode(encoder.encode_document(TEXTS)))
        query = encoder.encode_query(["a cat on the mat"]).values
        expected = reference.score(query, [decoded.rows(i) for i in range(len(TEXTS))])
        np.testing.assert_allclose([scores[i] for i in range(len(TEXTS))], expected, atol=0.02)
        own = reranker.similarity(TEXTS[0], [TEXTS[0], TEXTS[3]])
        assert own[0] > own[1] > 0.9


class _Float32Kernel(NumpyKernel):
    """Gets decoded documents."""

    codecs = frozenset({"float32"})


def test_a_centre_gives_back_what_a_common_part_takes_from_the_ranking():
    """Documents of 20 tokens about a topic; each query repeats some tokens of a document, blurred."""
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((300, 1, 96)).astype(np.float32)
    tokens = (topics[rng.integers(0, 60, 300)] + 1.5 * rng.standard_normal((300, 20, 96))).astype(np.float32)
    blurred = tokens[:40, :6] + 1.5 * rng.standard_normal((40, 6, 96)).astype(np.float32)
    plain, queries = _unit(tokens.reshape(-1, 96), 20), _unit(blurred.reshape(-1, 96), 6)
    alike, alike_queries = with_common_part(plain), with_common_part(queries)
    assert np.square(alike.values.mean(axis=0)).sum() == pytest.approx(0.95, abs=0.01)

    without_common_part = _kept(BinaryCodec(), plain, queries)
    without_centre = _kept(BinaryCodec(), alike, alike_queries)
    # Of other documents: the centre is a model's, not a collection's.
    centred = _kept(BinaryCodec(with_common_part(random_vectors([300], 96)).values.mean(axis=0)), alike, alike_queries)
    assert centred > without_common_part - 0.05
    assert centred > without_centre + 0.2


def _unit(values, n_tokens):
    offsets = np.arange(0, len(values) + 1, n_tokens)
    return TokenVectors(values / np.linalg.norm(values, axis=1, keepdims=True), offsets)


def _kept(codec, documents, queries):
    """The share of the best ten documents by float32 that are among the best ten by the codec."""
    best = {}
    for each in (Float32Codec(), codec):
        packed = each.encode(documents)
        scores = [NumpyKernel().score(queries.one(i), packed) for i in range(len(queries))]
        best[each] = [set(np.argsort(-row)[:10].tolist()) for row in scores]
    exact, found = best.values()
    return np.mean([len(one & other) / 10 for one, other in zip(exact, found, strict=True)])
