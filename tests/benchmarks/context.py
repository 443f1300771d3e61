"""What a context of five documents holds: both parts of a question, or the answer to a single one. Prints JSON; takes minutes.

    python tests/benchmarks/context.py FOLDER_WITH_THE_COLLECTIONS [--store DIR] [--split test] [--n 400]

The folder holds scifact, nfcorpus and cranfield. A question of two parts is two queries with disjoint relevant documents,
joined by "and" and encoded as one. Its candidates are BM25's for both parts, 50 each ("both"), or BM25's 100 for the joined
question, as a user would ask it ("joined"). "found" counts the questions for which the context holds a relevant document of
every part, in per cent, of all questions and of those whose candidates hold one of every part ("answerable"): no choice can
find the others. Ranges are 95 % of 2,000 bootstrap samples over questions; differences are paired.

"duplicates" has each of ten documents four times: as it is, copied, with its lines wrapped and other quotation marks, dashes
and stops, and without its first sentence, or its last. "milliseconds" are medians, in turns, of packing 200 ranked documents
and of encoding their query.
"""

import argparse
import json
import random
import statistics
import textwrap
import time
from itertools import zip_longest
from pathlib import Path

import numpy as np
from ranges import with_range

from late_rerank import Candidate, Reranker
from late_rerank.context import pack_context
from late_rerank.context.counting import estimate_tokens
from late_rerank.context.sentences import sentences
from late_rerank.corpus import read_corpus, read_qrels, read_queries
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.retrieve import BM25Retriever

JOINED = ("scifact", "nfcorpus")
COLLECTIONS = (*JOINED, "cranfield")
STRATEGIES = ("relevance", "coverage")
N_DOCUMENTS = 5
ROOMY = 10**9
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store")
    parser.add_argument("--split", default="test")
    parser.add_argument("--n", type=int, default=400)
    options = parser.parse_args()
    report = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/context.py FOLDER",
        "model": "minilm",
        "split": options.split,
        "n_documents": N_DOCUMENTS,
        "results": {},
    }
    with Reranker(store=options.store, backend="torch") as reranker:
        for name in COLLECTIONS:
            collection = Collection(options.folder / name, "test" if name == "cranfield" else options.split, options.n)
            if name == "scifact":
                report["milliseconds"] = milliseconds(reranker, collection)
                report["duplicates"] = duplicates(reranker, collection)
            report["results"][name] = measured(reranker, collection)
    print(json.dumps(report, indent=1))


class Collection:
    """Questions of a collection: (text, candidates, for each part its relevant documents' ids)."""

    def __init__(self, folder, split, n):
        self.documents = read_corpus(folder).documents
        self.retriever = BM25Retriever(self.documents)
        queries = read_queries(folder)
        judged = {query: {d for d, grade in grades.items() if grade > 0} for query, grades in read_qrels(folder, split).items()}
        names = sorted(query for query, relevant in judged.items() if relevant)
        random.Random(SEED).shuffle(names)
        self.single = [(queries[name], self.retriever.retrieve(queries[name], 50), [judged[name]]) for name in names[:n]]
        pairs = list(self._pairs(names, judged))[:n] if folder.name in JOINED else []
        found = {name: self.retriever.retrieve(queries[name], 50) for pair in pairs for name in pair}
        self.both, self.joined = [], []
        for one, other in pairs:
            text, relevant = f"{queries[one].rstrip('.?! ')} and {queries[other]}", [judged[one], judged[other]]
            self.both.append((text, alternating(found[one], found[other]), relevant))
            self.joined.append((text, self.retriever.retrieve(text, 100), relevant))

    @staticmethod
    def _pairs(names, judged):
        choice = random.Random(SEED + 1)
        for one in names:
            others = (other for other in choice.sample(names, min(20, len(names))) if other != one)
            other = next((other for other in others if not judged[one] & judged[other]), None)
            if other is not None:
                yield one, other


def alternating(*lists):
    """Each document once, in the order of the lists' ranks."""
    found = {c.id: c for row in zip_longest(*lists) for c in row if c is not None}
    return list(found.values())


def measured(reranker, collection):
    costs = {d.id: estimate_tokens(d.text) for d in collection.documents}
    budget = round(N_DOCUMENTS * statistics.mean(costs[c.id] for _, found, _ in collection.single for c in found))
    rooms = {"five_documents": {"budget_tokens": ROOMY, "top_k": N_DOCUMENTS}, "their_tokens": {"budget_tokens": budget}}
    kinds = {"single": collection.single, "both": collection.both, "joined": collection.joined}
    return {
        "budget_tokens": budget,
        **{kind: of_questions(reranker, questions, rooms) for kind, questions in kinds.items() if questions},
    }


def of_questions(reranker, questions, rooms):
    rankings = [reranker.rerank(text, candidates) for text, candidates, _ in questions]
    held = [all(part & {c.id for c in candidates} for part in parts) for _, candidates, parts in questions]
    report = {"n": len(questions), "n_answerable": sum(held)}
    for name, room in rooms.items():
        hits = {strategy: [] for strategy in STRATEGIES}
        for (text, _, parts), ranking in zip(questions, rankings, strict=True):
            for strategy, found in hits.items():
                context = pack_context(text, ranking, reranker=reranker, strategy=strategy, **room)
                inside = {part.id for part in context.parts}
                found.append(all(relevant & inside for relevant in parts))
        report[name] = shares({strategy: np.array(found, dtype=float) for strategy, found in hits.items()}, np.array(held))
    return report


def shares(hits, answerable):
    """Strategy -> per cent of questions, with their ranges, and what that is above `relevance`."""
    samples = np.random.default_rng(SEED).integers(0, len(answerable), (2000, len(answerable)))
    base = hits["relevance"]
    return {
        strategy: {
            "found": with_range(found, samples),
            "found_of_answerable": round(100 * found[answerable].mean(), 1),
            **({} if strategy == "relevance" else {"above_relevance": with_range(found - base, samples)}),
        }
        for strategy, found in hits.items()
    }


def duplicates(reranker, collection, n_questions=30, n_documents=10):
    """How many further versions of a document contexts hold, in per cent, though all fit, and how many hold all documents."""
    report = {"questions": n_questions}
    for name, cut in (("without_first_sentence", slice(1, None)), ("without_last_sentence", slice(None, -1))):
        found, complete = [], 0
        for text, candidates, _ in collection.single[:n_questions]:
            versions = [Candidate(version, c.id) for c in candidates[:n_documents] for version in versions_of(c.text, cut)]
            context = pack_context(text, reranker.rerank(text, versions), reranker=reranker, budget_tokens=ROOMY)
            ids = [part.id for part in context.parts]
            found.append((len(ids) - len(set(ids))) / (len(versions) - n_documents))
            complete += len(set(ids)) == n_documents
        report[name] = {
            "further_versions_kept": round(100 * statistics.mean(found), 1),
            "contexts_with_all_documents": complete,
        }
    return report


def versions_of(text, cut):
    """As it is, copied, retyped, and by some of its sentences."""
    spans = sentences(text)[cut]
    retyped = text.replace("; ", ". ").replace(" - ", " \u2013 ").replace('"', "\u201c").replace("'", "\u2019")
    part = text[spans[0][0] : spans[-1][1]] if spans else text
    return [text, text, "\n".join(textwrap.wrap(retyped, 72)), part]


def milliseconds(reranker, collection, turns=15):
    packing, encoding = [], []
    for text, _, _ in collection.single[: turns + 2]:
        ranking = reranker.rerank(text, collection.retriever.retrieve(text, 200))
        started = time.perf_counter()
        pack_context(text, ranking, reranker=reranker, budget_tokens=2000)
        packed = time.perf_counter()
        reranker.encoder.encode_query([text])
        packing.append((packed - started) * 1000)
        encoding.append((time.perf_counter() - packed) * 1000)
    found = {"packing_200_documents": packing[2:], "encoding_the_query": encoding[2:]}
    return {name: round(statistics.median(times), 2) for name, times in found.items()}


if __name__ == "__main__":
    main()
