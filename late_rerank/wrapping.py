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
from late_rerank.context.sentences import CUT_MARK, opened
from late_rerank.encode import Encoder
from late_rerank.encode.places import Span
from late_rerank.errors import MissingDependencyError
from late_rerank.maxsim import Kernel, Scoring
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
    "Scoring",
    "Store",
    "asks_nothing",
    "choose",
    "finite",
    "maxsim_of",
    "read_scoring",
    "reranker_from",
    "unscored",
    "whole_number",
]

# What retrievers and rerankers write into metadata: two that found the same document differ in these.
_OF_ONE_QUERY = frozenset(("retrieval_score", "relevance_score", "late_rerank_score", "score", "best_span"))


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


class _Place(NamedTuple):
    """Where a content stands in the text that was ranked, in code points.

    `shift` added to a place there gives the place in the content.
    """

    start: int
    end: int
    shift: int


class Chosen(NamedTuple):
    """A document that was chosen.

    Attributes:
        document: As it was ranked.
        content: What its content is to become, where a budget had it cut, or joined with neighbours of its file; None where it
            stays as it is.
        start: Where the content begins in its file, where a budget was given and that is known.
        end: Where it ends there.
        place: Where the content stands in the text that was ranked.
    """

    document: RankedDocument
    content: str | None = None
    start: int | None = None
    end: int | None = None
    place: _Place | None = None

    @property
    def best_span(self) -> list[int] | None:
        """Where the document's best passage stands in the content: start and end in code points.

        A title that was ranked with the content, and what a budget cut off, are no part of it. None if nothing of the passage
        is in the content, or the ranking knows no best passages. The first look takes a tokenizer for a long document.
        """
        span = None if self.place is None else self.document.best_span
        if self.place is None or span is None:
            return None
        start, end = max(span[0], self.place.start), min(span[1], self.place.end)
        return [start + self.place.shift, end + self.place.shift] if start < end else None


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
        return [_chosen(document, own[document.index]) for document in ranking[: choice.top_k]]
    context = pack_context(
        query,
        ranking.with_documents(_to_pack(each, contents) for each in ranking),
        reranker=reranker,
        budget_tokens=int(choice.budget_tokens),
        top_k=choice.top_k,
        order=choice.order or "relevance",
        count_tokens=choice.count_tokens,
    )
    documents = {document.index: document for document in ranking}
    found = [_packed(part, documents, contents, own[part.index]) for part in context.parts]
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
    scoring: str | Scoring | None = None,
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
        scoring: How the matches of a query's tokens become a score.

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
        "scoring": scoring,
    }
    given: dict[str, Any] = {name: value for name, value in arguments.items() if value is not None}
    if reranker is None:
        return Reranker(**given)
    if not isinstance(reranker, Reranker):
        raise TypeError(f"reranker must be a late_rerank.Reranker, got {type(reranker).__name__}: {reranker!r:.60}")
    if given:
        raise ValueError(f"give either a ready reranker or {', '.join(given)}, not both: the reranker has its own")
    return reranker


def read_scoring(given: str | Scoring | Mapping[str, Any] | None) -> str | Scoring | None:
    """Give the Scoring that a wrapper's dict or file holds as a mapping of its name and window_tokens; all else as it is.

    Raises:
        ValueError: If the mapping holds something else.
    """
    if not isinstance(given, Mapping):
        return given
    if set(given) != {"name", "window_tokens"}:
        raise ValueError(f"a scoring that is read back must hold name and window_tokens, got {dict(given)!r:.60}")
    return Scoring(given["name"], tuple(given["window_tokens"]))


def asks_nothing(query: object) -> bool:
    """Tell whether a query is a text that shows nothing, which no document answers."""
    return isinstance(query, str) and is_blank(query)


def maxsim_of(document: RankedDocument) -> float | None:
    """Give the MaxSim that a wrapper may show; None where the document wasn't scored, or has no tokens to score."""
    return None if document.score is None or document.score == NO_TOKENS_SCORE else float(document.score)


def unscored(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Give a document's metadata without what retrievers and rerankers wrote for one query: its scores and its best span."""
    return {name: value for name, value in metadata.items() if name not in _OF_ONE_QUERY}


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


def _to_pack(document: RankedDocument, contents: Sequence[str] | None) -> RankedDocument:
    """Say how many characters the document's place counts. Leave out what earlier queries wrote: it would part neighbours."""
    counted = {} if contents is None else {N_CHARACTERS: len(contents[document.index])}
    packed = replace(document, metadata=unscored(document.metadata) | counted)
    packed.passage = document.passage
    return packed


def _chosen(document: RankedDocument, content: str) -> Chosen:
    """Choose a document with the content that it has."""
    if document.passage is None:
        return Chosen(document)
    return Chosen(document, place=_place(_within(content, document.text), document.text, content))


def _packed(part: ContextPart, documents: dict[int, RankedDocument], contents: Sequence[str] | None, own: str) -> Chosen:
    """Choose the part's document, with a new content where the budget changed it: a blank one where none of it is left."""
    document = documents[part.index]
    span = whole = _within(document.text if contents is None else contents[part.index], document.text)
    if part.spans is not None:
        span = max(part.spans[0][0], whole[0]), min(part.spans[-1][1], whole[1])
    if span == whole and not part.merged:
        return _chosen(document, own)
    content = _joined(part, documents, contents) if part.merged else _cut(document.text, span, whole)
    return Chosen(document, content, part.start, part.end, _place(span, document.text, content))


def _joined(part: ContextPart, documents: dict[int, RankedDocument], contents: Sequence[str] | None) -> str:
    """Give the contents of neighbours as one."""
    joined = part.text
    if contents is None:
        return joined
    for index in (part.index, *part.merged):
        joined = joined.replace(documents[index].text, contents[index], 1)
    return joined


def _cut(text: str, span: Span, whole: Span) -> str:
    """Give the span of a text that a budget left of the whole, with marks for what it left out; blank where that is all."""
    if span[0] >= span[1]:
        return ""
    left = text[slice(*span)] + (CUT_MARK if span[1] < whole[1] else "")
    return opened(left) if span[0] > whole[0] else left


def _within(content: str, text: str) -> Span:
    """Find where a content stands in the text that was ranked, without white space around it; (0, 0) if it isn't there."""
    inner = content.strip()
    start = text.rfind(inner) if inner else -1  # the last one: what stands before the content may say the same
    return (0, 0) if start < 0 else (start, start + len(inner))


def _place(span: Span, text: str, content: str) -> _Place | None:
    """Find a span of the ranked text in a content; None if it isn't there."""
    piece = text[slice(*span)]
    return _Place(*span, content.index(piece) - span[0]) if piece and piece in content else None
