"""Documents with token vectors that somebody made -> store, under the keys of their texts, as if they had been encoded here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from late_rerank.arguments.given import as_candidates
from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.errors import IncompatibleError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores import Space
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate, Document, GivenVectors, TokenVectors
from late_rerank.vectors.contents import Contents
from late_rerank.vectors.keys import key_of
from late_rerank.vectors.probing import Known, check_same_model

# Documents between two puts: bounds memory, and what an interrupted import loses.
_BATCH = 128


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Counts of an import.

    Attributes:
        n_documents: Documents that were given.
        n_imported: Documents that were stored now.
        n_cached: Documents whose text was in the store already, or stood earlier in the same call. The rest have blank texts.
        n_checked: Documents whose vectors were compared with the model's.
        n_tokens: Token vectors of the stored documents.
        size_bytes: The packed bytes of the stored documents.
        seconds: Wall time.
    """

    n_documents: int
    n_imported: int
    n_cached: int
    n_checked: int
    n_tokens: int
    size_bytes: int
    seconds: float


@dataclass
class _Counts:
    n_documents: int = 0
    n_imported: int = 0
    n_cached: int = 0
    n_checked: int = 0
    n_tokens: int = 0
    size_bytes: int = 0


def import_documents(
    encoder: Encoder,
    codec: Codec,
    space: Space,
    documents: Iterable[Document],
    *,
    check: bool = True,
    progress: bool = False,
) -> ImportReport:
    """Store token vectors under the keys of their texts. Memory doesn't grow with their number.

    The store then answers for these texts as if the model had encoded them here. What it holds already stays as it is, so an
    interrupted import goes on where it was.

    Args:
        encoder: The model that made the vectors.
        codec: Packs them.
        space: The store's space of both.
        documents: Candidates with a text and token vectors, read once. Blank texts are passed over.
        check: Whether the 1st, 2nd, 4th, 8th ... document's text is encoded and compared with its vectors, before its batch is
            stored.
        progress: Show a bar on stderr, if stderr is a terminal.

    Raises:
        TypeError: If a document is no Candidate with token vectors; names it.
        IncompatibleError: If vectors have another width than the model's, or a compared document isn't what the model makes.
        StoreError: If the store can't keep them.
    """
    started = time.perf_counter()
    counts = _Counts()
    choose = Contents(encoder)
    total = len(documents) if isinstance(documents, Sequence) else getattr(documents, "n_documents", None)
    with progress_bar(total=total, unit=" documents", desc="Importing", progress=progress) as bar:
        given = iter(as_candidates(documents, "documents"))
        while batch := list(islice(given, _BATCH)):
            vectors = [_vectors(each, counts.n_documents + i, choose) for i, each in enumerate(batch)]
            if check:
                sample = list(_sample(batch, vectors, counts.n_documents))
                check_same_model(encoder, sample)
                counts.n_checked += len(sample)
            _store(batch, vectors, codec, space, counts)
            bar.update(len(batch))
    return ImportReport(
        n_documents=counts.n_documents,
        n_imported=counts.n_imported,
        n_cached=counts.n_cached,
        n_checked=counts.n_checked,
        n_tokens=counts.n_tokens,
        size_bytes=counts.size_bytes,
        seconds=time.perf_counter() - started,
    )


def check_first(encoder: Encoder, documents: Iterable[Document]) -> None:
    """Compare the first document alone with what the model makes of it: before a store is made.

    Raises:
        TypeError: As `import_documents` raises it.
        IncompatibleError: As `import_documents` raises it.
    """
    for document in islice(as_candidates(documents, "documents"), 1):
        check_same_model(encoder, list(_sample([document], [_vectors(document, 0, Contents(encoder))], 0)))


def _vectors(document: Candidate, index: int, choose: Contents) -> GivenVectors:
    """Give a document's token vectors, checked.

    Raises:
        TypeError: If it has none.
        IncompatibleError: If they have another width than the model's.
    """
    if document.token_vectors is None:
        raise TypeError(f"documents[{index}] has no token vectors: give Candidate(text, token_vectors=rows), or index it")
    content = choose.of(document, index, "documents")
    if not isinstance(content, GivenVectors):
        raise IncompatibleError(f"documents[{index}] is ranked by {content!r:.60}, not by its token vectors")
    return content


def _sample(batch: Sequence[Candidate], vectors: Sequence[GivenVectors], before: int) -> Iterator[Known]:
    """Choose the 1st, 2nd, 4th, 8th ... of all documents, as far as they are in this batch and have a text."""
    for i, (document, own) in enumerate(zip(batch, vectors, strict=True)):
        number = before + i + 1
        if number & (number - 1) == 0 and not is_blank(document.text):
            name = "" if document.id is None else f" (id {document.id!r:.60})"
            yield Known(f"documents[{number - 1}]{name}", document.text, own.values.astype("float32"))


def _store(batch: Sequence[Candidate], vectors: Sequence[GivenVectors], codec: Codec, space: Space, counts: _Counts) -> None:
    by_key: dict[bytes, GivenVectors] = {}
    n_texts = 0
    for document, own in zip(batch, vectors, strict=True):
        if not is_blank(document.text):
            by_key.setdefault(key_of(document.text), own)  # of two documents of one text the first counts, as in a store
            n_texts += 1
    keys = list(by_key)
    missing = [keys[i] for i in space.missing(keys).tolist()]
    if missing:
        rows = [by_key[key].values for key in missing]
        packed = codec.encode(TokenVectors.from_arrays(rows, rows[0].shape[1]))
        space.put(missing, packed)
        counts.n_tokens += packed.n_tokens
        counts.size_bytes += packed.size_bytes
    counts.n_documents += len(batch)
    counts.n_imported += len(missing)
    counts.n_cached += n_texts - len(missing)
