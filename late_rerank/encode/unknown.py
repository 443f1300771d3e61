"""Texts that a model's tokenizer doesn't know: how many of their tokens are one and the same "unknown", and in which script."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from late_rerank.encode.base import Encoder, Kind, TellsUnknown
from late_rerank.errors import IncompatibleError

if TYPE_CHECKING:  # an encoder of the user's own needs no tokenizer
    from tokenizers import Tokenizer

REMEDY = "Take a model that knows it (late_rerank/encode/MODELS.md lists them)"

# Of a character's name in Unicode, what follows its script's: "THAI CHARACTER KO KAI", "LATIN SMALL LETTER E WITH ACUTE".
_AFTER_SCRIPT = re.compile(r" (?:SMALL|CAPITAL|MODIFIER|INDEPENDENT|LETTER|CHARACTER|SYLLABLE|UNIFIED|VOWEL|SIGN)\b.*")
_SCRIPTS = {
    "Cjk": "Chinese",
    "Hangul": "Korean",
    "Hiragana": "Japanese",
    "Katakana": "Japanese",
    "Myanmar": "Burmese",
}

_SHOWN_SCRIPTS = 10


@dataclass
class Reading:
    """What a tokenizer knows of one text, or of several.

    Attributes:
        n_tokens: Tokens of the texts' own with a letter or a digit: neither markers nor punctuation nor emoji.
        n_unknown: Those of them that the tokenizer doesn't know.
        n_letters: Letters in these tokens.
        unknown_letters: Script, as an adjective ("Thai") -> letters in unknown tokens.
    """

    n_tokens: int = 0
    n_unknown: int = 0
    n_letters: int = 0
    unknown_letters: Counter[str] = field(default_factory=Counter)

    @property
    def script(self) -> str:
        """The script of most unknown letters; there must be any."""
        return self.unknown_letters.most_common(1)[0][0]

    def read(self, encoder: Encoder, text: str, kind: Kind) -> None:
        """Count a text's tokens; none where the encoder has no unknown token, or can't tell its tokens' places."""
        if not isinstance(encoder, TellsUnknown) or encoder.unknown_token is None:
            return
        try:
            tokens = encoder.tokens(text, kind)
        except IncompatibleError:  # it pools them
            return
        for token, start, end in tokens:
            part = text[start:end]
            if any(map(str.isalnum, part)):
                self._count(part, is_unknown=token == encoder.unknown_token)

    def _count(self, part: str, *, is_unknown: bool) -> None:
        letters = [char for char in part if char.isalpha()]
        self.n_tokens += 1
        self.n_letters += len(letters)
        # ASCII is unknown only if a word is too long for the tokenizer: a digest, a key.
        if is_unknown and not part.isascii() and letters:
            self.n_unknown += 1
            self.unknown_letters.update(script_of(char) for char in letters if not char.isascii())


def script_of(letter: str) -> str:
    """Give a letter's script, by the language's name where the two go together: "Thai", "Cyrillic", "Chinese"."""
    script = _script(letter)
    # Plain letters are in every vocabulary that has an unknown token.
    return "accented Latin" if script == "Latin" else script


def scripts_of(tokenizer: Tokenizer) -> dict[str, int]:
    """Count a vocabulary's entries by the script of their first letter: the most frequent ones, first.

    A tokenizer of bytes has entries for parts of letters: its counts would mean nothing.
    """
    counts: Counter[str] = Counter()
    for entry in tokenizer.get_vocab():
        letter = next((char for char in entry if char.isalpha() and unicodedata.category(char) != "Lm"), None)
        if letter is not None:
            counts[_script(letter)] += 1
    return dict(counts.most_common(_SHOWN_SCRIPTS))


def _script(letter: str) -> str:
    name = _AFTER_SCRIPT.sub("", unicodedata.name(letter, "unnamed")).title()
    return _SCRIPTS.get(name, name)
