from late_rerank.codecs import Float16Codec, Float32Codec, Int8Codec
from late_rerank.testing import CodecTests


class TestFloat32Codec(CodecTests):
    max_error = 0.0

    def make_codec(self):
        return Float32Codec()


class TestFloat16Codec(CodecTests):
    max_error = 2**-11

    def make_codec(self):
        return Float16Codec()


class TestInt8Codec(CodecTests):
    max_error = 1 / 254 * 1.001

    def make_codec(self):
        return Int8Codec()
