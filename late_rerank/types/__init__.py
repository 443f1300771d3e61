"""The nouns that every room shares: candidates, ranked documents, token vectors, packed vectors. NumPy and stdlib only."""

from late_rerank.types.arrays import F32, I64, Bytes
from late_rerank.types.documents import (
    NO_TOKENS_SCORE,
    Candidate,
    Document,
    FirstStageWeight,
    Prior,
    RankedDocument,
    Ranking,
)
from late_rerank.types.given import Content, Encodable, GivenVectors
from late_rerank.types.named import NamedPicture, NamedText, RowKey
from late_rerank.types.order import RankedBy
from late_rerank.types.vectors import CodecSpec, Fetched, PackedVectors, QueryVectors, TokenVectors

__all__ = [
    "F32",
    "I64",
    "NO_TOKENS_SCORE",
    "Bytes",
    "Candidate",
    "CodecSpec",
    "Content",
    "Document",
    "Encodable",
    "Fetched",
    "FirstStageWeight",
    "GivenVectors",
    "NamedPicture",
    "NamedText",
    "PackedVectors",
    "Prior",
    "QueryVectors",
    "RankedBy",
    "RankedDocument",
    "Ranking",
    "RowKey",
    "TokenVectors",
]

# Pickles name this package, not the file that a class stands in: older and newer versions read each other's.
for _noun in (
    *(Candidate, CodecSpec, Fetched, GivenVectors, PackedVectors, QueryVectors),
    *(RankedBy, RankedDocument, Ranking, TokenVectors),
):
    _noun.__module__ = __name__
del _noun
