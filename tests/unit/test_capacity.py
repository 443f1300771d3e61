"""The capacity plan: its simulations keep known laws, and its committed figures are what the script makes of the measured ones.

After a new measurement of what capacity.py reads: python tests/benchmarks/capacity.py, then make docs.
"""

import json
import random

import pytest
from benchmarks import capacity
from benchmarks.capacity_simulation import Load, Popularity, hit_rates, latencies, least_machines
from benchmarks.capacity_tables import CAPACITY

COMMITTED = json.loads(CAPACITY.read_text(encoding="utf-8"))
NEAR = Load(rate=200, k=10, cpu_ms=5.0, cpu_ms_of_get=0.2, gets=2, get_ms=25, sigma=0.35)


class TestCommittedFigures:
    def test_are_of_the_assumptions_and_laws_that_stand_there(self):
        assert COMMITTED["assumed"] == capacity.ASSUMED
        assert COMMITTED["laws"] == capacity.rounded(capacity.laws())

    def test_of_bytes_and_indexes_are_computed_anew_the_same(self):
        assert COMMITTED["sizes"] == capacity.rounded(capacity.sizes(capacity.laws()))
        assert COMMITTED["indexes"] == capacity.rounded(capacity.indexes(capacity.laws()))


class TestANearCopy:
    def test_of_everything_has_everything(self):
        ours, lru = hit_rates(Popularity(200, 0.8), 1.0, n_segments=4, n_asked=20_000)
        assert min(ours, lru) > 0.97

    def test_of_documents_that_are_alike_has_its_share_of_them(self):
        ours, lru = hit_rates(Popularity(2000, 0.0), 0.3, n_segments=10, n_asked=20_000)
        assert ours == pytest.approx(0.3 * 0.95, abs=0.03)  # the newest segment is half full on average
        assert lru == pytest.approx(0.3, abs=0.02)

    def test_has_more_hits_the_more_some_documents_are_asked_for(self):
        rates = [hit_rates(Popularity(2000, exponent), 0.1, n_segments=10, n_asked=20_000)[0] for exponent in (0, 0.6, 1)]
        assert rates == sorted(rates)

    @pytest.mark.parametrize("exponent", [0.6, 1.0])
    def test_that_lets_segments_go_has_fewer_hits_than_one_that_lets_documents_go(self, exponent):
        ours, lru = hit_rates(Popularity(2000, exponent), 0.2, n_segments=10, n_asked=20_000)
        assert ours < lru


class TestMachines:
    def test_that_are_idle_answer_in_the_time_of_the_work(self):
        ms = latencies(NEAR, 1.0, machines=8, cores=16, seconds=5)
        assert sum(ms) / len(ms) == pytest.approx(NEAR.cpu_ms, rel=0.1)

    def test_wait_for_the_slowest_of_the_gets_twice(self):
        ms = latencies(NEAR, 0.0, machines=8, cores=16, seconds=5)
        rng = random.Random(0)
        slowest = [max(25 * rng.lognormvariate(0, 0.35) for _ in range(10)) for _ in range(2000)]
        work = NEAR.cpu_ms + 20 * NEAR.cpu_ms_of_get
        assert sum(ms) / len(ms) == pytest.approx(work + 2 * sum(slowest) / len(slowest), rel=0.1)

    def test_that_are_full_let_requests_wait(self):
        """One core that is busy for nine tenths: Kingman's formula gives the mean wait."""
        load = Load(rate=180, k=10, cpu_ms=5.0, cpu_ms_of_get=0, gets=2, get_ms=25, sigma=0)
        ms = latencies(load, 1.0, machines=1, cores=1, seconds=400)
        spread = (1 + 1 / 4) / 2  # of arrivals by chance, and of work by a gamma distribution of shape 4
        assert sum(ms) / len(ms) == pytest.approx(5 + 9 * 5 * spread, rel=0.25)

    def test_are_one_more_than_what_the_load_needs(self):
        assert NEAR.busy_cores(1.0) == pytest.approx(1.0)
        machines, (p50, p99) = least_machines(NEAR, 1.0, cores=4, p99_ms=250)
        assert machines == 2
        assert 0 < p50 < p99 < 250
