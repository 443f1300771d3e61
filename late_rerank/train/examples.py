"""Queries with the documents that answer them: from judgements, pairs, or the corpus alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from late_rerank.corpus.lines import placed_lines
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate

# A sentence that asks for the rest of its document must be long enough, and leave enough of the document.
_FEWEST_QUERY_WORDS = 5
_MOST_QUERY_WORDS = 40
_FEWEST_DOCUMENT_WORDS = 20

# Punctuation at a word's edges means nothing; elsewhere it does, as in "C++" and "C#".
_PUNCTUATION = "?.!,;:\"'()[]"


@dataclass(frozen=True)
class Example:
    """A query and the documents that answer it.

    Attributes:
        query: Not blank.
        documents: Texts that answer it, at least one.
        not_relevant: Texts that were judged not to answer it.
        shown: The texts that training shows instead of `documents`: without the sentence that is the query. Empty to show
            whole texts.
        own: Texts of documents with the query's id. Training never shows them: where queries are documents, they are the query.
    """

    query: str
    documents: tuple[str, ...]
    not_relevant: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


def judged_examples(
    documents: Iterable[Candidate], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, Example]:
    """Make an example of each judged query with a relevant document in the corpus.

    Args:
        documents: With ids.
        queries: Query id -> text.
        qrels: Query id -> document id -> judgement, above 0 for relevant.

    Returns:
        Query id -> example, in the order of `qrels`. Queries of the same words make one example, under the first one's id;
        otherwise an answer of one would be a negative of the other. A document with the query's id that wasn't judged is its
        own.

    Raises:
        ValueError: If no judged query has a text and a relevant document.
    """
    texts = _by_id(documents)
    first: dict[tuple[str, ...], str] = {}
    relevant: dict[str, dict[str, None]] = {}
    others: dict[str, dict[str, None]] = {}
    own: dict[str, dict[str, None]] = {}
    for query, judged in qrels.items():
        if query not in queries:
            continue
        name = first.setdefault(words_of(queries[query]), query)
        for document, judgement in judged.items():
            if not is_blank(texts.get(document, "")):
                kind = relevant if judgement > 0 else others
                kind.setdefault(name, {})[texts[document]] = None
        if query in texts and query not in judged:
            own.setdefault(name, {})[texts[query]] = None
    kinds: tuple[Mapping[str, Mapping[str, None]], ...] = (relevant, others, {}, own)
    found = {name: Example(queries[name], *(tuple(kind.get(name, ())) for kind in kinds)) for name in relevant}
    if not found:
        n_documents = len({document for judged in qrels.values() for document in judged} & set(texts))
        raise ValueError(
            f"none of {len(qrels)} judged queries has a text and a relevant document: {len(set(qrels) & set(queries))} have a "
            f"text, and of the judged documents {n_documents} are in the corpus. Are the ids of qrels those of this corpus?"
        )
    return found


def paired_examples(path: Path, documents: Iterable[Candidate] = (), *, encoding: str | None = None) -> dict[str, Example]:
    """Read a file of pairs: JSON Lines of {"query", "document"}, or of {"query", "id"} with a document's id.

    Args:
        path: The file. Lines of one query, in any case and punctuation, make one example.
        documents: Where ids are looked up.
        encoding: Of a file that isn't UTF-8, as CorpusStream takes it.

    Returns:
        Number of the query's first line -> example.

    Raises:
        ValueError: If a line is no such object, is blank, can't be decoded, or names a document that isn't there; names the
            line.
    """
    texts = _by_id(documents)
    found: dict[tuple[str, ...], tuple[str, str, dict[str, None]]] = {}
    for place, line in placed_lines(path, encoding):
        query, text = _pair(line, texts, place)
        found.setdefault(words_of(query), (place.rpartition(" ")[2], query, {}))[2][text] = None
    return {name: Example(query, tuple(answers)) for name, query, answers in found.values()}


def unlabelled_examples(documents: Sequence[Candidate], *, n: int = 2000, seed: int = 0) -> dict[str, Example]:
    """Make examples of a corpus alone: a sentence asks for its own document, which is shown without the sentence.

    The first sentence asks as often as all others together, since it is most like a question. A sentence that stands twice in
    its document doesn't ask. Of several sentences of the same words only the first asks.

    Args:
        documents: The corpus.
        n: At most so many examples, a document each, drawn by chance.
        seed: Of chance.

    Returns:
        The document's id, or its position, -> example.

    Raises:
        ValueError: If no document has two sentences and enough words.
    """
    from late_rerank.context.sentences import sentences  # noqa: PLC0415 - loads a splitter

    drawn = list(enumerate(documents))
    chance = random.Random(seed)
    chance.shuffle(drawn)
    found: dict[str, Example] = {}
    asked: set[tuple[str, ...]] = set()
    for i, document in drawn:
        if len(found) == n:
            break
        spans = [span for span in sentences(document.text) if _is_query(document.text[slice(*span)])]
        if not spans:
            continue
        start, end = spans[0] if chance.random() < 0.5 else chance.choice(spans)
        query = document.text[start:end].strip()
        rest = f"{document.text[:start].strip()} {document.text[end:].strip()}".strip()
        if len(rest.split()) >= _FEWEST_DOCUMENT_WORDS and query not in rest and words_of(query) not in asked:
            asked.add(words_of(query))
            name = str(i) if document.id is None else str(document.id)
            found[name] = Example(query, (document.text,), shown=(rest,))
    if not found:
        raise ValueError(
            f"of {len(documents)} documents none has a sentence of {_FEWEST_QUERY_WORDS} to {_MOST_QUERY_WORDS} words and "
            f"{_FEWEST_DOCUMENT_WORDS} words beside it, so there is nothing to learn from without judgements"
        )
    return found


def words_of(query: str) -> tuple[str, ...]:
    """Give a query's words, which identify it: without case, spaces, and punctuation at their edges."""
    words = tuple(filter(None, (word.strip(_PUNCTUATION) for word in query.casefold().split())))
    return words or (query.strip(),)


def _by_id(documents: Iterable[Candidate]) -> dict[str, str]:
    return {str(document.id): document.text for document in documents if document.id is not None}


def _is_query(sentence: str) -> bool:
    return _FEWEST_QUERY_WORDS <= len(sentence.split()) <= _MOST_QUERY_WORDS


def _pair(line: str, texts: Mapping[str, str], place: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place} is not JSON: {error}") from error
    query = row.get("query") if isinstance(row, dict) else None
    if not isinstance(query, str) or is_blank(query):
        raise ValueError(f'{place} must be an object with a "query" that isn\'t blank, got {line[:60]!r}')
    if "document" in row:
        text = row["document"]
    elif row.get("id") is not None and str(row["id"]) in texts:
        text = texts[str(row["id"])]
    else:
        raise ValueError(f'{place} must have a "document" (text), or the "id" of one in the corpus, got {line[:60]!r}')
    if not isinstance(text, str) or is_blank(text):
        raise ValueError(f"{place}: the document is blank or no text, got {text!r:.60}")
    return query.strip(), text
