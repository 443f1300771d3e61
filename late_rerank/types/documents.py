"""What goes into a reranker and comes out of it: Candidate, RankedDocument, Ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal, SupportsIndex, TypeAlias, overload

from numpy.typing import NDArray

from late_rerank.pictures import Picture, as_picture
from late_rerank.types.given import Content, GivenVectors
from late_rerank.types.order import RankedBy
from late_rerank.types.passages import PassagePlace as PassagePlace
from late_rerank.types.passages import Passages, _found_place  # noqa: F401 - pickles find the function here
from late_rerank.types.vectors import QueryVectors

FirstStageWeight = float | Literal["auto"]
"""How much a first stage's own scores count for the order: 0 not at all, 1 as much as MaxSim."""

NO_TOKENS_SCORE = -1e9
"""The score of a document without tokens. Source: sentence-transformers 6.2, `maxsim`."""

# Fields of a RankedDocument that earlier releases didn't have. The latest are pickled only where they say something: an earlier
# release can't read them.
_LATEST = ("prior", "ranked_by")
_LATER = ("image", "token_vectors", *_LATEST)

# How much of a ranking is printed, and how much a notebook shows.
_SHOWN_CHARS, _SHOWN_DOCUMENTS = 60, 3
_ROW_CHARS, _SHOWN_ROWS = 200, 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that a first stage found, or that a corpus holds.

    Attributes:
        text: The text to encode. The LLM reads the same text. It may be empty if there is an image.
        id: The caller's own name for the document. No id is needed, but a given id is kept; it may have another type than str.
        score: The first stage's score, if there is one. Higher is better.
        metadata: The caller's own data, kept untouched. None means no metadata.
        image: The document as a picture, such as a page's. A model that sees images encodes it instead of the text; BM25, other
            models and the LLM read the text. You can give the bytes of an image file, its path, a Pillow image or a Picture
            (`late_rerank.pictures`). A URL is refused.
        token_vectors: The document's token vectors, if you hold them: (n_tokens, dim) float32 or float16, of the model that
            ranks. They are scored as they are: nothing is encoded, and no store is asked. The LLM reads the text.

    Raises:
        TypeError: If the text isn't a str, the metadata aren't a mapping, the image is no image, or the token vectors are no
            array of float32 or float16.
        ValueError: If the image is a URL, or the token vectors have another shape or hold NaN.
    """

    text: str = ""
    id: str | None = None
    score: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    image: Any = None  # given as anything that `as_picture` takes; a Picture or None from then on
    token_vectors: Any = None  # given as an array; GivenVectors or None from then on

    def __post_init__(self) -> None:
        if self.image is not None and not isinstance(self.image, Picture):
            object.__setattr__(self, "image", as_picture(self.image))
        if self.token_vectors is not None and not isinstance(self.token_vectors, GivenVectors):
            object.__setattr__(self, "token_vectors", GivenVectors(self.token_vectors))
        if not isinstance(self.text, str):
            raise TypeError(f"Candidate.text must be a str, got {type(self.text).__name__}: {self.text!r:.60}")
        metadata: object = self.metadata
        if metadata is None:
            object.__setattr__(self, "metadata", {})
        elif type(metadata) is not dict and not isinstance(metadata, Mapping):
            raise TypeError(
                f"Candidate.metadata must be a mapping such as a dict, or None, got {type(metadata).__name__}: {metadata!r:.60}"
            )

    def __getstate__(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in Candidate.__slots__)

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Read a pickle, also an earlier release's, whose candidates had no image or no token vectors."""
        for name, value in zip(Candidate.__slots__, (*state, None, None), strict=False):
            object.__setattr__(self, name, value)


Document: TypeAlias = Content | Candidate
"""What users give as a document: a text, a picture, token vectors alone, or a Candidate that has some of these."""

Prior: TypeAlias = "Sequence[float] | NDArray[Any] | Callable[[Candidate], float]"
"""What users add to the order themselves: one finite number for each candidate, or a function of a Candidate."""


class _Quotable:
    """Holds the passage. Not a field of RankedDocument: `dataclasses.asdict` of a text must give values that JSON can hold."""

    __slots__ = ("_passage",)

    _passage: PassagePlace | Passages | None

    @property
    def passage(self) -> PassagePlace | None:
        """Where the best passage stands. None if the scoring looks for none. `best_span` looks it up.

        It can be set to a PassagePlace, or to the Passages of a ranking, whose place is then made at the first question: a
        place for each of 100 documents takes a tenth of a millisecond.
        """
        held = getattr(self, "_passage", None)
        place: PassagePlace | None = held if held is None or isinstance(held, PassagePlace) else held.of(self)
        self._passage = place
        return place

    @passage.setter
    def passage(self, place: PassagePlace | Passages | None) -> None:
        self._passage = place

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Give the state that pickles and copies take: the passage's place without the ranking's other places."""
        names = [name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ())]
        held = {name: getattr(self, name) for name in names if hasattr(self, name)} | {"_passage": self.passage}
        return None, {name: value for name, value in held.items() if value is not None or name not in _LATEST}


@dataclass(slots=True, repr=False)  # not frozen: a hundred of them would take 180 us instead of 25
class RankedDocument(_Quotable):
    """A candidate with its place in the ranking.

    Attributes:
        text: The candidate's text.
        id: The candidate's id, or None.
        score: MaxSim, or what the Reranker's `scoring` makes of it. None if the document wasn't scored (`on_missing="skip"`, or
            `deadline_s` had passed).
        relevance: From 0 to 1. None if `score` is None.
        rank: The place in the ranking, from 1.
        index: The position in the given candidates, from 0.
        candidate_score: The first stage's score, if it gave one.
        truncated: Whether tokens of the document were cut, before encoding or by `max_tokens`.
        metadata: The candidate's metadata.
        image: The candidate's Picture, or None.
        token_vectors: The candidate's GivenVectors, or None.
        prior: What the caller added to the order for this document: `prior=` of a rerank. None without one.
        ranked_by: What the place came from, if `prior` or `first_stage_weight` counted: the standard score, and what both
            added. None if the score alone ordered, or the document wasn't scored or has no tokens. Of
            several models it is there with a prior alone, and its `score` is of their sum, with the first stage in it.
    """

    text: str
    id: str | None
    score: float | None
    relevance: float | None
    rank: int
    index: int
    candidate_score: float | None
    truncated: bool
    metadata: Mapping[str, Any]
    image: Picture | None = None
    token_vectors: GivenVectors | None = None
    prior: float | None = None
    ranked_by: RankedBy | None = None

    @property
    def best_span(self) -> tuple[int, int] | None:
        """The start and the end of the best passage in `text`, in code points: what a long document should be quoted by.

        A short document is one passage. A passage begins and ends with a whole word. None if the scoring looks for no
        passages (`scoring="maxsim"`), the document wasn't scored or has no tokens, or the encoder can't tell where its tokens
        stand.
        """
        return None if self.passage is None else self.passage.span

    def __setstate__(self, state: tuple[None, Mapping[str, Any]]) -> None:
        """Read a pickle, also an earlier release's, whose documents had no image, no token vectors or no prior."""
        for name, value in {**dict.fromkeys(_LATER), **state[1]}.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        """Show the document briefly: a text may have 100,000 characters."""
        score, relevance = (None if value is None else round(value, 4) for value in (self.score, self.relevance))
        named = "" if self.id is None else f"id={self.id!r:.60}, "
        text = repr(self.text if len(self.text) <= _SHOWN_CHARS else f"{self.text[:_SHOWN_CHARS]}...")
        image = "" if self.image is None else f", image={self.image!r:.80}"
        prior = "" if self.prior is None else f"prior={round(self.prior, 4)}, "
        told = f"rank={self.rank}, score={score}, relevance={relevance}, {prior}{named}index={self.index}, text={text}{image}"
        return f"RankedDocument({told})"


class Ranking(list[RankedDocument]):
    """Ranked documents, best first, with the ranking's timings and counts. A slice of a Ranking is a Ranking too.

    Attributes:
        timings_ms: Milliseconds of each stage: "encode_query", "fetch", "encode_missing", "maxsim", "total". A Searcher adds
            "first_stage".
        n_hits: Candidates whose vectors the store held.
        n_misses: Candidates whose vectors the store didn't hold. Blank candidates are neither hits nor misses.
        n_unscored: Candidates that were left unscored, by `on_missing="skip"`, because `deadline_s` had passed, or because they
            have neither a row in the store's table nor a text.
        n_tokens: Token vectors that were compared: those of the query and of all scored candidates.
        query_truncated: Whether the query was longer than the model takes, and was cut.
        query_vectors: The query's token vectors, to use them again. None if they aren't known. Pickles and comparisons leave
            them out.
    """

    query_vectors: QueryVectors | None = None

    def __init__(
        self,
        documents: Iterable[RankedDocument] = (),
        *,
        timings_ms: Mapping[str, float] | None = None,
        n_hits: int = 0,
        n_misses: int = 0,
        n_unscored: int = 0,
        n_tokens: int = 0,
        query_truncated: bool = False,
        query_vectors: QueryVectors | None = None,
    ) -> None:
        super().__init__(documents)
        self.timings_ms = dict(timings_ms or {})
        self.n_hits = n_hits
        self.n_misses = n_misses
        self.n_unscored = n_unscored
        self.n_tokens = n_tokens
        self.query_truncated = query_truncated
        self.query_vectors = query_vectors

    def with_documents(self, documents: Iterable[RankedDocument]) -> Ranking:
        """Give the same ranking, with its timings and counts, but other documents."""
        other = Ranking(documents)
        vars(other).update(vars(self) | {"timings_ms": dict(self.timings_ms)})
        return other

    @overload
    def __getitem__(self, index: SupportsIndex) -> RankedDocument: ...

    @overload
    def __getitem__(self, index: slice) -> Ranking: ...

    def __getitem__(self, index: SupportsIndex | slice) -> RankedDocument | Ranking:
        if isinstance(index, slice):
            return self.with_documents(super().__getitem__(index))
        return super().__getitem__(index)

    def __repr__(self) -> str:
        """Show the best documents, and how many more there are."""
        shown = ", ".join(map(repr, list(self)[:_SHOWN_DOCUMENTS]))
        more = len(self) - _SHOWN_DOCUMENTS
        return f"Ranking([{shown}{f', ... {more} more' if more > 0 else ''}])"

    def _repr_html_(self) -> str:
        """Draw a table, for notebooks."""
        shown = list(self)[:_SHOWN_ROWS]
        has_prior = any(document.prior is not None for document in shown)
        names = ("rank", "score", *(["prior"] if has_prior else []), "relevance", "id", "text")
        heads = "".join(f"<th>{name}</th>" for name in names)
        rows = "".join(_row(document, names) for document in shown)
        return f"<table><tr>{heads}</tr>{rows}</table>{escape(self._cost())}"

    def _cost(self) -> str:
        """Say in a line how many documents there are, and what they cost."""
        total = f", {self.timings_ms['total']:.1f} ms" if "total" in self.timings_ms else ""
        more = f"{_SHOWN_ROWS} of " if len(self) > _SHOWN_ROWS else ""
        return f"{more}{len(self)} documents, {self.n_hits} hits, {self.n_misses} misses{total}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "query_vectors"}


def _row(document: RankedDocument, names: Sequence[str]) -> str:
    text = document.text[:_ROW_CHARS] + ("..." if len(document.text) > _ROW_CHARS else "")
    if not text and document.image is not None:
        text = repr(document.image)[:_ROW_CHARS]
    cells = {name: getattr(document, name) for name in names} | {"text": text}
    return f"<tr>{''.join(f'<td>{escape(_cell(each))}</td>' for each in cells.values())}</tr>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
