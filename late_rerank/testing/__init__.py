"""Public conformance suites, as tests to inherit: the law of stores, codecs, kernels, encoders, pictures, retrievers, engines.

    from late_rerank.testing import StoreTests

    class TestMyStore(StoreTests):
        def make_store(self):
            return MyStore()

The suites need pytest. `late_rerank.testing.fakes` doesn't: FakeEncoder, and a Gate to hold threads at.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from late_rerank.testing.codecs import CodecTests as CodecTests
    from late_rerank.testing.encoders import EncoderTests as EncoderTests
    from late_rerank.testing.engines import EngineTests as EngineTests
    from late_rerank.testing.kernels import KernelTests as KernelTests
    from late_rerank.testing.pictures import PictureTests as PictureTests
    from late_rerank.testing.retrievers import RetrieverTests as RetrieverTests
    from late_rerank.testing.stores import StoreTests as StoreTests
    from late_rerank.testing.visual_encoders import VisualEncoderTests as VisualEncoderTests

_HOMES = {
    "CodecTests": "codecs",
    "EncoderTests": "encoders",
    "EngineTests": "engines",
    "KernelTests": "kernels",
    "PictureTests": "pictures",
    "RetrieverTests": "retrievers",
    "StoreTests": "stores",
    "VisualEncoderTests": "visual_encoders",
}

__all__ = [
    "CodecTests",
    "EncoderTests",
    "EngineTests",
    "KernelTests",
    "PictureTests",
    "RetrieverTests",
    "StoreTests",
    "VisualEncoderTests",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"late_rerank.testing.{_HOMES[name]}"), name)
