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
from late_rerank.encode.places import Span, check_places
from late_rerank.errors import MissingDocumentsError
from late_rerank.processes.forks import background_work, guarded
from late_rerank.processes.threads import CallThreads, in_thread
from late_rerank.ranking.matching import Matcher
from late_rerank.ranking.pool import CandidatePool
from late_rerank.ranking.queries import QueryEncoder
from late_rerank.ranking.relevance import Calibration, check_calibration, resolve_calibration
from late_rerank.ranking.wanted import Wanted
from late_rerank.stores import Store, as_store
from late_rerank.stores.opening import would_be_made
from late_rerank.timing import Timer
from late_rerank.types import F32, Candidate, FirstStageWeight, QueryVectors, RankedDocument, Ranking
from late_rerank.vectors.indexing import IndexReport
from late_rerank.vectors.lookup import BATCH_SIZE, DocumentVectors

OnMissing = Literal["encode", "skip", "raise"]
_T = TypeVar("_T")


class Reranker:
    """Reorders candidates by late interaction. Safe to share between threads; a context manager.

    In a child that was forked (gunicorn --preload, Celery, multiprocessing on Linux) it goes on, with what its memory held:
    on a processor a model is loaded anew there when it is needed, and runs on one thread. A model on an accelerator is a
    ForkError there.

    Args:
        model: "minilm" or "minilm-late" (built in; the second was trained for late interaction), a hub name, a folder (native,
            PyLate or Stanford ColBERT format; "~" is your home), or an Encoder.
        store: Where token vectors are kept: None or ":memory:" for this process's memory, a folder, a Redis server ("redis://...",
            "rediss://...", "unix://..."), or a Store, which stays yours to close. Where it can't keep new vectors (disk
            full, read-only), queries are answered all the same, with one warning.
        codec: "int8", "int4", "binary", "float16" or "float32", or a Codec: how token vectors are packed.
        backend: What runs a model given by name: "torch", "openvino", "onnx", or "auto" for the fastest installed whose token
            vectors have a cosine of at least .999 to torch's.
        device: A torch device; None for the fastest there is.
        kernel: What computes MaxSim: "auto", "native", "numpy", "torch", or a Kernel.
        on_missing: What to do with candidates whose vectors aren't in the store: "encode" and store them, "skip" (they
            follow the scored ones, unscored), or "raise" MissingDocumentsError.
        calibration: What makes `relevance` of scores: a Calibration, the file of one (`late-rerank calibrate` fits them), or
            "minilm", ours for that model; None for the mean MaxSim per query token, clipped to [0, 1].
        pooling: Keep one of so many token vectors of a document, those that are alike merged: 2 halves what is stored. 1, the
            default, keeps all. For a model given by name or folder; its vectors are a space of their own in the store.

    Attributes:
        calibration: The Calibration in use, or None.
        encoder: The Encoder in use.
        codec: The Codec in use.
        store: The Store in use.
        kernel: The Kernel in use: `kernel.name` says which.
        arguments: What it was made with, by name.

    Raises:
        ModelError: The model can't be found, or can't be what it says.
        StoreError: The store can't be opened.
        IncompatibleError: The calibration was fitted to another model, or `pooling` is asked of a model that pools already.
        ValueError: A name isn't known, the device isn't here, the file is no calibration, or `pooling` is below 1, or above it
            with an Encoder.
        TypeError: An argument is of none of these kinds.
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
        # Everything cheap is checked before the model is loaded.
        self.codec = codecs.as_codec(codec)
        self.kernel = maxsim.as_kernel(kernel, device)
        self.calibration = resolve_calibration(calibration)
        self._owns_store = not isinstance(store, Store)
        if isinstance(store, (str, os.PathLike)) and would_be_made(store):
            # First the model: a wrong one, or Ctrl-C while it loads, must not leave an empty store.
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
            min_relevance: From 0 to 1: documents of lower `relevance` are left out, unscored ones count as 0; None for all.
            first_stage_weight: How much the candidates' own scores count for the order, which is by z(MaxSim) + weight *
                z(candidate_score), with z the distance from the query's mean in standard deviations. From 0 (not at all) up;
                1 for as much as MaxSim. "auto" chooses for each query: a tenth of the skewness of the candidates' scores, from
                0 to 0.15, since a first stage that is sure sets a few far above the rest. `score` stays MaxSim.
            deadline_s: After so many seconds no more documents are waited for: stored ones are scored first, then the others
                are encoded in the candidates' order, whatever other calls encode; those that seem too long for the time left
                come last. What isn't encoded by then follows unscored, is encoded afterwards in the background, and is there
                for the next query. None to wait for all.
            max_tokens: At least 1: of each document only so many stored token vectors count, the first; None for all.

        Returns:
            Best first; equal scores keep the candidates' order. Blank candidates come last with score -1e9 and
            relevance 0; after them those that `on_missing="skip"` or the deadline left unscored. Empty for no candidates, and
            where none is relevant enough.

        Raises:
            ValueError: The query is blank, `top_k` or `max_tokens` is below 1, `min_relevance` isn't in [0, 1], the encoder
                gave NaN, `first_stage_weight` or `deadline_s` is negative or not finite, or with a weight a candidate has no
                finite score; names it.
            TypeError: The query is no str, or a candidate is neither a str nor a Candidate; names it.
            MissingDocumentsError: With `on_missing="raise"`.
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
        """`rerank` for several queries: they are encoded together, their candidates fetched and encoded together.

        Returns:
            One Ranking a query, in order, each equal to what `rerank` gives. Of its timings only "maxsim" is its own;
            the others are the batch's.

        Raises:
            ValueError: As in `rerank`, or the two lists differ in length.
            TypeError: As in `rerank`.
            MissingDocumentsError: With `on_missing="raise"`.
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
        """`rerank_batch` with its options in one object, for code that passes them on.

        Args:
            queries: None blank.
            candidate_lists: One a query.
            wanted: The options.
            query_vectors: For each query the `query_vectors` of an earlier Ranking of it, or None: they aren't encoded again.

        Raises:
            ValueError: As in `rerank`, or the two lists differ in length.
            TypeError: As in `rerank`.
            MissingDocumentsError: As in `rerank`.
        """
        queries = as_list(queries, "queries", "str")
        candidate_lists = as_list(candidate_lists, "candidate_lists", "lists of candidates, one a query")
        check_queries(queries, candidate_lists)
        until = None if wanted.deadline_s is None else time.monotonic() + wanted.deadline_s
        timer = Timer()
        with background_work(), timer.stage("total"):
            pools = [CandidatePool(candidates, wanted) for candidates in candidate_lists]
            missing = self._score(queries, pools, timer, until, query_vectors) if any(map(len, pools)) else frozenset()
            rankings = [pool.ranking(missing, self.calibration) for pool in pools]
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
        """`rerank` in a thread of this Reranker's own, so that the event loop is never blocked.

        The loop's default threads, where names are looked up for one, stay free. Of calls that wait for a thread those that
        are cancelled never begin; one that runs goes on, but its documents aren't lost: they are stored.
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
        """Call something in one of the threads that `arerank` takes: as many as asyncio would, begun when they are needed.

        Context variables are the caller's. A process that ends doesn't wait for these threads.
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
        return self._queries.encode([query], [getattr(ranked, "query_vectors", None)])[0]

    def token_maxima(self, query: str, texts: Sequence[str], *, query_vectors: QueryVectors | None = None) -> F32:
        """The best match of each query token in each text; stored vectors first, misses are encoded and stored.

        Args:
            query: Not blank.
            texts: Any; blank ones match nothing.
            query_vectors: Of this query, if they are known: `Reranker.query_vectors`.

        Returns:
            (n_texts, n_query_tokens) float32, in the order of `texts`; row sums are MaxSim scores.

        Raises:
            ValueError: The query is blank.
            TypeError: A text is no str.
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
        """`token_maxima` of parts of texts, their sentences for one: from the texts' own vectors, none is encoded for its part.

        Args:
            query: Not blank.
            texts: Stored vectors first, misses are encoded and stored.
            spans: For each text the (start, end) of its parts in code points, in order and without overlap.
            query_vectors: As in `token_maxima`.

        Returns:
            For each text (n_spans, n_query_tokens) float32. A part without tokens of its own, beyond where the text was cut for
            one, has no score: its row sums to -1e9.

        Raises:
            ValueError: The query is blank, or there isn't one list of spans a text.
            IncompatibleError: The encoder can't tell its tokens' places, or pools them.
        """
        check_queries([query], [texts])
        check_places(self.encoder, "asked for parts of a text")
        if len(spans) != len(texts):
            raise ValueError(f"got {len(texts)} texts but {len(spans)} lists of spans")
        return self._matcher.in_spans(self._queries.encode([query], [query_vectors])[0].vectors, texts, spans)

    def similarity(self, text: str, others: Sequence[str], *, spans: Sequence[Span] | None = None) -> F32:
        """How much of what a document says each of the others says too; stored vectors first, misses are encoded and stored.

        Args:
            text: The document.
            others: To compare with.
            spans: Parts of the document to ask for one by one, (start, end) in code points, in order and without overlap.

        Returns:
            (n_others,) float32, in the order of `others`: the mean over the document's tokens of their best match. 1 for the
            same text, but for the codec's rounding; not symmetric: a piece of a text is in the text. 0 where one is blank.
            With `spans` (n_others, n_spans), over each part's tokens; 1 for a part without tokens.

        Raises:
            TypeError: One of them is no str.
            IncompatibleError: With `spans`, the encoder can't tell its tokens' places, or pools them.
        """
        if spans is not None:
            check_places(self.encoder, "asked for parts of a text")
        return self._matcher.likeness(text, others, spans)

    def index(
        self, documents: Iterable[str | Candidate], *, batch_size: int = BATCH_SIZE, progress: bool = False
    ) -> IndexReport:
        """Encode and store documents ahead of queries; those in the store already cost nothing.

        Args:
            documents: Texts or Candidates, mixed; read once, so a generator will do.
            batch_size: Documents encoded between two puts; scores don't depend on it.
            progress: Show a bar on stderr, if that is a terminal.

        Raises:
            TypeError: A document is neither a str nor a Candidate; names it. Earlier batches are stored.
            StoreError: The store can't keep them. Earlier batches are stored.
            ValueError: `batch_size` is below 1, or the encoder gave NaN.
        """
        with background_work():
            return self._vectors.index(documents, batch_size, progress=progress)

    def stats(self) -> dict[str, Any]:
        """Counts since this Reranker was made, what its store holds, and which parts run. JSON values.

        "n_not_stored" counts documents that were encoded for a query, but that the store could not keep; "n_waiting" those that
        are being encoded now, or wait for it.
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
            "backend": getattr(getattr(self.encoder, "backend", None), "name", "the encoder's own"),
            "codec": self.codec.name,
            "pooling": getattr(self.encoder, "pooling", 1),
            "fingerprint": self.encoder.fingerprint,
        }

    @property
    def model_name(self) -> str:
        """The model as it was named, or what kind of encoder it is."""
        return str(getattr(self.encoder, "name", type(self.encoder).__name__))

    def close(self) -> None:
        """Encode no more in the background, and close the store, if this Reranker made or opened it.

        What is being encoded isn't waited for: it ends with its batch of windows, and isn't stored. The end of the process
        waits for that batch, half a second for an encoder of your own.
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
