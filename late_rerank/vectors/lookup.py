"""The one door from documents to packed documents: the store is asked first, and what it doesn't hold is encoded and stored."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from late_rerank.arguments.given import as_candidates
from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.errors import StoreError
from late_rerank.observing.timing import Timer
from late_rerank.processes.forks import guarded
from late_rerank.stores import Space
from late_rerank.stores.base import OwnRows
from late_rerank.types import Content, Document, Encodable, Fetched, GivenVectors
from late_rerank.vectors.contents import Contents
from late_rerank.vectors.documents import KeyedDocuments, packed_as_given
from late_rerank.vectors.encoding import encode_and_pack
from late_rerank.vectors.importing import ImportReport, import_documents
from late_rerank.vectors.indexing import IndexReport, index_documents
from late_rerank.vectors.keys import KeyedContents, own_names, parted, unnamed
from late_rerank.vectors.sharing import SharedEncoding
from late_rerank.warn import warn_caller

# Documents encoded between two puts: bounds memory, and what an interrupted call loses.
BATCH_SIZE = 128


@dataclass(frozen=True)
class Lookup:
    """What the store held of some documents.

    Attributes:
        contents: Key -> text or picture, of all that the store was asked for.
        keys: Those keys, in the order asked.
        fetched: The store's answer to `keys`.
        missing: The keys that the store didn't hold, in the same order.
        kept: Documents without a row, found by their contents' own keys. None for none.
        asked_at: When the store was asked, of `time.monotonic()`.
        given: Key -> token vectors that came with their documents. The store isn't asked for them.
    """

    contents: Mapping[bytes, Encodable]
    keys: Sequence[bytes]
    fetched: Fetched
    missing: Sequence[bytes]
    asked_at: float
    given: Mapping[bytes, GivenVectors] = field(default_factory=dict)
    kept: KeyedDocuments | None = None

    @property
    def hits(self) -> KeyedDocuments | None:
        """The documents that the store held; None for none."""
        if not len(self.fetched.found):
            return None
        found = self.keys if not len(self.fetched.missing) else [self.keys[i] for i in self.fetched.positions.tolist()]
        return KeyedDocuments(list(found), self.fetched.found)


class DocumentVectors:
    """Packed documents of texts and pictures, for one encoder and codec. Safe to share between threads.

    Args:
        encoder: Encodes what the store doesn't hold.
        codec: Packs it.
        space: The store's space of that encoder and codec.
        own_rows: The store's table of somebody else's vectors, where documents are found by their ids.

    Attributes:
        choose: Chooses what is encoded of a document.
        n_not_stored: Documents that were encoded, but that the store could not keep.
    """

    def __init__(self, encoder: Encoder, codec: Codec, space: Space, own_rows: OwnRows | None = None) -> None:
        self._encoder = encoder
        self._codec = codec
        self._space = space
        self._lock = guarded(Lock())
        self._keeps = True
        self._is_closed = False
        self._told_of_nothing = False
        self.choose = Contents(encoder, own_rows)
        self._has_own_rows = own_rows is not None
        self._shared = SharedEncoding(self._encoded, BATCH_SIZE, lambda: self._keeps, weight=self.choose.weight)
        self.n_not_stored = 0

    @property
    def n_waiting(self) -> int:
        """Documents that are being encoded or wait for it, for any call."""
        return self._shared.n_waiting

    def look(self, contents: Mapping[bytes, Content], timer: Timer | None = None) -> Lookup:
        """Ask the store, in one round trip; of documents without a row it is asked once more, by their contents' own keys.

        Args:
            contents: Key -> text, picture or given token vectors.
            timer: Counts "fetch".
        """
        timer = timer or Timer()
        given, stored = parted(contents)
        keys = list(stored)
        asked_at = time.monotonic()
        with timer.stage("fetch"):
            fetched = self._space.get(keys)
            missing = [keys[i] for i in fetched.missing]
            kept = self._kept(stored, missing) if self._has_own_rows and missing else None
        if kept is not None:
            missing = [key for key in missing if key not in kept.rows]
        return Lookup(stored, keys, fetched, missing, asked_at, given, kept)

    def documents(
        self, found: Lookup, timer: Timer | None = None, *, until: float | None = None, encodes: bool = True
    ) -> Iterator[KeyedDocuments]:
        """Give the documents as they come: those that came with their vectors, the store's, then those that are encoded now.

        Args:
            found: What `look` gave.
            timer: Counts "encode_missing".
            until: Of `time.monotonic()`: documents that aren't there by then are not given. They are encoded later, in the
                background. None to wait for all.
            encodes: Whether missing documents are encoded at all.

        Returns:
            Batches, possibly with documents of other calls among them. What is encoded is in the store before it is given, if
            the store can keep it. Documents that have neither a row nor anything to encode are left out.

        Raises:
            ValueError: If the encoder gave NaN or infinity, or not one document a content; names the document.
        """
        yield from packed_as_given(found.given)
        if (hits := found.hits) is not None:
            yield hits
        if found.kept is not None:
            yield found.kept
        if not encodes or not found.missing:
            return
        timer = timer or Timer()
        missing = {key: found.contents[key] for key in found.missing}
        names: dict[bytes, bytes] | None = None
        if self._has_own_rows:
            names = own_names(missing, missing)
            self._tell_of_nothing(len(missing) - len(names))
            missing = {own: unnamed(missing[key]) for key, own in names.items()}
        batches = self._shared.documents(missing, until, looked=found.asked_at)
        while True:
            with timer.stage("encode_missing"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch if names is None else batch.under(names)

    def of(self, contents: KeyedContents) -> Iterator[KeyedDocuments]:
        """Look, then give all documents that aren't blank."""
        return self.documents(self.look(contents.by_key()))

    def index(self, documents: Iterable[Document], batch_size: int, *, progress: bool) -> IndexReport:
        """Encode and store documents ahead of queries: `index_documents` into this space."""
        if self._has_own_rows:
            documents = (self.choose.of(each, i, "documents") for i, each in enumerate(as_candidates(documents, "documents")))
        return index_documents(self._encoder, self._codec, self._space, documents, batch_size=batch_size, progress=progress)

    def import_(self, documents: Iterable[Document], *, check: bool, progress: bool) -> ImportReport:
        """Store vectors that somebody made: `import_documents` into this space."""
        space = self._space
        return import_documents(self._encoder, self._codec, space, documents, check=check, progress=progress)

    def close(self) -> None:
        """Encode nothing more in the background. A batch that is being encoded isn't waited for."""
        self._is_closed = True
        self._shared.close()

    def _kept(self, contents: Mapping[bytes, Encodable], missing: Sequence[bytes]) -> KeyedDocuments | None:
        """Ask the store for documents without a row by their contents' own keys, under which earlier calls kept them."""
        names = {key: own for key, own in own_names(contents, missing).items() if key != own}
        keys = list(dict.fromkeys(names.values()))
        fetched = self._space.get(keys) if keys else None
        if fetched is None or not len(fetched.found):
            return None
        return KeyedDocuments([keys[i] for i in fetched.positions.tolist()], fetched.found).under(names)

    def _encoded(self, contents: Mapping[bytes, Encodable], stored: set[bytes]) -> list[KeyedDocuments]:
        """Encode and keep a batch. Of `stored` keys another call may have stored documents since: ask the store first."""
        found: list[KeyedDocuments] = []
        rest = dict(contents)
        if stored:
            hits = self.look({key: content for key, content in contents.items() if key in stored}).hits
            if hits is not None:
                found.append(hits)
                rest = {key: content for key, content in contents.items() if key not in hits.rows}
        if rest:
            documents = KeyedDocuments(list(rest), encode_and_pack(self._encoder, self._codec, list(rest.values())))
            self._keep(documents)
            found.append(documents)
        return found

    def _tell_of_nothing(self, n: int) -> None:
        """Warn once of documents that have neither a row nor anything to encode."""
        with self._lock:
            first = n > 0 and not self._told_of_nothing
            self._told_of_nothing = self._told_of_nothing or first
        if first:
            warn_caller(
                f"{n} candidates have neither a row in the store nor a text to encode, or the store doesn't answer: they are "
                "left unscored, and min_relevance leaves them out; Ranking.n_unscored counts them. This is said once.",
                RuntimeWarning,
            )

    def _keep(self, documents: KeyedDocuments) -> None:
        try:
            self._space.put(documents.keys, documents.packed)
            self._keeps = True
        except StoreError as error:
            # A full disk or a read-only store must not cost an answer: the vectors are here. The next batch is tried
            # again, since a disk may have room by then.
            if self._is_closed:  # and the store with it: nobody waits for the batch that still runs
                return
            self._keeps = False
            with self._lock:
                first = self.n_not_stored == 0
                self.n_not_stored += len(documents.keys)
            if first:
                _warn(error)


def _warn(error: StoreError) -> None:
    warn_caller(
        "the store can't keep new documents, so they are encoded anew for each query (Reranker.stats()['n_not_stored'] counts "
        f"them): {error}"
    )
