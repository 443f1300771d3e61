"""Bodies of requests, as pydantic models: checked by them, and shown by /docs. Those of rerank clients are in clients/."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)

from late_rerank.serve.ignored import ignored_names, is_unset
from late_rerank.serve.numbers import Boolean, Count, Finite, Hits, Positive, Seconds, Share, Tokens
from late_rerank.serve.parts import Query, SentImage, images_in, text_in
from late_rerank.serve.passages import SpanOf
from late_rerank.text.words import is_blank
from late_rerank.types import RankedDocument, Ranking

# A longer list is refused unread, whatever the server's own limit. And the first mistake in a list ends its check: a body holds
# millions of mistakes in a few megabytes.
MOST = 100_000

ModelName = Annotated[str | None, Field(description="One of the server's. Another gets the first.")]
BestSpan = Annotated[
    Boolean | None,
    Field(
        description="With each result, where the document's best passage stands: [start, end] in code points of the text as "
        "sent. null where it isn't known, and where the server's scoring, which /info tells, looks for none."
    ),
]
DeadlineS = Annotated[Seconds | None, Field(description="Answer after so many seconds with what is scored by then.")]

_PRIOR = (
    "What you add to the order for a document, such as for its recency or its source: 1 is one standard deviation of the "
    "query's scores. relevance_score stays as it is."
)


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)


def _tell_images(schema: dict[str, Any]) -> None:
    """Describe the fields of images, which `parts` reads."""
    told = "A data URI or base64. For a model that sees images; others read the text beside it. Never a URL."
    schema["properties"] |= {
        "image": {"type": "string", "description": told},
        "image_url": {"description": 'As vLLM\'s clients write it: {"url": a data URI}, also as a part of `content`.'},
        "image_key": {"type": "string", "description": "Of a picture that was indexed: 32 hexadecimal digits."},
    }


class DocumentBody(Body):
    """A document with a name of its own, with fields, or with an image."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_tell_images)

    text: str | None = None
    id: Any = None
    prior: Finite | None = Field(None, description=_PRIOR)
    _sent: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def sent(self) -> dict[str, Any]:
        """All fields, as they were sent. Must not be changed."""
        return self._sent

    @property
    def has_another_prior(self) -> bool:
        """Whether it has a field of its own that is called "prior" and is no number, which adds nothing to the order."""
        return self.prior is None and not is_unset(self._sent.get("prior"))

    @property
    def images(self) -> list[SentImage]:
        """Its images; a model takes one."""
        return images_in(self._sent)

    @model_validator(mode="wrap")
    @classmethod
    def _kept_as_sent(cls, sent: Any, handler: ModelWrapValidatorHandler[DocumentBody]) -> DocumentBody:
        # pydantic is given the known names alone: it refuses a name with a lone surrogate.
        made = handler({name: sent[name] for name in _known_names(sent)} if isinstance(sent, dict) else sent)
        made._sent = sent if isinstance(sent, dict) else {}  # noqa: SLF001 - its own class's
        return made


Documents = Annotated[
    list[str | DocumentBody], Field(description='Texts, or objects {"text", "id", "image"}.', max_length=MOST), FailFast()
]
Texts = Annotated[list[str], Field(description="What is ranked.", max_length=MOST), FailFast()]


class Asking(Body):
    """What every request for scores may say, in whatever client's words."""

    # What its clients call the documents.
    called: ClassVar[str] = "documents"

    model_config = ConfigDict(extra="allow")  # unknown names are kept, for `ignored`

    model: str | None = Field(None, description="One of the server's. Another gets the first, and goes into `meta`.")
    raw_scores: Boolean | None = Field(None, description="MaxSim instead of relevance from 0 to 1.")
    deadline_s: DeadlineS = None

    @property
    def is_raw(self) -> bool:
        """Whether scores are MaxSim."""
        return bool(self.raw_scores)

    @property
    def span_of(self) -> SpanOf | None:
        """Tells where a result's best passage stands; None if the request doesn't ask for that."""
        return None

    @property
    def images(self) -> dict[int, list[SentImage]]:
        """The images of its documents, by the documents' places."""
        return {}

    @property
    def ignored(self) -> list[str]:
        """Names of unknown fields that would have changed the answer."""
        return ignored_names(self.model_extra)


class AskingAsVllm(Asking):
    """What requests may say that vLLM's clients send too."""

    use_activation: Boolean | None = Field(None, description="vLLM's name for the opposite of raw_scores.")

    @property
    def is_raw(self) -> bool:
        """Whether scores are MaxSim."""
        return super().is_raw or self.use_activation is False


class AskingForBest(Asking):
    """What every request for the best documents may say."""

    top_n: Count | None = Field(None, description="At most so many results; 0 or null for all.")
    top_k: Count | None = Field(None, description="Voyage's name for top_n.")
    min_relevance: Share | None = Field(
        None,
        validation_alias=AliasChoices("min_relevance", "score_threshold"),
        description="Results of lower relevance are left out, and counted in `meta`. 0 or less keeps all.",
    )

    @property
    def n_best(self) -> int | None:
        """At most so many results; None for all."""
        return self.top_n or self.top_k or None

    def best(self, ranking: Ranking) -> list[RankedDocument]:
        """Give the results that are asked for."""
        return list(ranking)[: self.n_best]


class AskingOfObjects(AskingForBest):
    """What every request may say whose documents may be objects."""

    @property
    def sent_documents(self) -> list[str | DocumentBody]:
        """The documents, as sent."""
        raise NotImplementedError

    @property
    def fields_read(self) -> list[str] | None:
        """The fields whose text is ranked; None for a document's own text or image."""
        return None

    @property
    def images(self) -> dict[int, list[SentImage]]:
        """The images of its documents, by the documents' places; none if fields of text are named."""
        return {} if self.fields_read else images_of(self.sent_documents)


class AskingWithPrior(Body):
    """What requests may say that add to the order: a number with each document, or a list of them."""

    documents: Documents
    prior: Annotated[list[Finite], Field(max_length=MOST, fail_fast=True)] | None = Field(
        None, description=f'One number for each document, instead of "prior" in the documents. {_PRIOR}'
    )

    @property
    def priors(self) -> list[float] | None:
        """The number of each document, 0 where it has none; None if the request has none at all."""
        if self.prior is not None:
            return self.prior
        found = [None if isinstance(each, str) else each.prior for each in self.documents]
        return None if all(each is None for each in found) else [each or 0.0 for each in found]

    @property
    def ignored(self) -> list[str]:
        """Names of unknown fields that would have changed the answer, and "prior" where a document's is no number."""
        is_other = any(isinstance(each, DocumentBody) and each.has_another_prior for each in self.documents)
        return ignored_names(self.model_extra) + ["prior"] * is_other

    @model_validator(mode="after")
    def _has_one_prior_a_document(self) -> AskingWithPrior:
        if self.prior is None:
            return self
        if len(self.prior) != len(self.documents):
            raise ValueError(
                f"prior has {len(self.prior)} numbers for {len(self.documents)} documents: give one for each, in their order"
            )
        if any(isinstance(each, DocumentBody) and each.prior is not None for each in self.documents):
            raise ValueError("give prior either as a list or with the documents, not both")
        return self


class IndexBody(Body):
    """Documents to be encoded ahead of queries."""

    documents: Documents
    model: ModelName = None


class ContextBody(AskingWithPrior):
    """What goes before the LLM, of documents that are ranked first."""

    model_config = ConfigDict(extra="allow")  # unknown names are kept, for `ignored`

    query: Query
    budget_tokens: Tokens = 2000
    strategy: Literal["coverage", "relevance", "mmr"] = "coverage"
    order: Literal["relevance", "edges", "source"] = "relevance"
    top_n: Positive | None = None
    min_relevance: Share | None = None
    compress: Boolean = False
    model: ModelName = None


class ExplainBody(Body):
    """A document of which one wants to see what the query matches."""

    query: Query
    text: str
    model: ModelName = None


class SearchBody(Body):
    """A question to one of the server's own folders."""

    query: Query
    folder: str
    k: Hits = 100
    top_n: Hits = 10
    best_span: BestSpan = None
    model: ModelName = None

    @property
    def span_of(self) -> SpanOf | None:
        """Tells where a result's best passage stands; None if the request doesn't ask for that."""
        return (lambda document: document.best_span) if self.best_span else None


def images_of(documents: Sequence[str | DocumentBody]) -> dict[int, list[SentImage]]:
    """Give the images of documents, by the documents' places."""
    objects = ((i, document.images) for i, document in enumerate(documents) if isinstance(document, DocumentBody))
    return {i: images for i, images in objects if images}


def text_of(document: str | DocumentBody, rank_fields: list[str] | None = None) -> str | None:
    """Give the text that is ranked: the document's own, its named fields or its parts, a line each. None if there is none.

    Raises:
        ValueError: If a part is neither a text nor an image.
    """
    if isinstance(document, str):
        return document
    if rank_fields is None and document.text is not None:
        return document.text
    named = {name: document.sent[name] for name in rank_fields or () if name in document.sent}
    told = "\n".join(f"{name}: {value}" for name, value in named.items() if _says_something(value))
    # Names of fields are no content: a document whose fields are all blank is a blank document.
    return told or document.text or ("" if named or document.text is not None else text_in(document.sent))


def id_of(document: str | DocumentBody) -> Any:
    """Give a document's id as it was sent, of whatever type; None if there is none."""
    return None if isinstance(document, str) else document.id


def _known_names(sent: dict[str, Any]) -> list[str]:
    """Name the fields that this server knows; "prior" only with a number, since documents have such fields of their own."""
    is_number = isinstance(sent.get("prior"), (int, float)) and not isinstance(sent.get("prior"), bool)
    return [name for name in ("text", "id", "prior") if name in sent and (name != "prior" or is_number)]


def _says_something(value: Any) -> bool:
    return value is not None and not is_blank(str(value)) and not (isinstance(value, float) and math.isnan(value))
