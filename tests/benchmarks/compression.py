"""Does the answer survive when documents are shortened? Prints JSON; takes minutes, most of them for encoding.

    python tests/benchmarks/compression.py FOLDER_WITH_THE_COLLECTIONS [--store DIR] [--split test] [--n 300]

The folder holds squad and scifact. All ways get the same room, counted by `estimate_tokens` over all that is shown, marks and
number included: "ours", the sentences that carry the matches (`compress=True`); "cut", the document cut to a piece around
its best passage (`compress=False`); "bm25", sentences by BM25 over the document's own, best first and each that still
fits, shown in the order of the text; "bm25_neighbours", the same with half of what the sentences beside it score.

"squad": five consecutive paragraphs of an article as one document, the question's own at a random place among them. Where the
answers stand isn't known. "words_kept" is the share of the own paragraph's words that is kept: how often an answer that stood
anywhere in it would survive. But answers stand near the question's words, so this is too hard on all that look for those.
"nearly_whole": 90 % of it or more are kept. "sentence_kept": the sentence of it that has most words of the question, by two
or more than any other (stems without stop words), is shown whole; of the "n" questions that have one. This label is made by
word overlap, as BM25 is, and so favours BM25.

"scifact": abstracts without their titles, one for each claim, and "sentence_kept" as above.

"retrieved": BM25's best 50 of all squad paragraphs, reranked and packed; 0 where the own paragraph isn't in the context.
"coverage" and "relevance" are those strategies with whole documents, "answerable" the questions whose own is among the 50.

Figures are per cent of questions and 95 % of 2,000 bootstrap samples; "ours_above" is paired; "tokens" is what is used.
"""

import argparse
import json
import math
import random
import re
from pathlib import Path

import numpy as np
from ranges import compared

from late_rerank import Candidate, Reranker
from late_rerank.context import pack_context
from late_rerank.context.compression import Extract
from late_rerank.context.counting import estimate_tokens
from late_rerank.context.layout import block
from late_rerank.context.sentences import sentences
from late_rerank.corpus import read_corpus, read_qrels, read_queries
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.retrieve import BM25Retriever
from late_rerank.retrieve.words import WordSplitter

N_PARAGRAPHS = 5
NEARLY_WHOLE = 0.9
BUDGETS = (250, 500, 1000)
PACKINGS = {"ours": {"compress": True}, "coverage": {}, "relevance": {"strategy": "relevance"}}
WORDS = WordSplitter("english").of_query
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store")
    parser.add_argument("--split", default="test")
    parser.add_argument("--n", type=int, default=300, help='questions; "retrieved" takes half as many')
    options = parser.parse_args()
    report = {"machine": platform_name(), "commit": commit(), "command": "python tests/benchmarks/compression.py FOLDER"}
    report |= {"model": "minilm", "split": options.split}
    squad, scifact = (Questions(options.folder / name, options.split, options.n) for name in ("squad", "scifact"))
    with Reranker(store=options.store, backend="torch") as reranker:
        report["results"] = {
            "squad": shortened(reranker, list(squad.long_documents()), {"half": 2, "quarter": 4}),
            "scifact": shortened(reranker, list(scifact.abstracts()), {"half": 2}),
            "retrieved": retrieved(reranker, squad, options.n // 2),
        }
    print(json.dumps(report, indent=1))


class Questions:
    """A split's questions in an order by chance: (text, ids of relevant documents), and what they are asked of."""

    def __init__(self, folder, split, n):
        self.folder = folder
        queries = read_queries(folder)
        judged = {query: sorted(d for d, grade in of.items() if grade > 0) for query, of in read_qrels(folder, split).items()}
        names = sorted(query for query, relevant in judged.items() if relevant)
        random.Random(SEED).shuffle(names)
        self.asked = [(queries[name], judged[name]) for name in names[:n]]
        with (folder / "corpus.jsonl").open(encoding="utf-8") as lines:
            self.texts = {row["_id"]: row["text"] for row in map(json.loads, lines)}  # without titles

    def long_documents(self):
        """(question, document, where its own paragraph is, where that one's sentence is or None)."""
        articles = {}
        for name in self.texts:
            articles.setdefault(name.rpartition("-")[0], []).append(name)
        choice = random.Random(SEED)
        for query, (own, *_) in self.asked:
            article = articles[own.rpartition("-")[0]]
            place = article.index(own)
            first = choice.randint(max(place - N_PARAGRAPHS + 1, 0), min(place, len(article) - N_PARAGRAPHS))
            text = "\n\n".join(self.texts[name] for name in article[first : first + N_PARAGRAPHS])
            start = sum(len(self.texts[name] + "\n\n") for name in article[first:place])
            paragraph = start, start + len(self.texts[own])
            yield query, text, paragraph, clearest(query, text, paragraph)

    def abstracts(self):
        """The same of the first relevant abstract that has such a sentence, without a paragraph."""
        for claim, relevant in self.asked:
            found = [(claim, text, None, clearest(claim, text, (0, len(text)))) for text in map(self.texts.get, relevant)]
            yield from [question for question in found if question[-1] is not None][:1]


def clearest(query, text, piece):
    """Where the sentence of text[piece] is that has most words of the question; None where none has two more than the next."""
    of_query = set(WORDS(query))
    spans = [(piece[0] + start, piece[0] + end) for start, end in sentences(text[slice(*piece)])]
    shared = sorted((len(of_query & set(WORDS(text[start:end]))), start, end) for start, end in spans)
    return shared[-1][1:] if len(shared) > 1 and shared[-1][0] - shared[-2][0] >= 2 else None


def shortened(reranker, questions, rooms):
    report = {"n": len(questions)}
    for room, share in rooms.items():
        rows = []
        for query, text, paragraph, sentence in questions:
            document, budget = Candidate(text), estimate_tokens(text) // share
            ranking = reranker.rerank(query, [document])
            ways = {
                "ours": packed(reranker, query, ranking, budget, document, compress=True),
                "cut": packed(reranker, query, ranking, budget, document),
                "bm25": by_bm25(query, text, budget, 0),
                "bm25_neighbours": by_bm25(query, text, budget, 0.5),
            }
            rows.append(measured(ways, text, paragraph, sentence))
        report[room] = compared(rows, SEED)
    return report


def retrieved(reranker, squad, n):
    documents = {document.id: document for document in read_corpus(squad.folder).documents}
    retriever = BM25Retriever(documents.values(), engine="bm25s")
    rows, n_answerable = {budget: [] for budget in BUDGETS}, 0
    for query, (name, *_) in squad.asked[:n]:
        own = documents[name]
        paragraph = len(own.text) - len(squad.texts[name]), len(own.text)  # behind the title
        ranking = reranker.rerank(query, retriever.retrieve(query, 50))
        n_answerable += any(document.id == name for document in ranking)
        for budget, found in rows.items():
            ways = {way: packed(reranker, query, ranking, budget, own, **how) for way, how in PACKINGS.items()}
            found.append(measured(ways, own.text, paragraph, clearest(query, own.text, paragraph)))
    return {"n": n, "answerable": round(100 * n_answerable / n, 1)} | {
        str(budget): compared(found, SEED) for budget, found in rows.items()
    }


def packed(reranker, query, ranking, budget, own, **how):
    """(spans of that document in the context, tokens of all)."""
    context = pack_context(query, ranking, reranker=reranker, budget_tokens=budget, **how)
    parts = [part for part in context.parts if part.id == own.id]
    return [span for part in parts for span in part.spans or [(0, len(own.text))]], context.n_tokens


def by_bm25(query, text, budget, neighbours):
    """(spans of the text's best sentences, their tokens)."""
    spans = sentences(text)
    retriever = BM25Retriever([Candidate(text[start:end], str(i)) for i, (start, end) in enumerate(spans)], engine="bm25s")
    own = {int(found.id): found.score for found in retriever.retrieve(query, len(spans))}
    score = [own[i] + neighbours * (own.get(i - 1, 0) + own.get(i + 1, 0)) for i in range(len(spans))]
    taken, tokens = [], 0
    for i in sorted(range(len(spans)), key=lambda i: -score[i]):  # equal scores in the order of the text
        longer = Extract(text, spans, range(len(spans)), np.empty(0), (*taken, i))
        cost = estimate_tokens(block(1, longer.shown))
        if cost <= budget:
            taken, tokens = [*taken, i], cost
    return [spans[i] for i in taken], tokens


def measured(ways, text, paragraph, sentence):
    """Way -> measure -> value; not a number where the sentence isn't known."""
    row = {}
    for way, (spans, tokens) in ways.items():
        row[way] = {"tokens": tokens, "sentence_kept": math.nan if sentence is None else holds(spans, *sentence)}
        if paragraph is not None:
            words = re.finditer(r"\S+", text[slice(*paragraph)])
            share = np.mean([holds(spans, *(paragraph[0] + place for place in word.span())) for word in words])
            row[way] |= {"words_kept": share, "nearly_whole": share >= NEARLY_WHOLE}
    return row


def holds(spans, start, end):
    return any(first <= start and end <= last for first, last in spans)


if __name__ == "__main__":
    main()
