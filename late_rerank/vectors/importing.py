"""Documents with token vectors that somebody made -> store, under the keys of their texts, as if they had been encoded here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

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
# One of so many is compared, beyond the first ones: vectors may have slipped by one text anywhere. Encoding one takes some
# milliseconds, storing so many some hundred.
_COMPARED = 1024


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
        check: Whether some documents' texts are encoded and compared with their vectors, before their batch is stored: the
            1st, 2nd, 4th, 8th ..., one at random of each 1,024, and the last one.
        progress: Show a bar on stderr, if stderr is a terminal.

    Raises:
        TypeError: If a document is no Candidate with token vectors; names it.
        IncompatibleError: If vectors have another width than the model's, or a compared document isn't what the model makes.
            Tells how many documents were stored before.
        StoreError: If the store can't keep them.
    """
    started = time.perf_counter()
    counts = _Counts()
    choose = Contents(encoder)
    sample = _Sample()
    total = len(documents) if isinstance(documents, Sequence) else getattr(documents, "n_documents", None)
    with progress_bar(total=total, unit=" documents", desc="Importing", progress=progress) as bar:
        given = iter(as_candidates(documents, "documents"))
        while batch := list(islice(given, _BATCH)):
            vectors = [_vectors(each, counts.n_documents + i, choose) for i, each in enumerate(batch)]
            if check:
                _check(encoder, sample.of(batch, vectors, counts.n_documents), counts)
            _store(batch, vectors, codec, space, counts)
            bar.update(len(batch))
        if check:
            _check(encoder, sample.rest(), counts)
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
        check_same_model(encoder, _Sample().of([document], [_vectors(document, 0, Contents(encoder))], 0))


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


class _Sample:
    """Chooses documents to compare, among those that have a text."""

    def __init__(self) -> None:
        self._random = Random()
        self._block, self._place = 0, -1  # which of so many documents is compared
        self._last: Known | None = None

    def of(self, batch: Sequence[Candidate], vectors: Sequence[GivenVectors], before: int) -> list[Known]:
        """Choose among a batch. A batch that isn't full is the last one, and its last document is chosen too.

        Args:
            batch: The documents.
            vectors: Their token vectors.
            before: How many documents came before.
        """
        told = [i for i, document in enumerate(batch) if not is_blank(document.text)]
        chosen = [i for i in told if self._is_chosen(before + i)]
        rest = [i for i in told[-1:] if i not in chosen]
        known = [_known(before + i, batch[i], vectors[i]) for i in chosen + rest]
        self._last = known.pop() if rest and len(batch) == _BATCH else None
        return known

    def rest(self) -> list[Known]:
        """Give the last document, if its batch was full and it wasn't chosen."""
        return [] if self._last is None else [self._last]

    def _is_chosen(self, index: int) -> bool:
        block, place = divmod(index, _COMPARED)
        if block != self._block:
            self._block, self._place = block, self._random.randrange(_COMPARED)
        return (index + 1) & index == 0 or place == self._place


def _known(index: int, document: Candidate, own: GivenVectors) -> Known:
    name = "" if document.id is None else f" (id {document.id!r:.60})"
    return Known(f"documents[{index}]{name}", document.text, own.values.astype("float32"))


def _check(encoder: Encoder, sample: Sequence[Known], counts: _Counts) -> None:
    """Compare documents with what the model makes of their texts.

    Raises:
        IncompatibleError: If one isn't that. Tells how many documents were stored before, and how to remove them.
    """
    try:
        check_same_model(encoder, sample)
    except IncompatibleError as error:
        if not counts.n_imported:
            raise
        raise IncompatibleError(
            f"{error}. {counts.n_imported:,} documents were stored before it was found, and some may be wrong too. Remove them "
            f"by store.drop({encoder.fingerprint!r}) or `late-rerank store drop`, which forget all documents of this model"
        ) from error
    counts.n_checked += len(sample)


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
