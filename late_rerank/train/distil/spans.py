"""Documents -> sentences, and short spans of them that look like keyword queries."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from late_rerank.text.words import is_blank, word_spans

# A query of fewer words than these tells a student little; one of more is cut by most models.
_FEWEST_WORDS, _MOST_WORDS = 3, 60
_LENGTHS = (1, 2, 2, 3, 3, 4, 5, 6, 7, 9)  # words of a span: keyword queries have two or three, mostly
_SHORT = 3
_KEYWORDS = 0.35  # the share of spans without common words
_N_COMMON, _COMMON_FROM = 50, 20_000
_EDGES = " ,;:()"
# A script without spaces between words: a "word" of `word_spans` is then one character, about half a word.
_UNSPACED = 3


def sentences_of(texts: Iterable[str], most: int) -> list[str]:
    """Find the sentences that could be queries, each once, in order.

    Args:
        texts: Documents.
        most: No further document is read once there are so many sentences.
    """
    from late_rerank.context.sentences import sentences  # noqa: PLC0415 - loads a splitter

    found: dict[str, None] = {}
    for text in texts:
        if len(found) >= most:
            break
        for start, end in sentences(text):
            sentence = " ".join(text[start:end].split())
            if _FEWEST_WORDS <= _n_words(sentence) <= _MOST_WORDS:
                found[sentence] = None
    return list(found)[:most]


def common_words(sentences: Sequence[str]) -> frozenset[str]:
    """Give the most frequent words of sentences, in any language: the function words, mostly."""
    counts = Counter(word for sentence in sentences[:_COMMON_FROM] for word in sentence.lower().split())
    return frozenset(word for word, _ in counts.most_common(_N_COMMON))


def spans_of(sentences: Sequence[str], common: frozenset[str], seed: int) -> list[str]:
    """Cut a short span out of each sentence: words in a row, or the next words that aren't common.

    Args:
        sentences: As `sentences_of` gives them.
        common: Words that few keyword queries have.
        seed: Of chance.

    Returns:
        Each span once, in order.
    """
    chance = random.Random(seed)
    cut = (_span(sentence, common, chance) for sentence in sentences)
    return list(dict.fromkeys(span for span in cut if not is_blank(span)))


def _n_words(sentence: str) -> int:
    return len(sentence.split()) if sentence.isascii() else len(word_spans(sentence))


def _span(sentence: str, common: frozenset[str], chance: random.Random) -> str:
    words, n = sentence.rstrip(".").split(), chance.choice(_LENGTHS)
    if not sentence.isascii():
        places = word_spans(sentence)
        if len(places) > _UNSPACED * len(words):
            first = chance.randrange(max(1, len(places) - 2 * n + 1))
            return sentence[places[first][0] : places[first : first + 2 * n][-1][1]]
    n = min(len(words), n)
    first = chance.randrange(len(words) - n + 1)
    part = words[first : first + n]
    if chance.random() < _KEYWORDS:
        part = [word for word in words[first : first + 2 * n + 2] if word.lower() not in common][:n] or part
    elif n <= _SHORT:  # a short span neither begins nor ends with a common word
        telling = [i for i, word in enumerate(part) if word.lower() not in common]
        part = part[telling[0] : telling[-1] + 1] if telling else part
    return " ".join(part).strip(_EDGES)
