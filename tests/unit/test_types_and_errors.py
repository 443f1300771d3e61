import copy
import dataclasses
import pickle

import numpy as np
import pytest

import late_rerank
from late_rerank import Candidate, RankedDocument, Ranking, errors
from late_rerank.codecs import Float16Codec, codec, from_spec
from late_rerank.ranking.relevance import relevance
from late_rerank.types import CodecSpec, TokenVectors
from late_rerank.vectors.keys import key_of


def test_token_vectors_check_their_shapes():
    values = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match="float32, got shape"):
        TokenVectors(values.astype(np.float64), np.array([0, 3]))
    with pytest.raises(ValueError, match="offsets must be"):
        TokenVectors(values, np.array([0, 3], np.int32))
    for offsets in ([0, 2], [1, 3], [0, 4], [0, 2, 1, 3]):
        with pytest.raises(ValueError, match="offsets must rise from 0 to 3"):
            TokenVectors(values, np.array(offsets))
    with pytest.raises(ValueError, match="truncated must be"):
        TokenVectors(values, np.array([0, 3]), np.array([True, False]))


def test_a_candidate_needs_text():
    with pytest.raises(TypeError, match="must be a str, got int"):
        Candidate(3)


def test_candidates_can_be_pickled_copied_and_made_dicts():
    candidate = Candidate("x")

    assert pickle.loads(pickle.dumps(candidate)) == copy.deepcopy(candidate) == candidate
    assert dataclasses.asdict(candidate) == {
        "text": "x",
        "id": None,
        "score": None,
        "metadata": {},
        "image": None,
        "token_vectors": None,
    }


@pytest.mark.parametrize("later", [("image", "token_vectors"), ("token_vectors",)])
def test_pickles_of_before_documents_had_images_or_token_vectors_are_read(later):
    candidate, document = Candidate("x"), RankedDocument("x", None, 1.0, 1.0, 1, 0, None, truncated=False, metadata={})
    older = Candidate.__new__(Candidate)
    older.__setstate__(candidate.__getstate__()[: -len(later)])
    ranked = RankedDocument.__new__(RankedDocument)
    ranked.__setstate__((None, {name: value for name, value in document.__getstate__()[1].items() if name not in later}))

    assert older == candidate
    assert ranked == document


def test_a_ranking_is_a_list():
    assert Ranking() == []
    assert Ranking().timings_ms == {}


def test_keys_are_digests_of_content():
    assert key_of("a") == key_of("a") != key_of("b")
    assert len(key_of("\ud800")) == 16
    assert key_of("ä").hex() == "cb4d3892d2cb5e6b1bd63f7e4247a02e"  # on disk for years: it must never change


def test_relevance_is_the_clipped_mean():
    assert relevance(np.array([-1e9, -1, 1, 3, 4], np.float32), 4).tolist() == [0, 0, 0.25, 0.75, 1]


def test_codecs_are_found_by_name_and_by_spec():
    spec = codec("int8").spec(48)

    assert from_spec(spec).name == "int8"
    with pytest.raises(ValueError, match="codec='int9' is not known; choose one of 'float32'"):
        codec("int9")
    with pytest.raises(ValueError, match="can't be read"):
        from_spec(CodecSpec("int8", 48, {"codes": 24}))


def test_float16_refuses_what_it_cannot_hold():
    with pytest.raises(ValueError, match="65,504"):
        Float16Codec().encode(TokenVectors(np.full((1, 2), 1e6, np.float32), np.array([0, 1])))


def test_the_public_names_are_these():
    assert late_rerank.__all__ == [
        "Candidate",
        "Context",
        "Explanation",
        "FusedReranker",
        "IndexReport",
        "RankedDocument",
        "Ranking",
        "Reranker",
        "Searcher",
        "__version__",
        "explain",
        "pack_context",
    ]
    for name in late_rerank.__all__:
        assert getattr(late_rerank, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        late_rerank.nothing  # noqa: B018
    assert set(late_rerank.__all__) <= set(dir(late_rerank))


def test_every_error_is_a_late_rerank_error_and_the_builtin_that_users_expect():
    tree = {
        errors.MissingDependencyError: ImportError,
        errors.IncompatibleError: ValueError,
        errors.ModelError: ValueError,
        errors.SavedRetrieverError: ValueError,
        errors.StoreFormatError: ValueError,
        errors.StoreConnectionError: ConnectionError,
        errors.MissingDocumentsError: KeyError,
    }
    for error, builtin in tree.items():
        assert issubclass(error, (errors.LateRerankError, builtin))
        assert issubclass(error, builtin)
