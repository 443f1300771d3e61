"""Documents -> encoder -> codec -> store, ahead of queries; keys; the one encode-and-pack, which misses take too."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from tqdm import tqdm

from late_rerank.arguments.given import as_candidates
from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.errors import IncompatibleError
from late_rerank.stores import Space
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate, PackedVectors, TokenVectors


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What indexing did.

    Attributes:
        n_documents: Documents given.
        n_encoded: Of those, encoded and stored now.
        n_cached: Of those, in the store already, or given before in the same call. The rest are blank.
        n_tokens: Token vectors of the encoded ones.
        size_bytes: What those take packed.
        seconds: Wall time.
    """

    n_documents: int
    n_encoded: int
    n_cached: int
    n_tokens: int
    size_bytes: int
    seconds: float


_EMPTY = hashlib.blake2b(digest_size=16)


def key_of(text: str) -> bytes:
    """A document's key: a 16-byte digest of its content.

    The same text is encoded once, whatever ids or corpora bring it; a changed text is a new key, so nothing goes stale.
    """
    digest = _EMPTY.copy()  # a quarter faster than making one
    digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.digest()


def keys_of(texts: Iterable[str]) -> list[bytes | None]:
    """`key_of` for many; None for a blank text: what begins with a letter needs no look at the rest."""
    return [None if not (text[:1].isascii() and text[:1].isalnum()) and is_blank(text) else key_of(text) for text in texts]


def encode_and_pack(encoder: Encoder, codec: Codec, texts: Sequence[str]) -> PackedVectors:
    """Encode documents and pack them.

    Args:
        encoder: What encodes them.
        codec: What packs them.
        texts: Not blank.

    Returns:
        In the order of `texts`.

    Raises:
        ValueError: The encoder gave NaN or infinity, or not one document a text; names the document.
    """
    vectors = encoder.encode_document(texts)
    check_vectors(vectors, texts, encoder.dim, "document")
    return codec.encode(vectors)


def check_vectors(vectors: TokenVectors, texts: Sequence[str], dim: int, kind: str) -> None:
    """Refuse what no score can be made of.

    Raises:
        TypeError: The encoder gave no TokenVectors.
        IncompatibleError: The vectors are not of the encoder's own `dim`.
        ValueError: Not one entry a text, or a component is NaN or infinite; names the text.
    """
    if not isinstance(vectors, TokenVectors):
        raise TypeError(f"an encoder must give TokenVectors, got {type(vectors).__name__} for texts of kind {kind!r}")
    if len(vectors) != len(texts):
        raise ValueError(f"the encoder gave token vectors of {len(vectors)} texts for {len(texts)} of kind {kind!r}")
    if vectors.dim != dim:
        raise IncompatibleError(f"the encoder says dim={dim}, but gave {kind} vectors of {vectors.dim} components")
    # A sum over all is finite only if every component is: one pass, no temporary.
    with np.errstate(invalid="ignore"):
        total = vectors.values.sum(dtype=np.float64)
    if np.isfinite(total):
        return
    row = int(np.flatnonzero(~np.isfinite(vectors.values).all(axis=1))[0])
    index = int(np.searchsorted(vectors.offsets, row, side="right")) - 1
    raise ValueError(f"the encoder gave NaN or infinity for {kind} {index}: {texts[index]!r:.60}")


def index_documents(
    encoder: Encoder,
    codec: Codec,
    space: Space,
    documents: Iterable[str | Candidate],
    *,
    batch_size: int,
    progress: bool,
) -> IndexReport:
    """Encode and store documents, those that the store holds already excepted. Memory doesn't grow with their number.

    Raises:
        TypeError: A document is neither a str nor a Candidate.
        ValueError: `batch_size` is below 1, or the encoder gave NaN or infinity.
        StoreError: The store can't keep them.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    started = time.perf_counter()
    n_documents = n_encoded = n_cached = n_tokens = size_bytes = 0
    total = len(documents) if isinstance(documents, Sequence) else None
    texts = (document.text for document in as_candidates(documents, "documents"))
    # disable=None: tqdm draws on a terminal only.
    with tqdm(total=total, unit=" documents", desc="Encoding", disable=None if progress else True) as bar:
        for batch in _batches(texts, batch_size):
            by_key = {key_of(text): text for text in batch if not is_blank(text)}
            keys = list(by_key)
            missing = [keys[i] for i in space.missing(keys)]
            if missing:
                packed = encode_and_pack(encoder, codec, [by_key[key] for key in missing])
                space.put(missing, packed)
                n_tokens += packed.n_tokens
                size_bytes += packed.size_bytes
            n_documents += len(batch)
            n_encoded += len(missing)
            n_cached += sum(not is_blank(text) for text in batch) - len(missing)
            bar.update(len(batch))
    return IndexReport(n_documents, n_encoded, n_cached, n_tokens, size_bytes, time.perf_counter() - started)


def _batches(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    while batch := list(islice(texts, size)):
        yield batch
