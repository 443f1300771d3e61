"""Texts -> odd queries made of them: words in another order, several texts in one, random words, and codes.

A student that never meets such texts is far from its teacher on them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

SHUFFLED, JOINED, RANDOM, CODES = "shuffled", "joined", "random", "codes"

_MOST_SHUFFLED, _MOST_AROUND = 24, 5  # words
_MOST_JOINED, _MOST_OF_EACH = 5, 15  # texts, and words
_LENGTHS = (1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 14)  # of random words
_BETWEEN = (" ", ". ", ", ", " - ", ": ")
_BEFORE = ("", "", "error ", "how to fix ", "what is ")
_LETTERS, _HEX = "abcdefghijklmnopqrstuvwxyz", "0123456789abcdef"
_NAMES = 0.25  # of codes: words with an underscore or a dot between them


def odd_texts(texts: Sequence[str], words: Sequence[str], n: int, seed: int) -> dict[str, list[str]]:
    """Make texts of each kind.

    Args:
        texts: They are shuffled, joined, and given codes.
        words: To draw from at random.
        n: So many of each kind, or fewer: no text of a kind is there twice.
        seed: Of chance.

    Returns:
        Kind -> texts; no kind without texts and words.
    """
    if not texts or not words:
        return {}
    chance = random.Random(seed)
    made: dict[str, Callable[[], str]] = {
        SHUFFLED: lambda: _shuffled(chance.choice(texts), chance),
        JOINED: lambda: _joined(texts, chance),
        RANDOM: lambda: " ".join(chance.choice(words) for _ in range(chance.choice(_LENGTHS))),
        CODES: lambda: _with_codes(chance.choice(texts), words, chance),
    }
    return {kind: list(dict.fromkeys(make() for _ in range(n))) for kind, make in made.items()}


def words_in(texts: Iterable[str]) -> list[str]:
    """Give the words of texts, each once: a rare word is drawn as often as a common one."""
    return list(dict.fromkeys(word for text in texts for word in text.split()))


def _shuffled(text: str, chance: random.Random) -> str:
    words = text.split()
    chance.shuffle(words)
    return " ".join(words[:_MOST_SHUFFLED])


def _joined(texts: Sequence[str], chance: random.Random) -> str:
    """Join the beginnings of several texts: whole long ones would be cut by the model."""
    parts = (chance.choice(texts).split()[:_MOST_OF_EACH] for _ in range(chance.randint(2, _MOST_JOINED)))
    return chance.choice(_BETWEEN).join(" ".join(part) for part in parts)


def _with_codes(text: str, words: Sequence[str], chance: random.Random) -> str:
    """Put one or two codes among a text's first words."""
    found = text.split()[:_MOST_AROUND]
    for _ in range(chance.randint(1, 2)):
        found.insert(chance.randint(0, len(found)), _code(words, chance))
    return chance.choice(_BEFORE) + " ".join(found)


def _code(words: Sequence[str], chance: random.Random) -> str:
    """Make a hexadecimal number, a version, an article's number, an amount, or a name as programs have."""
    if chance.random() < _NAMES:
        return chance.choice("_.").join(chance.choice(words) for _ in range(chance.randint(2, 3)))
    below = chance.randrange
    return chance.choice(
        (
            f"0x{below(2**32):08x}",
            f"KB{below(10**7):07d}",
            f"v{below(20)}.{below(30)}.{below(30)}",
            "".join(chance.choices(_HEX, k=chance.randint(4, 10))),
            "".join(chance.choices(_LETTERS, k=chance.randint(2, 4))) + f"-{below(10 ** chance.randint(1, 5))}",
            f"{below(1000)}.{below(100)}",
            str(below(10 ** chance.randint(1, 7))),
        )
    )
