"""Documents -> encoder -> codec -> store, ahead of queries, with progress."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from late_rerank.arguments.given import as_candidates
from late_rerank.arguments.numbers import whole_number
from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.observing.progress import progress_bar
from late_rerank.stores import Space
from late_rerank.types import Content, Document
from late_rerank.vectors.contents import Contents
from late_rerank.vectors.encoding import encode_and_pack
from late_rerank.vectors.keys import is_nothing, key_of

# Pages take seconds each on a processor, and have up to 3,000 vectors: what an interrupted call loses, and memory.
PICTURES_A_PUT = 8


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Counts of an indexing.

    Attributes:
        n_documents: Documents that were given.
        n_encoded: Documents that were encoded and stored now.
        n_cached: Documents that were in the store already, or stood earlier in the same call. The rest are blank.
        n_tokens: Token vectors of the encoded documents.
        size_bytes: The packed bytes of the encoded documents.
        seconds: Wall time.
    """

    n_documents: int
    n_encoded: int
    n_cached: int
    n_tokens: int
    size_bytes: int
    seconds: float


def index_documents(
    encoder: Encoder,
    codec: Codec,
    space: Space,
    documents: Iterable[Document],
    *,
    batch_size: int,
    progress: bool,
) -> IndexReport:
    """Encode and store the documents that the store doesn't hold. Memory doesn't grow with their number.

    Raises:
        TypeError: If a document is no str, Picture or Candidate.
        IncompatibleError: If the encoder can't encode what a document has: names it.
        ValueError: If `batch_size` is below 1, or the encoder gave NaN or infinity.
        StoreError: If the store can't keep them.
    """
    whole_number("batch_size", batch_size)
    started = time.perf_counter()
    n_documents = n_encoded = n_cached = n_tokens = size_bytes = 0
    total = len(documents) if isinstance(documents, Sequence) else None
    choose = Contents(encoder)
    candidates = enumerate(as_candidates(documents, "documents"))
    contents = (choose.of(document, index, "documents") for index, document in candidates)
    with progress_bar(total=total, unit=" documents", desc="Encoding", progress=progress) as bar:
        for batch in _batches(contents, batch_size, PICTURES_A_PUT * choose.batch_pictures):
            by_key = {key_of(content): content for content in batch if not is_nothing(content)}
            keys = list(by_key)
            missing = [keys[i] for i in space.missing(keys)]
            if missing:
                packed = encode_and_pack(encoder, codec, [by_key[key] for key in missing])
                space.put(missing, packed)
                n_tokens += packed.n_tokens
                size_bytes += packed.size_bytes
            n_documents += len(batch)
            n_encoded += len(missing)
            n_cached += sum(not is_nothing(content) for content in batch) - len(missing)
            bar.update(len(batch))
    return IndexReport(n_documents, n_encoded, n_cached, n_tokens, size_bytes, time.perf_counter() - started)


def _batches(contents: Iterator[Content], size: int, n_pictures: int) -> Iterator[list[Content]]:
    """Give batches of at most `size` documents, and of at most `n_pictures` pictures."""
    batch: list[Content] = []
    pictures = 0
    for content in contents:
        batch.append(content)
        pictures += not isinstance(content, str)
        if len(batch) == size or pictures == n_pictures:
            yield batch
            batch, pictures = [], 0
    if batch:
        yield batch
