"""Numbers that users give are checked by two functions."""

import math
from decimal import Decimal

import numpy as np
import pytest

from late_rerank.arguments.numbers import number, whole_number


class TestWholeNumber:
    @pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(200)])
    def test_a_count_comes_back_as_an_int(self, value):
        found = whole_number("k", value)
        assert (found, type(found)) == (value, int)

    @pytest.mark.parametrize("value", [True, "3", 2.0, np.float64(2), [1], Decimal(1)])
    def test_anything_else_is_a_type_error_that_names_the_argument(self, value):
        with pytest.raises(TypeError, match="k must be an int, got "):
            whole_number("k", value)

    @pytest.mark.parametrize("value", [0, -1, np.int64(0)])
    def test_a_count_below_the_smallest_is_refused(self, value):
        with pytest.raises(ValueError, match=f"k must be at least 1, got {value}$"):
            whole_number("k", value)

    def test_the_smallest_count_may_be_another(self):
        assert whole_number("budget", 0, 0) == 0
        with pytest.raises(ValueError, match="budget must be at least 0, got -1"):
            whole_number("budget", -1, 0)

    def test_none_is_taken_where_it_stands_for_something(self):
        assert whole_number("k", None, or_none="for all") is None
        with pytest.raises(TypeError, match="k must be an int, got None"):
            whole_number("k", None)
        with pytest.raises(TypeError, match="k must be an int or None, got 'x'"):
            whole_number("k", "x", or_none="for all")
        with pytest.raises(ValueError, match="got 0; None stands for all"):
            whole_number("k", 0, or_none="for all")


class TestNumber:
    @pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25), np.int64(1)])
    def test_a_number_comes_back_as_a_float(self, value):
        found = number("x", value)
        assert (found, type(found)) == (value, float)

    @pytest.mark.parametrize("value", [True, "0.5", None, [0.5]])
    def test_anything_else_is_a_type_error_that_names_the_argument(self, value):
        with pytest.raises(TypeError, match='x must be a number or "auto", got '):
            number("x", value, or_else='"auto"')

    @pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, -math.inf])
    def test_a_number_out_of_its_range_is_refused(self, value):
        with pytest.raises(ValueError, match="x must be 0 or more and finite, got "):
            number("x", value)

    @pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
    def test_a_range_may_have_an_end(self, value):
        with pytest.raises(ValueError, match="x must be from 0 to 1, or None to keep all, got "):
            number("x", value, high=1, or_else="None to keep all")
