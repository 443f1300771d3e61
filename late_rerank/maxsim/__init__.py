"""The score. In: one query's token vectors and packed documents. Out: one float32 a document.

README.md beside this file is the definition; `reference.py` is its obvious implementation, and the judge of the others.
"""

from __future__ import annotations

from late_rerank.codecs import Codec, Float32Codec
from late_rerank.maxsim.base import Kernel
from late_rerank.maxsim.numpy_kernel import NumpyKernel
from late_rerank.types import F32, PackedVectors, TokenVectors

__all__ = ["Kernel", "NumpyKernel", "kernel", "score", "token_maxima"]


def kernel(name: str = "auto", device: str | None = None) -> Kernel:
    """The kernel of that name.

    Args:
        name: "numpy", "torch", or "auto": torch where `device` is an accelerator, else NumPy.
        device: A torch device, for the torch kernel.

    Raises:
        ValueError: No kernel has that name.
    """
    accelerated = device is not None and not device.startswith("cpu")
    if name == "torch" or (name == "auto" and accelerated):
        from late_rerank.maxsim.torch_kernel import TorchKernel  # noqa: PLC0415 - loads torch

        return TorchKernel(device or "cpu")
    if name in ("auto", "numpy"):
        return NumpyKernel()
    raise ValueError(f"kernel={name!r} is not known; choose 'auto', 'numpy' or 'torch', or pass a Kernel")


def score(kernel: Kernel, codec: Codec, query: TokenVectors, documents: PackedVectors) -> F32:
    """`kernel.score`, after decoding if the kernel can't score this packing in place.

    Returns:
        (n_documents,) float32, in the order of `documents`.
    """
    return kernel.score(query, _scorable(kernel, codec, documents))


def token_maxima(kernel: Kernel, codec: Codec, query: TokenVectors, documents: PackedVectors) -> F32:
    """`kernel.token_maxima`, after decoding if the kernel can't score this packing in place.

    Returns:
        (n_documents, n_query_tokens) float32, in the order of `documents`.
    """
    return kernel.token_maxima(query, _scorable(kernel, codec, documents))


def _scorable(kernel: Kernel, codec: Codec, documents: PackedVectors) -> PackedVectors:
    if documents.codec.name in kernel.codecs:
        return documents
    return Float32Codec().encode(codec.decode(documents))
