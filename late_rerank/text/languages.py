"""Texts -> the languages that they are written in, by script and by function words. No model, no network."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from late_rerank.text.function_words import FUNCTION_WORDS
from late_rerank.text.words import folded

# Where blocks of letters begin, and the script of each. "" has no letters that tell a language.
_BLOCKS = (
    [(0x0, "latin"), (0x300, ""), (0x370, "greek"), (0x400, "cyrillic"), (0x530, "armenian"), (0x590, "hebrew")]
    + [(0x600, "arabic"), (0x700, ""), (0x750, "arabic"), (0x780, ""), (0x860, "arabic"), (0x900, "devanagari")]
    + [(0x980, "bengali"), (0xA00, "punjabi"), (0xA80, "gujarati"), (0xB00, "odia"), (0xB80, "tamil"), (0xC00, "telugu")]
    + [(0xC80, "kannada"), (0xD00, "malayalam"), (0xD80, "sinhala"), (0xE00, "thai"), (0xE80, "lao"), (0xF00, "tibetan")]
    + [(0x1000, "burmese"), (0x10A0, "georgian"), (0x1100, "korean"), (0x1200, "ethiopic"), (0x13A0, ""), (0x1780, "khmer")]
    + [(0x1800, ""), (0x1E00, "latin"), (0x1F00, "greek"), (0x2000, ""), (0x3041, "japanese"), (0x3100, ""), (0x3130, "korean")]
    + [(0x3190, ""), (0x31F0, "japanese"), (0x3200, ""), (0x3400, "chinese"), (0xA000, ""), (0xAC00, "korean"), (0xD7B0, "")]
    + [(0xF900, "chinese"), (0xFB00, "latin"), (0xFB13, "armenian"), (0xFB1D, "hebrew"), (0xFB50, "arabic"), (0xFE00, "")]
    + [(0xFE70, "arabic"), (0xFF00, ""), (0xFF21, "latin"), (0xFF66, "japanese"), (0xFFA0, ""), (0x20000, "chinese")]
    + [(0x32000, "")]
)
_ASCII_LETTER = re.compile("[a-z]")
_STARTS, _SCRIPTS = zip(*_BLOCKS, strict=True)
# Scripts of several languages. What a text is taken for if nothing tells; all other scripts are named by their language.
_USUAL = {"latin": "english", "cyrillic": "russian", "arabic": "arabic", "devanagari": "hindi", "hebrew": "hebrew"}
_SAMPLE = 400  # characters from the beginning, and as many from the middle: a title may be English, a licence too
_VOTE = 27720  # what a word of one language counts; in whole numbers, whose sum doesn't depend on the words' order
_SURE = 2 * _VOTE  # two words of one language only; names and quotations have fewer
_CLEAR = 1.25  # how far the first must be ahead of the second
_RARE = 0.005  # a language of fewer documents is a mistake, or isn't worth a second form of each word of a query
_FEW = 0.05  # where fewer texts are sure, they may be quotations, and the sum of all texts' votes says what the others are
UNKNOWN = "unknown"  # counts texts that don't tell their language
_LETTERS = {"chinese": 3, "japanese": 2, "korean": 2}  # of a Latin text that says the same, for one character
_KANA = 0.05  # Japanese has kana between its Chinese characters; Chinese has a brand name at most


class Speech(NamedTuple):
    """What a text seems to be written in.

    Attributes:
        script: Of most letters; "" for a text without letters.
        votes: Script -> language -> its function words in the text. One that n languages share counts 1/n for each.
    """

    script: str
    votes: Mapping[str, Mapping[str, int]]

    def first(self, script: str, among: Iterable[str] | None = None) -> str | None:
        """Give the language of most votes in a script, if it is sure and clear."""
        votes = self.votes.get(script)
        if not votes:
            return None
        names = votes if among is None else votes.keys() & set(among)
        first = max(names, key=lambda name: (votes[name], name), default=None)
        if first is None or votes[first] < _SURE:
            return None
        return first if all(_CLEAR * votes[name] <= votes[first] for name in names if name != first) else None


def script_of(word: str) -> str:
    """Give the script of a word's first letter; where a script has one language only, by the language's name."""
    return str(_SCRIPTS[bisect_right(_STARTS, ord(word[0])) - 1])


def speech(text: str) -> Speech:
    """Sample a text from its beginning and its middle, and count function words."""
    middle = max(len(text) // 2, _SAMPLE)
    sample = f"{text[:_SAMPLE]} {text[middle : middle + _SAMPLE]}".casefold()
    words = set(sample.split())
    script = "latin" if _ASCII_LETTER.search(sample) else ""
    if not sample.isascii():
        script = _main_script(sample)
        words = {word if word.isascii() else folded(word) for word in words}
    votes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    table = _table()
    for word in words & table.keys():
        languages, weight = table[word]
        for of, name in languages:
            votes[of][name] += weight
    return Speech(script, votes)


class Languages:
    """The languages of a corpus.

    Args:
        found: Script -> its languages, that of most documents first.
        counts: Language -> how many documents were found to be written in it, or mostly; "unknown" for those that don't tell.
    """

    def __init__(self, found: Mapping[str, Sequence[str]], counts: Mapping[str, int]) -> None:
        self.counts = dict(counts)
        self._found = {script: tuple(names) for script, names in found.items()}

    @classmethod
    def of(cls, texts: Iterable[str]) -> tuple[Languages, list[Mapping[str, tuple[str, ...]]]]:
        """Find the languages of texts, and those of each text.

        Returns:
            The languages, and for each text: script -> its languages, where they are fewer than all of the corpus.
        """
        speeches = [speech(text) for text in texts]
        found = {script: _found(speeches, script) for script in _USUAL}
        languages = cls({script: names for script, names in found.items() if names}, {})
        of_each = [languages._of_one(one) for one in speeches]
        main = Counter(languages._main(one, own) for one, own in zip(speeches, of_each, strict=True) if one.script)
        languages.counts = dict(sorted(main.items(), key=lambda pair: (-pair[1], pair[0])))
        return languages, of_each

    def as_json(self) -> dict[str, Any]:
        """Give what `from_json` takes."""
        return {"of_scripts": {script: list(names) for script, names in self._found.items()}, "documents": self.counts}

    @classmethod
    def from_json(cls, saved: Any) -> Languages:
        """Take what `as_json` gave.

        Raises:
            ValueError: If it is something else.
        """
        try:
            found, counts = saved["of_scripts"], saved["documents"]
            fit = all(type(names) is list and names and set(names) <= _known(script) for script, names in found.items())
            fit = fit and all(type(name) is str and type(count) is int and count > 0 for name, count in counts.items())
        except (AttributeError, KeyError, TypeError):
            fit = False
        if not fit:
            raise ValueError(f"languages must be of_scripts and documents, got {saved!r:.200}")
        return cls(found, counts)

    def of_script(self, script: str) -> tuple[str, ...]:
        """Give the languages in which words of a script may be; the usual one where no document tells."""
        return self._found.get(script) or (_USUAL.get(script, script),)

    def by_script(self, own: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Give script -> languages for scripts of several languages, but `own` for a document's, as `of` gave it."""
        return tuple((script, own.get(script) or self.of_script(script)) for script in _USUAL)

    def _of_one(self, one: Speech) -> Mapping[str, tuple[str, ...]]:
        """Give a text's one language in each script in which the corpus has several, where the text tells."""
        several = (script for script, names in self._found.items() if len(names) > 1)
        return {script: (name,) for script in several if (name := one.first(script, self._found[script]))}

    def _main(self, one: Speech, own: Mapping[str, tuple[str, ...]]) -> str:
        """Give the language of most of a text's letters, if the text has any sign of it."""
        if one.script not in _USUAL:
            return one.script
        names = own.get(one.script) or self.of_script(one.script)
        return names[0] if len(names) == 1 and one.votes.get(one.script, {}).get(names[0]) else UNKNOWN


def _found(speeches: Sequence[Speech], script: str) -> tuple[str, ...]:
    """Find a script's languages: those that documents surely have; else the one of most votes in all documents."""
    sure = Counter(name for one in speeches if (name := one.first(script)))
    n_telling = sum(script in one.votes for one in speeches)
    n_sure = sum(sure.values())
    is_few = n_sure < _FEW * n_telling
    least = _RARE * (n_telling if is_few else n_sure)
    names = [name for name, count in sorted(sure.items(), key=lambda pair: (-pair[1], pair[0])) if count >= least]
    together = _of_most_votes(speeches, script) if is_few else None
    return tuple(dict.fromkeys([together, *names] if together else names))


def _of_most_votes(speeches: Sequence[Speech], script: str) -> str | None:
    """Give the language of most votes in all texts of a script."""
    total: Counter[str] = Counter()
    for one in speeches:
        total.update(one.votes.get(script, {}))
    first = min(total, key=lambda name: (-total[name], name), default=None)
    return first if first and total[first] >= _SURE else None


def _known(script: str) -> set[str]:
    """Give the languages that a script's texts may be found to be in."""
    return {*FUNCTION_WORDS[script]}


def told(languages: Mapping[str, int]) -> str | None:
    """Say in which languages documents were found to be; None if there is nothing to say: all English, or no one looked."""
    if not languages.keys() - {"english", UNKNOWN}:
        return None
    return f"documents by language: {', '.join(f'{count:,} {name}' for name, count in languages.items())}"


def _main_script(sample: str) -> str:
    counts: Counter[str] = Counter()
    for character, count in Counter(sample).items():
        if character.isalpha():
            script = script_of(character)
            counts[script] += count * _LETTERS.get(script, 1)
    kana, han = counts.get("japanese", 0), counts.get("chinese", 0)
    if kana and kana >= _KANA * (kana + han):
        counts["japanese"] += counts.pop("chinese", 0)
    del counts[""]
    return max(counts, key=lambda script: (counts[script], script), default="")


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[list[tuple[str, str]], int]]:
    """Function word, folded -> its languages, each with its script, and what it counts for each of them."""
    languages: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for script, spoken in FUNCTION_WORDS.items():
        for name, words in spoken.items():
            for word in dict.fromkeys(map(folded, words.split())):
                languages[word].append((script, name))
    return {word: (names, _VOTE // len(names)) for word, names in languages.items()}
