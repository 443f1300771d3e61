"""A file of queries, and corpora -> texts like queries, by kind."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from late_rerank.arguments.numbers import whole_number
from late_rerank.corpus import read_corpus, read_json_lines, read_qrels, read_queries, splits_of
from late_rerank.corpus.columns import text_lines
from late_rerank.corpus.lines import placed_lines
from late_rerank.text.words import is_blank
from late_rerank.train.distil.odd import CODES, JOINED, RANDOM, SHUFFLED, odd_texts, words_in
from late_rerank.train.distil.spans import common_words, sentences_of, spans_of
from late_rerank.train.examples import words_of
from late_rerank.warn import warn_caller

QUERIES, TITLES, SENTENCES, SPANS = "queries", "titles", "sentences", "spans"
SHARES: Mapping[str, float] = {
    QUERIES: 0.28,
    TITLES: 0.06,
    SENTENCES: 0.23,
    SPANS: 0.28,
    SHUFFLED: 0.03,
    JOINED: 0.04,
    RANDOM: 0.04,
    CODES: 0.04,
}
"""How often a text of each kind is drawn, where a corpus has all kinds."""

MOST_TEXTS = 200_000
FEWEST_TEXTS = 64
_FEW_TEXTS = 5_000
_WITHOUT_MARK = 0.4  # of queries: users of a search box often leave the question mark out
_MOST_REPEATED = 10  # a kind is drawn at most so many times as often as by chance
_HELD_OUT = 10  # of a kind every tenth text, at most
_ODD = 20  # of each odd kind as many texts as a twentieth of all
_ENDS = " ?.!"
_SPLIT = "train"


@dataclass(frozen=True)
class QueryTexts:
    """Texts like queries, which a student learns to encode as its teacher does.

    Attributes:
        kinds: Kind -> texts. No text is there twice.
        shares: Kind -> how often its texts are drawn, as parts of a whole; others are drawn by chance.
        name: What the texts are, for the card.
    """

    kinds: Mapping[str, Sequence[str]]
    shares: Mapping[str, float]
    name: str = "your texts"

    @classmethod
    def of(cls, texts: Sequence[str], name: str = "your texts") -> QueryTexts:
        """Make one kind of texts: queries."""
        return cls({QUERIES: list(dict.fromkeys(text for text in texts if not is_blank(text)))}, SHARES, name)

    @property
    def n_texts(self) -> int:
        """How many texts there are."""
        return sum(len(texts) for texts in self.kinds.values())

    def parts(self) -> dict[str, float]:
        """Give the share of each kind that has texts, 1 in all. A kind of few texts isn't drawn over and over."""
        there = {kind: len(texts) / self.n_texts for kind, texts in self.kinds.items() if texts}
        wanted = {kind: min(self.shares.get(kind, part), _MOST_REPEATED * part) for kind, part in there.items()}
        return {kind: share / sum(wanted.values()) for kind, share in wanted.items()}

    def without(self, queries: Iterable[str]) -> QueryTexts:
        """Leave out the texts that have the same words as one of some queries, which are measured on."""
        measured = {words_of(query) for query in queries}
        kept = {kind: [text for text in texts if words_of(text) not in measured] for kind, texts in self.kinds.items()}
        return QueryTexts(kept, self.shares, self.name)

    def split(self, n: int, seed: int) -> tuple[QueryTexts, QueryTexts]:
        """Hold some texts of each kind out, by its share, at most a tenth of the kind and at least one in all.

        Args:
            n: At most so many in all.
            seed: Of chance.

        Returns:
            The texts to train on, and the others.
        """
        chance = random.Random(seed)
        kept, held_out = {}, {}
        for kind, part in self.parts().items():
            drawn = chance.sample(list(self.kinds[kind]), len(self.kinds[kind]))
            held = min(len(drawn) // _HELD_OUT, max(1, round(part * n)))
            held_out[kind], kept[kind] = drawn[:held], drawn[held:]
        if kept and not any(held_out.values()):  # many small kinds: something must be measured on
            largest = max(kept, key=lambda kind: len(kept[kind]))
            held_out[largest] = [kept[largest].pop()]
        return QueryTexts(kept, self.shares, self.name), QueryTexts(held_out, self.shares, self.name)


def query_texts(
    queries: str | Path | None,
    corpora: Sequence[str | Path] = (),
    *,
    most: int = MOST_TEXTS,
    seed: int = 0,
    encoding: str | None = None,
) -> QueryTexts:
    """Read texts like queries, and make odd ones of them: other orders, several in one, random words, codes.

    Texts with the words of a corpus' test or development queries are left out.

    Args:
        queries: A query a line, or JSON Lines of {"text"}; None for none.
        corpora: Folders or files, as `read_corpus` takes them. A BEIR folder gives titles too, and its judged train queries.
        most: Keep at most so many texts, drawn by chance.
        seed: Of chance.
        encoding: Of files that aren't UTF-8, as CorpusStream takes it.

    Raises:
        TypeError: If the corpora are one path instead of a list, or a number is none.
        ValueError: If neither queries nor a corpus is given, a line is damaged, or too few texts are found.
        OSError: If a file can't be read.
    """
    if isinstance(corpora, (str, Path)):
        raise TypeError(f"corpora must be a list of paths, got {corpora!r}")
    if queries is None and not corpora:
        raise ValueError("give texts to learn from: queries, a file; corpora, a list of folders or files; or both")
    whole_number("most", most)
    whole_number("seed", seed, 0)
    log, folders = [] if queries is None else [Path(queries)], [Path(corpus) for corpus in corpora]
    kinds: dict[str, list[str]] = {QUERIES: [query for path in log for query in queries_in(path, encoding)]}
    measured: list[str] = []
    for corpus in folders:
        for kind, texts in _of_corpus(corpus, most, seed, encoding).items():
            kinds.setdefault(kind, []).extend(texts)
        measured += judged_queries(corpus, encoding, train=False)
    kinds[QUERIES] = varied(kinds[QUERIES], seed)
    named = [path.resolve().name for path in (*log, *folders)]
    found = _enough(QueryTexts(each_once(kinds), SHARES, ", ".join(named)).without(measured))
    texts = [text for kind in found.kinds.values() for text in kind]
    odd = odd_texts(texts, words_in(texts), min(len(texts), most) // _ODD, seed)
    return _drawn(QueryTexts(each_once({**found.kinds, **odd}), SHARES, found.name).without(measured), most, seed)


def queries_in(path: Path, encoding: str | None = None) -> list[str]:
    """Read a file of queries: one a line, or JSON Lines of {"text"}.

    Raises:
        ValueError: If a line is damaged, or the file holds no query.
        OSError: If the file can't be read.
    """
    lines = [line.strip() for line in text_lines(path, encoding)]
    is_json = path.suffix in (".jsonl", ".ndjson") or next(filter(None, lines), "").startswith("{")
    found = [document.text for document in read_json_lines(path, encoding)] if is_json else lines
    texts = [" ".join(text.split()) for text in found if not is_blank(text)]
    if not texts:
        raise ValueError(f'{path} holds no query: expected a query on each line, or JSON Lines of {{"text"}}')
    return texts


def varied(queries: Sequence[str], seed: int) -> list[str]:
    """Leave the mark at the end of some queries out."""
    chance = random.Random(seed)
    return [query.rstrip(_ENDS) or query if chance.random() < _WITHOUT_MARK else query for query in queries]


def checked(texts: QueryTexts) -> QueryTexts:
    """Check that there are enough texts, and warn if there are few.

    Raises:
        ValueError: If there are too few.
    """
    if _enough(texts).n_texts < _FEW_TEXTS:
        warn_caller(f"{texts.n_texts:,} texts are few: a query encoder is better with tens of thousands, of your corpus too")
    return texts


def _enough(texts: QueryTexts) -> QueryTexts:
    if texts.n_texts < FEWEST_TEXTS:
        raise ValueError(
            f"got {texts.n_texts} different texts; at least {FEWEST_TEXTS} are needed, and tens of thousands for a good query "
            "encoder. A corpus gives its titles and sentences"
        )
    return texts


def _of_corpus(path: Path, most: int, seed: int, encoding: str | None) -> dict[str, list[str]]:
    titles, texts = documents_of(path, encoding)
    if not texts:
        raise ValueError(f"{path} holds no documents to learn from")
    random.Random(seed).shuffle(texts)
    sentences = sentences_of(texts, most)
    whole = sentences[: len(sentences) * 2 // 3]
    spans = spans_of(sentences, common_words(sentences), seed)
    return {QUERIES: judged_queries(path, encoding, train=True), TITLES: titles, SENTENCES: whole, SPANS: spans}


def documents_of(path: Path, encoding: str | None) -> tuple[list[str], list[str]]:
    """Read the titles and the texts of a corpus; only BEIR's format tells titles."""
    beir = path / "corpus.jsonl"
    texts = [document.text for document in read_corpus(path, encoding=encoding).documents]
    if not beir.is_file():
        return [], texts
    rows = [json.loads(line) for _, line in placed_lines(beir, encoding)]
    titles = list(dict.fromkeys(row["title"] for row in rows if row.get("title")))
    return titles, [row["text"] for row in rows if row["text"]]


def judged_queries(path: Path, encoding: str | None, *, train: bool) -> list[str]:
    """Read a BEIR folder's judged queries: of its train split, or of all other splits. Of no other folder."""
    splits = [split for split in splits_of(path) if (split == _SPLIT) == train]
    if not splits or not (path / "queries.jsonl").is_file():
        return []
    texts = read_queries(path, encoding)
    names = dict.fromkeys(name for split in splits for name in read_qrels(path, split, encoding))
    return [texts[name] for name in names if name in texts]


def each_once(kinds: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Keep each text once, in the first kind that has it."""
    seen: set[str] = set()
    found: dict[str, list[str]] = {}
    for kind, texts in kinds.items():
        found[kind] = [text for text in dict.fromkeys(texts) if text not in seen]
        seen.update(found[kind])
    return found


def _drawn(texts: QueryTexts, most: int, seed: int) -> QueryTexts:
    """Draw at most so many texts, of each kind by its share; a kind that has fewer leaves its room to the others."""
    if texts.n_texts <= most:
        return texts
    parts, kept, room = texts.parts(), {}, most
    chance, left = random.Random(seed), 1.0
    for kind in sorted(parts, key=lambda kind: len(texts.kinds[kind]) / parts[kind]):
        n = min(len(texts.kinds[kind]), round(room * parts[kind] / left))
        kept[kind] = chance.sample(list(texts.kinds[kind]), n)
        room, left = room - n, max(left - parts[kind], 1e-9)
    return QueryTexts({kind: kept[kind] for kind in texts.kinds if kind in kept}, texts.shares, texts.name)
