import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank.evaluate.significance import Difference, difference

VALUES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30)


def named(values):
    return {f"q{i}": float(value) for i, value in enumerate(values)}


@settings(max_examples=25)
@given(VALUES)
def test_it_is_antisymmetric_and_its_range_holds_its_mean(pairs):
    before, after = (named(values) for values in zip(*pairs, strict=True))
    found, other = difference(before, after), difference(after, before)
    assert found.mean == pytest.approx(-other.mean)
    assert found.p == pytest.approx(other.p)
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    assert 0 < found.p <= 1


def test_nothing_is_no_difference():
    assert difference({"a": 0.3, "b": 0}, {"b": 0, "a": 0.3}) == Difference(0, 0, 0, 1)


def test_few_queries_are_judged_exactly():
    # All better: of the 2^4 ways of chance, two are as large.
    found = difference(named([0, 0, 0, 0]), named([0.1, 0.2, 0.3, 0.4]))
    assert found.p == pytest.approx(2 / 16)
    assert difference({"a": 0.0}, {"a": 1.0}) == Difference(1, 1, 1, 1)


def test_a_plain_difference_is_found_and_is_the_same_each_time():
    random = np.random.default_rng(1)
    before = random.random(60)
    after = before + random.normal(0.1, 0.2, 60)
    found = difference(named(before), named(after))
    error = float((after - before).std(ddof=1) / 60**0.5)
    assert found.p < 0.01
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.01)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.01)
    assert found == difference(named(before), named(after))


def test_equal_rankings_are_rarely_called_different():
    random = np.random.default_rng(4)
    called = [difference(named(random.random(40)), named(random.random(40))).p < 0.05 for _ in range(30)]
    assert sum(called) <= 6


def test_other_queries_are_refused():
    with pytest.raises(ValueError, match="the same queries"):
        difference({"a": 1.0}, {"b": 1.0})
    with pytest.raises(ValueError, match="at least one"):
        difference({}, {})
