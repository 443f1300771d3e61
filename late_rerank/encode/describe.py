"""An encoder -> its description, and itself before pooling, whatever optional protocols it implements. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from late_rerank.encode.base import CanUnpool, DescribesItself, Encoder, Named, SeesPictures


@dataclass(frozen=True)
class OwnBackend:
    """The backend of an encoder that names none."""

    name: str = "the encoder's own"


@dataclass(frozen=True)
class Description:
    """What an encoder says of itself. Itself a DescribesItself, so a wrapping encoder can pass these attributes on.

    Attributes:
        name: The model, as the user named it; the encoder's class if it has no name.
        backend: What runs the model; only its `name` is sure to be there.
        pooling: How many token vectors of a document become one; 1 if none are merged.
        query_tokens: The most tokens of a query that count, markers included; None if unknown or unlimited.
    """

    name: str
    backend: Named
    pooling: float = 1
    query_tokens: int | None = None


def described(encoder: Encoder) -> Description:
    """Describe an encoder, with defaults for the attributes that it lacks.

    Args:
        encoder: Any. Each attribute of `DescribesItself` counts by itself: an encoder with a name alone is shown by it.
    """
    if isinstance(encoder, DescribesItself):
        return Description(str(encoder.name), encoder.backend, encoder.pooling, encoder.query_tokens)
    backend: Any = getattr(encoder, "backend", None)
    return Description(
        str(getattr(encoder, "name", type(encoder).__name__)),
        backend if hasattr(backend, "name") else OwnBackend(),
        getattr(encoder, "pooling", 1),
        getattr(encoder, "query_tokens", None),
    )


def query_encoder_name(encoder: Encoder) -> str:
    """Name what encodes an encoder's queries: "full" for itself. A user's own attribute that is no str counts as none."""
    name = getattr(encoder, "query_encoder", None)
    return name if isinstance(name, str) else "full"


def query_fingerprint(encoder: Encoder) -> str:
    """Give the digest of what makes an encoder's query vectors: its fingerprint, unless a query encoder makes them."""
    digest = getattr(encoder, "query_fingerprint", None)
    return digest if isinstance(digest, str) else encoder.fingerprint


def warm(encoder: Encoder) -> None:
    """Encode once before anybody waits: a model's first pass takes a hundred times as long as its later ones.

    A query is enough where one engine runs all. Where a query encoder encodes queries, a document loads the model's own engine.
    """
    encoder.encode_query(["warm"])
    if query_fingerprint(encoder) != encoder.fingerprint:
        encoder.encode_document(["warm"])


def modalities(encoder: Encoder) -> frozenset[str]:
    """Tell what a document may be: "text", "image" or both. An encoder that is no SeesPictures takes texts."""
    return frozenset(encoder.modalities) if isinstance(encoder, SeesPictures) else frozenset({"text"})


def unpooled(encoder: Encoder) -> Encoder:
    """Give an encoder before its pooling, one vector a token; itself where it pools nothing or can't tell."""
    return encoder.unpooled() if isinstance(encoder, CanUnpool) else encoder
