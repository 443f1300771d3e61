"""Pages without text in a context: whether they are kept as images, what an image costs, and which two are the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Literal, TypeAlias

from late_rerank.pictures import Picture, StoredPicture
from late_rerank.pictures.sending import look_the_same, shown_size
from late_rerank.text.words import is_blank
from late_rerank.types import F32, RankedDocument

ImageMode: TypeAlias = Literal["drop", "keep"]
IMAGE_MODES = ("drop", "keep")
CountImage: TypeAlias = Callable[[int, int], int]

IMAGE_MARK = "(image)"
"""What stands in the context's text where an image is shown."""

LONGEST = 1568
"""Pixels of the longer side of an image in a context. Larger ones are scaled down by most readers themselves."""

WITHOUT_TEXT = "a page without text"
_NOT_HERE = "a page without text, whose image is known by its key alone"
_UNREADABLE = "a page without text, whose image can't be read"

# An image of so many pixels is one token. Source: Anthropic's guide to vision, "tokens = width * height / 750".
_PIXELS_A_TOKEN = 750
# Pages whose vectors are less alike aren't compared pixel by pixel. The same page in two formats has a likeness near 1.
_ALIKE = 0.95


def estimate_image_tokens(width: int, height: int) -> int:
    """Estimate the tokens of an image: one for each 750 pixels, rounded up."""
    return math.ceil(width * height / _PIXELS_A_TOKEN)


@dataclass(frozen=True)
class Images:
    """Tells which documents are shown as images, and what an image costs.

    Attributes:
        keep: Whether documents that have a picture and no text are shown as images. Else they are left out.
        count: Counts the tokens of an image by its width and height.
    """

    keep: bool = False
    count: CountImage = estimate_image_tokens
    _sizes: dict[bytes, tuple[int, int]] = field(default_factory=dict, repr=False)
    _costs: dict[bytes, int] = field(default_factory=dict, repr=False)

    @property
    def is_estimate(self) -> bool:
        """Whether an image's tokens are estimated."""
        return self.count is estimate_image_tokens

    def of(self, document: RankedDocument) -> Picture | None:
        """Give the picture as which a document is shown; None for one that is shown as text, or not at all."""
        shown = self.keep and self.why_not(document) is None and is_blank(document.text)
        picture: Picture | None = document.image if shown else None
        return picture

    def why_not(self, document: RankedDocument) -> str | None:
        """Say why a page can't be shown; None if it can be, and for a document that is no page. A page is decoded once."""
        if document.image is None or not is_blank(document.text):
            return None
        if not self.keep:
            return WITHOUT_TEXT
        if isinstance(document.image, StoredPicture):
            return _NOT_HERE
        try:
            self._size(document.image)
        except (OSError, ValueError) as error:
            return f"{_UNREADABLE}: {_without_folder(error, document.image)}"
        return None

    def n_tokens(self, picture: Picture | None) -> int:
        """Count an image's tokens, without its mark; 0 for None. The picture is decoded once.

        Raises:
            ValueError: If it is damaged or too large.
            OSError: If it is in a file that can't be read.
            TypeError: If `count_image` gives no number of tokens.
        """
        if picture is None:
            return 0
        key = picture.key()
        if key not in self._costs:
            self._costs[key] = _whole(self.count(*self._size(picture)))
        return self._costs[key]

    def _size(self, picture: Picture) -> tuple[int, int]:
        key = picture.key()
        if key not in self._sizes:
            self._sizes[key] = shown_size(picture, LONGEST)
        return self._sizes[key]


def images_of(mode: object, count_image: object) -> Images:
    """Check what a user gave, and make Images.

    Raises:
        ValueError: If `images` is neither "drop" nor "keep".
        TypeError: If `count_image` is neither a function nor None.
    """
    if mode not in IMAGE_MODES:
        raise ValueError(f"images must be one of {', '.join(IMAGE_MODES)}, got {mode!r:.60}")
    if count_image is not None and not callable(count_image):
        raise TypeError(
            "count_image must be a function from an image's width and height in pixels to its number of tokens, or None for "
            f"the estimate; got {type(count_image).__name__}"
        )
    return Images(mode == "keep", estimate_image_tokens if count_image is None else count_image)


class SamePictures:
    """Finds, among the taken images, one that shows the same as another.

    Likeness of vectors proves nothing, since two forms that were filled in differently are alike. So it only chooses which
    pictures are compared pixel by pixel.

    Args:
        pictures: By document, the picture as which it is shown; None for a text.
        likeness: Gives how much of one document each of others repeats, by their positions; (n_others,) float32.
    """

    def __init__(self, pictures: Sequence[Picture | None], likeness: Callable[[int, Sequence[int]], F32]) -> None:
        self._pictures = pictures
        self._likeness = likeness
        self._compared: dict[tuple[int, int], bool] = {}  # "coverage" selects twice

    def among(self, taken: Sequence[int], document: int) -> int | None:
        """Give the taken document whose image shows the same; None if there is none, or the document is shown as text."""
        picture = self._pictures[document]
        if picture is None:
            return None
        others = [i for i in taken if self._pictures[i] is not None]
        new = [i for i in others if (document, i) not in self._compared]
        if new:
            alike = self._likeness(document, new)
            for i, likeness in zip(new, alike.tolist(), strict=True):
                self._compared[document, i] = self._are_same(document, i, likeness)
        return next((i for i in others if self._compared[document, i]), None)

    def _are_same(self, document: int, other: int, likeness: float) -> bool:
        one, two = self._pictures[document], self._pictures[other]
        if one is None or two is None:
            return False
        return one.key() == two.key() or (likeness >= _ALIKE and look_the_same(one, two))


def _without_folder(error: OSError | ValueError, picture: Picture) -> str:
    """Give an error's text without the file's folder: a server's clients read it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    path = getattr(picture, "path", None)
    return str(error) if path is None else str(error).replace(str(path), path.name)


def _whole(tokens: object) -> int:
    if isinstance(tokens, bool) or not isinstance(tokens, Integral) or tokens < 0:
        raise TypeError(f"count_image must give a number of tokens, 0 or more, got {tokens!r:.60}")
    return int(tokens)
