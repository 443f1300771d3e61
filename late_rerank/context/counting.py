"""How many tokens a text takes in the LLM that reads it: counted by its tokenizer, or estimated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from late_rerank.context.estimating import estimates
from late_rerank.types import I64

CountTokens = Callable[[str], int]


def estimate_tokens(text: str) -> int:
    """Estimate the tokens that GPT-like tokenizers make of a text in any script, rather too many than too few.

    An English word counts one token for each six letters or fewer. Letters of other scripts have rates of their own. A digit
    and a punctuation mark count one each. Counts of texts with white space between them add up.
    """
    return int(estimates([text])[0])


def count_all(count: CountTokens, texts: Sequence[str]) -> I64:
    """Count the tokens of each text; (n_texts,) int64."""
    if count is estimate_tokens:
        return estimates(texts)
    return np.array([count(text) for text in texts], dtype=np.int64)


def counter(count_tokens: object | None) -> CountTokens:
    """Make a function that counts a text's tokens.

    Args:
        count_tokens: A Hugging Face tokenizer (transformers or tokenizers), a tiktoken encoding, a function from a text to its
            number of tokens, or None for the estimate.

    Raises:
        TypeError: If it is none of these.
    """
    if count_tokens is None:
        return estimate_tokens
    if hasattr(count_tokens, "no_truncation") and hasattr(count_tokens, "to_str"):
        # A tokenizer of the library `tokenizers` is often set to cut or to pad, which counts wrong. The user's stays as it is.
        given: Any = count_tokens
        copy: Any = type(given).from_str(given.to_str())
        copy.no_truncation()
        copy.no_padding()
        return _of_encoder(copy.encode)
    encode: Any = getattr(count_tokens, "encode", None)
    if callable(encode) and not isinstance(count_tokens, (str, type)):
        return _of_encoder(encode)
    if callable(count_tokens):
        return _checked(count_tokens)
    raise TypeError(
        "count_tokens must be a function from a text to its number of tokens, a Hugging Face tokenizer or a tiktoken "
        f"encoding, got {type(count_tokens).__name__}"
    )


def _of_encoder(encode: Callable[..., Any]) -> CountTokens:
    # Special tokens belong to a prompt, not to a passage. tiktoken refuses a text that spells one; a passage may.
    try:
        parameters = set(inspect.signature(encode).parameters)
    except ValueError:  # compiled
        parameters = set()
    options: dict[str, Any] = {}
    if "disallowed_special" in parameters:
        options["disallowed_special"] = ()
    if "add_special_tokens" in parameters:
        options["add_special_tokens"] = False

    def count(text: str) -> int:
        found = encode(text, **options)
        ids = getattr(found, "ids", found)
        if not isinstance(ids, (list, tuple)):
            raise TypeError(f"count_tokens.encode must give a list of token ids, got {type(ids).__name__} for {text!r:.60}")
        return len(ids)

    return count


def _checked(given: Callable[[str], Any]) -> CountTokens:
    def count(text: str) -> int:
        number = given(text)
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 0:
            raise TypeError(f"count_tokens must give a number of tokens, 0 or more, got {number!r:.60} for {text!r:.60}")
        return int(number)

    return count
