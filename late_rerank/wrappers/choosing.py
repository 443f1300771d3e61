"""What was found -> what is chosen of it: ranked, each document once, packed where there is a budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

from late_rerank.context import pack_context
from late_rerank.context.file_spans import N_CHARACTERS
from late_rerank.fused import AnyReranker
from late_rerank.ranking.wanted import Wanted
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate, RankedDocument, Ranking
from late_rerank.wrappers.choice import Choice
from late_rerank.wrappers.pictures import sees_pictures
from late_rerank.wrappers.places import Chosen, packed, unchanged
from late_rerank.wrappers.priors import prior_numbers
from late_rerank.wrappers.shown import unscored


def choose(
    reranker: AnyReranker,
    query: str,
    candidates: Sequence[Candidate],
    choice: Choice,
    contents: Sequence[str] | None = None,
    *,
    own: Sequence[str] | None = None,
    described: Sequence[Candidate] | None = None,
) -> list[Chosen]:
    """Rank what was found, and choose: each document once, however many retrievers found it.

    Two candidates are the same document if they have one id and one content; or, where one has no id, one content and the same
    metadata but for scores. The id alone is not enough: two stores that number their documents use the same ids. A picture that
    is ranked belongs to the content. The better ranked of the two stands for both; the first, where they are ranked alike.

    Args:
        reranker: Ranks, and packs where there is a budget. Both block: in async code call this in a thread.
        query: What was asked. A blank one finds nothing: an agent that sends "" gets an empty answer.
        candidates: What was found; pieces of a file say their place in their metadata, as `pack_context` reads it.
        choice: How many, how relevant, and in which budget.
        contents: Of each candidate what its text holds beside something put before or after it, as a title; None where texts
            are contents. A candidate of blank content counts as one without text: a title alone must not outrank passages.
        own: What tells documents from each other, where it isn't `contents`: two may be ranked by one text.
        described: The same documents as the choice's prior is to see them, with all of their metadata; None where these are the
            candidates.

    Returns:
        Best first, or in the order of the context. With a budget without those that say the same as another, and without
        unscored ones. Empty where the query is blank, none is relevant enough, or nothing fits.

    Raises:
        ValueError: As in `Reranker.rerank`, but for a blank query.
        TypeError: If the prior gives no number.
        IncompatibleError: As in `Reranker.rerank`: a picture without text for a model of texts, say.
        MissingDocumentsError: As in `Reranker.rerank`.
        OSError: If a candidate is a picture in a file that can't be read.
    """
    if asks_nothing(query):
        return []
    prior = prior_numbers(choice.prior, candidates if described is None else described)
    own = own or contents or [candidate.text for candidate in candidates]
    candidates = candidates if contents is None else list(map(_blank_without, candidates, contents))
    named = _named(own, candidates, reranker)
    may_repeat = len(set(named)) < len(named)
    top_k = choice.top_k if choice.budget_tokens is None and not may_repeat else None
    wanted = replace(Wanted.of(choice, prior=prior), top_k=top_k)
    ranking = reranker.rank([query], [candidates], wanted)[0]
    if may_repeat:
        _leave_out_repeated(ranking, named)
    if choice.budget_tokens is None:
        return [unchanged(document, own[document.index]) for document in ranking[: choice.top_k]]
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
    found = [packed(part, documents, contents, own[part.index]) for part in context.parts]
    return [each for each in found if each.content is None or each.content.strip()]


def asks_nothing(query: object) -> bool:
    """Tell whether a query is a text that shows nothing, which no document answers."""
    return isinstance(query, str) and is_blank(query)


def _blank_without(candidate: Candidate, content: str) -> Candidate:
    return replace(candidate, text="") if is_blank(content) else candidate


def _named(own: Sequence[Hashable], candidates: Sequence[Candidate], reranker: AnyReranker) -> Sequence[Hashable]:
    """Give what tells documents from each other: their contents, with the vectors or the pictures that are ranked instead."""
    if len(set(own)) == len(own):
        return own
    if any(candidate.token_vectors is not None for candidate in candidates):
        own = [(content, candidate.token_vectors) for content, candidate in zip(own, candidates, strict=True)]
    if not sees_pictures(reranker):
        return own
    pictures = (candidate.image for candidate in candidates)
    return [content if picture is None else (content, picture.key()) for content, picture in zip(own, pictures, strict=True)]


def _leave_out_repeated(ranking: Ranking, contents: Sequence[Hashable]) -> None:
    """Keep the best ranked of equal documents, and number the ranks anew."""
    times = Counter(contents)
    seen: set[Hashable] = set()
    kept = []
    for document in ranking:
        content = contents[document.index]
        if times[content] == 1 or not _is_known(document, content, seen):
            kept.append(document)
    for rank, document in enumerate(kept, start=1):
        document.rank = rank
    ranking[:] = kept


def _is_known(document: RankedDocument, content: Hashable, seen: set[Hashable]) -> bool:
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
