"""Token pooling as a choice of the user: fewer vectors of a document, of their own fingerprint, queries as they are."""

import pickle
import shutil

import numpy as np
import pytest
from checkpoints import native, pooling

from late_rerank import Reranker, explain
from late_rerank.encode import TextEncoder
from late_rerank.encode.compiled.pooling import Pooling
from late_rerank.errors import IncompatibleError
from late_rerank.maxsim import PROXIMITY
from late_rerank.maxsim.reference import proximity
from late_rerank.testing.fakes import FakeEncoder

TEXTS = ["the cat sat on the mat. what is the cat", "late interaction keeps one vector per token " * 40, "cat", "", "!"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(native(tmp_path_factory.mktemp("checkpoints") / "plain"))


@pytest.fixture(scope="module")
def plain(folder):
    return TextEncoder(folder)


@pytest.fixture(scope="module")
def halved(folder):
    return TextEncoder(folder, pooling=2)


def test_a_document_keeps_one_vector_of_two_and_a_query_all(plain, halved):
    before, after = plain.encode_document(TEXTS[:1]), halved.encode_document(TEXTS[:1])
    n = len(before.values)

    assert len(after.values) == 1 + (n - 1) // 2  # [CLS] is left alone
    np.testing.assert_allclose(np.linalg.norm(after.values, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(after.values[0], before.values[0], atol=1e-5)
    assert ((after.values @ before.values.T).max(axis=1) > 0.5).all()
    np.testing.assert_array_equal(halved.encode_query(["the cat"]).values, plain.encode_query(["the cat"]).values)


def test_a_long_document_keeps_no_more_of_each_window(plain, halved):
    """Windows of a pooling model must not share tokens: all their vectors are kept."""
    for n in (130, 200, 400):
        text = "cat " * n
        pieces = [len(piece.ids) for piece in halved._model.layout.document_pieces(text)[0]]

        assert len(pieces) > 1
        assert sum(pieces) == len(plain.encode_document([text]).values) + 3 * (len(pieces) - 1)  # markers of each
        assert len(halved.encode_document([text]).values) <= sum(1 + (length - 1) // 2 for length in pieces)


def test_a_checkpoint_that_pools_queries_alone_keeps_all_vectors_of_a_document(folder, plain, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    encoder = TextEncoder(str(pooling(tmp_path / "model", "query")))
    texts = ["cat " * 200, "the cat"]
    lengths = [sum(len(piece.ids) for piece in encoder._model.layout.document_pieces(text)[0]) for text in texts]

    vectors = encoder.encode_document(texts)
    assert vectors.lengths.tolist() == lengths
    np.testing.assert_allclose(vectors.rows(1), plain.encode_document(texts).rows(1), atol=1e-5)
    assert len(encoder.encode_query(["the cat"]).values) < len(plain.encode_query(["the cat"]).values)


def test_the_vectors_are_sentence_transformers_own_in_the_order_of_first_tokens(folder, plain, halved):
    import torch
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    tokens, ours = (encoder.encode_document(TEXTS[:1]).values for encoder in (plain, halved))
    theirs = HierarchicalTokenPooling(2).pool([torch.tensor(tokens)])[0].numpy()
    assert len(theirs) == len(ours)
    same = (ours @ theirs.T).argmax(axis=1)
    assert same[0] == 0
    assert sorted(same) == list(range(len(theirs)))
    np.testing.assert_allclose(ours, theirs[same], atol=1e-5)
    distances = squareform(np.clip(1 - tokens[1:] @ tokens[1:].T, 0, 2), checks=False)
    cluster = fcluster(linkage(distances, method="ward"), t=len(theirs) - 1, criterion="maxclust").tolist()
    first = [cluster.index(each) for each in sorted(set(cluster))]  # sentence-transformers' rows have SciPy's order
    assert first != sorted(first)
    assert [first[i - 1] for i in same[1:]] == sorted(first)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n_protected", [0, 1])
def test_merged_vectors_stand_in_the_order_of_their_first_tokens(n_protected, seed):
    """Six directions, of which each token is near one: by themselves, SciPy's clusters come in an order of their own."""
    rng = np.random.default_rng(seed)
    which = np.append(rng.permutation(6), rng.integers(0, 6, 12))
    rng.shuffle(which)
    tokens = np.float32(np.eye(8)[which] + rng.normal(0, 0.01, (18, 8)))
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    opening = np.float32(np.eye(8)[7:])[:n_protected]
    merged = Pooling(3, n_protected, normalises=True, kinds=("document",))(np.concatenate([opening, tokens]))

    assert merged[:n_protected].tolist() == opening.tolist()
    assert merged[n_protected:].argmax(axis=1).tolist() == list(dict.fromkeys(which.tolist()))
    means = [tokens[which == direction].mean(axis=0) for direction in dict.fromkeys(which.tolist())]
    np.testing.assert_allclose(merged[n_protected:], means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize(("factor", "windows"), [(2, (12, 72, 144)), (1.5, (16, 96, 192))])
def test_a_checkpoint_that_pools_by_itself_is_scored_by_windows_of_fewer_vectors(backend, factor, windows, tmp_path):
    encoder = TextEncoder(str(pooling(native(tmp_path / "model"), factor=factor, of_unit=True)), backend=backend)
    assert (encoder.pooling, encoder.unpooled().pooling, encoder.backend.name) == (factor, 1, backend)
    text, query = " ".join(TEXTS[:2]), "what is the cat"
    reranker = Reranker(encoder, codec="float32")
    (found,) = reranker.rerank(query, [text])
    rows = encoder.encode_document([text]).values
    expected = proximity(encoder.encode_query([query]).values, rows, windows)
    assert found.score == pytest.approx(expected, rel=1e-5)
    assert found.score != pytest.approx(proximity(encoder.encode_query([query]).values, rows, PROXIMITY.window_tokens))
    assert (found.best_span, reranker.scoring, reranker.stats()["pooling"]) == (None, PROXIMITY, factor)


def test_a_checkpoint_that_pools_queries_alone_is_scored_by_whole_windows(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    assert Reranker(str(pooling(tmp_path / "model", "query"))).stats()["pooling"] == 1


def test_a_pooling_of_another_kind_keeps_its_own_way():
    import torch
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    from late_rerank.encode.torch.pooling import keep_order, poolings

    class Own(HierarchicalTokenPooling):
        def pool_one(self, embedding, **_):
            return embedding[:1]

    own, known = Own(2), HierarchicalTokenPooling(2)
    keep_order([own, known])
    rows = torch.nn.functional.normalize(torch.randn(9, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert [len(each.pool([rows])[0]) for each in (own, known)] == [1, 5]
    assert [each.factor for each in poolings([own, known])] == [2]


def test_each_factor_has_a_fingerprint_of_its_own(folder, plain, halved):
    assert len({encoder.fingerprint for encoder in (plain, halved, TextEncoder(folder, pooling=3))}) == 3
    assert TextEncoder(folder, pooling=1).fingerprint == plain.fingerprint
    assert TextEncoder(folder, pooling=2).fingerprint == halved.fingerprint


def test_vectors_do_not_depend_on_neighbours(halved):
    together = halved.encode_document(TEXTS)
    for i, text in enumerate(TEXTS):
        np.testing.assert_allclose(together.one(i).values, halved.encode_document([text]).values, atol=1e-5)
    assert len(together.one(3).values) == 0


def test_before_pooling_it_is_the_plain_model(plain, halved):
    found = halved.unpooled()

    assert found.fingerprint not in (plain.fingerprint, halved.fingerprint)
    np.testing.assert_allclose(found.encode_document(TEXTS[:1]).values, plain.encode_document(TEXTS[:1]).values, atol=1e-6)
    assert len(found.tokens(TEXTS[0], "document")) == len(plain.tokens(TEXTS[0], "document"))
    with pytest.raises(IncompatibleError, match="pools the tokens of a document"):
        halved.tokens(TEXTS[0], "document")
    assert halved.tokens("the cat", "query")
    assert explain(Reranker(halved), "the cat", TEXTS[0]).pooled


def test_a_reranker_pools_and_says_so(folder, halved, tmp_path):
    with Reranker(folder, pooling=2, store=tmp_path / "store", backend="torch") as reranker:
        first = reranker.rerank("what is the cat", TEXTS)
        assert reranker.stats()["pooling"] == reranker.arguments["pooling"] == 2
        assert reranker.encoder.fingerprint == halved.fingerprint
        again = pickle.loads(pickle.dumps(reranker))
        with again:
            assert again.encoder.fingerprint == halved.fingerprint
            second = again.rerank("what is the cat", TEXTS)
            assert (second.n_hits, second.n_misses) == (4, 0)
            assert [d.index for d in second] == [d.index for d in first]
    with Reranker(folder, store=tmp_path / "store", backend="torch") as reranker:
        assert reranker.rerank("what is the cat", TEXTS).n_hits == 0  # a space of its own
        assert reranker.stats()["pooling"] == 1


def test_it_is_described(plain, halved, folder, tmp_path):
    own = TextEncoder(str(pooling(native(tmp_path / "model"))))

    assert [encoder.describe()["pooling"] for encoder in (plain, halved, own)] == [1, 2, "the checkpoint's own"]


@pytest.mark.parametrize(
    ("factor", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), ("2", TypeError)]
)
def test_a_wrong_factor_is_refused_before_a_model_is_loaded(factor, error, tmp_path):
    for make in (
        lambda: Reranker("/nowhere", pooling=factor, store=tmp_path / "store"),
        lambda: TextEncoder("x", pooling=factor),
    ):
        with pytest.raises(error, match="pooling must be"):
            make()
    assert not (tmp_path / "store").exists()


def test_an_encoder_pools_by_itself(tmp_path):
    for store in (None, tmp_path / "store"):
        with pytest.raises(ValueError, match=r"got an Encoder \(FakeEncoder\).*TextEncoder\(name, pooling=2\)"):
            Reranker(FakeEncoder(), pooling=2, store=store)
    assert not (tmp_path / "store").exists()
    assert Reranker(FakeEncoder(), pooling=1).stats()["pooling"] == 1


def test_a_checkpoint_that_pools_already_is_refused(tmp_path):
    pooled = str(pooling(native(tmp_path / "model")))

    with pytest.raises(IncompatibleError, match="pools its tokens already"):
        Reranker(pooled, pooling=2, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert Reranker(pooled).encoder.pooling == 2
