"""Text -> pieces of about 200 tokens at paragraphs, then sentences, then words, each with its place."""

from __future__ import annotations

import re
from typing import Any

PIECE_TOKENS = 200

# Words and punctuation marks: within a fifth of what a WordPiece tokenizer counts on English prose, and needs no model.
_TOKEN = re.compile(r"\w+|[^\w\s]")


def split(text: str, n_tokens: int = PIECE_TOKENS) -> list[tuple[str, int, int]]:
    """Cut a text where it hurts least.

    Args:
        text: Any length.
        n_tokens: At most so many words and punctuation marks a piece; a single longer word stays whole.

    Returns:
        (piece, start, end) in order, with text[start:end] == piece; nothing but white space lies between pieces.
    """
    from semchunk.semchunk import chunkerify  # noqa: PLC0415 - 50 ms that `--help` need not pay

    chunker = chunkerify(lambda piece: len(_TOKEN.findall(piece)), n_tokens, memoize=False)
    places: Any = chunker(text, offsets=True)[1]
    return [(text[start:end], start, end) for start, end in places if text[start:end].strip()]
