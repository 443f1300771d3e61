"""Tokenizers: a copy of our own, the markers that they add, and where in a text each token stands. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from late_rerank.encode.base import Token
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.samples import PROBE
from late_rerank.errors import IncompatibleError, ModelError


def own_tokenizer(tokenizer: Any) -> Tokenizer:
    """Copy a tokenizer without truncation or padding, so that no other call changes its settings.

    Raises:
        ModelError: If it has no fast version.
    """
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelError(f"{type(tokenizer).__name__} has no fast version, which is needed to keep long documents whole")
    own = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own.no_truncation()
    own.no_padding()
    return own


def special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Find the ids that a tokenizer puts before and after a text: [CLS] and [SEP], mostly."""
    bare = tokenizer.encode(PROBE, add_special_tokens=False).ids
    full = tokenizer.encode(PROBE).ids
    start = next(i for i in range(len(full) - len(bare) + 1) if full[i : i + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes, by U+FFFD. Lengths and offsets stay."""
    if text.isascii():
        return text
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


def named(inputs: Inputs, tokenizer: Tokenizer, text: str, prompt: str, markers: tuple[list[int], list[int]]) -> list[Token]:
    """Name each counted position of the model's input for one text, with its place in the text.

    Args:
        inputs: Of one text.
        tokenizer: As `own_tokenizer` gives it.
        text: The text alone.
        prompt: The prompt before the text; its tokens stand at (0, 0).
        markers: As `special_tokens` gives them.

    Returns:
        One token a counted position. A token outside the text has start == end: opening markers stand at 0, all others at the
        text's end.

    Raises:
        IncompatibleError: If the model was given other tokens than the tokenizer's, so that their places are unknown.
    """
    ids: list[int] = inputs.ids[0].tolist()
    positions: list[int] = np.flatnonzero(inputs.real[0]).tolist()
    tokens = [(str(tokenizer.id_to_token(token)), len(text), len(text)) for token in ids]
    if positions:
        before, after = markers
        own = tokenizer.encode(prompt + without_surrogates(text), add_special_tokens=False)
        chosen = _given([ids[i] for i in positions], own.ids, before, after)
        for i in positions[: len(before)]:
            tokens[i] = (tokens[i][0], 0, 0)
        inner = positions[len(before) : len(positions) - len(after)]
        for i, place in zip(inner, _places(own.offsets[chosen], text, len(prompt)), strict=True):
            tokens[i] = (tokens[i][0], *place)
    return list(compress(tokens, inputs.counted[0].tolist()))


def _given(ids: list[int], own: list[int], before: list[int], after: list[int]) -> slice:
    """Find the tokens that the model was given among the text's `own` tokens."""
    n = len(ids) - len(before) - len(after)
    # Nearly all tokenizers cut at the end; some cut at the beginning.
    for chosen in (slice(0, n), slice(len(own) - n, len(own))):
        if [*before, *own[chosen], *after] == ids:
            return chosen
    raise IncompatibleError(
        f"the model was given tokens {ids[:8]}... where its tokenizer splits the text into {own[:8]}...: their places in the "
        "text can't be told"
    )


def _places(offsets: Iterable[tuple[int, int]], text: str, n_prompt: int) -> Iterator[tuple[int, int]]:
    """Turn offsets in prompt and text into offsets in the text. White space counted to the word after it is left out."""
    for start, end in offsets:
        start, end = max(start - n_prompt, 0), max(end - n_prompt, 0)
        if text[start : start + 1].isspace() and (word := text[start:end].lstrip()):
            start = end - len(word)
        yield start, end
