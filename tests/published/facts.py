"""Facts: what a published checkpoint says, as literal values that late-rerank must find in its files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Facts:
    """What is expected of a checkpoint.

    Attributes:
        build: Writes its files into a folder that exists.
        format: "stanford", "pylate" or "native".
        dim: Components of a token vector; as published, for the last projection isn't shrunk.
        query_tokens: The most tokens of a query that count, markers included.
        window_tokens: Tokens of a document in one pass, markers included.
        before: Ids before the text in every window.
        after: Ids after it.
        prompts: What stands before a query, and before a document.
        prompt_ids: The ids of what stands before a document.
        expansion: (id of the token that fills queries up, their length, whether it is attended to), or None.
        skipped: Ids of tokens that don't count in documents.
        lower: Whether "Late" and "late" are one word.
        unknown_marker: The id of unknown tokens, where Stanford's code finds no markers in the vocabulary; else None. Such a
            model isn't compared with sentence-transformers, which lays texts out otherwise, but with Stanford's way.
    """

    build: Callable[[Path], None]
    format: str
    dim: int
    query_tokens: int
    window_tokens: int
    before: list[int]
    after: list[int]
    prompts: tuple[str, str]
    prompt_ids: list[int]
    expansion: tuple[int, int, bool] | None
    skipped: list[int]
    lower: bool = False
    unknown_marker: int | None = None
