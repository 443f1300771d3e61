"""Where in a text its token vectors come from: the encoder's tokens, and the runs of them that make a span of characters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from late_rerank.encode.base import Encoder, Kind, TellsTokens, Token
from late_rerank.encode.describe import described
from late_rerank.errors import IncompatibleError
from late_rerank.text.words import in_whole_words
from late_rerank.types import I64

Span = tuple[int, int]
"""Where a piece of a text starts and ends, in code points."""

_NEEDED = "tokens(text, kind), which gives (token, start, end) row for row with the vectors of a text"


def check_places(encoder: Encoder, what: str) -> None:
    """Refuse an encoder that can't tell where its tokens stand.

    Args:
        encoder: Any.
        what: The participle that needs the places, for the error: "explained".

    Raises:
        IncompatibleError: If it is no TellsTokens.
    """
    if not isinstance(encoder, TellsTokens):
        raise IncompatibleError(
            f"the encoder {type(encoder).__name__} can't be {what}: it has no method {_NEEDED}. Add it "
            "(late_rerank.testing.EncoderTests is its law), or use an encoder that has it, TextEncoder for one"
        )


def tokens_of(encoder: Encoder, text: str, kind: Kind, n_vectors: int) -> Sequence[Token]:
    """Ask an encoder for the tokens of a text, and compare their number with the text's vectors.

    Args:
        encoder: A TellsTokens.
        text: As it was encoded.
        kind: As which it was encoded.
        n_vectors: How many vectors the text has. With 0 the encoder isn't asked.

    Returns:
        One token a vector, in the vectors' order.

    Raises:
        IncompatibleError: If the encoder names more tokens or fewer, pools them, or is no TellsTokens.
    """
    if n_vectors == 0:
        return []
    if not isinstance(encoder, TellsTokens):
        raise IncompatibleError(f"the encoder {type(encoder).__name__} has no method {_NEEDED}")
    tokens = encoder.tokens(text, kind)
    if len(tokens) != n_vectors:
        raise IncompatibleError(
            f"{type(encoder).__name__}.tokens names {len(tokens)} tokens of a {kind} that has {n_vectors} vectors; "
            f"it must be {_NEEDED}"
        )
    return tokens


def runs(tokens: Sequence[Token], spans: Sequence[Span]) -> tuple[I64, I64]:
    """Find the tokens of each span of a text.

    Args:
        tokens: As `tokens_of` gives them. A token outside the text (marker, mask expansion) has start == end and is in no span.
        spans: In their order in the text, without overlap. A token belongs to the span in which it starts.

    Returns:
        The row of each span's first token, and the number of its tokens; (n_spans,) int64 each. Both are 0 for a span without
        tokens, such as one behind the place where the text was cut.
    """
    rows = np.array([i for i, (_, start, end) in enumerate(tokens) if end > start], dtype=np.int64)
    places = np.array([tokens[i][1] for i in rows], dtype=np.int64)
    bounds = np.array(spans, dtype=np.int64).reshape(-1, 2)
    first, last = np.searchsorted(places, bounds[:, 0]), np.searchsorted(places, bounds[:, 1])
    lengths = last - first
    # A span's tokens are consecutive rows: tokens outside the text stand before or after all tokens inside.
    starts = np.where(lengths > 0, np.append(rows, 0)[first], 0)
    return starts, lengths


def span_of(encoder: Encoder, text: str, run: tuple[int, int], *, is_whole: bool, n_vectors: int | None = None) -> Span | None:
    """Find where a run of a text's tokens stands: the other way round than `runs`.

    Args:
        encoder: Any.
        text: As it was encoded.
        run: The first token, and the token after the last one.
        is_whole: Whether the run has all tokens of the text, so that nobody needs to be asked.
        n_vectors: How many vectors the text has, if they came with it. None if the encoder made them.

    Returns:
        (start, end) in code points, from the beginning of a word to the end of one, since a token may be a part of a word. None
        if the encoder can't tell, since it pools for one, or if none of the tokens is in the text. Also if it names another
        number of tokens than `n_vectors`.
    """
    if is_whole:
        return 0, len(text)
    if not isinstance(encoder, TellsTokens) or described(encoder).pooling > 1:
        return None
    try:
        tokens = encoder.tokens(text, "document")
    except IncompatibleError:  # it pools in a way whose factor is unknown
        return None
    if n_vectors not in (None, len(tokens)):
        return None
    inside = [token for token in tokens[slice(*run)] if token[2] > token[1]]
    return in_whole_words(text, inside[0][1], inside[-1][2]) if inside else None
