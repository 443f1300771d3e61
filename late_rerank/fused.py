"""Several Rerankers over one list of candidates: a page's text score and its picture's score make one order."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from late_rerank.arguments.given import as_candidates
from late_rerank.arguments.numbers import whole_number
from late_rerank.arguments.queries import as_list, check_queries
from late_rerank.errors import IncompatibleError
from late_rerank.observing.progress import progress_bar
from late_rerank.observing.timing import TOTAL, Timer
from late_rerank.pictures import PictureError
from late_rerank.ranking.doors import RanksInThreads
from late_rerank.ranking.fused_ranking import FusedRanking, Look, Mask, fused_ranking
from late_rerank.ranking.fusion import first_stage_scores
from late_rerank.ranking.prior import of_candidates, of_queries
from late_rerank.ranking.together import Method, checked_method, weights_of
from late_rerank.ranking.traced import rerank_span
from late_rerank.ranking.wanted import Wanted
from late_rerank.reranker import Reranker
from late_rerank.types import Candidate, Content, Document, QueryVectors, RankedDocument
from late_rerank.vectors.indexing import DamagedPicturesError, IndexReport, raise_damaged
from late_rerank.vectors.lookup import BATCH_SIZE

_T = TypeVar("_T")
_FEWEST = 2
_BLANK = Candidate()
# A model ranks all candidates; what is kept is decided by all models together.
_OF_A_MODEL = Wanted()


class FusedReranker(RanksInThreads[FusedRanking]):
    """Ranks candidates by several models together, most often one of texts and one of page images.

    Each model scores the candidates from its own stored vectors. The sum of what the scores are worth orders the candidates. A
    model may be unable to encode a candidate, such as a page without text or with a damaged picture. It counts as the worst of
    that model.

    The options of `rerank` are a Reranker's, of all models together. `first_stage_weight` counts beside the models' weights.
    Each model may take an equal share of the time that `deadline_s` leaves. `prior` is added to the standardised sum of the
    models' scores. `max_tokens` counts in each model. With a prior `ranked_by` of a result tells that sum, with the first stage
    in it, as its `score`; its `first_stage` is then 0. Without one it is None.

    Of a result, `score` is the sum that the models and the first stage give; it compares documents of one query alone.
    `relevance` is the weighted mean over the models that scored the document. A FusedRanking's `scores_by_model` holds the
    models' own scores. Documents that no model scored come last. It is an error that names the candidate if no model can
    encode it, or its picture is damaged and no model can rank its text.

    Args:
        rerankers: Two Rerankers or more, each with its own model. They may share a store. `close` closes them.
        weights: How much each counts, above 0. None counts all the same.
        method: What a score is worth. "zscore" takes its distance from the mean of the query's candidates, in standard
            deviations. "rrf" takes 1 / (60 + rank), which knows no distances.

    Attributes:
        rerankers: The Rerankers.
        names: Their models' names, in the same order. A second model of one name is "NAME (2)".
        weights: As given; ones for None.
        method: As given.

    Raises:
        ValueError: If there are fewer than two Rerankers, or the weights are of another number or not above 0. Also if the
            method is unknown.
        TypeError: If one is no Reranker, or a weight is no number.
    """

    def __init__(
        self, rerankers: Sequence[Reranker], *, weights: Sequence[float] | None = None, method: Method = "zscore"
    ) -> None:
        self.rerankers = tuple(_checked(rerankers))
        self.weights = weights_of(weights, len(self.rerankers))
        self.method: Method = checked_method(method)
        self.names = _distinct([reranker.model_name for reranker in self.rerankers])

    @property
    def model_name(self) -> str:
        """The models' names, joined by " + "."""
        return " + ".join(self.names)

    async def in_thread(self, call: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """Call a function in one of the threads of the first Reranker's `arerank`."""
        return await self.rerankers[0].in_thread(call, *args, **kwargs)

    def rank(
        self,
        queries: Iterable[str],
        candidate_lists: Iterable[Iterable[Document]],
        wanted: Wanted,
        *,
        query_vectors: Sequence[QueryVectors | None] | None = None,
    ) -> list[FusedRanking]:
        """Rank as `rerank_batch` does, with its options in one object. For code that passes options on.

        Args:
            queries: Queries, none blank.
            candidate_lists: One list of candidates for each query.
            wanted: The options.
            query_vectors: As in `Reranker.rank`. Each model takes those that it made.

        Raises:
            ValueError: As in `rerank`. Also if the two lists differ in length.
            TypeError: As in `rerank`.
            IncompatibleError: As in `rerank`.
        """
        queries = as_list(queries, "queries", "str")
        candidate_lists = as_list(candidate_lists, "candidate_lists", "lists of candidates, one a query")
        check_queries(queries, candidate_lists)
        until = None if wanted.deadline_s is None else time.monotonic() + wanted.deadline_s
        timer = Timer((TOTAL,))
        with rerank_span(queries, wanted, self.model_name) as opened, timer.stage(TOTAL):
            lists = [list(as_candidates(given, "candidates")) for given in candidate_lists]
            for candidates in lists if wanted.first_stage_weight else ():
                first_stage_scores(candidate.score for candidate in candidates)  # a missing one is told before the work
            priors = [
                None if prior is None else of_candidates(prior, candidates)
                for prior, candidates in zip(of_queries(wanted.prior, len(lists)), lists, strict=True)
            ]
            able = [self._able(candidates, "candidates") for candidates in lists]
            own = replace(_OF_A_MODEL, max_tokens=wanted.max_tokens)
            looks = [
                self._looks(i, (queries, lists, able), own, until=until, query_vectors=query_vectors)
                for i in range(len(self.rerankers))
            ]
            rankings = [
                fused_ranking(candidates, of_query, self.method, wanted, prior=prior)
                for candidates, prior, *of_query in zip(lists, priors, *looks, strict=True)
            ]
            opened.tell_ranked(rankings, sum(map(len, lists)))
        for ranking in rankings:
            ranking.timings_ms[TOTAL] = timer.ms[TOTAL]
        return rankings

    def index(self, documents: Iterable[Document], *, batch_size: int = BATCH_SIZE, progress: bool = False) -> IndexReport:
        """Encode and store documents ahead of queries, by each model that can encode them.

        Args:
            documents: As in `Reranker.index`, like all other arguments.
            batch_size: Documents encoded between two puts, at least 1.
            progress: Show a bar on stderr, if stderr is a terminal.

        Returns:
            `n_documents` counts the documents. All other counts are sums over the models.

        Raises:
            TypeError: As in `Reranker.index`.
            IncompatibleError: If no model can encode what a document has. Earlier batches are stored.
            PictureError: If pictures are damaged. The message names them. All other documents are stored.
            StoreError: As in `Reranker.index`.
            ValueError: As in `Reranker.index`.
        """
        whole_number("batch_size", batch_size)
        started = time.perf_counter()
        total = len(documents) if isinstance(documents, Sequence) else None
        n_documents = 0
        reports: list[IndexReport] = []
        damaged: dict[int, PictureError] = {}
        with progress_bar(total=total, unit=" documents", desc="Encoding", progress=progress) as bar:
            for batch in _batches(as_candidates(documents, "documents"), batch_size):
                masks = self._able(batch, "documents", n_documents)
                for reranker, able in zip(self.rerankers, masks, strict=True):
                    places = np.flatnonzero(able).tolist()
                    try:
                        reports.append(reranker.index([batch[i] for i in places], batch_size=batch_size))
                    except DamagedPicturesError as error:
                        for i, each in error.damaged.items():
                            damaged.setdefault(n_documents + places[i], each)
                n_documents += len(batch)
                bar.update(len(batch))
        raise_damaged(damaged)
        return IndexReport(
            n_documents=n_documents,
            n_encoded=sum(report.n_encoded for report in reports),
            n_cached=sum(report.n_cached for report in reports),
            n_tokens=sum(report.n_tokens for report in reports),
            size_bytes=sum(report.size_bytes for report in reports),
            seconds=time.perf_counter() - started,
        )

    def content_of(self, document: Candidate | RankedDocument) -> Content:
        """Give what is ranked of a document: its text or its picture, by the first Reranker that can encode it.

        Raises:
            IncompatibleError: If no model can encode what it has.
        """
        able = next((reranker for reranker in self.rerankers if _is_able(reranker, document)), self.rerankers[0])
        return able.content_of(document)

    def matching(self, documents: Collection[RankedDocument]) -> Reranker:
        """Give the Reranker by which these documents' matches are compared: matches of two models can't be.

        It is the first that can encode all of them, or else the first of those that can encode most.
        """
        n_able = [sum(_is_able(reranker, document) for document in documents) for reranker in self.rerankers]
        return self.rerankers[int(np.argmax(n_able))]

    def stats(self) -> dict[str, Any]:
        """Give the models' names, the weights and the method, and the `stats` of each Reranker. All are JSON values."""
        models = {name: reranker.stats() for name, reranker in zip(self.names, self.rerankers, strict=True)}
        return {"model": self.model_name, "method": self.method, "weights": list(self.weights), "models": models}

    def close(self) -> None:
        """Close the Rerankers."""
        with ExitStack() as closing:
            for reranker in reversed(self.rerankers):
                closing.callback(reranker.close)

    def __enter__(self) -> FusedReranker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _able(self, documents: Sequence[Candidate], what: str, first: int = 0) -> list[Mask]:
        """Tell for each model which documents it can encode, (n_documents,) each.

        Raises:
            IncompatibleError: If no model can encode one, or one has token vectors; names it, counted from `first`.
        """
        if any(each.token_vectors is not None for each in documents):
            i = next(i for i, each in enumerate(documents) if each.token_vectors is not None)
            raise IncompatibleError(
                f"{what}[{first + i}] has token vectors, which one model made, and several models rank together: leave its "
                "token vectors out, or rank by one Reranker"
            )
        able = [np.array([_is_able(reranker, each) for each in documents], dtype=np.bool_) for reranker in self.rerankers]
        nowhere = np.flatnonzero(~np.logical_or.reduce(able))
        if len(nowhere):
            i = int(nowhere[0])
            lacks = "a text without an image" if documents[i].image is None else "an image without text"
            raise IncompatibleError(
                f"{what}[{first + i}] is {lacks}, which none of the models {', '.join(self.names)} can encode: give both, or "
                "add a model that can"
            )
        return able

    def _share(self, i: int, until: float | None) -> float | None:
        """Give model i an equal share of the seconds that are left; else the first would leave the others none."""
        return None if until is None else max(until - time.monotonic(), 0.0) / (len(self.rerankers) - i)

    def _looks(
        self,
        i: int,
        given: tuple[Sequence[str], Sequence[Sequence[Candidate]], Sequence[Sequence[Mask]]],
        wanted: Wanted,
        *,
        until: float | None,
        query_vectors: Sequence[QueryVectors | None] | None,
    ) -> list[Look]:
        """Rank by model i alone. A candidate that it can't encode is blank to it, so that all keep their places.

        Args:
            i: The model's place.
            given: The queries, their candidates, and for each query the masks of all models. A candidate whose picture turns
                out to be damaged is taken out of model i's mask.
            wanted: The options but for the deadline.
            until: When the time of all models is up, of `time.monotonic()`.
            query_vectors: As in `rank`.

        Raises:
            PictureError: If a picture is damaged, and no model is left for its candidate; names it.
        """
        queries, lists, able = given
        while True:
            own = [
                [candidate if can else _BLANK for candidate, can in zip(candidates, masks[i].tolist(), strict=True)]
                for candidates, masks in zip(lists, able, strict=True)
            ]
            in_time = replace(wanted, deadline_s=self._share(i, until))
            try:
                rankings = self.rerankers[i].rank(queries, own, in_time, query_vectors=query_vectors)
            except PictureError as error:
                _leave_out(error, i, lists, able)
                continue
            return [Look(self.names[i], self.weights[i], each, masks[i]) for each, masks in zip(rankings, able, strict=True)]


AnyReranker = Reranker | FusedReranker
"""A reranker of one model, or of several together."""


def _checked(given: Any) -> list[Reranker]:
    rerankers = as_list(given, "rerankers", "Rerankers")
    for i, reranker in enumerate(rerankers):
        if not isinstance(reranker, Reranker):
            raise TypeError(f"rerankers[{i}] must be a Reranker, got {type(reranker).__name__}: {reranker!r:.60}")
    if len(rerankers) < _FEWEST:
        raise ValueError(f"rerankers must be {_FEWEST} or more, got {len(rerankers)}: one Reranker needs no fusion")
    return rerankers


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for i, name in enumerate(names):
        n = names[: i + 1].count(name)
        found.append(name if n == 1 else f"{name} ({n})")
    return tuple(found)


def _is_able(reranker: Reranker, document: Candidate | RankedDocument) -> bool:
    try:
        reranker.content_of(document)
    except IncompatibleError:
        return False
    return True


def _leave_out(error: PictureError, i: int, lists: Sequence[Sequence[Candidate]], able: Sequence[Sequence[Mask]]) -> None:
    """Take the candidates of a damaged picture out of model i's masks.

    Raises:
        PictureError: If no model is left for one of them; names it. Also if the picture is none of the candidates'.
    """
    key = error.picture.key()
    is_found = False
    for n, (candidates, masks) in enumerate(zip(lists, able, strict=True)):
        for j in np.flatnonzero(masks[i]).tolist():
            picture = candidates[j].image
            if picture is None or picture.key() != key:
                continue
            is_found = True
            masks[i][j] = False
            if not any(mask[j] for mask in masks):
                of_query = "candidates" if len(lists) == 1 else f"candidate_lists[{n}]"
                raise PictureError(f"{of_query}[{j}]: {error.reason}", error.picture) from error
    if not is_found:
        raise error


def _batches(documents: Iterator[Candidate], size: int) -> Iterator[list[Candidate]]:
    while batch := list(islice(documents, size)):
        yield batch
