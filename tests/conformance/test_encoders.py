import pytest

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
