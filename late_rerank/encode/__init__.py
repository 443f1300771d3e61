"""Text -> token vectors. In: a checkpoint and texts. Out: TokenVectors, and the fingerprint of what made them.

`TextEncoder` loads torch, so it is imported on first use.
"""

from typing import TYPE_CHECKING, Any

from late_rerank.encode.base import Encoder

if TYPE_CHECKING:
    from late_rerank.encode.text import TextEncoder as TextEncoder

__all__ = ["Encoder", "TextEncoder"]


def __getattr__(name: str) -> Any:
    if name == "TextEncoder":
        from late_rerank.encode.text import TextEncoder  # noqa: PLC0415

        return TextEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
