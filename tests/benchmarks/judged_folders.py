"""A collection's judged queries with BM25's best candidates: what rerankers are measured on."""

import random

from late_rerank.corpus import read_corpus, read_qrels, read_queries
from late_rerank.evaluate import read_run
from late_rerank.evaluate.judged import Judged, retrieve_judged
from late_rerank.retrieve import BM25Retriever

K = 100


def judged(folder, split="test", *, names=None, n_queries=None, k=K, engine="rank-bm25"):
    """Judged queries of a folder in BEIR format, and the documents that BM25 finds for each.

    Args:
        folder: The collection. If its candidates/BM25.tsv exists, that is the first stage of its test queries: such a
            collection has the documents of a pool alone.
        split: Which judgements.
        names: Ids of the only queries that count, or None. Each must be judged.
        n_queries: At most so many, drawn by chance, the same ones each time. None takes all.
        k: Candidates a query.
        engine: Of BM25.
    """
    qrels, texts, documents = read_qrels(folder, split), read_queries(folder), read_corpus(folder).documents
    kept = chosen(qrels, names, n_queries)
    qrels, queries = {name: qrels[name] for name in kept}, {name: texts[name] for name in kept}
    stored = folder / "candidates" / "BM25.tsv"
    if split == "test" and stored.exists():
        by_id = {document.id: document for document in documents}
        return Judged(read_run(stored, by_id, k, ignore_identical_ids=False), queries, qrels, ignore_identical_ids=False)
    return retrieve_judged(BM25Retriever(documents, engine=engine), queries, qrels, k, ignore_identical_ids=False)


def chosen(judgements, names=None, n_queries=None):
    """Ids of the queries that count, in the order of the judgements."""
    lacking = sorted(set(names or ()) - set(judgements))
    if lacking:
        raise ValueError(f"{len(lacking)} of {len(names)} queries aren't judged in this split, {lacking[0]!r} first")
    found = [name for name in judgements if names is None or name in set(names)]
    if n_queries is None or n_queries >= len(found):
        return found
    drawn = set(random.Random(0).sample(sorted(found), n_queries))
    return [name for name in found if name in drawn]
