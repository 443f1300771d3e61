"""Documents -> encoder -> codec -> store, ahead of queries, with progress."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from late_rerank.arguments.given import as_candidates
from late_rerank.arguments.numbers import whole_number
from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.observing.progress import progress_bar
from late_rerank.pictures import Picture, PictureError
from late_rerank.stores import Space
from late_rerank.types import Content, Document, Encodable, PackedVectors
from late_rerank.vectors.contents import Contents
from late_rerank.vectors.encoding import encode_and_pack
from late_rerank.vectors.keys import KeyedContents, own_names, parted, unnamed
from late_rerank.vectors.unread import Unread

# Damaged pictures that an error names.
_SHOWN_ERRORS = 5


class DamagedPicturesError(PictureError):
    """Pictures of documents that were to be indexed are damaged. All other documents are stored.

    Args:
        message: Names the first of them, each with its place.
        picture: The first of them.
        damaged: Place among the given documents -> what is wrong with the picture there, without its place.

    Attributes:
        report: Counts of the other documents; None if nobody counted.
    """

    def __init__(self, message: str, picture: Picture, damaged: Mapping[int, PictureError] | None = None) -> None:
        super().__init__(message, picture)
        self.damaged = dict(damaged or {})
        self.report: IndexReport | None = None


def raise_damaged(damaged: Mapping[int, PictureError]) -> None:
    """Raise one error for all damaged pictures, if there are any.

    Args:
        damaged: Place among the given documents -> what is wrong with the picture there, without its place.

    Raises:
        DamagedPicturesError: If there are any. Its cause is the error of the first.
    """
    if not damaged:
        return
    damaged = dict(sorted(damaged.items()))
    shown = "; ".join(str(error.at(f"documents[{i}]")) for i, error in islice(damaged.items(), _SHOWN_ERRORS))
    more = f"; and {len(damaged) - _SHOWN_ERRORS} more" if len(damaged) > _SHOWN_ERRORS else ""
    first = next(iter(damaged.values()))
    raise DamagedPicturesError(f"{shown}{more} (all other documents are stored)", first.picture, damaged) from first


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Counts of an indexing.

    Attributes:
        n_documents: Documents that were given.
        n_encoded: Documents that were encoded and stored now.
        n_cached: Documents that were in the store already, or stood earlier in the same call. The rest are blank, have neither
            a row in a table nor a text, or came with token vectors of their own, which need no store.
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
        DamagedPicturesError: If pictures are damaged: names them. All other documents are stored by then.
        StoreError: If the store can't keep them.
    """
    whole_number("batch_size", batch_size)
    started = time.perf_counter()
    n_documents = n_encoded = n_cached = n_tokens = size_bytes = 0
    damaged: dict[int, PictureError] = {}
    total = len(documents) if isinstance(documents, Sequence) else None
    choose, unread = Contents(encoder), Unread(encoder)
    candidates = enumerate(as_candidates(documents, "documents"))
    contents = (choose.of(document, index, "documents") for index, document in candidates)
    with progress_bar(total=total, unit=" documents", desc="Encoding", progress=progress) as bar:
        # A page takes seconds on a processor: each is stored at once, so that an interruption loses one.
        for batch in _batches(contents, batch_size, choose.batch_pictures):
            keyed = KeyedContents(batch)
            _, by_key = parted(keyed.by_key())
            to_encode, empty = _missing(space, by_key)
            packed, blamed = _packed(encoder, codec, to_encode)
            if packed is not None:
                unread.sample(to_encode)
                space.put([key for key in to_encode if key not in blamed], packed)
                n_tokens += packed.n_tokens
                size_bytes += packed.size_bytes
            # New errors: the traceback of a caught one would keep the decoded batch in memory.
            damaged.update(
                (n_documents + (keyed.place_of(error.picture) or 0), PictureError(error.reason, error.picture))
                for error in blamed.values()
            )
            n_documents += len(batch)
            n_encoded += len(to_encode) - len(blamed)
            n_cached += sum(key in by_key and key not in empty for key in keyed.keys) - len(to_encode)
            bar.update(len(batch))
    unread.warn()
    report = IndexReport(n_documents, n_encoded, n_cached, n_tokens, size_bytes, time.perf_counter() - started)
    try:
        raise_damaged(damaged)
    except DamagedPicturesError as error:
        error.report = report
        raise
    return report


def _missing(space: Space, contents: Mapping[bytes, Encodable]) -> tuple[dict[bytes, Encodable], set[bytes]]:
    """Find what the store lacks.

    Args:
        space: The store's space.
        contents: Key -> text or picture; some keys may be those of rows.

    Returns:
        What is to be encoded, under the keys of the contents: the store holds neither that nor a row. Then the keys of
        documents that have neither a row nor anything to encode.
    """
    keys = list(contents)
    missing = [keys[i] for i in space.missing(keys)]
    names = own_names(contents, missing)
    found = {own: unnamed(contents[key]) for key, own in names.items()}
    unasked = [own for own in found if own not in names]
    there = set(unasked) - {unasked[i] for i in space.missing(unasked)} if unasked else set()
    return {own: content for own, content in found.items() if own not in there}, set(missing) - set(names)


def _packed(
    encoder: Encoder, codec: Codec, contents: Mapping[bytes, Encodable]
) -> tuple[PackedVectors | None, dict[bytes, PictureError]]:
    """Encode and pack documents but those whose pictures are damaged, which are given with their errors."""
    if not contents:
        return None, {}
    try:
        return encode_and_pack(encoder, codec, list(contents.values())), {}
    except PictureError as error:
        blamed = error.picture.key()
        if blamed not in contents:
            raise
        told = error
    packed, damaged = _packed(encoder, codec, {key: content for key, content in contents.items() if key != blamed})
    return packed, {blamed: told, **damaged}


def _batches(contents: Iterator[Content], size: int, n_pictures: int) -> Iterator[list[Content]]:
    """Give batches of at most `size` documents, and of at most `n_pictures` pictures."""
    batch: list[Content] = []
    pictures = 0
    for content in contents:
        batch.append(content)
        pictures += isinstance(content, Picture)
        if len(batch) == size or pictures == n_pictures:
            yield batch
            batch, pictures = [], 0
    if batch:
        yield batch
