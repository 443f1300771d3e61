import numpy as np
import pytest

from late_rerank.encode import CanUnpool, DescribesItself, Description, TellsTokens, described, unpooled
from late_rerank.testing import EncoderTests
from late_rerank.testing.fakes import FakeEncoder


class TestFakeEncoder(EncoderTests):
    @classmethod
    def make_encoder(cls):
        return FakeEncoder()


class TestMiniLM(EncoderTests):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, minilm):
        return minilm


class TestStanfordCheckpoint(EncoderTests):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory):
        from checkpoints import stanford

        from late_rerank.encode import TextEncoder

        return TextEncoder(str(stanford(tmp_path_factory.mktemp("stanford"))))


class TestPoolingCheckpoint(EncoderTests):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory):
        from checkpoints import native

        from late_rerank.encode import TextEncoder

        return TextEncoder(str(native(tmp_path_factory.mktemp("native"))), pooling=2)


class TestCheckpointThatPoolsByItself(EncoderTests):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory):
        from checkpoints import native, pooling

        from late_rerank.encode import TextEncoder

        return TextEncoder(str(pooling(native(tmp_path_factory.mktemp("native") / "model"), factor=1.5, of_unit=True)))


class Plain:
    """An encoder with the mandatory half alone."""

    def __init__(self):
        self._encoder = FakeEncoder()
        self.dim, self.fingerprint = self._encoder.dim, "plain"

    def encode_query(self, texts):
        return self._encoder.encode_query(texts)

    def encode_document(self, texts):
        return self._encoder.encode_document(texts)


class TestWithoutTheOptionalHalf(EncoderTests):
    @classmethod
    def make_encoder(cls):
        return Plain()

    def test_it_is_described_by_defaults_and_is_itself_before_pooling(self, encoder):
        about = described(encoder)
        assert (about.name, about.backend.name, about.pooling, about.query_tokens) == ("Plain", "the encoder's own", 1, None)
        assert unpooled(encoder) is encoder
        assert not isinstance(encoder, (TellsTokens, CanUnpool, DescribesItself))


def test_each_attribute_of_a_description_counts_by_itself():
    encoder = Plain()
    encoder.name, encoder.pooling = "mine", 3
    assert (described(encoder).name, described(encoder).pooling) == ("mine", 3)
    encoder.backend, encoder.query_tokens = described(encoder).backend, 32
    assert isinstance(encoder, DescribesItself)
    assert described(encoder) == Description("mine", encoder.backend, 3, 32)


def test_a_description_is_a_description_of_its_own(minilm):
    about = described(minilm)
    assert isinstance(about, DescribesItself)
    assert (about.name, about.backend, about.pooling, about.query_tokens) == ("minilm", minilm.backend, 1, 64)
    assert all(isinstance(minilm, kind) for kind in (TellsTokens, CanUnpool, DescribesItself))


def test_a_lone_surrogate_is_the_replacement_character_to_every_encoder(minilm):
    from late_rerank.encode.single import SingleVectorEncoder

    lone, replaced, asked = "lone \ud800 surrogate", "lone \ufffd surrogate", "lone ? surrogate"
    single = SingleVectorEncoder("minilm", device="cpu")
    for encoder in (minilm, single):
        for encode in (encoder.encode_query, encoder.encode_document):
            ours, theirs, others = (getattr(found := encode([text]), "values", found) for text in (lone, replaced, asked))
            np.testing.assert_array_equal(ours, theirs)
            assert ours.shape != others.shape or not np.allclose(ours, others)


@pytest.mark.parametrize(("cap", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError), ("9", TypeError)])
def test_a_wrong_cap_on_tokens_is_refused_before_a_model_is_loaded(cap, error):
    from late_rerank.encode import TextEncoder

    with pytest.raises(error, match="max_tokens must be"):
        TextEncoder("/nowhere", max_tokens=cap)
