"""What wrappers of frameworks share."""

import numpy as np
import pytest

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.wrapping import check_count, reranker_from


def test_a_ready_reranker_is_taken_as_it_is():
    reranker = Reranker(FakeEncoder())
    assert reranker_from(reranker) is reranker


def test_arguments_that_are_none_are_left_to_the_reranker():
    made = reranker_from(None, model=FakeEncoder(), store=None, codec="int4", on_missing=None)
    assert (made.codec.name, made.on_missing, made.arguments["store"]) == ("int4", "encode", None)


@pytest.mark.parametrize("more", [{"model": "minilm"}, {"store": "x"}, {"codec": "int8"}, {"device": "cpu"}])
def test_a_ready_reranker_and_arguments_for_another_are_refused(more):
    with pytest.raises(ValueError, match=f"either a ready reranker or {next(iter(more))}, not both"):
        reranker_from(Reranker(FakeEncoder()), **more)


def test_what_is_no_reranker_is_refused():
    with pytest.raises(TypeError, match=r"must be a late_rerank\.Reranker, got str: 'minilm'"):
        reranker_from("minilm")


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("3", TypeError), (2.0, TypeError)]
)
def test_a_count_is_a_whole_number_of_at_least_1(value, error):
    with pytest.raises(error, match="top_n must be"):
        check_count("top_n", value)


def test_none_is_a_count_where_it_may_be_and_numpys_are():
    check_count("k", np.int64(3))
    check_count("k", None, or_none=True)
    with pytest.raises(TypeError, match="k must be an int, got None"):
        check_count("k", None)
