"""The Encoder protocol, and the optional protocols beside it. Users may bring encoders of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from late_rerank.pictures import Picture
from late_rerank.pictures.words import Box as Box
from late_rerank.types import Encodable, TokenVectors

Kind = Literal["query", "document"]
"""Which of the two a text is encoded as."""

Token = tuple[str, int, int]
"""The token as the vocabulary names it; its start and its end in the text, in code points."""


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into token vectors. Its law is `late_rerank.testing.EncoderTests`.

    An encoder may implement more: `TellsTokens`, `TellsUnknown`, `CanUnpool`, `DescribesItself`, `HasQueryEncoder` and
    `SeesPictures`. The package asks for these with `isinstance`, so define their members in the class or in `__init__`: since
    Python 3.12 `isinstance` ignores `__getattr__`.

    Attributes:
        dim: Components of one token vector.
        fingerprint: Digest of all that changes document vectors by more than rounding. Equal fingerprints mean
            that stored vectors are exchangeable.
    """

    dim: int
    fingerprint: str

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        """Encode queries, in the order given. `truncated` marks the queries that were longer than the model takes."""

    def encode_document(self, texts: Sequence[str]) -> TokenVectors:
        """Encode documents, in the order given. A text's vectors don't depend on its neighbours."""


@runtime_checkable
class TellsTokens(Protocol):
    """An encoder that tells where its token vectors stand in the text. Explanations and shortened passages need it."""

    def tokens(self, text: str, kind: Kind) -> Sequence[Token]:
        """Name the tokens of one text, row for row with its vectors.

        Args:
            text: As `encode_query` or `encode_document` takes it.
            kind: Which of the two.

        Returns:
            (token, start, end), in the order of the rows; offsets in code points of `text`. A token that isn't in the text
            (a marker, a prompt's token, mask expansion) has start == end.

        Raises:
            IncompatibleError: If the encoder pools tokens of that kind: its vectors then have no places.
            ValueError: If `kind` is neither "query" nor "document".
        """


@runtime_checkable
class TellsUnknown(TellsTokens, Protocol):
    """An encoder that tells which tokens its vocabulary lacks. Users are warned of texts that it can't read.

    Its `encode_query` marks the queries with such tokens in `TokenVectors.unknown`.
    """

    @property
    def unknown_token(self) -> str | None:
        """What `tokens` calls a token that the vocabulary lacks; None if it lacks none."""


@runtime_checkable
class CanUnpool(Protocol):
    """An encoder that may pool its tokens, and gives itself without pooling. Explanations of pooling encoders need it."""

    def unpooled(self) -> Encoder:
        """Give the same encoder before pooling, one vector a token; itself where it pools nothing."""


@runtime_checkable
class SeesPictures(Protocol):
    """An encoder that takes pictures as documents, beside texts or instead of them. Its law is `VisualEncoderTests`.

    Attributes:
        modalities: What a document may be: "image", and "text" if the encoder takes texts as documents too. Queries are texts.
        batch_pictures: How many pictures are encoded in one pass. 1 on a CPU, where a page takes seconds and deadlines must
            hold.
    """

    modalities: frozenset[str]
    batch_pictures: int

    def encode_document(self, texts: Sequence[Encodable]) -> TokenVectors:
        """Encode documents, pictures and texts mixed, in the order given. A document's vectors don't depend on its neighbours.

        Raises:
            PictureError: If a picture is damaged, or one that the model can't take.
            IncompatibleError: If a document is a text, and texts aren't among the modalities; names its index.
        """

    def patches(self, picture: Picture) -> Sequence[Box]:
        """Tell which part of a picture each vector stands for, row for row with the picture's vectors.

        Returns:
            (left, top, right, bottom) in fractions of the picture. A token that sees no part of it (a prompt's token, a marker)
            has a box without area.

        Raises:
            IncompatibleError: If the encoder pools its vectors, which then stand for no part.
        """


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The name, as shown to people."""


@runtime_checkable
class DescribesItself(Protocol):
    """An encoder that says what it is, for statistics and messages. `describe.described` fills in what an encoder lacks."""

    @property
    def name(self) -> str:
        """The model, as the user named it."""

    @property
    def backend(self) -> Named:
        """What runs the model: its name is "torch", "openvino", "onnx" or the encoder's own."""

    @property
    def pooling(self) -> float:
        """How many token vectors of a document become one; 1 if none are merged. The windows of scorings get shorter by it."""

    @property
    def query_tokens(self) -> int | None:
        """The most tokens of a query that count, markers included; None if there is no limit."""


@runtime_checkable
class HasQueryEncoder(Protocol):
    """An encoder whose queries may be encoded by another model. `describe.query_encoder_name` ignores what is no str.

    Attributes:
        query_encoder: What encodes queries: "full" for the encoder itself, "fast", or a folder's path.
        query_fingerprint: Digest of all that changes query vectors; the encoder's `fingerprint` for "full".
    """

    query_encoder: str
    query_fingerprint: str
