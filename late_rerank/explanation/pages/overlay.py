"""The picture with its matches: as an image and an SVG on it, and as a PNG."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from late_rerank.encode import Box
from late_rerank.explanation.markup import safe
from late_rerank.explanation.pages.matches import PageWordMatch, Spot, has_no_area
from late_rerank.explanation.pages.near import place_of
from late_rerank.pictures import Picture
from late_rerank.pictures.drawing import Drawn, as_jpeg, boxed_png, layer_png
from late_rerank.types import F32

Colour = tuple[int, int, int]

# White numbers on each of these have a contrast of at least 4.5. Neighbours differ for colour-blind readers too.
_COLOURS: tuple[Colour, ...] = (
    (31, 95, 208),  # blue
    (190, 58, 10),  # vermilion
    (17, 115, 60),  # green
    (126, 34, 206),  # purple
    (133, 77, 14),  # brown
    (190, 24, 93),  # pink
    (14, 108, 120),  # teal
    (71, 85, 105),  # slate
)
_HEAT: Colour = (255, 140, 0)

# Of the image on a page. 400 kB are 540 kB as base64, which leaves 60 kB of a page's 600 for the text.
_LONGEST, _MOST_BYTES = 1400, 400_000
# Of a matched patch's inside: the text in it stays readable. It grows with the square of the similarity, since .4 and .7 would
# look alike.
_FAINTEST, _STRONGEST = 0.05, 0.4
# The heat's darkest place, of 255.
_HOTTEST = 110
# Pixels of the heat's longer side: as fine as patches are, of which a page of 2,048 pixels has 64 in a row.
_HEAT_SIDE = 128
# In pixels of a screen: the longer side of a smaller picture, the width of the page's column, and the height of numbers.
_LEAST_SHOWN, _COLUMN, _NUMBER = 320, 920, 14


class Matched(Protocol):
    """What is drawn of a `PageExplanation`. Each part is documented there."""

    @property
    def picture(self) -> Picture: ...
    @property
    def patches(self) -> Sequence[Box]: ...
    @property
    def similarity(self) -> F32: ...
    @property
    def words(self) -> Sequence[PageWordMatch]: ...
    @property
    def spots(self) -> Sequence[Spot]: ...


class Shown(NamedTuple):
    """The size of the image on the page, in the units of its SVG, and how large a pixel of a wide screen is in them."""

    width: int
    height: int
    pixel: float


def colour_of(number: int) -> Colour:
    """Give the colour of a word of the query, by its number. After eight words colours come again."""
    return _COLOURS[(number - 1) % len(_COLOURS)]


def css(colour: Colour) -> str:
    """Write a colour for a style or an SVG."""
    return f"rgb({', '.join(map(str, colour))})"


def png(explanation: Matched) -> bytes:
    """Draw the matches on the picture."""
    strongest = _strongest(explanation.spots)
    drawn = [
        Drawn(
            spot.box,
            colour_of(spot.words[0]),
            _opacity(spot.similarity, strongest),
            [(str(number), colour_of(number)) for number in spot.words],
        )
        for spot in explanation.spots
    ]
    return boxed_png(explanation.picture.pixels(), drawn, longest=_LONGEST)


def figure(explanation: Matched, scope: str) -> str:
    """Make the picture and the matches on it, as HTML: an image, and an SVG on it."""
    jpeg = as_jpeg(explanation.picture.pixels(), longest=_LONGEST, most_bytes=_MOST_BYTES)
    scale = max(1.0, _LEAST_SHOWN / max(jpeg.width, jpeg.height))
    size = Shown(jpeg.width, jpeg.height, 1 / min(scale, _COLUMN / jpeg.width))
    strongest = _strongest(explanation.spots)
    spots = "".join(_spot(spot, explanation.words, size, strongest) for spot in explanation.spots)
    n = len(explanation.spots)
    said = f"the best matches: {n} {'part' if n == 1 else 'parts'} of the picture"
    return (
        f'<div class="lr-picture" style="width: {round(jpeg.width * scale)}px">'
        f'<img alt="the document as a picture" src="{_data_uri(jpeg.content, "jpeg")}" width="{jpeg.width}" '
        f'height="{jpeg.height}">{_heat(explanation)}'
        f'<svg viewBox="0 0 {jpeg.width} {jpeg.height}" preserveAspectRatio="none" role="group" '
        f'aria-label="{said}" id="{scope}-spots">{spots}</svg></div>'
    )


def _spot(spot: Spot, words: Sequence[PageWordMatch], size: Shown, strongest: float) -> str:
    """Draw one matched patch: its box, and the numbers of the words that match it."""
    left, top, right, bottom = (at * side for at, side in zip(spot.box, (size.width, size.height) * 2, strict=True))
    said = ", ".join(f"{n} {words[n - 1].word.text}" for n in spot.words)
    title = safe(f"{said}: {place_of(spot.box)}, similarity {spot.similarity:.2f}")
    colour = css(colour_of(spot.words[0]))
    edge = f'fill-opacity="{_opacity(spot.similarity, strongest):.2f}" stroke="{colour}" stroke-width="{2 * size.pixel:.4g}"'
    return (
        f'<g data-words="{" ".join(map(str, spot.words))}" role="img" aria-label="{title}"><title>{title}</title>'
        f"{_rect(left, top, right - left, bottom - top, colour, edge)}{_numbers(spot, left, top, bottom, size)}</g>"
    )


def _numbers(spot: Spot, left: float, top: float, bottom: float, size: Shown) -> str:
    """Write the numbers of a patch's words above it; below it at the picture's upper edge."""
    number_height = _NUMBER * size.pixel
    height = 1.2 * number_height
    y = top - height if top >= height else bottom
    parts, x = [], left
    for number in spot.words:
        width = (0.5 + 0.6 * len(str(number))) * number_height
        parts.append(
            f"{_rect(x, y, width, height, css(colour_of(number)))}"
            f'<text x="{x + width / 2:.6g}" y="{y + 0.95 * number_height:.6g}" font-size="{number_height:.4g}">{number}</text>'
        )
        x += width + size.pixel
    return "".join(parts)


def _rect(x: float, y: float, width: float, height: float, colour: str, more: str = "") -> str:
    return f'<rect x="{x:.6g}" y="{y:.6g}" width="{width:.6g}" height="{height:.6g}" fill="{colour}" {more}/>'


def _heat(explanation: Matched) -> str:
    """Draw how well each place of the picture matches any of the query's words, above the picture's own median."""
    rows = [i for match in explanation.words for i in match.word.tokens]
    seen = [i for i, box in enumerate(explanation.patches) if not has_no_area(box)]
    if not rows or not seen:
        return ""
    best = explanation.similarity[np.ix_(rows, seen)].max(axis=0)
    middle, highest = float(np.median(best)), float(best.max())
    if highest <= middle:
        return ""
    width, opacities = _painted([explanation.patches[i] for i in seen], (best - middle) / (highest - middle))
    return f'<img class="lr-heat" alt="" src="{_data_uri(layer_png(opacities, width, _HEAT), "png")}">'


def _painted(boxes: Sequence[Box], shares: F32) -> tuple[int, bytes]:
    """Paint each box on a small raster, by its share from 0 to 1; where several lie, the mean of their shares.

    Returns:
        The raster's width, and a byte a pixel.
    """
    total = np.zeros((_HEAT_SIDE, _HEAT_SIDE))
    count = np.zeros_like(total)
    for box, share in zip(boxes, np.maximum(shares, 0).tolist(), strict=True):
        left, top, right, bottom = (round(at * _HEAT_SIDE) for at in box)
        where = slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))
        total[where] += share
        count[where] += 1
    mean = total / np.maximum(count, 1)
    return _HEAT_SIDE, (_HOTTEST * mean**2).astype(np.uint8).tobytes()


def _strongest(spots: Sequence[Spot]) -> float:
    return max((spot.similarity for spot in spots), default=1.0)


def _opacity(similarity: float, strongest: float) -> float:
    share = min(max(similarity / strongest, 0.0), 1.0) if strongest > 0 else 0.0
    return _FAINTEST + (_STRONGEST - _FAINTEST) * share**2


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"
