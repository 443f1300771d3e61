"""Bodies of requests, as pydantic models: they are checked by them, and shown by /docs. Unknown names are ignored."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

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

from late_rerank.text.words import is_blank
from late_rerank.types import RankedDocument

# A longer list is refused unread, whatever the server's own limit. And the first mistake in a list ends its check: a body holds
# millions of mistakes in a few megabytes.
_MOST = 100_000

Query = Annotated[str, Field(description="Not blank.")]
_Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]
_DeadlineS = Annotated[
    float | None,
    Field(gt=0, le=3600, allow_inf_nan=False, description="Answer after so many seconds with what is scored by then."),
]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)


class DocumentBody(_Body):
    """A document with a name of its own, or with fields."""

    model_config = ConfigDict(extra="allow")

    text: str | None = None
    id: Any = None
    _sent: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def sent(self) -> dict[str, Any]:
        """All fields, as they were sent. Must not be changed."""
        return self._sent

    @model_validator(mode="wrap")
    @classmethod
    def _kept_as_sent(cls, sent: Any, handler: ModelWrapValidatorHandler[DocumentBody]) -> DocumentBody:
        # pydantic is given the two known names alone: it refuses a name with a lone surrogate.
        made = handler({name: sent[name] for name in ("text", "id") if name in sent} if isinstance(sent, dict) else sent)
        made._sent = sent if isinstance(sent, dict) else {}  # noqa: SLF001 - its own class's
        return made


Documents = Annotated[
    list[str | DocumentBody], Field(description='Texts, or objects {"text", "id"}.', max_length=_MOST), FailFast()
]
Texts = Annotated[list[str], Field(description="What is ranked.", max_length=_MOST), FailFast()]


class RerankBody(_Body):
    """Cohere's, Jina's, vLLM's and Infinity's request in one."""

    top_n: int | None = Field(
        None, ge=0, validation_alias=AliasChoices("top_n", "top_k"), description="At most so many results; 0 or null for all."
    )
    return_documents: bool | None = Field(None, description="With each document, as it was sent; of a text as its `text`.")
    raw_scores: bool | None = Field(None, description="MaxSim instead of relevance from 0 to 1.")
    use_activation: bool | None = Field(None, description="vLLM's name for the opposite of raw_scores.")
    query: Query
    documents: Documents
    model: str | None = Field(None, description="Ignored: the server has one model, and says which.")
    max_tokens_per_doc: _Tokens | None = Field(None, description="Only the first so many stored token vectors count.")
    rank_fields: list[str] | None = Field(
        None, max_length=64, description="Which fields of object documents are read, where they have no text."
    )
    deadline_s: _DeadlineS = None

    @property
    def is_raw(self) -> bool:
        """Whether scores are MaxSim."""
        return bool(self.raw_scores) or self.use_activation is False

    @model_validator(mode="after")
    def _documents_have_text(self) -> RerankBody:
        for i, document in enumerate(self.documents):
            if isinstance(document, DocumentBody) and text_of(document, self.rank_fields) is None:
                read = "its rank_fields" if self.rank_fields else '"text", and no rank_fields are named'
                raise ValueError(f"document {i} has no text: there is nothing in {read}")
        return self

    def shown(self, document: RankedDocument) -> dict[str, Any]:
        """Give a document as it was sent, as Cohere and Jina do: each field, of its own type."""
        sent = self.documents[document.index]
        return {"text": sent} if isinstance(sent, str) else sent.sent


class TextsBody(_Body):
    """text-embeddings-inference's request."""

    query: Query
    texts: Texts
    raw_scores: bool = Field(default=False, description="MaxSim instead of relevance from 0 to 1.")
    return_text: bool = Field(default=False, description="With each text.")
    truncate: bool | None = Field(None, description="Nothing is too long for this server: windows are encoded.")
    truncation_direction: Literal["left", "right", "Left", "Right"] = Field("right", description="Ignored: nothing is cut.")
    deadline_s: _DeadlineS = None


class IndexBody(_Body):
    """Documents to be encoded ahead of queries."""

    documents: Documents


class ContextBody(_Body):
    """What goes before the LLM, of documents that are ranked first."""

    query: Query
    documents: Documents
    budget_tokens: int = Field(2000, ge=0, le=2**31 - 1)
    strategy: Literal["coverage", "relevance", "mmr"] = "coverage"
    order: Literal["relevance", "edges", "source"] = "relevance"
    top_n: int | None = Field(None, ge=1)
    min_relevance: float | None = Field(None, ge=0, le=1)
    compress: bool = False


class ExplainBody(_Body):
    """A document of which one wants to see what the query matches."""

    query: Query
    text: str


class SearchBody(_Body):
    """A question to one of the server's own folders."""

    query: Query
    folder: str
    k: int = Field(100, ge=1, le=1000)
    top_n: int = Field(10, ge=1, le=1000)


def text_of(document: str | DocumentBody, rank_fields: list[str] | None = None) -> str | None:
    """Give the text that is ranked: the document's own, or its named fields, a line each. None if there is neither."""
    if isinstance(document, str):
        return document
    if rank_fields is None and document.text is not None:
        return document.text
    named = {name: document.sent[name] for name in rank_fields or () if name in document.sent}
    told = "\n".join(f"{name}: {value}" for name, value in named.items() if _says_something(value))
    # Names of fields are no content: a document whose fields are all blank is a blank document.
    return told or document.text or ("" if named else document.text)


def id_of(document: str | DocumentBody) -> Any:
    """Give a document's id as it was sent, of whatever type; None if there is none."""
    return None if isinstance(document, str) else document.id


def _says_something(value: Any) -> bool:
    return value is not None and not is_blank(str(value)) and not (isinstance(value, float) and math.isnan(value))
