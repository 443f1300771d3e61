"""Texts -> how many tokens an LLM's tokenizer makes of them, about, by rates for each script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from late_rerank.types import I64

# A letter's weight is its part of a token, in sixtieths. Weights of letters in a row are summed and rounded up: a word is one
# token at least. With a vocabulary of 30,000 to 200,000 one token covers six letters of an English word, or more.
_TOKEN = 60
_LETTER = 10

# The weights give 1.0 to 1.2 times the median of seven tokenizers on each language that was measured
# (tests/benchmarks/token_estimate.json). First code point, last one, weight of each.
_SCRIPTS = (
    (0x00C0, 0x00FF, 32),  # Latin letters with accents
    (0x0100, 0x024F, 90),
    (0x0300, 0x036F, 90),  # accents apart from their letters
    (0x0370, 0x03FF, 23),  # Greek
    (0x0400, 0x052F, 16),  # Cyrillic
    (0x0530, 0x058F, 40),  # Armenian
    (0x0590, 0x05FF, 28),  # Hebrew
    (0x0600, 0x07FF, 22),  # Arabic
    (0x0800, 0x08FF, 40),
    (0x0900, 0x097F, 33),  # Devanagari
    (0x0980, 0x09FF, 40),  # Bengali
    (0x0A00, 0x0A7F, 66),  # Gurmukhi
    (0x0A80, 0x0B7F, 58),  # Gujarati, Oriya
    (0x0B80, 0x0BFF, 36),  # Tamil
    (0x0C00, 0x0D7F, 50),  # Telugu, Kannada, Malayalam
    (0x0D80, 0x0DFF, 100),  # Sinhala
    (0x0E00, 0x0E7F, 32),  # Thai
    (0x0E80, 0x0EFF, 120),  # Lao
    (0x0F00, 0x0FFF, 100),  # Tibetan
    (0x1000, 0x109F, 60),  # Burmese
    (0x10A0, 0x10FF, 54),  # Georgian
    (0x1100, 0x11FF, 60),  # Korean, decomposed
    (0x1200, 0x177F, 150),  # Ethiopic, Cherokee, Khmer
    (0x1780, 0x17FF, 90),  # Khmer
    (0x1800, 0x1DFF, 120),
    (0x1E00, 0x1EFF, 22),  # Vietnamese
    (0x1F00, 0x1FFF, 40),  # ancient Greek
    (0x2C00, 0x2DFF, 120),
    (0x3040, 0x30FF, 40),  # Japanese syllables
    (0x3100, 0x318F, 90),
    (0x31A0, 0x31FF, 90),
    (0x3400, 0x4DBF, 150),  # rare Chinese characters
    (0x4E00, 0x9FFF, 47),  # Chinese characters
    (0xA000, 0xABFF, 150),
    (0xAC00, 0xD7FF, 47),  # Korean
    (0xF900, 0xFDFF, 90),
    (0xFE70, 0xFEFE, 90),
    (0xFF10, 0xFF19, 60),
    (0xFF21, 0xFF3A, 60),  # full width
    (0xFF41, 0xFF5A, 60),
    (0xFF66, 0xFFDC, 60),  # half width
)
# Letters of languages whose words take more tokens than their other letters tell: German, Finnish, Hungarian; Vietnamese;
# Ukrainian, Bulgarian; Urdu. What the other letters lack is counted here.
_LETTERS = {
    **dict.fromkeys(
        "\u00e4\u00e5\u00e6\u00f6\u00f8\u00fc\u00c4\u00c5\u00c6\u00d6\u00d8\u00dc\u00df\u0150\u0151\u0170\u0171", 150
    ),
    **dict.fromkeys("\u0110\u0111\u01a0\u01a1\u01af\u01b0", 30),  # Vietnamese
    **dict.fromkeys("\u00c1\u00cd\u00d3\u00da\u00e1\u00ed\u00f3\u00fa", 70),
    **dict.fromkeys("\u0404\u0406\u0407\u0490\u042a\u0454\u0456\u0457\u0491\u044a", 44),
    **dict.fromkeys("\u0679\u0688\u0691\u06ba\u06be\u06c1\u06d2", 70),
    **dict.fromkeys(map(chr, (*range(0x660, 0x66A), *range(0x6F0, 0x6FA), *range(0x966, 0x970), *range(0xE50, 0xE5A))), 60),
}
# Full stops and commas of these scripts count one token each, as all characters that are named nowhere here.
_SIGNS = "\u00d7\u00f7\u037e\u0387\u0589\u05be\u060c\u061b\u061f\u066a\u066b\u066c\u06d4\u0964\u0965\u30fb"
_PICTOGRAPH = 2  # tokens of a character beyond the 65,536 first ones: an emoji, mostly
# Few letters beyond ASCII, as in English with curly quotation marks, are added to their runs; more are summed with all letters.
_DENSE = 8


def estimates(texts: Sequence[str]) -> I64:
    """Estimate the tokens of each text; (n_texts,) int64."""
    if not texts:
        return np.empty(0, dtype=np.int64)
    if all(text.isascii() for text in texts):
        return _of_ascii([text.encode("ascii") + b" " for text in texts])
    return _of_any([(text + " ").encode("utf-16-le", "surrogatepass") for text in texts])


def _of_ascii(encoded: Sequence[bytes]) -> I64:
    raw = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    weights = _weights().take(raw)
    edges = _edges(weights > 0)
    tokens = (weights < 0).astype(np.int32)
    tokens[edges[::2]] = -(-(edges[1::2] - edges[::2]) * _LETTER // _TOKEN)
    return _summed(tokens, encoded, 1)


def _of_any(encoded: Sequence[bytes]) -> I64:
    weights = _weights().take(np.frombuffer(b"".join(encoded), dtype="<u2"))
    edges = _edges(weights > 0)
    tokens = np.negative(np.minimum(weights, 0)).astype(np.int32)
    tokens[edges[::2]] = -(-_in_runs(weights, edges) // _TOKEN)
    return _summed(tokens, encoded, 2)


def _in_runs(weights: NDArray[np.int16], edges: I64) -> I64:
    """Sum the weights of the letters in each run."""
    begins = edges[::2]
    others = np.flatnonzero(weights > _LETTER)
    if len(others) > len(weights) // _DENSE:
        sums: I64 = np.add.reduceat(weights.astype(np.int64), edges)[::2]
        return sums
    run = np.searchsorted(begins, others, side="right") - 1
    more = np.bincount(run, weights.take(others) - _LETTER, minlength=len(begins))
    return (edges[1::2] - begins) * _LETTER + more.astype(np.int64)


def _edges(is_letter: NDArray[np.bool_]) -> I64:
    """Find where runs of letters begin and, behind each beginning, where they end."""
    padded = np.zeros(len(is_letter) + 2, dtype=np.bool_)
    padded[1:-1] = is_letter
    found: I64 = np.flatnonzero(padded[1:] != padded[:-1])
    return found


def _summed(tokens: NDArray[np.int32], encoded: Sequence[bytes], size: int) -> I64:
    starts = np.cumsum([0, *(len(each) // size for each in encoded)])[:-1]
    found: I64 = np.add.reduceat(tokens, starts, dtype=np.int64)
    return found


@cache
def _weights() -> NDArray[np.int16]:
    """(65,536,) int16: for each UTF-16 unit the weight of a letter, 0 for white space, or the tokens of a sign, below 0."""
    weights = np.full(1 << 16, -1, dtype=np.int16)
    for first, last, weight in _SCRIPTS:
        weights[first : last + 1] = weight
    for character, weight in _LETTERS.items():
        weights[ord(character)] = weight
    for character in _SIGNS:
        weights[ord(character)] = -1
    for code in range(128):
        weights[code] = _LETTER if chr(code).isalpha() else -1
    weights[[code for code in range(1 << 16) if chr(code).isspace()]] = 0
    weights[0xD800:0xDC00] = -_PICTOGRAPH
    weights[0xDC00:0xE000] = 0  # the second half of a pair
    return weights
