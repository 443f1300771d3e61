"""What ranking loses by each query encoder, over the same candidates and stored vectors. `query_encoder.py` runs it."""

import json
import statistics
import sys

import numpy as np
from benchmarks.judged_folders import judged
from benchmarks.ranges import N_SAMPLES

from late_rerank import Reranker
from late_rerank.evaluate.evaluation import evaluate_judged
from late_rerank.evaluate.significance import difference
from late_rerank.ranking.relevance import FITTED, relevance, resolve_calibration
from late_rerank.ranking.wanted import Wanted

# Collection -> the split whose queries are asked.
TEST = dict.fromkeys(("scifact", "nfcorpus", "trec-dl19-rerank", "cranfield"), "test")
DEVELOPMENT = {"nfcorpus": "dev", "squad": "dev", "medquad": "dev", "scifact": "train"}
HELD_OUT = "scifact"  # has no dev split: some of its train queries were kept from training
DEVELOPMENT_QUERIES = 300
MEASURE = "nDCG@10"
_BATCH = 32


def asked(root, splits, *, held_out=None, n_queries=None, k=100):
    """Collection -> its judged queries with BM25's candidates.

    Args:
        root: Folder of the collections.
        splits: Collection -> split.
        held_out: A JSON list of the ids of train queries that weren't trained on. None takes those that weren't in the training
            of "fast".
        n_queries: At most so many of each.
        k: Candidates a query.

    Raises:
        ValueError: If the list is empty.
    """
    names = None
    if "train" in splits.values():
        names = json.loads(held_out.read_text(encoding="utf-8")) if held_out else left_out_of_training(root / HELD_OUT)
        if not names:
            raise ValueError(f"--held-out {held_out}: expected ids of train queries that weren't trained on, found none")
    found = {}
    for name, split in splits.items():
        print(f"{name}: BM25", file=sys.stderr)
        only = names if split == "train" else None
        found[name] = judged(root / name, split, names=only, n_queries=n_queries, k=k, engine="bm25s")
    return found


def left_out_of_training(folder):
    """Ids of the train queries of a collection that "fast" was chosen by, and not trained on."""
    from late_rerank.train.minilm_fast import chosen_by_of  # needs the packages of training

    return list(chosen_by_of(folder).held_out.queries)


def compared(collections, given, *, model, store, scoring=None):
    """Each query encoder on each collection, against the full one.

    Args:
        collections: As `asked` gives them.
        given: Label -> query encoder, "full" first.
        model: Encodes the documents.
        store: Keeps them.
        scoring: A scoring's name, or None.
    """
    measured = {name: {} for name in collections}
    for label, each in given.items():
        with Reranker(model, store=store, query_encoder=each, scoring=scoring) as reranker:
            calibration = resolve_calibration(model, reranker.scoring.name) if model in FITTED else None
            for name, judgements in collections.items():
                print(f"{name}: {label}", file=sys.stderr)
                measured[name][label] = evaluated(reranker, judgements)
            used = reranker.scoring.name
    rows = {name: row(found, calibration) for name, found in measured.items()}
    return {"scoring": used, "collections": rows, "mean": overall(rows, measured)}


def evaluated(reranker, judgements):
    """An Evaluation, and each query's token vectors."""
    names = list(judgements.qrels)
    texts = [judgements.queries[name] for name in names]
    vectors = {}
    for start in range(0, len(texts), _BATCH):
        encoded = reranker.encoder.encode_query(texts[start : start + _BATCH])
        vectors |= {name: encoded.rows(i) for i, name in enumerate(names[start : start + _BATCH])}
    return evaluate_judged(reranker, judgements, Wanted()), vectors


def row(found, calibration):
    """What one collection says of each query encoder.

    Args:
        found: Label -> its Evaluation, and query id -> token vectors.
        calibration: The full query encoder's, or None.
    """
    full, full_vectors = found["full"]
    rows = {}
    for label, (result, vectors) in found.items():
        rows[label] = {**result.measures["reranked"], "latency_ms": result.latency_ms}
        lengths = {name: len(each) for name, each in vectors.items()}
        rows[label]["relevance"] = relevances(result.ranked, lengths, calibration)
        if label != "full":
            before, after = (each.by_query["reranked"][MEASURE] for each in (full, result))
            rows[label]["difference"] = difference(before, after).to_dict()
            rows[label]["token_cosine"] = token_cosine(full_vectors, vectors)
    return {"n_queries": full.n_queries, "first_stage": full.measures["first_stage"], "query_encoders": rows}


def token_cosine(full, others):
    """Mean cosine of a token's two vectors, each token of all queries alike."""
    cosines = [np.einsum("td,td->t", full[name], others[name]) for name in full]
    return round(float(np.concatenate(cosines).mean()), 4)


def relevances(ranked, lengths, calibration):
    """Mean relevance of the best document of each query, and of all, uncalibrated and by the full encoder's calibration.

    Args:
        ranked: Query id -> document ids with scores, best first.
        lengths: Query id -> number of token vectors.
        calibration: Or None.
    """
    found = {}
    for kind, used in (("clipped_mean", None), ("calibrated", calibration)):
        if kind == "calibrated" and used is None:
            continue
        each = [
            relevance(np.array([score for _, score in documents], dtype=np.float32), lengths[name], used)
            for name, documents in ranked.items()
            if documents
        ]
        best = statistics.fmean(float(values[0]) for values in each)
        found[kind] = {"best": round(best, 4), "all": round(float(np.concatenate(each).mean()), 4)}
    return found


def overall(rows, measured):
    """Means over collections, each collection counted once; the mean loss with its 95 % range, and the largest loss."""
    means = {}
    for label in next(iter(rows.values()))["query_encoders"]:
        found = {name: each["query_encoders"][label] for name, each in rows.items()}
        means[label] = {MEASURE: round(statistics.fmean(each[MEASURE] for each in found.values()), 4)}
        if label != "full":
            changes = [_changes(each["full"][0], each[label][0]) for each in measured.values()]
            least = min(found, key=lambda name: found[name]["difference"]["mean"])
            means[label] |= {
                "difference": mean_with_range(changes),
                "worst": {"collection": least, "difference": found[least]["difference"]["mean"]},
                "token_cosine": round(statistics.fmean(each["token_cosine"] for each in found.values()), 4),
            }
    return means


def _changes(before, after):
    first, second = (each.by_query["reranked"][MEASURE] for each in (before, after))
    return np.array([second[name] - first[name] for name in first])


def mean_with_range(changes, seed=0):
    """The mean of the collections' means, and where 95 % of bootstrap samples of each collection's queries have it."""
    rng = np.random.default_rng(seed)
    samples = [each[rng.integers(0, len(each), (N_SAMPLES, len(each)))].mean(axis=1) for each in changes]
    low, high = np.percentile(np.mean(samples, axis=0), [2.5, 97.5])
    mean = np.mean([each.mean() for each in changes])
    return {name: round(float(value), 4) for name, value in (("mean", mean), ("low", low), ("high", high))}
