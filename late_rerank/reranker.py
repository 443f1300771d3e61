"""Query + candidates -> ranked documents. The one orchestrator: encode the query, fetch, encode misses, score, sort."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any, Literal, TypeVar

from late_rerank import codecs, maxsim
from late_rerank.arguments.given import as_candidate
from late_rerank.arguments.queries import as_list, check_queries
from late_rerank.encode import Encoder, as_device, as_encoder
from late_rerank.encode.describe import described, modalities, query_encoder_name, query_fingerprint
from late_rerank.encode.places import Span, check_places
from late_rerank.encode.revisions import at_revision
from late_rerank.errors import MissingDocumentsError
from late_rerank.observing.timing import Timer
from late_rerank.pictures import Picture, PictureError
from late_rerank.processes.forks import background_work, guarded
from late_rerank.processes.threads import CallThreads, in_thread
from late_rerank.ranking.doors import RanksInThreads
from late_rerank.ranking.matching import Matcher
from late_rerank.ranking.pool import CandidatePool
from late_rerank.ranking.prior import of_queries
from late_rerank.ranking.queries import Queries
from late_rerank.ranking.relevance import Calibration, check_calibration, of_query_encoder, scoring_and_calibration
from late_rerank.ranking.traced import rerank_span
from late_rerank.ranking.wanted import Wanted
from late_rerank.stores import Store, as_store
from late_rerank.stores.opening import would_be_made
from late_rerank.types import F32, Content, Document, QueryVectors, RankedDocument, Ranking
from late_rerank.vectors.centre import binary_codec
from late_rerank.vectors.importing import ImportReport
from late_rerank.vectors.indexing import IndexReport
from late_rerank.vectors.lookup import BATCH_SIZE, DocumentVectors
from late_rerank.vectors.probing import space_of

OnMissing = Literal["encode", "skip", "raise"]
_T = TypeVar("_T")


class Reranker(RanksInThreads[Ranking]):
    """Reorders candidates by late interaction.

    Threads can share a Reranker. A Reranker is also a context manager, which closes it at the end.

    A Reranker works in forked child processes too (gunicorn --preload, Celery, multiprocessing on Linux). Each child keeps the
    vectors that are in memory. On a CPU, each child loads the model again when it needs it, and runs it on one thread. On an
    accelerator, a child raises ForkError.

    Args:
        model: Turns texts into token vectors. "minilm" and "minilm-late" are built in; "minilm-late" was trained for late
            interaction. You can also give a hub name, a folder or an Encoder. A folder holds a model in native, PyLate or
            Stanford ColBERT format, or a model of page images; "~" is your home.
        revision: A branch, a tag or a commit of a hub name. None takes the newest. A commit always gives the same model.
            `Reranker("owner/name@revision")` says the same.
        store: Keeps token vectors. None or ":memory:" is this process's memory. You can also give a folder, a Store or a URL:
            "redis://..." and "postgresql://..." are servers, "s3://bucket/prefix", "gs://...", "az://..." and "file:///folder"
            are stores in object storage. A Store that you give stays yours to close. A full disk or a read-only store costs one
            warning; queries are still answered.
        codec: Packs token vectors: "int8", "int4", "binary", "float16", "float32" or a Codec. "binary" takes the model's common
            vector off first, if its token vectors share a large one.
        backend: Runs a model given by name: "torch", "openvino", "onnx" or "auto". "auto" takes the fastest installed backend
            whose token vectors have a cosine of at least .999 to torch's.
        device: A torch device. None takes the fastest device of this machine.
        kernel: Computes MaxSim: "auto", "native", "numpy", "torch" or a Kernel.
        on_missing: What to do with candidates whose vectors aren't in the store. "encode" encodes and stores them. "skip"
            leaves them unscored, after the scored ones. "raise" raises MissingDocumentsError.
        calibration: Turns scores into `relevance`. Give a Calibration, or the path of a file that `late-rerank calibrate`
            wrote. "minilm" is our own calibration for that model. None takes the mean MaxSim per query token, clipped to
            [0, 1].
        pooling: How many similar token vectors of a document are merged into one. 2 halves the stored bytes. 1, the default,
            keeps all vectors. Pooling needs a model given by name or folder. Pooled vectors have a space of their own in the
            store.
        scoring: How the best matches of a query's tokens become a score: a name or a Scoring. "proximity" takes the mean MaxSim
            of the best 24, 144 and 288 consecutive tokens, so that words matched near each other count more. It ranks long
            documents better, and tells the best passage (`RankedDocument.best_span`). "maxsim" takes each token's best match
            anywhere in the document, as ColBERT does. None takes the scoring that the calibration was fitted to. Without a
            calibration, it takes "proximity", or "maxsim" for a model of page images, whose tokens have no reading order. The
            store is the same for both.
        query_encoder: Turns queries into token vectors. "full" is the model itself. "fast" is a small student of "minilm" that
            takes a fraction of the time. You can also give the folder of a student, which `late-rerank distil-query` makes of
            any text model. Documents and the store are the same for all.

    Attributes:
        calibration: The Calibration in use, or None.
        encoder: The Encoder in use.
        codec: The Codec in use.
        store: The Store in use.
        kernel: The Kernel in use. `kernel.name` gives its name.
        scoring: The Scoring in use.
        arguments: The constructor's arguments, by name. A revision is part of the model's name there.

    Raises:
        ModelError: If the model or the query encoder can't be found, or can't be what it claims to be.
        StoreError: If the store can't be opened.
        IncompatibleError: If the calibration was fitted to another model, scoring or query encoder. Also if `pooling` is above
            1 and the model pools already, or the query encoder is another model's.
        MissingDependencyError: If a package that the backend, the device, the kernel or the store needs isn't installed.
        FileNotFoundError: If the calibration's file isn't there.
        ValueError: If a name is unknown, the device isn't here, the file is no calibration, or `pooling` is below 1. Also if
            `pooling` is above 1 or a query encoder is named with an Encoder, or a revision is given with anything but a hub
            name.
        TypeError: If an argument has a wrong type.
    """

    def __init__(  # noqa: PLR0913 - every part of a Reranker, and which version of its model
        self,
        model: str | os.PathLike[str] | Encoder = "minilm",
        *,
        revision: str | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | codecs.Codec = "int8",
        backend: Literal["auto", "torch", "openvino", "onnx"] = "auto",
        device: str | None = None,
        kernel: str | maxsim.Kernel = "auto",
        on_missing: OnMissing = "encode",
        calibration: Calibration | str | os.PathLike[str] | None = None,
        pooling: int = 1,
        scoring: str | maxsim.Scoring | None = None,
        query_encoder: str | os.PathLike[str] = "full",
    ) -> None:
        if on_missing not in ("encode", "skip", "raise"):
            raise ValueError(f'on_missing must be "encode", "skip" or "raise", got {on_missing!r}')
        device, model = as_device(device), at_revision(model, revision)
        self.arguments: dict[str, Any] = {
            "model": model,
            "store": store,
            "codec": codec,
            "backend": backend,
            "device": device,
            "kernel": kernel,
            "on_missing": on_missing,
            "calibration": calibration,
            "pooling": pooling,
            "scoring": scoring,
            "query_encoder": query_encoder,
        }
        # Cheap checks come before the model is loaded.
        self.codec = codecs.as_codec(codec)
        self.kernel = maxsim.as_kernel(kernel, device)
        self.scoring, self.calibration = scoring_and_calibration(scoring, calibration)
        self._owns_store = not isinstance(store, Store)
        if isinstance(store, (str, os.PathLike)) and would_be_made(store):
            # The model comes first: a wrong one, or Ctrl-C while it loads, must not leave an empty store.
            model, pooling, query_encoder = as_encoder(model, backend, device, pooling, query_encoder), 1, "full"
        self.store = as_store(store)
        self.on_missing = on_missing
        try:
            self.encoder = as_encoder(model, backend, device, pooling, query_encoder)
            if scoring is None and self.calibration is None and "image" in modalities(self.encoder):
                self.scoring = maxsim.MAXSIM
            digest = query_fingerprint(self.encoder)
            self.calibration = of_query_encoder(self.calibration, calibration, digest)
            check_calibration(
                self.calibration,
                self.encoder.fingerprint,
                self.scoring.name,
                digest,
                model=self.model_name,
                query_encoder=query_encoder_name(self.encoder),
            )
            if codec == "binary":
                self.codec = binary_codec(self.encoder, self.store)
            space, own_rows = space_of(self.store, self.encoder, self.codec)
        except BaseException:
            self._close_store()
            raise
        self._vectors = DocumentVectors(self.encoder, self.codec, space, own_rows)
        self._scoring = self.scoring.over(described(self.encoder).pooling)
        self._queries = Queries(self.encoder)
        self._matcher = Matcher(self.encoder, self.codec, self.kernel, self._vectors)
        self._counts = {"n_queries": 0, "n_queries_truncated": 0, "hits": 0, "misses": 0}
        self._counts_lock = guarded(Lock())
        self._threads: CallThreads | None = None  # of `arerank`

    def rank(
        self,
        queries: Iterable[str],
        candidate_lists: Iterable[Iterable[Document]],
        wanted: Wanted,
        *,
        query_vectors: Sequence[QueryVectors | None] | None = None,
    ) -> list[Ranking]:
        """Rank as `rerank_batch` does, with its options in one object. For code that passes options on.

        Args:
            queries: Queries, none blank.
            candidate_lists: One list of candidates for each query.
            wanted: The options.
            query_vectors: For each query, None or the `query_vectors` of an earlier Ranking of it. Given vectors aren't
                computed again.

        Raises:
            ValueError: As in `rerank`. Also if the two lists differ in length.
            TypeError: As in `rerank`.
            MissingDocumentsError: As in `rerank`.
        """
        queries = as_list(queries, "queries", "str")
        candidate_lists = as_list(candidate_lists, "candidate_lists", "lists of candidates, one a query")
        check_queries(queries, candidate_lists)
        until = None if wanted.deadline_s is None else time.monotonic() + wanted.deadline_s
        timer = Timer()
        with background_work(), rerank_span(queries, wanted, self.model_name) as opened, timer.stage("total"):
            given = zip(candidate_lists, of_queries(wanted.prior, len(candidate_lists)), strict=True)
            pools = [CandidatePool(each, wanted, self._vectors.choose, self._scoring, prior=prior) for each, prior in given]
            missing = self._score(queries, pools, timer, until, query_vectors) if any(map(len, pools)) else frozenset()
            rankings = [pool.ranking(missing, self.encoder, self.calibration) for pool in pools]
            opened.tell([pool.documents for pool in pools], rankings)
        for ranking in rankings:
            ranking.timings_ms = timer.ms | ranking.timings_ms
        self._count(rankings)
        return rankings

    def _score(
        self,
        queries: Sequence[str],
        pools: Sequence[CandidatePool],
        timer: Timer,
        until: float | None,
        query_vectors: Sequence[QueryVectors | None] | None,
    ) -> frozenset[bytes]:
        """Score all candidates that are stored, or encoded in time; give the keys that the store didn't hold."""
        contents: dict[bytes, Content] = {}
        for pool in pools:
            contents.update(pool.contents.by_key())
        found = self._vectors.look(contents, timer)
        self._raise_if_wanted(found.missing, pools)
        with timer.stage("encode_query"):
            for pool, query in zip(pools, self._queries.encode(queries, query_vectors), strict=True):
                pool.query = query
        try:
            for documents in self._vectors.documents(found, timer, until=until, encodes=self.on_missing == "encode"):
                for pool in pools:
                    pool.score(self.kernel, self.codec, documents)
        except PictureError as error:
            raise error.at(_place(error.picture, pools)) from error
        return frozenset(found.missing)

    async def in_thread(self, call: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """Call a function in one of `arerank`'s threads.

        There are at most as many threads as asyncio would have. They start when they are needed. The function sees the caller's
        context variables. The end of the process doesn't wait for these threads.
        """
        with self._counts_lock:
            if self._threads is None:
                self._threads = CallThreads()
            threads = self._threads
        return await in_thread(threads, call, *args, **kwargs)

    def query_vectors(self, query: str, ranked: Sequence[RankedDocument] = ()) -> QueryVectors:
        """Give a query's token vectors. They come with a Ranking of the query, or are encoded now.

        Args:
            query: Must not be blank.
            ranked: A Ranking, or any list. Only a Ranking of this query saves encoding it.

        Raises:
            ValueError: If the query is blank.
        """
        check_queries([query], [()])
        return self._queries.encode([query], [ranked.query_vectors if isinstance(ranked, Ranking) else None])[0]

    def content_of(self, document: Document | RankedDocument) -> Content:
        """Give what is encoded of a document: its picture, if it has one and the model sees pictures, else its text.

        Raises:
            TypeError: If it is no str, Picture, Candidate or RankedDocument.
            IncompatibleError: If the model can't encode what the document has.
        """
        index = document.index if isinstance(document, RankedDocument) else 0
        held = document if isinstance(document, RankedDocument) else as_candidate(document, index, "documents")
        return self._vectors.choose.of(held, index, "documents")

    def token_maxima(self, query: str, texts: Sequence[Document], *, query_vectors: QueryVectors | None = None) -> F32:
        """Give the best match of each query token in each document. Documents that aren't stored are encoded and stored.

        Args:
            query: Must not be blank.
            texts: Texts, Pictures or Candidates. Blank texts match nothing.
            query_vectors: The query's vectors, if `Reranker.query_vectors` gave them already.

        Returns:
            (n_texts, n_query_tokens) float32, in the order of `texts`. The sum of a row is a MaxSim score.

        Raises:
            ValueError: If the query is blank.
            TypeError: If a document is no str, Picture or Candidate.
            IncompatibleError: If the model can't encode what a document has.
            OSError: If a picture's file can't be read.
            PictureError: If a picture is damaged, or one that the model can't take. The message names it.
        """
        check_queries([query], [texts])
        return self._matcher.in_documents(self._queries.encode([query], [query_vectors])[0].vectors, texts)

    def span_maxima(
        self,
        query: str,
        texts: Sequence[str],
        spans: Sequence[Sequence[Span]],
        *,
        query_vectors: QueryVectors | None = None,
    ) -> list[F32]:
        """Give `token_maxima` of parts of texts, such as sentences. The vectors are those of the whole texts.

        Args:
            query: Must not be blank.
            texts: The texts. Texts that aren't stored are encoded and stored.
            spans: For each text, its parts as (start, end) in code points, in order and without overlap.
            query_vectors: As in `token_maxima`.

        Returns:
            For each text (n_spans, n_query_tokens) float32. A part without tokens of its own has no score: its row sums to
            -1e9. A part beyond the place where its text was cut has none either.

        Raises:
            ValueError: If the query is blank, or the number of span lists isn't the number of texts.
            IncompatibleError: If the encoder can't tell its tokens' places, or pools its tokens.
        """
        check_queries([query], [texts])
        check_places(self.encoder, "asked for parts of a text")
        if len(spans) != len(texts):
            raise ValueError(f"got {len(texts)} texts but {len(spans)} lists of spans")
        return self._matcher.in_spans(self._queries.encode([query], [query_vectors])[0].vectors, texts, spans)

    def similarity(self, text: Document, others: Sequence[Document], *, spans: Sequence[Span] | None = None) -> F32:
        """Measure how much of a document's content each other one repeats. Documents that aren't stored are encoded and stored.

        Args:
            text: The document: a text, a Picture or a Candidate.
            others: The documents to compare with it.
            spans: Parts of the document's text to measure one by one, as (start, end) in code points, in order and without
                overlap.

        Returns:
            (n_others,) float32, in the order of `others`: the mean over the document's tokens of their best match. The same
            text gives 1, up to the codec's rounding. If one of the two texts is blank, the result is 0. The measure isn't
            symmetric: a text repeats all of its piece, but the piece doesn't repeat all of the text. With `spans` the shape is
            (n_others, n_spans), and each mean is over a part's tokens. A part without tokens gives 1.

        Raises:
            TypeError: If a document is no str, Picture or Candidate.
            OSError: As in `token_maxima`.
            PictureError: As in `token_maxima`.
            IncompatibleError: If `spans` are given and the encoder can't tell its tokens' places, or pools its tokens. Also if
                the model can't encode what a document has.
        """
        if spans is not None:
            check_places(self.encoder, "asked for parts of a text")
        return self._matcher.likeness(text, others, spans)

    def index(self, documents: Iterable[Document], *, batch_size: int = BATCH_SIZE, progress: bool = False) -> IndexReport:
        """Encode and store documents ahead of queries. Documents that are in the store already cost nothing.

        Args:
            documents: Texts, Pictures or Candidates, mixed. They are read once, so you can give a generator.
            batch_size: Documents encoded between two puts, at least 1. Scores don't depend on it. On a CPU, each picture is put
                at once.
            progress: Show a bar on stderr, if stderr is a terminal.

        Raises:
            TypeError: If a document is no str, Picture or Candidate. The message names the document. Earlier batches are
                stored.
            IncompatibleError: If the model can't encode what a document has. Earlier batches are stored.
            PictureError: If pictures are damaged. The message names them. All other documents are stored.
            OSError: If a picture's file can't be read. Earlier batches are stored.
            StoreError: If the store can't keep the documents. Earlier batches are stored. Also if it is in object storage,
                which grows by `late-rerank index PATH --store URL` or `late-rerank store publish DIR URL`.
            ValueError: If `batch_size` is below 1, or the encoder gives NaN or infinity.
        """
        self.store.refuse_index()
        with background_work():
            return self._vectors.index(documents, batch_size, progress=progress)

    def import_vectors(self, documents: Iterable[Document], *, check: bool = True, progress: bool = False) -> ImportReport:
        """Store token vectors that this model made somewhere else, under their texts. Nothing is encoded but a few samples.

        Later queries find these texts as if they had been indexed. `late_rerank.corpus.held.read_vectors` reads files. What the
        store holds already stays as it is, so an interrupted import goes on where it was.

        Args:
            documents: Candidates with a text and token vectors. They are read once, so you can give a generator. Blank texts
                are passed over.
            check: Whether some documents are encoded and compared with their vectors, before they are stored: the 1st, 2nd,
                4th, 8th ..., one at random of each 1,024, and the last one.
            progress: Show a bar on stderr, if stderr is a terminal.

        Raises:
            TypeError: If a document is no Candidate with token vectors. The message names it. Earlier batches are stored.
            IncompatibleError: If vectors have another width than the model's, or the mean cosine to the model's own is below
                .999. Earlier batches are stored; the message tells how to remove them.
            StoreError: If the store can't keep them. Earlier batches are stored. Also if it is in object storage.
        """
        self.store.refuse_index()
        with background_work():
            return self._vectors.import_(documents, check=check, progress=progress)

    def stats(self) -> dict[str, Any]:
        """Give counts since this Reranker was made, the store's size, and the names of its parts. All are JSON values.

        "n_not_stored" counts documents that were encoded for a query but could not be stored. "n_waiting" counts documents that
        are being encoded now or wait for it.
        """
        with self._counts_lock:
            counts = dict(self._counts)
        stored = self.store.stats()
        return {
            **counts,
            "n_not_stored": self._vectors.n_not_stored,
            "n_waiting": self._vectors.n_waiting,
            "n_documents": stored["n_documents"],
            "size_bytes": stored["size_bytes"],
            "kernel": self.kernel.name,
            "model": self.model_name,
            "backend": described(self.encoder).backend.name,
            "codec": self.codec.name,
            "codec_centred": self.codec.centre is not None,
            "pooling": described(self.encoder).pooling,
            "modalities": sorted(modalities(self.encoder)),
            "scoring": self.scoring.name,
            "fingerprint": self.encoder.fingerprint,
            "query_encoder": query_encoder_name(self.encoder),
            "query_fingerprint": query_fingerprint(self.encoder),
        }

    @property
    def model_name(self) -> str:
        """The model's name as it was given, or the class of the Encoder."""
        return described(self.encoder).name

    def close(self) -> None:
        """Stop encoding in the background. Close the store if this Reranker opened it.

        `close` doesn't wait for a batch that is being encoded. That batch stops after its current windows, and isn't stored.
        The end of the process waits for these windows. For an encoder of your own, it waits half a second.
        """
        self._vectors.close()
        with self._counts_lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()
        self._close_store()

    def _close_store(self) -> None:
        if self._owns_store:
            self.store.close()

    def __enter__(self) -> Reranker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the Reranker as its arguments. Another process loads the model anew.

        With `store=None` the memory of the other process begins empty.
        """
        return _made_again, (self.arguments,)

    def __copy__(self) -> Reranker:
        """Give the Reranker itself. Frameworks copy the objects that hold a Reranker, and all copies share it."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Reranker:
        return self

    def _raise_if_wanted(self, missing: Sequence[bytes], pools: Sequence[CandidatePool]) -> None:
        if self.on_missing == "raise" and missing:
            absent = set(missing)
            indexes = [i for pool in pools for i, key in enumerate(pool.contents.keys) if key in absent]
            raise MissingDocumentsError(len(indexes), indexes[0])

    def _count(self, rankings: Sequence[Ranking]) -> None:
        with self._counts_lock:
            self._counts["n_queries"] += len(rankings)
            self._counts["n_queries_truncated"] += sum(ranking.query_truncated for ranking in rankings)
            self._counts["hits"] += sum(ranking.n_hits for ranking in rankings)
            self._counts["misses"] += sum(ranking.n_misses for ranking in rankings)


def _place(picture: Picture, pools: Sequence[CandidatePool]) -> str:
    """Say which candidate has a picture, for an error."""
    places = ((query, pool.contents.place_of(picture)) for query, pool in enumerate(pools))
    query, index = next(each for each in places if each[1] is not None)
    candidates = "candidates" if len(pools) == 1 else f"candidate_lists[{query}]"
    return f"{candidates}[{index}]"


def _made_again(arguments: dict[str, Any]) -> Reranker:
    return Reranker(**arguments)
