"""A document -> what is compared of it: its own token vectors, its picture, if the encoder sees pictures, or its text."""

from __future__ import annotations

from collections.abc import Iterable

from late_rerank.encode import Encoder, described, modalities
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import Picture
from late_rerank.stores.base import OwnRows
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate, Content, GivenVectors, NamedPicture, NamedText, RankedDocument

# No more documents are added to a batch of so many characters: a document may be as long as a book.
BATCH_CHARS = 150_000


def characters(content: Content, *, batch_pictures: int = 1) -> int:
    """Tell how much work a document is to encode, in characters of text.

    Args:
        content: A text or a picture. Given vectors are no work.
        batch_pictures: How many pictures make a batch. A page takes seconds on a processor; there it is a batch of its own, so
            that a deadline holds.
    """
    if isinstance(content, GivenVectors):
        return 0
    return len(content) if isinstance(content, str) else BATCH_CHARS // batch_pictures


class Contents:
    """Chooses what is compared of each document: its own token vectors, or what the encoder encodes of it.

    Args:
        encoder: Any. One that is no SeesPictures takes texts alone.
        own_rows: A table in which documents are found by their ids. None where they are found by their contents.

    Attributes:
        sees_pictures: Whether the encoder takes pictures.
        batch_pictures: How many pictures it encodes in one pass.
    """

    def __init__(self, encoder: Encoder, own_rows: OwnRows | None = None) -> None:
        self._own_rows = own_rows
        kinds = modalities(encoder)
        self._name = described(encoder).name
        self._dim = encoder.dim
        self.sees_pictures = "image" in kinds
        self._reads_texts = "text" in kinds
        self.batch_pictures = max(1, getattr(encoder, "batch_pictures", 1))

    def of(self, document: Candidate | RankedDocument, index: int, what: str) -> Content:
        """Give what is compared of a document.

        Args:
            document: With a text, a picture or both; or with token vectors, which count alone.
            index: Its place among the given ones, for the error.
            what: What the given ones are called, for the error: "candidates".

        Raises:
            IncompatibleError: If the encoder takes texts alone, and the document has a picture without a text; or the encoder
                takes pictures alone, and the document has a text without a picture. Also if its token vectors have another
                number of components than the encoder's.
        """
        given: GivenVectors | None = document.token_vectors
        if given is not None:
            if given.dim != self._dim:
                raise IncompatibleError(
                    f"{_named(document, index, what)} has token vectors of {given.dim} components, but those of the model "
                    f"{self._name!r} have {self._dim}: give vectors that this model made, or leave them out"
                )
            return given
        if self._own_rows is not None and (named := _named_content(document, self._own_rows, self.sees_pictures)) is not None:
            return named
        image: Picture | None = document.image
        if image is not None:
            if self.sees_pictures:
                return image
            if is_blank(document.text):
                raise IncompatibleError(
                    f"{_named(document, index, what)} has an image without text, but the model {self._name!r} sees no "
                    "images: give the text that is on it too, or use a model of page images"
                )
        elif not self._reads_texts and not is_blank(document.text):
            raise IncompatibleError(
                f"{_named(document, index, what)} is a text without an image, but the model {self._name!r} takes images alone "
                f"as documents: give its image, or use a model that takes both; got {document.text!r:.60}"
            )
        return document.text

    def of_all(self, documents: Iterable[Candidate | RankedDocument], what: str) -> list[Content]:
        """Give what `of` gives of each document, in order."""
        reads = self._reads_texts and self._own_rows is None
        # Most documents are texts; a call for each of 100 takes 20 us.
        return [
            document.text if reads and document.image is document.token_vectors is None else self.of(document, i, what)
            for i, document in enumerate(documents)
        ]

    def weight(self, content: Content) -> int:
        """Tell how much work a document is for this encoder, in characters of text."""
        return characters(content, batch_pictures=self.batch_pictures)


def _named(document: Candidate | RankedDocument, index: int, what: str) -> str:
    """Name a document by its place, and by its id if it has one: wrappers leave repeated documents out, and places change."""
    return f"{what}[{index}]" if document.id is None else f"{what}[{index}] (id {document.id!r:.60})"


def _named_content(document: Candidate | RankedDocument, own_rows: OwnRows, sees_pictures: bool) -> Content | None:  # noqa: FBT001
    """Give what is encoded if a document's row is missing, with the row's key; None for a document without an id."""
    if isinstance(document.text, NamedText):
        return document.text
    key = None if document.id is None else own_rows.key_of(document.id)
    if key is None:
        return None
    image: Picture | None = document.image
    return NamedPicture(image, key) if image is not None and sees_pictures else NamedText(document.text, key)
