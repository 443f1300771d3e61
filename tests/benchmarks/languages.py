"""Does the first stage find the right document in each language? Prints JSON; takes an hour on two cores.

    python tests/benchmarks/languages.py FOLDER [NAME ...] [--reranked 100]

The folder keeps the collections, which `languages_texts.py` makes from Debian's packages. A language that this machine
can't get is told on stderr and left out. A query is a text's title, and its one relevant document is the text below it. "r1"
and "r10" count the queries whose document is first, or among the first ten, in per cent; "rr10" is the mean reciprocal rank
in the first ten, times 100. The ways:

- "english": `BM25Retriever(language="english")`, the default of earlier versions; "none" and "snowball" are `language=None` and
  the language's own stemmer.
- "auto": `language="auto"`. "auto_bm25s" and "english_bm25s" are the other engine.
- "bigrams": the baseline, rank-bm25 over all pairs of neighbouring characters.
- "minilm", "minilm-late": "auto" reranked, over the first 20 candidates of 100 queries. These models know English only.

"above" has, in points of r1, what "auto" is above another way, with the range of 95 % of 2,000 bootstrap samples of
the queries.
"mixed" puts the texts of four languages into one index. Each language's queries then search all of them.
"""

import argparse
import json
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
from languages_archive import Archive
from languages_texts import LANGUAGES, made
from ranges import N_SAMPLES, with_range
from rank_bm25 import BM25Okapi

from late_rerank import Candidate, Reranker
from late_rerank.corpus import read_corpus, read_qrels, read_queries
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.retrieve import BM25Retriever

MIXED = ("german", "english", "french", "japanese")
DEPTH, RERANKED_DEPTH = 10, 20
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LANGUAGES)}")
    parser.add_argument("--reranked", type=int, default=100, help="how many queries of each language to rerank")
    options = parser.parse_args()
    archive = Archive(options.folder / "archive", sorted({language.code for language in LANGUAGES.values()}))
    folders = {name: made(archive, name, options.folder) for name in options.names or LANGUAGES}
    collections = {name: Collection(folder) for name, folder in folders.items() if folder}
    missing = [name for name, folder in folders.items() if not folder]
    if missing:
        print(f"left out, since too few texts were found: {', '.join(missing)}", file=sys.stderr)
    models = {name: Reranker(name) for name in ("minilm", "minilm-late")} if options.reranked else {}
    report = {
        "machine": platform_name(),
        "commit": commit(),
        "command": " ".join(["python tests/benchmarks/languages.py FOLDER", *options.names, f"--reranked {options.reranked}"]),
        "engine": "rank-bm25",
        "n_reranked": options.reranked,
        "languages": {name: measured(name, found, models, options.reranked) for name, found in collections.items()},
    }
    if set(MIXED) <= set(collections):
        report["mixed"] = mixed({name: collections[name] for name in MIXED})
    print(json.dumps(report, indent=1))


class Collection:
    """Documents, and queries with the one document that each asks for."""

    def __init__(self, folder):
        self.documents = read_corpus(folder).documents
        relevant = {query: next(iter(grades)) for query, grades in read_qrels(folder, "test").items()}
        self.queries = [(text, relevant[name]) for name, text in read_queries(folder).items()]


class Bigrams:
    """The baseline: BM25 over all pairs of neighbouring characters."""

    def __init__(self, documents):
        self.documents = documents
        self._index = BM25Okapi([self._pairs(document.text) for document in documents], k1=0.9, b=0.4)

    def retrieve(self, query, k):
        scores = self._index.get_scores(self._pairs(query))
        return [self.documents[i] for i in np.argsort(-scores, kind="stable")[:k]]

    def _pairs(self, text):
        text = unicodedata.normalize("NFKC", text).casefold()
        return [a + b for a, b in pairwise(text) if not a.isspace() and not b.isspace()]


class Reranked:
    """Another first stage's best candidates, reranked."""

    def __init__(self, retriever, reranker):
        self._retriever, self._reranker = retriever, reranker

    def retrieve(self, query, k):
        return self._reranker.rerank(query, self._retriever.retrieve(query, RERANKED_DEPTH))[:k]


def measured(name, collection, models, n_reranked):
    """Figures of every way in one language."""
    documents, stemmer = collection.documents, LANGUAGES[name].stemmer
    ways = {
        "english": BM25Retriever(documents, language="english"),
        "english_bm25s": BM25Retriever(documents, language="english", engine="bm25s"),
        "none": BM25Retriever(documents, language=None),
        **({"snowball": BM25Retriever(documents, language=stemmer)} if stemmer else {}),
        "auto": BM25Retriever(documents, language="auto"),
        "auto_bm25s": BM25Retriever(documents, language="auto", engine="bm25s"),
        "bigrams": Bigrams(documents),
    }
    ranks = {way: ranks_of(retriever, collection.queries) for way, retriever in ways.items()}
    few = collection.queries[:n_reranked]
    reranked = {model: ranks_of(Reranked(ways["auto"], reranker), few) for model, reranker in models.items()}
    found = {way: figures(of_way) for way, of_way in (ranks | reranked).items()}
    print(name, {way: of_way["r1"] for way, of_way in found.items()}, file=sys.stderr)
    return {
        "n_documents": len(documents),
        "n_queries": len(collection.queries),
        "texts": list(LANGUAGES[name].kinds),
        "stemmer": stemmer,
        "ways": found,
        "above": {way: above(ranks["auto"], ranks[way]) for way in ways if "auto" not in way and "bm25s" not in way},
    }


def mixed(collections):
    """Figures of each language's queries over the texts of all languages."""
    documents = [
        Candidate(document.text, id=f"{name} {document.id}")
        for name, found in collections.items()
        for document in found.documents
    ]
    languages = ["auto", None, *(name for name in collections if LANGUAGES[name].stemmer)]
    report = {"n_documents": len(documents), "languages": {}}
    ways = {language or "none": BM25Retriever(documents, language=language) for language in languages}
    for name, found in collections.items():
        queries = [(text, f"{name} {relevant}") for text, relevant in found.queries]
        report["languages"][name] = {way: figures(ranks_of(retriever, queries)) for way, retriever in ways.items()}
    return report


def ranks_of(retriever, queries):
    """For each query, the rank of its document from 1; infinite where it isn't among the first ten."""
    ranks = []
    for text, relevant in queries:
        ids = [candidate.id for candidate in retriever.retrieve(text, DEPTH)]
        ranks.append(ids.index(relevant) + 1 if relevant in ids else np.inf)
    return np.array(ranks)


def figures(ranks):
    means = {"r1": np.mean(ranks == 1), "r10": np.mean(ranks <= DEPTH), "rr10": np.mean(1 / ranks)}
    return {measure: round(100 * float(value), 1) for measure, value in means.items()}


def above(ranks, others):
    difference = (ranks == 1).astype(float) - (others == 1)
    return with_range(difference, np.random.default_rng(SEED).integers(0, len(ranks), (N_SAMPLES, len(ranks))))


if __name__ == "__main__":
    main()
