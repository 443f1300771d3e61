"""What a query and a cached rerank take with each query encoder, in turns in one process. `query_encoder.py` runs it."""

import random
import statistics
import time
from functools import cache
from itertools import islice

import numpy as np

N_TOKENS = (8, 16, 32, 64)
RERANKED_TOKENS = (16, 32)
K = 100
N_QUERIES = 16
CALLS = 5  # of each contender in a turn, after one that isn't timed: it refills the caches


def labels(given):
    """Label -> what `Reranker(query_encoder=)` is given: the full one first, and a folder by its name.

    Raises:
        ValueError: If two folders have one name.
    """
    found = {"full": "full"}
    for each in given:
        label = each if each in ("full", "fast") else each.rstrip("/").rpartition("/")[2]
        if found.setdefault(label, each) != each:
            raise ValueError(f"two query encoders would both be called {label!r}: {found[label]} and {each}")
    return found


def in_turns(calls, n_turns, seed=0):
    """Call each contender in turns, in a new order each turn; all of them get the turn's number.

    Returns:
        Name -> rows of what the call gave, its milliseconds by the clock, and of the processor.
    """
    order, shuffle = list(calls), random.Random(seed).shuffle
    rows = {name: [] for name in order}
    for turn in range(n_turns):
        shuffle(order)
        for name in order:
            calls[name](turn)
            rows[name] += [_row(calls[name], turn) for _ in range(CALLS)]
    return rows


def _row(call, turn):
    cpu, clock = time.process_time(), time.perf_counter()
    given = call(turn)
    return given, 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - cpu)


def figures(milliseconds, cpu):
    """Median and 99th percentile by the clock, and the mean of the processor's time."""
    median, p99 = np.percentile(milliseconds, [50, 99])
    return {"median_ms": round(median, 3), "p99_ms": round(p99, 3), "cpu_ms": round(statistics.fmean(cpu), 3)}


def with_ratios(by_label):
    """The same figures, each of the others with its ratio to the full query encoder's."""
    full = by_label["full"]
    for label, found in by_label.items():
        if label != "full":
            found["of_full"] = {name: round(found[name] / full[name], 3) for name in full}
    return by_label


def texts_of(words, n_tokens, count, n=N_QUERIES):
    """Texts of exactly so many tokens, of words that follow each other.

    Args:
        words: Enough of them.
        n_tokens: The model's markers are counted.
        count: Text -> number of tokens.
        n: Number of texts.

    Raises:
        ValueError: If the words don't make so many texts.
    """
    found = list(islice(_made(words, n_tokens, count), n))
    if len(found) < n:
        raise ValueError(f"{len(words)} words make {len(found)} texts of {n_tokens} tokens; {n} are needed")
    return found


def _made(words, n_tokens, count):
    text = ""
    for word in words:
        longer = f"{text} {word}".strip()
        n = count(longer)
        if n == n_tokens:
            yield longer
        # A word of several tokens that doesn't fit any more is left out.
        text = "" if n == n_tokens else longer if n < n_tokens else text


@cache
def words():
    """Words of docstrings, letters only, so that each has a few tokens."""
    from late_rerank.evaluate.bench.end_to_end import passages

    return [word for candidate in passages(K) for word in candidate.text.split() if word.isalpha()]


def encode(model, given, backend, n_turns):
    """A query of 8 to 64 tokens, by each query encoder."""
    from late_rerank.encode import TextEncoder

    encoders = {label: TextEncoder(model, backend=backend, query_encoder=each) for label, each in given.items()}
    full, rows = encoders["full"], {}
    for n in N_TOKENS:
        texts = texts_of(words(), n, lambda text: len(full.tokens(text, "query")))
        calls = {
            label: lambda turn, encoder=encoder, texts=texts: encoder.encode_query([texts[turn % N_QUERIES]])
            for label, encoder in encoders.items()
        }
        found = in_turns(calls, n_turns)
        rows[str(n)] = with_ratios({label: figures(*_columns(found[label])) for label in encoders})
    students = {label: encoder.describe()["query_encoder"] for label, encoder in encoders.items() if label != "full"}
    told = {label: {name: each[name] for name in ("layers", "size_bytes", "precision")} for label, each in students.items()}
    return {"precision": full.backend.precision, "query_encoders": told, "n_tokens": rows}


def _columns(rows):
    _, milliseconds, cpu = zip(*rows, strict=True)
    return milliseconds, cpu


def rerank(model, given, backend, n_turns):
    """A rerank of 100 stored passages, by each query encoder over one store."""
    from late_rerank import Reranker
    from late_rerank.evaluate.bench.end_to_end import passages
    from late_rerank.stores import MemoryStore

    candidates, store = passages(K), MemoryStore()
    rerankers = {label: Reranker(model, backend=backend, store=store, query_encoder=each) for label, each in given.items()}
    full = rerankers["full"]
    indexed, rows = full.index(candidates), {}
    for n in RERANKED_TOKENS:
        texts = texts_of(words(), n, lambda text: len(full.encoder.tokens(text, "query")))
        calls = {
            label: lambda turn, reranker=reranker, texts=texts: reranker.rerank(texts[turn % N_QUERIES], candidates)
            for label, reranker in rerankers.items()
        }
        found = in_turns(calls, n_turns)
        rows[str(n)] = with_ratios({label: _staged(found[label]) for label in rerankers})
    misses = {label: reranker.stats()["misses"] for label, reranker in rerankers.items()}
    if any(misses.values()):
        raise RuntimeError(f"expected all vectors in the store, but passages were encoded again: {misses}")
    told = {"dim": full.encoder.dim, "codec": full.codec.name, "kernel": full.kernel.name, "scoring": full.scoring.name}
    return {"k": len(candidates), "tokens_a_document": round(indexed.n_tokens / len(candidates)), **told, "n_tokens": rows}


def _staged(rows):
    """The figures of whole reranks, and the median of each stage."""
    found = figures(*_columns(rows))
    timings = [ranking.timings_ms for ranking, _, _ in rows]
    for name in ("encode_query", "maxsim"):
        found[f"{name}_ms"] = round(statistics.median(each[name] for each in timings), 3)
    return found


PARTS = {"encode": encode, "rerank": rerank}
