"""The methods that rank, with their options written out: `rerank`, `rerank_batch`, `arerank`, over one `rank`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from late_rerank.ranking.wanted import Wanted
from late_rerank.types import Document, FirstStageWeight, Prior, Ranking

_R = TypeVar("_R", bound=Ranking)
_T = TypeVar("_T")


class Ranks(ABC, Generic[_R]):
    """Ranks candidates, of one query or of several. What ranks them is `rank`, which each kind of reranker has."""

    @abstractmethod
    def rank(self, queries: Iterable[str], candidate_lists: Iterable[Iterable[Document]], wanted: Wanted) -> list[_R]:
        """Rank as `rerank_batch` does, with its options in one object. For code that passes options on."""

    def rerank(
        self,
        query: str,
        candidates: Iterable[Document],
        *,
        top_k: int | None = None,
        min_relevance: float | None = None,
        first_stage_weight: FirstStageWeight = 0.0,
        deadline_s: float | None = None,
        max_tokens: int | None = None,
        prior: Prior | None = None,
    ) -> _R:
        """Rank candidates by MaxSim; or by MaxSim, the first stage's scores and numbers of your own together.

        Args:
            query: Must not be blank.
            candidates: Texts, Pictures or Candidates, mixed. They are never changed.
            top_k: The most results to return, at least 1. None returns all.
            min_relevance: From 0 to 1. Documents of lower `relevance` are left out; unscored documents count as 0. None keeps
                all. Neither `first_stage_weight` nor `prior` changes a document's relevance.
            first_stage_weight: How much the candidates' own scores count for the order, 0 or more. With 0 they don't count;
                with 1 they count as much as MaxSim. The order is by z(MaxSim) + weight * z(candidate_score) + prior. z is the
                distance from the query's mean, in standard deviations. "auto" chooses a weight for each query: a tenth of the
                skewness of the candidates' scores, from 0 to 0.15. The reason: a confident first stage scores a few candidates
                far above the rest. `score` stays MaxSim.
            deadline_s: Seconds to wait for documents, 0 or more. None waits for all. Stored documents are scored first. The
                others are encoded in the candidates' order. Documents that seem too long for the time left come last. Documents
                that aren't ready in time stay unscored. They are encoded in the background, for the next query.
            max_tokens: Counts only the first `max_tokens` stored token vectors of each document, at least 1. None counts all.
            prior: What you add to the order yourself, such as recency, source or popularity: one finite number for each
                candidate, in their order, or a function of a Candidate. A prior of 1 lifts a document by one standard deviation
                of the query's scores. Mean and deviation (over n, not n - 1) are those of the candidates that were scored and
                have tokens. If there is one such candidate, or all have one score, z is 0, and the prior decides. Blank and
                unscored documents stay last whatever their prior. Only differences between priors matter: the same prior for
                all changes nothing. Equal sums keep the candidates' order. `score` stays MaxSim; `prior` and `ranked_by` of a
                result tell what was added. `late_rerank.ranking.recency` makes a function of dates.

        Returns:
            The best document first. Equal scores keep the candidates' order. Blank candidates follow the scored ones, with
            score -1e9 and relevance 0. Unscored documents come last (`on_missing="skip"`, the deadline passed, or a table that
            is read by ids gave no row and there is no text). The Ranking is empty if there are no candidates, or if none is
            relevant enough.

        Raises:
            ValueError: If the query is blank, an option is out of its range, or the encoder gives NaN or infinity. Also if the
                candidates' scores count and one has no finite score. Also if there isn't one prior for each candidate, or the
                function fails. The message names the candidate.
            TypeError: If the query isn't a str, or a candidate is no str, Picture or Candidate. The message names the
                candidate. Also if a prior is no number.
            IncompatibleError: If the model can't encode what a candidate has: an image without text for a model of texts, or
                the other way round.
            OSError: If a candidate's image is in a file that can't be read.
            PictureError: If a candidate's image is damaged, or one that the model can't take. The message names the candidate.
            MissingDocumentsError: If `on_missing` is "raise" and the store lacks a candidate.
        """
        wanted = Wanted(
            top_k=top_k,
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            deadline_s=deadline_s,
            max_tokens=max_tokens,
            prior=prior,
        )
        return self.rank([query], [candidates], wanted)[0]

    def rerank_batch(
        self,
        queries: Iterable[str],
        candidate_lists: Iterable[Iterable[Document]],
        *,
        top_k: int | None = None,
        min_relevance: float | None = None,
        first_stage_weight: FirstStageWeight = 0.0,
        deadline_s: float | None = None,
        max_tokens: int | None = None,
        prior: Prior | Sequence[Sequence[float]] | None = None,
    ) -> list[_R]:
        """Rank the candidates of several queries, as `rerank` does. Queries and documents are fetched and encoded together.

        Args:
            queries: Queries, none blank.
            candidate_lists: One list of candidates for each query.
            top_k: As in `rerank`, like all options but the last.
            min_relevance: As in `rerank`.
            first_stage_weight: As in `rerank`.
            deadline_s: As in `rerank`.
            max_tokens: As in `rerank`.
            prior: A function of a Candidate, for all queries; or for each query a list of numbers, one for each candidate.

        Returns:
            One ranking for each query, in order, equal to the ranking that `rerank` gives. In `timings_ms`, "maxsim" is the
            query's own. The other stages are the whole batch's.

        Raises:
            ValueError: As in `rerank`. Also if the lists differ in length.
            TypeError: As in `rerank`.
            MissingDocumentsError: As in `rerank`.
        """
        wanted = Wanted(
            top_k=top_k,
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            deadline_s=deadline_s,
            max_tokens=max_tokens,
            prior=prior,
        )
        return self.rank(queries, candidate_lists, wanted)


class RanksInThreads(Ranks[_R]):
    """Ranks also for event loops, in threads of its own."""

    @abstractmethod
    async def in_thread(self, call: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """Call a function in one of `arerank`'s threads."""

    async def arerank(
        self,
        query: str,
        candidates: Iterable[Document],
        *,
        top_k: int | None = None,
        min_relevance: float | None = None,
        first_stage_weight: FirstStageWeight = 0.0,
        deadline_s: float | None = None,
        max_tokens: int | None = None,
        prior: Prior | None = None,
    ) -> _R:
        """Rank candidates, as `rerank` does, in a thread of this Reranker's own. The event loop is never blocked.

        The loop's default threads stay free; asyncio needs them to look up host names. If a call is cancelled while it waits
        for a thread, it never begins. If it runs already, it goes on to its end, and its documents are stored.
        """
        wanted = Wanted(
            top_k=top_k,
            min_relevance=min_relevance,
            first_stage_weight=first_stage_weight,
            deadline_s=deadline_s,
            max_tokens=max_tokens,
            prior=prior,
        )
        return (await self.in_thread(self.rank, [query], [candidates], wanted))[0]
