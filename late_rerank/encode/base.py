"""What an encoder is. Users may bring their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from late_rerank.types import TokenVectors


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into token vectors. Its law is `late_rerank.testing.EncoderTests`.

    Optional, for explanations: `tokens(text, kind)`, kind "query" or "document", gives a list of (token, start, end), row for
    row with the text's vectors. Offsets are code points of `text`; a token that isn't in it (a marker, a prefix, mask
    expansion) has start == end. Where an encoder pools its tokens, `tokens` raises IncompatibleError, and `unpooled()`, if
    there is one, gives an encoder that doesn't.

    Attributes:
        dim: Components of one token vector.
        fingerprint: Digest of all that changes document vectors by more than rounding. Equal fingerprints mean
            that stored vectors are exchangeable.
    """

    dim: int
    fingerprint: str

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        """Encode queries, in the order given. `truncated` says which were longer than the model takes."""

    def encode_document(self, texts: Sequence[str]) -> TokenVectors:
        """Encode documents, in the order given. A text's vectors don't depend on its neighbours."""
