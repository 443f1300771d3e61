"""What capacity.py simulates: which share of documents a near copy holds when it is asked for, and how long requests wait."""

import heapq
import math
import random
from collections import OrderedDict
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Popularity:
    """How often documents are candidates: the one of rank r by 1 / r ** exponent (Zipf), each independent of the others.

    Attributes:
        n_documents: In all.
        exponent: 0 for all alike.
    """

    n_documents: int
    exponent: float

    def sampler(self, rng):
        """Give a function that gives so many documents' ranks."""
        weights = [rank**-self.exponent for rank in range(1, self.n_documents + 1)]
        total, cumulated = 0.0, []
        for weight in weights:
            total += weight
            cumulated.append(total)
        documents = range(self.n_documents)
        return lambda n: rng.choices(documents, cum_weights=cumulated, k=n)


def hit_rates(popularity, share, *, n_segments, n_asked, seed=0):
    """Simulate a near copy that is warm, and give its share of hits.

    Args:
        popularity: Of the documents.
        share: Of all documents that the near copy has room for.
        n_segments: Into which a DiskStore divides its bound. The whole oldest one goes when a new one is begun: all segments
            are used every few seconds under load, so that their times of last use say nothing.
        n_asked: Documents that are asked for while hits are counted; as many come before.
        seed: Of the random numbers.

    Returns:
        The hit rate of the product's eviction by segments, and of an exact LRU of documents, for comparison.
    """
    rng = random.Random(seed)
    sample = popularity.sampler(rng)
    room = max(n_segments, int(popularity.n_documents * share))
    caches = (_Segments(room, n_segments), _Lru(room))
    for document in sample(n_asked):
        for cache in caches:
            cache.ask(document)
    hits = [0, 0]
    for document in sample(n_asked):
        for i, cache in enumerate(caches):
            hits[i] += cache.ask(document)
    return hits[0] / n_asked, hits[1] / n_asked


class _Segments:
    """Documents are appended to the newest segment; the oldest goes as a whole."""

    def __init__(self, room, n_segments):
        self._full = max(1, room // n_segments)
        self._most = n_segments
        self._segments = [[]]
        self._held = set()

    def ask(self, document):
        if document in self._held:
            return True
        if len(self._segments[-1]) == self._full:
            self._segments.append([])
            if len(self._segments) > self._most:
                self._held.difference_update(self._segments.pop(0))
        self._segments[-1].append(document)
        self._held.add(document)
        return False


class _Lru:
    def __init__(self, room):
        self._room = room
        self._held = OrderedDict()

    def ask(self, document):
        if document in self._held:
            self._held.move_to_end(document)
            return True
        self._held[document] = None
        if len(self._held) > self._room:
            self._held.popitem(last=False)
        return False


@dataclass(frozen=True)
class Load:
    """What servers are asked, and what an answer takes.

    Attributes:
        rate: Requests a second; they come independently of each other (Poisson).
        k: Documents a request.
        cpu_ms: Of a core, for a request whose documents are near.
        cpu_ms_of_get: Of a core, for one GET.
        gets: For one document that isn't near.
        get_ms: Median of a GET.
        sigma: Of its logarithm: a GET takes get_ms * exp(sigma * N(0, 1)).
    """

    rate: float
    k: int
    cpu_ms: float
    cpu_ms_of_get: float
    gets: int
    get_ms: float
    sigma: float

    def busy_cores(self, hit_rate):
        """Cores that are busy on average."""
        n_gets = self.k * (1 - hit_rate) * self.gets
        return self.rate * (self.cpu_ms + n_gets * self.cpu_ms_of_get) / 1000


def latencies(load, hit_rate, *, machines, cores, seconds=30, seed=0):
    """Simulate machines behind a proxy that gives each request to the one with the fewest, and give sorted milliseconds.

    A request holds a core for its processor time, and none while it waits for the bucket: once for the keys' blocks, once for
    the documents, each time as long as the slowest of its GETs takes.
    """
    rng = random.Random(seed)
    # Of each machine: when each core is free, and when each request that it has will be answered.
    free = [[0.0] * cores for _ in range(machines)]
    running = [[] for _ in range(machines)]
    found, now = [], 0.0
    while now < seconds * 1000:
        now += rng.expovariate(load.rate / 1000)
        for ends in running:
            while ends and ends[0] <= now:
                heapq.heappop(ends)
        machine = min(range(machines), key=lambda i: (len(running[i]), rng.random()))
        n_misses = _binomial(rng, load.k, 1 - hit_rate)
        work = load.cpu_ms * rng.gammavariate(4, 0.25) + n_misses * load.gets * load.cpu_ms_of_get
        begins = max(now, heapq.heappop(free[machine]))
        heapq.heappush(free[machine], begins + work)
        waits = load.gets * _slowest(rng, n_misses, load.get_ms, load.sigma) if n_misses else 0.0
        ends = begins + work + waits
        heapq.heappush(running[machine], ends)
        found.append(ends - now)
    # The first second fills the queues.
    return sorted(found[int(load.rate) :])


def _binomial(rng, n, p):
    if p in (0.0, 1.0):
        return round(n * p)
    if p > 0.05:
        return min(n, max(0, round(rng.gauss(n * p, math.sqrt(n * p * (1 - p))))))
    return min(n, sum(rng.random() < p for _ in range(n)))


def _slowest(rng, n, median, sigma):
    """The slowest of n GETs at once, by the inverse of its distribution."""
    quantile = rng.random() ** (1 / n)
    return median * math.exp(sigma * NormalDist().inv_cdf(min(quantile, 1 - 1e-12)))


def least_machines(load, hit_rate, *, cores, p99_ms, most=200):
    """Give the fewest machines whose p99 stays below `p99_ms` when one of them is lost, and (p50, p99) with all of them."""
    needed = max(1, math.ceil(load.busy_cores(hit_rate) / cores))
    while needed < most:
        ms = latencies(load, hit_rate, machines=needed, cores=cores)
        if _quantile(ms, 0.99) <= p99_ms:
            whole = latencies(load, hit_rate, machines=needed + 1, cores=cores, seed=1)
            return needed + 1, (_quantile(whole, 0.5), _quantile(whole, 0.99))
        needed += 1
    raise ValueError(f"{most} machines aren't enough")


def _quantile(ms, share):
    return ms[min(len(ms) - 1, int(len(ms) * share))]
