"""What framework wrappers share: a reranker from their arguments, their options, the choice of documents."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from late_rerank.arguments.given import finite
from late_rerank.arguments.numbers import whole_number
from late_rerank.codecs import Codec
from late_rerank.context import ContextPart, pack_context
from late_rerank.context.counting import counter
from late_rerank.context.file_spans import N_CHARACTERS
from late_rerank.context.layout import ORDERS, Order
from late_rerank.context.sentences import CUT_MARK
from late_rerank.encode import Encoder
from late_rerank.errors import MissingDependencyError
from late_rerank.maxsim import Kernel
from late_rerank.ranking.relevance import Calibration
from late_rerank.ranking.wanted import Wanted
from late_rerank.reranker import Reranker
from late_rerank.stores import Store
from late_rerank.text.words import is_blank
from late_rerank.types import NO_TOKENS_SCORE, Candidate, FirstStageWeight, RankedDocument, Ranking

__all__ = [
    "Calibration",
    "Choice",
    "Chosen",
    "Codec",
    "Encoder",
    "FirstStageWeight",
    "Kernel",
    "MissingDependencyError",
    "Order",
    "Store",
    "asks_nothing",
    "choose",
    "finite",
    "maxsim_of",
    "reranker_from",
    "unscored",
    "whole_number",
]

# What retrievers and rerankers write into metadata: two that found the same document differ in these.
_SCORES = frozenset(("retrieval_score", "relevance_score", "late_rerank_score", "score"))


@dataclass(frozen=True, kw_only=True)
class Choice(Wanted):
    """Which of the found documents a wrapper gives back: what a rerank is asked for, and a budget.

    `top_k` is None for all, or for as many as fit the budget.

    Attributes:
        budget_tokens: Of the whole context that `pack_context` makes of them; None for no budget: then the best ranked.
        order: How they are read: "relevance", "edges" or "source"; None for "relevance".
        count_tokens: As `pack_context` takes it; None for an estimate.

    Raises:
        ValueError: If a number is out of its range, the order isn't known, or order or count_tokens are given without a budget.
        TypeError: If one is of the wrong type.
    """

    budget_tokens: int | None = None
    order: Order | None = None
    count_tokens: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget_tokens is not None:
            whole_number("budget_tokens", self.budget_tokens, 0)
        if self.order is not None and self.order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, or None, got {self.order!r:.60}")
        counter(self.count_tokens)
        given = [name for name in ("order", "count_tokens") if getattr(self, name) is not None]
        if self.budget_tokens is None and given:
            raise ValueError(f"{' and '.join(given)} only count with a budget: give budget_tokens too, or leave them out")

    def resolved(self, default: int) -> Choice:
        """Set `top_k` where it is None and there is no budget, which would bound it."""
        return replace(self, top_k=default) if self.top_k is None and self.budget_tokens is None else self

    def options(self, names: Container[str]) -> dict[str, Any]:
        """Give the options that a wrapper has fields for, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in names}

    def told(self) -> Iterator[tuple[str, Any]]:
        """Give the options that differ from their defaults, for a wrapper's repr; `top_k` and `count_tokens` aside."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("top_k", "count_tokens") and value != field.default:
                yield field.name, value


class Chosen(NamedTuple):
    """A document that was chosen.

    Attributes:
        document: As it was ranked.
        content: What its content is to become, where a budget had it cut, or joined with neighbours of its file; None where it
            stays as it is.
        start: Where the content begins in its file, where a budget was given and that is known.
        end: Where it ends there.
    """

    document: RankedDocument
    content: str | None = None
    start: int | None = None
    end: int | None = None


def choose(
    reranker: Reranker,
    query: str,
    candidates: Sequence[Candidate],
    choice: Choice,
    contents: Sequence[str] | None = None,
    *,
    own: Sequence[str] | None = None,
) -> list[Chosen]:
    """Rank what was found, and choose: each document once, however many retrievers found it.

    Two candidates are the same document if they have one id and one content; or, where one has no id, one content and the same
    metadata but for scores. The id alone is not enough: two stores that number their documents use the same ids. The better
    ranked of the two stands for both; the first, where they are ranked alike.

    Args:
        reranker: Ranks, and packs where there is a budget. Both block: in async code call this in a thread.
        query: What was asked. A blank one finds nothing: an agent that sends "" gets an empty answer.
        candidates: What was found; pieces of a file say their place in their metadata, as `pack_context` reads it.
        choice: How many, how relevant, and in which budget.
        contents: Of each candidate what its text holds beside something put before or after it, as a title; None where texts
            are contents. A candidate of blank content counts as blank: a title alone must not outrank passages.
        own: What tells documents from each other, where it isn't `contents`: two may be ranked by one text.

    Returns:
        Best first, or in the order of the context. With a budget without those that say the same as another, and without
        unscored ones. Empty where the query is blank, none is relevant enough, or nothing fits.

    Raises:
        ValueError: As in `Reranker.rerank`, but for a blank query.
        MissingDocumentsError: As in `Reranker.rerank`.
    """
    if asks_nothing(query):
        return []
    own = own or contents or [candidate.text for candidate in candidates]
    candidates = candidates if contents is None else list(map(_blank_without, candidates, contents))
    may_repeat = len(set(own)) < len(own)
    top_k = choice.top_k if choice.budget_tokens is None and not may_repeat else None
    ranking = reranker.rank([query], [candidates], replace(choice, top_k=top_k))[0]
    if may_repeat:
        _leave_out_repeated(ranking, own)
    if choice.budget_tokens is None:
        return [Chosen(document) for document in ranking[: choice.top_k]]
    context = pack_context(
        query,
        ranking if contents is None else ranking.with_documents(_counting(each, contents[each.index]) for each in ranking),
        reranker=reranker,
        budget_tokens=int(choice.budget_tokens),
        top_k=choice.top_k,
        order=choice.order or "relevance",
        count_tokens=choice.count_tokens,
    )
    documents = {document.index: document for document in ranking}
    found = [Chosen(documents[part.index], _content(part, documents, contents), part.start, part.end) for part in context.parts]
    return [each for each in found if each.content is None or each.content.strip()]


def reranker_from(  # noqa: PLR0913 - all arguments of a Reranker
    reranker: Reranker | None,
    *,
    model: str | Encoder | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    codec: str | Codec | None = None,
    device: str | None = None,
    backend: str | None = None,
    kernel: str | Kernel | None = None,
    on_missing: str | None = None,
    calibration: Calibration | str | os.PathLike[str] | None = None,
    pooling: int | None = None,
) -> Reranker:
    """Give a ready reranker as it is, or make one from the other arguments.

    Args:
        reranker: A ready one, to be shared; then none of the others may be given.
        model: As `Reranker` takes it, as are all others; None for its default.
        store: Where token vectors are kept.
        codec: How they are packed.
        device: What the model runs on.
        backend: What runs it.
        kernel: What computes MaxSim.
        on_missing: What is done with documents that the store doesn't hold.
        calibration: What makes relevance of scores.
        pooling: How many token vectors of a document become one.

    Raises:
        TypeError: If `reranker` is no Reranker.
        ValueError: If both a ready reranker and arguments for a new one are given.
    """
    arguments = {
        "model": model,
        "store": store,
        "codec": codec,
        "device": device,
        "backend": backend,
        "kernel": kernel,
        "on_missing": on_missing,
        "calibration": calibration,
        "pooling": pooling,
    }
    given: dict[str, Any] = {name: value for name, value in arguments.items() if value is not None}
    if reranker is None:
        return Reranker(**given)
    if not isinstance(reranker, Reranker):
        raise TypeError(f"reranker must be a late_rerank.Reranker, got {type(reranker).__name__}: {reranker!r:.60}")
    if given:
        raise ValueError(f"give either a ready reranker or {', '.join(given)}, not both: the reranker has its own")
    return reranker


def asks_nothing(query: object) -> bool:
    """Tell whether a query is a text that shows nothing, which no document answers."""
    return isinstance(query, str) and is_blank(query)


def maxsim_of(document: RankedDocument) -> float | None:
    """Give the MaxSim that a wrapper may show; None where the document wasn't scored, or has no tokens to score."""
    return None if document.score is None or document.score == NO_TOKENS_SCORE else float(document.score)


def unscored(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Give a document's metadata without what retrievers and rerankers wrote for one query: its scores."""
    return {name: value for name, value in metadata.items() if name not in _SCORES}


def _blank_without(candidate: Candidate, content: str) -> Candidate:
    return replace(candidate, text="") if is_blank(content) else candidate


def _leave_out_repeated(ranking: Ranking, contents: Sequence[str]) -> None:
    """Keep the best ranked of equal documents, and number the ranks anew."""
    times = Counter(contents)
    seen: set[tuple[Any, ...]] = set()
    kept = []
    for document in ranking:
        content = contents[document.index]
        if times[content] == 1 or not _is_known(document, content, seen):
            kept.append(document)
    for rank, document in enumerate(kept, start=1):
        document.rank = rank
    ranking[:] = kept


def _is_known(document: RankedDocument, content: str, seen: set[tuple[Any, ...]]) -> bool:
    """Tell whether a document was seen before, with or without its id; remember it."""
    said = (content, frozenset((repr(name), repr(value)) for name, value in unscored(document.metadata).items()))
    name: object = document.id if isinstance(document.id, str) else repr(document.id)  # some ids can't be hashed
    own = ("no id", *said) if document.id is None else ("id", content, name)
    is_known = own in seen or ("no id", *said) in seen or (document.id is None and ("any id", *said) in seen)
    seen |= {own, ("any id", *said)}
    return is_known


def _counting(document: RankedDocument, content: str) -> RankedDocument:
    """Write into the document how many characters its place counts."""
    return replace(document, metadata={**document.metadata, N_CHARACTERS: len(content)})


def _content(part: ContextPart, documents: dict[int, RankedDocument], contents: Sequence[str] | None) -> str | None:
    """Give the new content of the part's document; None where it keeps its own, blank where none of it is in the part."""
    text = documents[part.index].text
    if part.text == text:
        return None
    if contents is None:
        return part.text
    if not part.merged:
        return _without_head(part.text, text, contents[part.index].strip())
    joined = part.text
    for index in (part.index, *part.merged):
        joined = joined.replace(documents[index].text, contents[index], 1)
    return joined


def _without_head(cut: str, text: str, content: str) -> str | None:
    """Give the content that is left in a text that was cut; None for all of it."""
    start = text.rfind(content) if content else len(text)
    kept = len(cut.removesuffix(CUT_MARK)) - start
    if kept <= 0:
        return ""
    return cut[start:] if kept < len(content) else None
