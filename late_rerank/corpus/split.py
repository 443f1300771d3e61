"""Text -> pieces of about 200 tokens at paragraphs, then sentences, then words, each with its place."""

from __future__ import annotations

import re

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
    import semchunk  # noqa: PLC0415 - 50 ms that `--help` need not pay

    chunker = semchunk.chunkerify(lambda piece: len(_TOKEN.findall(piece)), n_tokens, memoize=False)
    pieces, places = chunker(text, offsets=True)
    return [(piece, start, end) for piece, (start, end) in zip(pieces, places, strict=True) if piece.strip()]
