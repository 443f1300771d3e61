"""Texts as page-image models take them: no token of the model's own spelt in them, each token's place known. No torch here."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from late_rerank.encode.base import Token
from late_rerank.encode.tokens import without_surrogates


@dataclass(frozen=True)
class Neutral:
    """A text in which no special token is spelt: each is split by a space after its first character.

    Attributes:
        text: What the model is given.
        source: The text as it was given.
        inserted: Positions in `text` of the inserted spaces, ascending.
    """

    text: str
    source: str
    inserted: Sequence[int] = ()

    def place(self, position: int) -> int:
        """Turn a position in `text` into one in the source."""
        return position - bisect_left(self.inserted, position)

    def cut(self, length: int) -> Neutral:
        """Give the first characters alone. The source stays."""
        return Neutral(self.text[:length], self.source, self.inserted)


class Neutraliser:
    """Makes texts neutral.

    A processor counts its image token in a text, and refuses the whole batch where there is one more than there are images.

    Args:
        special: Tokens of the model's own, as a text may spell them.
    """

    def __init__(self, special: Iterable[str]) -> None:
        known = sorted({token for token in special if len(token) > 1 and not token.isspace()}, key=len, reverse=True)
        # Lookaheads, so that tokens which overlap are all found. At most characters the first alone is tried: some have 1,000.
        firsts, whole = "".join(sorted({re.escape(token[0]) for token in known})), "|".join(map(re.escape, known))
        self._starts = re.compile(f"(?=[{firsts}])(?={whole}).", re.DOTALL) if known else None

    def __call__(self, text: str) -> Neutral:
        """Split special tokens in a text, and replace lone surrogates, which no tokenizer takes."""
        clean = without_surrogates(text)
        if self._starts is None:
            return Neutral(clean, text)
        ends = [match.end() for match in self._starts.finditer(clean)]
        if not ends:
            return Neutral(clean, text)
        parts = [clean[start:end] for start, end in zip([0, *ends], [*ends, len(clean)], strict=True)]
        return Neutral(" ".join(parts), text, [end + i for i, end in enumerate(ends)])


def special_tokens_of(processor: Any) -> set[str]:
    """Name the tokens that a processor and its tokenizer treat otherwise than words."""
    tokenizer = processor.tokenizer
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    own = {value for name, value in vars(processor).items() if name.endswith(("_token", "_tag")) and isinstance(value, str)}
    return added | own | set(tokenizer.all_special_tokens) | {str(getattr(processor, "image_token", ""))}


def placed(tokens: Sequence[str], offsets: Sequence[tuple[int, int]], before: int, shown: str, text: Neutral) -> list[Token]:
    """Place the tokens of a rendered text in the text as it was given.

    Args:
        tokens: As the vocabulary names them.
        offsets: Where they stand in what was rendered.
        before: The characters that were rendered before the text.
        shown: The text as it was rendered; a template may strip its ends.
        text: What was rendered.
    """
    lead = text.text.find(shown)
    found = []
    for token, (start, end) in zip(tokens, offsets, strict=True):
        start, end = (min(max(each - before, 0), len(shown)) for each in (start, end))
        if start == end:  # a marker: before the text or after it
            place = 0 if end == 0 else len(text.source)
            found.append((token, place, place))
            continue
        word = shown[start:end].lstrip()
        start = end - len(word) if word else start
        found.append((token, text.place(lead + start), text.place(lead + end)))
    return found
