"""Texts -> the words that BM25 counts: folded and stemmed, without single letters and stop words; names in code also whole."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise, repeat
from threading import Lock
from typing import Literal

import numpy as np
import snowballstemmer

from late_rerank.text.identifiers import identifiers
from late_rerank.text.languages import Languages, script_of
from late_rerank.text.words import folded, is_unspaced, plain_words, unaccented, word_spans

FoldDiacritics = Literal["auto", True, False]
_Accents = Literal["kept", "left out", "both"]
_ByScript = tuple[tuple[str, tuple[str | None, ...]], ...]

# Version of the rules below and in `late_rerank.text`. A saved index of another version is built anew from its texts.
WORDS_VERSION = 4

# In ASCII text it finds the words of `word_spans` that have two characters or more, nine times as fast, cut at underscores.
_ASCII_WORD = re.compile(r"[^\W_][^\W_]+", re.ASCII)
# Korean puts spaces between words, but writes particles and endings onto them.
_HANGUL = re.compile("[\uac00-\ud7a3]+")

_SIGNS = re.compile(r"[-_.+#@:/\\~\x03]")
# Where words are looked for by their parts too, with a sign that no word has.
_OF_PARTS = frozenset(
    ["arabic", "hebrew", "devanagari", "bengali", "punjabi", "gujarati", "odia", "tamil", "telugu", "kannada"]
    + ["malayalam", "sinhala"]
)
_PART = "\x03"
_HYPHEN = "\u2010"  # NFKC makes it of the one that breaks no line, too
_TURKIC = {"turkish", "azerbaijani"}  # there a small "I" isn't ASCII

# The function words that Lucene's English analyzer drops.
_ENGLISH_STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
    ]
    + ["e.g", "i.e", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with"]
)


class WordSplitter:
    """What makes words of documents and of queries, so that they meet.

    Args:
        language: "auto", a Snowball stemmer's name, or None.
        fold_diacritics: As BM25Retriever takes it.
        languages: With "auto": those that a splitter found in the same documents.

    Attributes:
        languages: With "auto": those of the documents that `of_documents` was given last.
        fold_diacritics: As given; numpy's truth values as Python's.

    Raises:
        ValueError: If Snowball has no such language, or `fold_diacritics` is something else.
    """

    def __init__(
        self, language: str | None, fold_diacritics: FoldDiacritics = "auto", languages: Languages | None = None
    ) -> None:
        if language not in (None, "auto") and language not in snowballstemmer.algorithms():
            names = ["auto", *snowballstemmer.algorithms()]
            raise ValueError(f"language={language!r} has no stemmer; choose None or one of {names}")
        given: object = fold_diacritics
        if not isinstance(given, bool | np.bool_) and not (isinstance(given, str) and given == "auto"):
            raise ValueError(f'fold_diacritics must be True, False or "auto"; got {fold_diacritics!r}')
        self.languages = languages or Languages({}, {})
        self.fold_diacritics: FoldDiacritics = "auto" if fold_diacritics == "auto" else bool(fold_diacritics)
        self._language = language
        self._stem = lru_cache(maxsize=None)(_stem)  # as many as there are languages; what `_forms` makes is as many, and mixed
        self._forms = lru_cache(maxsize=None)(self._new_forms)

    def of_documents(self, texts: Iterable[str]) -> list[list[str]]:
        """Give the words of each document. With "auto" find the documents' languages first."""
        texts = list(texts)
        of_each: Iterable[Mapping[str, tuple[str, ...]]] = repeat({}, len(texts))
        if self._language == "auto":
            self.languages, of_each = Languages.of(texts)
        accents: _Accents = "both" if self.fold_diacritics == "auto" else "left out" if self.fold_diacritics else "kept"
        return [self._of_document(text, own, accents) for text, own in zip(texts, of_each, strict=True)]

    def of_query(self, text: str, knows: Callable[[str], bool] | None = None) -> list[tuple[str, ...]]:
        """Give the words of a query.

        Args:
            text: The query.
            knows: Tells whether any document has a word. With `fold_diacritics="auto"` an accented word that no document has
                is looked for without accents.

        Returns:
            For each word its forms: one, or several where the documents' languages leave off different endings. English stop
            words are left out where a document may be English; but if no other word is left, they are words of the other
            languages: French "or" is gold.
        """
        by_script = self._by_script({})
        words = _whole_words(text, dict(by_script)["latin"], singles=False)
        return self._of_query(words, by_script, knows, stops=True) or self._of_query(words, by_script, knows, stops=False)

    def _of_query(
        self, words: Iterable[str], by_script: _ByScript, knows: Callable[[str], bool] | None, *, stops: bool
    ) -> list[tuple[str, ...]]:
        plain = self._forms(by_script, "left out", stops)
        as_typed = plain if self.fold_diacritics is True else self._forms(by_script, "kept", stops)
        found = []
        for word in words:
            forms = as_typed(word)
            if knows and self.fold_diacritics == "auto" and not word.isascii() and not any(map(knows, forms)):
                forms = plain(word)
            if forms:
                found.append(forms)
                found.extend((part,) for part in (_parts(word) if self._language == "auto" else ()))
        return found

    def _of_document(self, text: str, own: Mapping[str, tuple[str, ...]], accents: _Accents) -> list[str]:
        by_script = self._by_script(own)
        words = _whole_words(text, dict(by_script)["latin"], singles=True)
        found = list(chain.from_iterable(map(self._forms(by_script, accents, True), words)))  # noqa: FBT003 - cached by place
        if self._language == "auto" and not text.isascii():
            found += chain.from_iterable(map(_parts, words))
        return found

    def _by_script(self, own: Mapping[str, tuple[str, ...]]) -> _ByScript:
        """Give each script's languages, "" for all others; `own` are a document's."""
        if self._language != "auto":
            return (("latin", (self._language,)), ("", (self._language,)))
        return self.languages.by_script(own)

    def _new_forms(self, by_script: _ByScript, accents: _Accents, stops: bool) -> Callable[[str], tuple[str, ...]]:  # noqa: FBT001
        """Make a function from a word, as it stands, to its different forms.

        Args:
            by_script: Script -> languages.
            accents: Which forms of an accented word it has.
            stops: Whether an English stop word has no form at all, where English is one of several languages.
        """
        known = {script: [(language, self._stem(language)) for language in languages] for script, languages in by_script}

        # A corpus has a hundred times more words than different words.
        @lru_cache(maxsize=2**17)
        def forms(word: str) -> tuple[str, ...]:
            found: dict[str, None] = {}
            script = script_of(word)
            spoken = known.get(script) or known.get("") or [(script, self._stem(script))]
            drops = stops and any(language == "english" for language, _ in spoken)
            for language, stem in spoken:
                kept = folded(word, language)
                plain = kept if accents == "kept" or word.isascii() else unaccented(kept)
                for form in (kept,) if plain == kept else (kept, plain) if accents == "both" else (plain,):
                    if _counts(form) and not ((drops or language == "english") and form in _ENGLISH_STOP_WORDS):
                        found[stem(form)] = None
            return tuple(found)

        return forms


@lru_cache(maxsize=2**16)
def _parts(word: str) -> tuple[str, ...]:
    """Give a word's parts of three letters, for scripts whose languages write particles onto words; others have none.

    Hebrew and Arabic write "the", "and" and "in" onto the next word, which no stemmer undoes.
    """
    if word.isascii() or script_of(word) not in _OF_PARTS:
        return ()
    padded = f" {folded(word)} "
    return tuple(_PART + "".join(part) for part in zip(padded, padded[1:], padded[2:], strict=False)) if len(padded) > 3 else ()


def _stem(language: str | None) -> Callable[[str], str]:
    """Make the stemmer of a language; where Snowball has none, words stay as they are."""
    if language is None or language not in snowballstemmer.algorithms():
        return lambda word: word.replace("\u200c", "")
    stemmer = snowballstemmer.stemmer(language)
    lock = Lock()

    @lru_cache(maxsize=2**17)  # the stemmer is pure Python
    def stem(word: str) -> str:
        if not word.isalnum() and _SIGNS.search(word):  # a name in code
            return word
        with lock:  # the stemmer keeps its state in itself
            return str(stemmer.stemWord(word)).replace("\u200c", "")  # only the Persian stemmer needs the non-joiner

    return stem


def _whole_words(text: str, latin: tuple[str | None, ...], *, singles: bool) -> list[str]:
    """Give a text's words as they stand, then its identifiers.

    Args:
        text: The text.
        latin: The languages of its Latin letters.
        singles: Whether each character of a script without spaces comes as a word too, beside the pairs.
    """
    if text.isascii() and _TURKIC.isdisjoint(latin):
        text = text.lower()
        return [*_ASCII_WORD.findall(text), *identifiers(text)]
    # The whole text is normalised: one sign (kg, a telephone, a company) may stand for letters, and for several words.
    text = unicodedata.normalize("NFKC", text)
    words = plain_words(text)
    return [*(_spaced_words(text, singles) if words is None else words), *identifiers(text.lower().replace(_HYPHEN, "-"))]


def _spaced_words(text: str, singles: bool) -> Iterator[str]:  # noqa: FBT001
    """Give words; for scripts without spaces, pairs of neighbouring characters, as Lucene's CJK analyzer does."""
    spans = word_spans(text)
    has_rows = _HANGUL.search(text) is not None or any(is_unspaced(text[start:end]) for start, end in spans)
    row: list[str] = []
    for (start, end), following in pairwise([*spans, (-1, -1)]):
        word = text[start:end]
        if not is_unspaced(word):
            for part in filter(None, word.split("_")):
                yield from _korean(part, singles)
                if part.isascii() and has_rows:  # one word counts too little beside the pairs of a row
                    yield from (_PART + first + second for first, second in pairwise(part.lower()))
            continue
        row.append(word)
        if following[0] != end or not is_unspaced(text[slice(*following)]):
            yield from _pairs(row, singles)
            row = []


def _korean(word: str, singles: bool) -> Iterator[str]:  # noqa: FBT001
    """Give a word's pairs of syllables, and what stands before and after them: Korean writes particles onto words."""
    last = 0
    for row in _HANGUL.finditer(word):
        yield from filter(None, (word[last : row.start()],))
        yield from _pairs(row.group(), singles)
        last = row.end()
    yield from filter(None, (word[last:],))


def _pairs(row: Sequence[str], singles: bool) -> Iterator[str]:  # noqa: FBT001
    yield from map("".join, pairwise(row))
    if singles or len(row) == 1:
        yield from row


def _counts(word: str) -> bool:
    """Tell whether a word counts: one letter or digit doesn't; one syllable or ideograph does."""
    return len(word) > 1 or (not word.isascii() and is_unspaced(word)) or "\uac00" <= word <= "\ud7a3"
