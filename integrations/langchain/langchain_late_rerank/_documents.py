"""LangChain's documents -> candidates, and ranked documents -> LangChain's. What retriever and compressor share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from langchain_core.documents import Document

from late_rerank import Candidate, RankedDocument
from late_rerank.wrapping import AnyReranker, Choice, Chosen, Content, Pictures, choose, finite, is_blank, maxsim_of, unscored

# What is ranked of a document: what a function makes of it, or fields of its metadata and its content. None: the content.
TextOf: TypeAlias = Callable[[Document], str] | Sequence[str] | None

# Gives a document's image, as late_rerank.Candidate takes it: bytes, a path, a Pillow image, a Picture; or None for none.
ImageOf: TypeAlias = Callable[[Document], Any] | None


class Reading(NamedTuple):
    """What of a document is ranked."""

    text: TextOf
    image: ImageOf


# What other rerankers and retrievers write; where there are both, a reranker came last.
_SCORE_KEYS = ("retrieval_score", "relevance_score", "score")


def checked(documents: object, whose: str, *, texts: bool = False) -> list[Document]:
    """What somebody gave as documents, if they are documents.

    Args:
        documents: A list of Documents, it is hoped; None is refused like anything else.
        whose: Who gave them, for the error.
        texts: Whether a str may stand for a Document.

    Raises:
        TypeError: They are something else; names the first that isn't a Document.
    """
    if not isinstance(documents, Iterable) or isinstance(documents, (str, Document)):
        raise TypeError(f"{whose} must be a list of Documents, got {type(documents).__name__}: {documents!r:.60}")
    found = [Document(item) if texts and isinstance(item, str) else item for item in documents]
    for i, document in enumerate(found):
        if not isinstance(document, Document):
            expected = "a str or a Document" if texts else "a Document"
            raise TypeError(f"{whose}[{i}] must be {expected}, got {type(document).__name__}: {document!r:.60}")
    return found


class RankedMetadata(dict[str, Any]):
    """A ranked document's metadata. Two of them are equal if they differ in scores or "best_span" alone.

    These are of one query. `MultiQueryRetriever` asks several, and takes documents for different ones unless they are equal.
    Compared with any other dict, all entries count. Pickled or copied it is a plain dict.
    """

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RankedMetadata):
            return unscored(self) == unscored(other)
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def check_text(text: object) -> None:
    """See to it that `text` is what says which text is ranked.

    Raises:
        TypeError: If it is neither a function, nor a list of names, nor None.
    """
    # Of a str each letter would be taken for a field.
    listed = isinstance(text, (list, tuple)) and all(isinstance(name, str) for name in text)
    if text is not None and not listed and not callable(text):
        raise TypeError(
            "text must be a function from a Document to a str, a list of names of metadata fields, or None, "
            f"got {type(text).__name__}: {text!r:.60}"
        )


def check_image(image: object) -> None:
    """See to it that `image` is what gives a document's image.

    Raises:
        TypeError: If it is neither a function nor None.
    """
    if image is not None and not callable(image):
        raise TypeError(
            "image must be a function from a Document to an image (bytes, a path, a Pillow image or a Picture), such as "
            f'lambda document: document.metadata.get("path"), or None; got {type(image).__name__}: {image!r:.60}'
        )


def text_of(document: Document, text: TextOf) -> str:
    """Give the text of a document that is ranked.

    Raises:
        TypeError: If `text` is a function and gave something else than a str.
    """
    if text is None:
        return document.page_content
    if not callable(text):
        fields = [str(document.metadata[name]) for name in text if document.metadata.get(name) is not None]
        return "\n".join([*fields, document.page_content])
    given = text(document)
    if not isinstance(given, str):
        raise TypeError(
            f"text must give a str, but gave {type(given).__name__} for the document {document.id!r:.60}: {given!r:.60}"
        )
    return given


def content_of(document: Document, reranker: AnyReranker, reading: Reading) -> Content:
    """Give what is ranked of a document: its text, or its picture."""
    (candidate,), _ = _candidates([document], reranker, reading)
    return reranker.content_of(candidate)


def chosen_of(
    documents: Sequence[Document], query: str, choice: Choice, reranker: AnyReranker, reading: Reading
) -> list[Chosen]:
    """Rank documents and choose from them; `index` of each is its place in `documents`."""
    candidates, contents = _candidates(documents, reranker, reading)
    own = [document.page_content for document in documents]
    return choose(reranker, query, candidates, choice, None if reading.text is None else contents, own=own)


def chosen_documents(documents: Sequence[Document], chosen: Iterable[Chosen], *, scores: bool = True) -> list[Document]:
    """New documents, in the order of `chosen`, which was chosen from their candidates.

    They differ from the given ones in their metadata, and in their text where a budget had it cut or joined with neighbours.
    Without `scores` only a budget changes a document's metadata.
    """
    return [_ranked(documents[each.document.index], each, scores) for each in chosen]


def relevance(result: RankedDocument) -> float:
    """In [0, 1]; 0 where the reranker left the document unscored."""
    return 0.0 if result.relevance is None else float(result.relevance)


def retrieval_score(metadata: dict[str, Any]) -> float | None:
    """The first stage's score, if it left one: another reranker's counts as the first stage's."""
    for key in _SCORE_KEYS:
        number = finite(metadata.get(key))
        if number is not None:
            return number
    return None


def _candidates(documents: Sequence[Document], reranker: AnyReranker, reading: Reading) -> tuple[list[Candidate], list[str]]:
    """Give what is ranked of documents, and the part of each text that is the document's content."""
    texts = [text_of(document, reading.text) for document in documents]
    contents = [_content(*each, reading.text) for each in zip(texts, documents, strict=True)]
    pictures = None if reading.image is None else Pictures(reranker)
    candidates = []
    for i, (document, text, content) in enumerate(zip(documents, texts, contents, strict=True)):
        picture = None
        if pictures is not None and reading.image is not None:
            name = f"documents[{i}]" if document.id is None else f"the document {document.id!r:.60}"
            picture = pictures.of(partial(reading.image, document), text=content, name=name)
        score = retrieval_score(document.metadata)
        ranked = "" if is_blank(content) else text
        candidates.append(Candidate(ranked, document.id, score, document.metadata, picture))
    return candidates, contents


def _content(ranked: str, document: Document, text: TextOf) -> str:
    """Give the part of a ranked text that is the document's content, which a budget may cut; all of it where the two differ."""
    content = document.page_content
    if not callable(text):
        return content
    return content if content.strip() and content in ranked else ranked


def _ranked(document: Document, chosen: Chosen, scores: bool) -> Document:  # noqa: FBT001 - passed on
    changes: dict[str, Any] = {}
    metadata = _scored(document.metadata, chosen) if scores else dict(document.metadata)
    if chosen.content is not None:
        changes["page_content"] = chosen.content
        if not scores:
            metadata.pop("best_span", None)  # an earlier reranking's: it counts characters of another text
        if chosen.start is not None:
            metadata |= {"start": chosen.start, "end": chosen.end}
    changes["metadata"] = RankedMetadata(metadata) if scores else metadata
    # Not Document(...): that would lose the id and the fields of a subclass.
    return document.model_copy(update=changes)


def _scored(given: dict[str, Any], chosen: Chosen) -> dict[str, Any]:
    metadata, result = dict(given), chosen.document
    if "retrieval_score" not in metadata and result.candidate_score is not None:
        metadata["retrieval_score"] = result.candidate_score
    metadata["relevance_score"] = relevance(result)
    said = {"late_rerank_score": maxsim_of(result), "late_rerank_prior": result.prior, "best_span": chosen.best_span}
    for name, value in said.items():
        metadata.pop(name, None)  # an earlier reranking's, where this one gives none
        if value is not None:
            metadata[name] = value
    return metadata
