"""BM25 over documents in memory: rank-bm25 by default, bm25s for large corpora."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from late_rerank.arguments.given import as_candidates
from late_rerank.errors import MissingDependencyError, SavedRetrieverError
from late_rerank.retrieve.base import best, check_query, load_documents, save_documents, saving
from late_rerank.retrieve.words import WORDS_VERSION, FoldDiacritics, WordSplitter
from late_rerank.text.languages import Languages
from late_rerank.types import Candidate

EngineName = Literal["rank-bm25", "bm25s"]


class BM25Retriever:
    """BM25 over documents in memory: a first stage that needs no model.

    Args:
        documents: Texts or Candidates, mixed.
        engine: "rank-bm25" or "bm25s". "bm25s" needs the extra of that name, and ranks by another variant of the same function.
            On 5,000 documents it answers a query about seventy times as fast.
        k1: How much a repeated word adds, at least 0. The smaller it is, the less a repeated word adds.
        b: How much long documents are held back, from 0 to 1.
        language: Whose endings are left off. "auto" finds the documents' languages, by script and function words, and looks for
            a query's words in each of them. Otherwise the name of a Snowball stemmer, or None to leave endings. English stop
            words don't count.
        fold_diacritics: What accents of Latin letters mean. "auto": a query without accents finds words with and without; a
            query with accents finds those with the same, or else those without. True: they never matter. False: they always do.

    Attributes:
        documents: As Candidates, in order.
        languages: Language -> how many documents "auto" found to be written in it, or mostly; most first. "unknown" counts
            those that don't tell; texts without letters are in none. Empty with another `language`.

    Raises:
        TypeError: If a document is neither a str nor a Candidate. The message names the document.
        ValueError: If the engine, the language or `fold_diacritics` is unknown, or `k1` or `b` is out of its range.
        MissingDependencyError: If `engine` is "bm25s" and bm25s isn't installed.
    """

    def __init__(
        self,
        documents: Iterable[str | Candidate],
        *,
        engine: EngineName = "rank-bm25",
        k1: float = 0.9,
        b: float = 0.4,
        language: str | None = "auto",
        fold_diacritics: FoldDiacritics = "auto",
    ) -> None:
        if not k1 >= 0 or not 0 <= b <= 1:
            raise ValueError(f"k1 must be at least 0 and b from 0 to 1, got k1={k1}, b={b}")
        self._splitter = WordSplitter(language, fold_diacritics)
        fold_diacritics = self._splitter.fold_diacritics
        self._settings = {"engine": engine, "k1": k1, "b": b, "language": language, "fold_diacritics": fold_diacritics}
        self._kind = _engine(engine)
        self.documents = list(as_candidates(documents, "documents"))
        words = self._splitter.of_documents(document.text for document in self.documents)
        # Both engines refuse a corpus without a single word.
        self._index = self._kind.build(words, k1, b) if any(words) else None

    @property
    def languages(self) -> dict[str, int]:
        """Language -> how many documents were found to be written in it, most first; empty unless `language="auto"`."""
        return dict(self._splitter.languages.counts)

    def __repr__(self) -> str:
        found = "".join(f", {count} {name}" for name, count in self.languages.items())
        engine, language = self._settings["engine"], self._settings["language"]
        return f"<BM25Retriever of {len(self.documents)} documents{found}; {engine=}, {language=}>".replace("'", '"')

    def retrieve(self, query: str, k: int = 100) -> list[Candidate]:
        """Give the `k` documents of highest BM25 score, best first. Equal scores keep the documents' order.

        A document that shares no word with the query scores 0. For a word that half of the documents or more contain,
        rank-bm25's idf is 0 or below. So over a handful of documents the order says little, and the reranker decides.

        Raises:
            TypeError: If the query isn't a str, or `k` isn't an int.
            ValueError: If `k` is below 1.
        """
        check_query(query, k)
        words = [] if self._index is None else self._splitter.of_query(query, self._index.__contains__)
        scores = np.zeros(len(self.documents)) if self._index is None or not words else _scores(self._index, words)
        return best(self.documents, scores, k)

    def save(self, path: str | Path) -> None:
        """Write documents and index into a folder.

        The folder must be new or empty, or hold a saved retriever, which is replaced.

        Raises:
            FileExistsError: If the folder holds something else.
            TypeError: If a document's metadata can't be JSON.
        """
        with saving(Path(path)) as folder:
            found = {"words": WORDS_VERSION, "languages": self._splitter.languages.as_json(), "is_empty": self._index is None}
            save_documents(folder, self.documents, "bm25", {**self._settings, **found})
            if self._index is not None:
                self._index.save(folder)

    @classmethod
    def load(cls, path: str | Path) -> BM25Retriever:
        """Load a saved retriever. If another version of this package split the texts into words, they are split again.

        Raises:
            FileNotFoundError: If the folder holds no saved retriever.
            SavedRetrieverError: If the saved retriever has another kind or version, or is damaged.
            MissingDependencyError: If it was saved with bm25s, and bm25s isn't installed.
        """
        documents, settings = load_documents(Path(path), "bm25")
        version, found, is_empty = (settings.pop(name, None) for name in ("words", "languages", "is_empty"))
        settings.setdefault("fold_diacritics", False)  # before version 3 of the words, accents always mattered
        try:
            retriever = cls([], **settings)
            languages = Languages.from_json(found) if version == WORDS_VERSION else None
            if languages is not None and not isinstance(is_empty, bool):
                raise ValueError(f"is_empty must be true or false, got {is_empty!r}")  # noqa: TRY301 - the same error as others'
        except (TypeError, ValueError) as error:
            raise SavedRetrieverError(f"{path}/retriever.json has unknown settings: {settings}, {found}: {error}") from error
        if languages is None:
            return cls(documents, **settings)
        retriever.documents, retriever._splitter.languages = documents, languages
        if not is_empty:
            retriever._index = retriever._kind.load(Path(path), len(documents), settings["k1"], settings["b"])
        return retriever


class _Index(Protocol):
    """An engine with the words of all documents."""

    @classmethod
    def build(cls, documents: Sequence[list[str]], k1: float, b: float) -> _Index: ...

    @classmethod
    def load(cls, folder: Path, n_documents: int, k1: float, b: float) -> _Index: ...

    def save(self, folder: Path) -> None: ...

    def __contains__(self, word: str) -> bool: ...

    def scores(self, words: list[str]) -> NDArray[np.floating]: ...


def _scores(index: _Index, words: Sequence[tuple[str, ...]]) -> NDArray[np.floating]:
    """Score all documents. A word with several forms counts once for a document, by the form that scores best."""
    several = [forms for forms in words if len(forms) > 1]
    single = [word for word, *others in words if not others]
    parts = [index.scores(single)] if single else []
    parts += [np.maximum.reduce([index.scores([form]) for form in forms]) for forms in several]
    return np.asarray(sum(parts[1:], parts[0]))


class _RankBM25:
    def __init__(self, documents: Sequence[list[str]], k1: float, b: float) -> None:
        from rank_bm25 import BM25Okapi  # noqa: PLC0415 - loaded only if it is the chosen engine

        self._documents = documents
        self._index = BM25Okapi(documents, k1=k1, b=b)

    @classmethod
    def build(cls, documents: Sequence[list[str]], k1: float, b: float) -> _RankBM25:
        return cls(documents, k1, b)

    @classmethod
    def load(cls, folder: Path, n_documents: int, k1: float, b: float) -> _RankBM25:
        try:
            with (folder / "words.jsonl").open(encoding="utf-8") as file:
                documents = [json.loads(line) for line in file]
        except (OSError, ValueError) as error:
            raise SavedRetrieverError(f"{folder}/words.jsonl is damaged: {error}") from error
        fit = len(documents) == n_documents and all(isinstance(words, list) for words in documents) and any(documents)
        if not fit or not all(isinstance(word, str) for words in documents for word in words):
            raise SavedRetrieverError(f"{folder}/words.jsonl is damaged: expected the words of {n_documents} documents")
        return cls(documents, k1, b)

    def save(self, folder: Path) -> None:
        # Words, not a pickle of the index: loading a pickle runs code, and 5,000 documents are indexed in a tenth of a second.
        with (folder / "words.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(words)}\n" for words in self._documents)

    def __contains__(self, word: str) -> bool:
        return word in self._index.idf

    def scores(self, words: list[str]) -> NDArray[np.floating]:
        return np.asarray(self._index.get_scores(words))


class _Bm25s:
    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, documents: Sequence[list[str]], k1: float, b: float) -> _Bm25s:
        index = _bm25s().BM25(method="lucene", k1=k1, b=b)
        index.index(documents, show_progress=False)
        return cls(index)

    @classmethod
    def load(cls, folder: Path, n_documents: int, k1: float, b: float) -> _Bm25s:  # noqa: ARG003 - bm25s keeps k1 and b
        try:
            index = _bm25s().BM25.load(folder / "bm25s", show_progress=False)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise SavedRetrieverError(f"{folder}/bm25s is damaged: {error}") from error
        if index.scores["num_docs"] != n_documents:
            raise SavedRetrieverError(f"{folder}/bm25s holds {index.scores['num_docs']} documents, expected {n_documents}")
        return cls(index)

    def save(self, folder: Path) -> None:
        self._index.save(folder / "bm25s", show_progress=False)

    def __contains__(self, word: str) -> bool:
        return word in self._index.vocab_dict

    def scores(self, words: list[str]) -> NDArray[np.floating]:
        return np.asarray(self._index.get_scores(words))


def _bm25s() -> Any:
    try:
        import bm25s  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingDependencyError('engine="bm25s"', "bm25s", "bm25s") from error
    return bm25s


def _engine(name: str) -> type[_Index]:
    if name == "rank-bm25":
        return _RankBM25
    if name == "bm25s":
        _bm25s()
        return _Bm25s
    raise ValueError(f'engine={name!r} is not known; choose "rank-bm25" or "bm25s"')
