"""Images that clients send with documents -> Pictures, within the server's limits. No URL is fetched, and no file opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from late_rerank.encode import modalities
from late_rerank.pictures import ImagePicture, Picture, StoredPicture
from late_rerank.pictures.image import FORMATS, PictureTooLargeError
from late_rerank.pictures.uris import bytes_of_base64, bytes_of_data_uri
from late_rerank.reranker import Reranker
from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.parts import SentImage
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate

Sent = Mapping[int, Sequence[SentImage]]
"""A document's place -> its images, as they were sent. Documents without images have no entry."""


def the_image(images: Sequence[SentImage]) -> SentImage:
    """Choose a document's image.

    Raises:
        ValueError: If there are several: a document's vectors are those of one picture.
    """
    if len(images) > 1:
        raise ValueError(f"a document takes one image, got {len(images)}: send each as a document of its own")
    return images[0]


class Images:
    """What one model does with the images of a request's documents. Safe to share between threads.

    Args:
        reranker: The model's.
        limits: The server's.
        name: The model's name, as clients are told it.

    Attributes:
        modalities: What a document may be: "text", "image" or both.
        limits: The server's.
    """

    def __init__(self, reranker: Reranker, limits: Limits, name: str) -> None:
        self.modalities = sorted(modalities(reranker.encoder))
        self._reranker = reranker
        self.limits = limits
        self._name = name

    @property
    def sees_images(self) -> bool:
        """Whether images are encoded. If not, a document's text counts alone."""
        return "image" in self.modalities

    def concern(self, sent: Sent) -> bool:
        """Tell whether `given` has anything to do: with documents that are texts, a model that reads texts needs none of it."""
        return bool(sent) or "text" not in self.modalities

    def ignored(self, sent: Sent) -> list[str]:
        """Name the fields of images that this model doesn't see, each once."""
        return [] if self.sees_images else sorted({image.name for images in sent.values() for image in images})

    def given(self, candidates: Sequence[str | Candidate], sent: Sent, called: str) -> list[str | Candidate]:
        """Give the candidates with their pictures. Headers of images are read, but no pixels. Takes a thread's time.

        Args:
            candidates: The documents' texts.
            sent: Their images.
            called: What the client calls its documents.

        Raises:
            RequestError: If there are too many images, or one is too large (413); if an image or a key can't be read, a picture
                isn't stored, or the model can't encode what a document has (422).
        """
        if self.sees_images:
            n_images = sum(not image.is_key for images in sent.values() for image in images)
            if n_images > self.limits.n_images:
                raise RequestError(
                    413, f"{n_images} images: at most {self.limits.n_images} are taken in one request; send fewer"
                )
            pictures = {i: self._picture(images, f"{called}[{i}]") for i, images in sent.items()}
            self._check_stored(pictures, called)
            candidates = [_with(candidate, pictures.get(i)) for i, candidate in enumerate(candidates)]
        self._check_kinds(candidates, sent, called)
        return list(candidates)

    def _picture(self, images: Sequence[SentImage], place: str) -> Picture:
        try:
            image = the_image(images)
            return StoredPicture(image.text) if image.is_key else self._decoded(image)
        except PictureTooLargeError as error:
            raise RequestError(413, f"{place}: {error}") from None
        except ValueError as error:
            raise RequestError(422, f"{place}: {error}") from None

    def _decoded(self, image: SentImage) -> ImagePicture:
        decode = bytes_of_data_uri if image.text[:5].lower() == "data:" else bytes_of_base64
        try:
            held = decode(image.text, self.limits.image_bytes)
        except PictureTooLargeError:
            raise
        except ValueError as error:
            raise ValueError(f"{image.name} is neither a data URI nor base64 of an image: {error}") from None
        picture = ImagePicture(held, most_pixels=self.limits.image_pixels)
        try:
            picture.size()
        except PictureTooLargeError:
            raise
        except ValueError:
            raise ValueError(f"{image.name} holds no image of {', '.join(FORMATS)}") from None
        return picture

    def _check_stored(self, pictures: Mapping[int, Picture], called: str) -> None:
        keys = {i: picture.key() for i, picture in pictures.items() if isinstance(picture, StoredPicture)}
        if not keys:
            return
        reranker = self._reranker
        space = reranker.store.space(reranker.encoder.fingerprint, reranker.codec.spec(reranker.encoder.dim))
        missing = space.missing(list(keys.values()))
        if len(missing):
            place = f"{called}[{list(keys)[int(missing[0])]}]"
            raise RequestError(
                422, f"{place}: no picture with this image_key is stored for this model: index it first, or send the image"
            )

    def _check_kinds(self, candidates: Sequence[str | Candidate], sent: Sent, called: str) -> None:
        """Refuse what the core would refuse. Its messages quote texts, and may name a folder of this machine."""
        for i, candidate in enumerate(candidates):
            text, image = (candidate, None) if isinstance(candidate, str) else (candidate.text, candidate.image)
            if (i in sent or image is not None) and not self.sees_images and is_blank(text):
                raise RequestError(
                    422,
                    f"{called}[{i}] has an image without text, but the model {self._name!r} sees no images: give the text that "
                    "is on it too, or use a model of page images",
                )
            if "text" not in self.modalities and image is None and not is_blank(text):
                raise RequestError(
                    422,
                    f"{called}[{i}] is a text without an image, but the model {self._name!r} takes images alone as documents: "
                    "give its image, or use a model that takes both",
                )


def _with(candidate: str | Candidate, picture: Picture | None) -> str | Candidate:
    if picture is None:
        return candidate
    return Candidate(candidate, image=picture) if isinstance(candidate, str) else replace(candidate, image=picture)
