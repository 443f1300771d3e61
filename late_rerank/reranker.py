"""Query + candidates -> ranked documents. The one orchestrator: encode the query, fetch, encode misses, score, sort."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any, Literal, TypeVar

from late_rerank import codecs, maxsim
from late_rerank.arguments.queries import as_list, check_queries
from late_rerank.encode import Encoder, as_device, as_encoder
from late_rerank.encode.describe import described
from late_rerank.encode.places import Span, check_places
from late_rerank.errors import MissingDocumentsError
from late_rerank.observing.timing import Timer
from late_rerank.processes.forks import background_work, guarded
from late_rerank.processes.threads import CallThreads, in_thread
from late_rerank.ranking.matching import Matcher
from late_rerank.ranking.pool import CandidatePool
from late_rerank.ranking.queries import QueryEncoder
from late_rerank.ranking.relevance import Calibration, check_calibration, resolve_calibration
from late_rerank.ranking.traced import rerank_span
from late_rerank.ranking.wanted import Wanted
from late_rerank.stores import Store, as_store
from late_rerank.stores.opening import would_be_made
from late_rerank.types import F32, Candidate, FirstStageWeight, QueryVectors, RankedDocument, Ranking
from late_rerank.vectors.indexing import IndexReport
from late_rerank.vectors.lookup import BATCH_SIZE, DocumentVectors

OnMissing = Literal["encode", "skip", "raise"]
_T = TypeVar("_T")


class Reranker:
    """Reorders candidates by late interaction. Safe to share between threads; a context manager.

    It works in forked children too (gunicorn --preload, Celery, multiprocessing on Linux) and keeps the vectors in memory. On a
    processor each child loads the model again when it needs it, and runs it on one thread. On an accelerator a child raises
    ForkError.

    Args:
        model: "minilm" or "minilm-late" (built in; the second was trained for late interaction), a hub name, a folder (native,
            PyLate or Stanford ColBERT format; "~" is your home), or an Encoder.
        store: Keeps token vectors: None or ":memory:" for this process's memory, a folder, a Redis server ("redis://...",
            "rediss://...", "unix://..."), or a Store, which stays yours to close. A store that can't keep new vectors (disk
            full, read-only) costs one warning; queries are answered.
        codec: Packs token vectors: "int8", "int4", "binary", "float16" or "float32", or a Codec.
        backend: Runs a model given by name: "torch", "openvino", "onnx", or "auto" for the fastest installed one whose token
            vectors have a cosine of at least .999 to torch's.
        device: A torch device; None for the fastest there is.
        kernel: Computes MaxSim: "auto", "native", "numpy", "torch", or a Kernel.
        on_missing: What to do with candidates whose vectors aren't in the store: "encode" and store them, "skip" (they
            follow the scored ones, unscored), or "raise" MissingDocumentsError.
        calibration: Turns scores into `relevance`: a Calibration, the file of one (`late-rerank calibrate` fits them), or
            "minilm", ours for that model; None for the mean MaxSim per query token, clipped to [0, 1].
        pooling: Merge similar token vectors of a document, so many into one: 2 halves the stored bytes. 1, the default,
            keeps all. For a model given by name or folder; its vectors are a space of their own in the store.

    Attributes:
        calibration: The Calibration in use, or None.
        encoder: The Encoder in use.
        codec: The Codec in use.
        store: The Store in use.
        kernel: The Kernel in use: `kernel.name` says which.
        arguments: The constructor's arguments, by name.

    Raises:
        ModelError: If the model can't be found, or can't be what it says.
        StoreError: If the store can't be opened.
        IncompatibleError: If the calibration was fitted to another model, or the model pools already and `pooling` is above 1.
        ValueError: If a name is unknown, the device isn't here, the file is no calibration, or `pooling` is below 1, or above
            it with an Encoder.
        TypeError: If an argument is of none of these kinds.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Encoder = "minilm",
        *,
        store: str | os.PathLike[str] | Store | None = None,
        codec: str | codecs.Codec = "int8",
        backend: Literal["auto", "torch", "openvino", "onnx"] = "auto",
        device: str | None = None,
        kernel: str | maxsim.Kernel = "auto",
        on_missing: OnMissing = "encode",
        calibration: Calibration | str | os.PathLike[str] | None = None,
        pooling: int = 1,
    ) -> None:
        if on_missing not in ("encode", "skip", "raise"):
            raise ValueError(f'on_missing must be "encode", "skip" or "raise", got {on_missing!r}')
        device = as_device(device)
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
        }
        # Cheap checks come before the model is loaded.
        self.codec = codecs.as_codec(codec)
        self.kernel = maxsim.as_kernel(kernel, device)
        self.calibration = resolve_calibration(calibration)
        self._owns_store = not isinstance(store, Store)
        if isinstance(store, (str, os.PathLike)) and would_be_made(store):
            # The model comes first: a wrong one, or Ctrl-C while it loads, must not leave an empty store.
            model, pooling = as_encoder(model, backend, device, pooling), 1
        self.store = as_store(store)
        self.on_missing = on_missing
        try:
            self.encoder = as_encoder(model, backend, device, pooling)
            check_calibration(self.calibration, self.encoder.fingerprint)
            space = self.store.space(self.encoder.fingerprint, self.codec.spec(self.encoder.dim))
        except BaseException:
            self._close_store()
            raise
        self._vectors = DocumentVectors(self.encoder, self.codec, space)
        self._queries = QueryEncoder(self.encoder)
        self._matcher = Matcher(self.encoder, self.codec, self.kernel, self._vectors)
        self._counts = {"n_queries": 0, "n_queries_truncated": 0, "hits": 0, "misses": 0}
        self._counts_lock = guarded(Lock())
        self._threads: CallThreads | None = None  # of `arerank`

    def rerank(
        self,
        query: str,
        candidates: Iterable[str | Candidate],
        *,
        top_k: int | None = None,
        min_relevance: float | None = None,
        first_stage_weight: FirstStageWeight = 0.0,
        deadline_s: float | None = None,
        max_tokens: int | None = None,
    ) -> Ranking:
        """Rank candidates by MaxSim, or by MaxSim and the first stage's scores together.

        Args:
            query: Not blank.
            candidates: Texts or Candidates, mixed; never changed.
            top_k: At most so many results, at least 1; None for all.
            min_relevance: From 0 to 1: documents of lower `relevance` are left out; unscored ones count as 0. None for all.
            first_stage_weight: How much the candidates' own scores count for the order, from 0 (not at all) up; 1 for as much
                as MaxSim. The order is by z(MaxSim) + weight * z(candidate_score), where z is the distance from the query's
                mean in standard deviations. "auto" chooses for each query: a tenth of the skewness of the candidates' scores,
                from 0 to 0.15, since a confident first stage sets a few far above the rest. `score` stays MaxSim.
            deadline_s: Seconds, 0 or more, to wait for documents; None to wait for all. Stored documents are scored first. The
                others are encoded in the candidates' order; those that seem too long for the time left come last. Documents
                that aren't ready in time follow unscored. They are encoded in the background, for the next query.
            max_tokens: At least 1: only the first so many stored token vectors of each document count; None for all.

        Returns:
            Best first; equal scores keep the candidates' order. Blank candidates come last with score -1e9 and
            relevance 0. After them come documents left unscored by `on_missing="skip"` or the deadline. Empty for no
            candidates, and where none is relevant enough.

        Raises:
            ValueError: If the query is blank, an option is out of its range, the encoder gave NaN, or the candidates' scores
                count and one has no finite score; names it.
            TypeError: If the query is no str, or a candidate is neither a str nor a Candidate; names it.
            MissingDocumentsError: If `on_missing` is "raise" and the store lacks a candidate.
        """
        wanted = Wanted(
            top_k=top_k,
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            deadline_s=deadline_s,
            max_tokens=max_tokens,
        )
        return self.rank([query], [candidates], wanted)[0]

    def rerank_batch(
        self,
        queries: Iterable[str],
        candidate_lists: Iterable[Iterable[str | Candidate]],
        *,
        top_k: int | None = None,
        min_relevance: float | None = None,
        first_stage_weight: FirstStageWeight = 0.0,
        deadline_s: float | None = None,
        max_tokens: int | None = None,
    ) -> list[Ranking]:
        """Rank several queries' candidates, as `rerank` does: queries and documents are fetched and encoded together.

        Returns:
            One Ranking a query, in order, each equal to `rerank`'s. "maxsim" in its timings is its own; the other stages are
            the batch's.

        Raises:
            ValueError: As in `rerank`, or if the two lists differ in length.
            TypeError: As in `rerank`.
            MissingDocumentsError: As in `rerank`.
        """
        return self.rank(
            queries,
            candidate_lists,
            Wanted(
                top_k=top_k,
                min_relevance=min_relevance,
                first_stage_weight=first_stage_weight,
                deadline_s=deadline_s,
                max_tokens=max_tokens,
            ),
        )

    def rank(
        self,
        queries: Iterable[str],
        candidate_lists: Iterable[Iterable[str | Candidate]],
        wanted: Wanted,
        *,
        query_vectors: Sequence[QueryVectors | None] | None = None,
    ) -> list[Ranking]:
        """Do what `rerank_batch` does, with its options in one object: for code that passes options on.

        Args:
            queries: None blank.
            candidate_lists: One a query.
            wanted: The options.
            query_vectors: For each query the `query_vectors` of an earlier Ranking of it, or None: they aren't encoded again.

        Raises:
            ValueError: As in `rerank`, or if the two lists differ in length.
            TypeError: As in `rerank`.
            MissingDocumentsError: As in `rerank`.
        """
        queries = as_list(queries, "queries", "str")
        candidate_lists = as_list(candidate_lists, "candidate_lists", "lists of candidates, one a query")
        check_queries(queries, candidate_lists)
        until = None if wanted.deadline_s is None else time.monotonic() + wanted.deadline_s
        timer = Timer()
        with background_work(), rerank_span(queries, wanted, self.model_name) as opened, timer.stage("total"):
            pools = [CandidatePool(candidates, wanted) for candidates in candidate_lists]
            missing = self._score(queries, pools, timer, until, query_vectors) if any(map(len, pools)) else frozenset()
            rankings = [pool.ranking(missing, self.calibration) for pool in pools]
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
        texts: dict[bytes, str] = {}
        for pool in pools:
            texts.update(pool.texts.by_key())
        found = self._vectors.look(texts, timer)
        self._raise_if_wanted(found.missing, pools)
        with timer.stage("encode_query"):
            for pool, query in zip(pools, self._queries.encode(queries, query_vectors), strict=True):
                pool.query = query
        for documents in self._vectors.documents(found, timer, until=until, encodes=self.on_missing == "encode"):
            for pool in pools:
                pool.score(self.kernel, self.codec, documents)
        return frozenset(found.missing)

    async def arerank(
        self,
        query: str,
        candidates: Iterable[str | Candidate],
        *,
        top_k: int | None = None,
        min_relevance: float | None = None,
        first_stage_weight: FirstStageWeight = 0.0,
        deadline_s: float | None = None,
        max_tokens: int | None = None,
    ) -> Ranking:
        """Rank candidates, as `rerank` does, in a thread of this Reranker's own: the event loop is never blocked.

        The loop's default threads stay free, which asyncio needs to look up host names. A call that is cancelled while it waits
        for a thread never begins. One that runs goes on to its end, and its documents are stored.
        """
        wanted = Wanted(
            top_k=top_k,
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            deadline_s=deadline_s,
            max_tokens=max_tokens,
        )
        return (await self.in_thread(self.rank, [query], [candidates], wanted))[0]

    async def in_thread(self, call: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """Call a function in one of `arerank`'s threads: as many as asyncio would have, started when they are needed.

        Context variables are the caller's. The end of the process doesn't wait for these threads.
        """
        with self._counts_lock:
            if self._threads is None:
                self._threads = CallThreads()
            threads = self._threads
        return await in_thread(threads, call, *args, **kwargs)

    def query_vectors(self, query: str, ranked: Sequence[RankedDocument] = ()) -> QueryVectors:
        """Give a query's token vectors: those that came with a Ranking of it, or encoded now.

        Args:
            query: Not blank.
            ranked: A Ranking, or any list.

        Raises:
            ValueError: If the query is blank.
        """
        check_queries([query], [()])
        return self._queries.encode([query], [ranked.query_vectors if isinstance(ranked, Ranking) else None])[0]

    def token_maxima(self, query: str, texts: Sequence[str], *, query_vectors: QueryVectors | None = None) -> F32:
        """Give the best match of each query token in each text. Texts that aren't stored are encoded and stored.

        Args:
            query: Not blank.
            texts: Any; blank ones match nothing.
            query_vectors: Of this query, if they are known: `Reranker.query_vectors`.

        Returns:
            (n_texts, n_query_tokens) float32, in the order of `texts`; row sums are MaxSim scores.

        Raises:
            ValueError: If the query is blank.
            TypeError: If a text is no str.
        """
        check_queries([query], [texts])
        return self._matcher.in_texts(self._queries.encode([query], [query_vectors])[0].vectors, texts)

    def span_maxima(
        self,
        query: str,
        texts: Sequence[str],
        spans: Sequence[Sequence[Span]],
        *,
        query_vectors: QueryVectors | None = None,
    ) -> list[F32]:
        """Give `token_maxima` of parts of texts, such as sentences, from the vectors of the whole texts.

        Args:
            query: Not blank.
            texts: Those that aren't stored are encoded and stored.
            spans: For each text the (start, end) of its parts in code points, in order and without overlap.
            query_vectors: As in `token_maxima`.

        Returns:
            For each text (n_spans, n_query_tokens) float32. A part without tokens of its own has no score: its row sums to
            -1e9. Parts beyond the place where a text was cut are such.

        Raises:
            ValueError: If the query is blank, or there isn't one list of spans a text.
            IncompatibleError: If the encoder can't tell its tokens' places, or pools them.
        """
        check_queries([query], [texts])
        check_places(self.encoder, "asked for parts of a text")
        if len(spans) != len(texts):
            raise ValueError(f"got {len(texts)} texts but {len(spans)} lists of spans")
        return self._matcher.in_spans(self._queries.encode([query], [query_vectors])[0].vectors, texts, spans)

    def similarity(self, text: str, others: Sequence[str], *, spans: Sequence[Span] | None = None) -> F32:
        """Measure how much of a document's content each of the others repeats. Texts that aren't stored are encoded and stored.

        Args:
            text: The document.
            others: To compare with.
            spans: Parts of the document to ask for one by one, (start, end) in code points, in order and without overlap.

        Returns:
            (n_others,) float32, in the order of `others`: the mean over the document's tokens of their best match. 1 for the
            same text, up to the codec's rounding; 0 where one is blank. It isn't symmetric: a piece of a text is in the text.
            With `spans` (n_others, n_spans), over each part's tokens; 1 for a part without tokens.

        Raises:
            TypeError: If one of them is no str.
            IncompatibleError: If, with `spans`, the encoder can't tell its tokens' places, or pools them.
        """
        if spans is not None:
            check_places(self.encoder, "asked for parts of a text")
        return self._matcher.likeness(text, others, spans)

    def index(
        self, documents: Iterable[str | Candidate], *, batch_size: int = BATCH_SIZE, progress: bool = False
    ) -> IndexReport:
        """Encode and store documents ahead of queries. Those in the store already cost nothing.

        Args:
            documents: Texts or Candidates, mixed; read once, so a generator will do.
            batch_size: Documents encoded between two puts; scores don't depend on it.
            progress: Show a bar on stderr, if that is a terminal.

        Raises:
            TypeError: If a document is neither a str nor a Candidate; names it. Earlier batches are stored.
            StoreError: If the store can't keep them. Earlier batches are stored.
            ValueError: If `batch_size` is below 1, or the encoder gave NaN.
        """
        with background_work():
            return self._vectors.index(documents, batch_size, progress=progress)

    def stats(self) -> dict[str, Any]:
        """Give counts since this Reranker was made, the store's size, and the names of its parts. JSON values.

        "n_not_stored" counts documents that were encoded for a query but could not be stored; "n_waiting" those that are being
        encoded now or wait for it.
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
            "pooling": described(self.encoder).pooling,
            "fingerprint": self.encoder.fingerprint,
        }

    @property
    def model_name(self) -> str:
        """The model's name as it was given, or the encoder's class."""
        return described(self.encoder).name

    def close(self) -> None:
        """Stop encoding in the background, and close the store if this Reranker opened it.

        A batch that is being encoded isn't waited for. It ends with its windows and isn't stored. The end of the process waits
        for that batch; for an encoder of your own, half a second.
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
        """Pickled as its arguments: another process loads the model anew. With `store=None` it begins with an empty memory."""
        return _made_again, (self.arguments,)

    def __copy__(self) -> Reranker:
        """Itself: it is shared, and frameworks copy whatever holds it."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Reranker:
        return self

    def _raise_if_wanted(self, missing: Sequence[bytes], pools: Sequence[CandidatePool]) -> None:
        if self.on_missing == "raise" and missing:
            absent = set(missing)
            indexes = [i for pool in pools for i, key in enumerate(pool.texts.keys) if key in absent]
            raise MissingDocumentsError(len(indexes), indexes[0])

    def _count(self, rankings: Sequence[Ranking]) -> None:
        with self._counts_lock:
            self._counts["n_queries"] += len(rankings)
            self._counts["n_queries_truncated"] += sum(ranking.query_truncated for ranking in rankings)
            self._counts["hits"] += sum(ranking.n_hits for ranking in rankings)
            self._counts["misses"] += sum(ranking.n_misses for ranking in rankings)


def _made_again(arguments: dict[str, Any]) -> Reranker:
    return Reranker(**arguments)
