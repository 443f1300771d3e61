"""A query's own document, which has the query's id. BEIR leaves it out before measuring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from late_rerank.types import Candidate

Run = dict[str, list[Candidate]]
"""Query id -> candidates, best first."""


def is_own(query_id: str, candidate: Candidate) -> bool:
    """Tell whether a candidate has its query's id."""
    return candidate.id is not None and str(candidate.id) == query_id


def n_own(query_id: str, candidates: Iterable[Candidate]) -> int:
    """Count the candidates that have their query's id."""
    return sum(is_own(query_id, candidate) for candidate in candidates)


def best(query_id: str, candidates: Sequence[Candidate], k: int) -> list[Candidate]:
    """Give the first `k` candidates without the query's id, and any candidate with it that stands before the last of them."""
    end = k
    while (needed := k + n_own(query_id, candidates[:end])) != end and end < len(candidates):
        end = needed
    return list(candidates[:end])


def check_relevant(qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Check that relevant documents are left where queries' own documents are left out.

    Raises:
        ValueError: If every relevant document has its query's id, as in a list of questions with their answers.
    """
    relevant = [(name, each) for name, judged in qrels.items() for each, judgement in judged.items() if judgement > 0]
    if relevant and all(name == each for name, each in relevant):
        raise ValueError(
            f"all {len(relevant)} relevant documents have their query's id, {relevant[0][0]!r} first, and are left out, as "
            "BEIR does; where they are answers, not the query, count them: --keep-identical-ids or ignore_identical_ids=False"
        )


def without_own(run: Mapping[str, Sequence[Candidate]], names: Iterable[str]) -> tuple[Run, int]:
    """Leave out the candidates that have their query's id.

    In collections whose queries are documents (BEIR's ArguAna and Quora) such a candidate is the query itself. Every model
    finds it first, and nobody judged it relevant.

    Args:
        run: Query id -> candidates.
        names: The queries that are measured.

    Returns:
        The run of those queries, and the number of candidates left out.

    Source: BEIR's EvaluateRetrieval.evaluate with ignore_identical_ids, its default.
    """
    given = {name: run.get(name, ()) for name in names}
    kept = {name: [each for each in candidates if not is_own(name, each)] for name, candidates in given.items()}
    return kept, sum(len(candidates) - len(kept[name]) for name, candidates in given.items())
