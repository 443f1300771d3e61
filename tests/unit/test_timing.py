"""What is written into a Ranking's times."""

import pytest

from late_rerank.observing import timing
from late_rerank.types import Ranking


def ranking(**timings_ms):
    return Ranking(timings_ms=timings_ms)


def test_the_first_stage_comes_first_and_counts_in_the_total():
    found = ranking(fetch=1.0, total=4.0)
    timing.add_first_stage(found, 2.0)
    assert list(found.timings_ms.items()) == [("first_stage", 2.0), ("fetch", 1.0), ("total", 6.0)]


def test_an_earlier_look_is_added_stage_by_stage():
    found, earlier = ranking(fetch=1.0, maxsim=0.5, total=4.0), ranking(fetch=2.0, maxsim=0.25, total=3.0)
    timing.add_earlier(found, earlier)
    assert found.timings_ms == {"fetch": 3.0, "maxsim": 0.75, "total": 7.0}
    assert earlier.timings_ms == {"fetch": 2.0, "maxsim": 0.25, "total": 3.0}


def test_of_a_batch_each_ranking_has_its_share_but_for_maxsim_and_the_total():
    batch = [ranking(fetch=4.0, maxsim=maxsim, total=8.0) for maxsim in (1.0, 2.0)]
    timing.share(batch)
    assert [found.timings_ms for found in batch] == [
        {"fetch": 2.0, "maxsim": 1.0, "total": 8.0},
        {"fetch": 2.0, "maxsim": 2.0, "total": 8.0},
    ]


@pytest.mark.parametrize(("total_ms", "waiting_ms"), [(10.0, 7.0), (2.0, 0.0)])
def test_what_is_left_of_the_total_was_waited(total_ms, waiting_ms):
    found = ranking(fetch=1.0, maxsim=2.0, total=3.0)
    timing.set_total(found, total_ms)
    assert found.timings_ms == {"fetch": 1.0, "maxsim": 2.0, "total": total_ms, "waiting": waiting_ms}


def test_a_stage_that_is_entered_again_adds_up():
    timer = timing.Timer(("fetch", "score"))
    for _ in range(2):
        with timer.stage("fetch"):
            before = timer.ms["fetch"]
    assert timer.ms["fetch"] > before > 0
    assert timer.ms["score"] == 0
