"""Functions for `prior=`: how new a document is, numbers of metadata, sums."""

import json
import pickle
from dataclasses import asdict
from datetime import date, datetime, timedelta, timezone
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker
from late_rerank.ranking import from_metadata, recency, sum_of
from late_rerank.ranking.dates import seconds_of
from late_rerank.ranking.prior import of_queries
from late_rerank.testing.fakes import FakeEncoder

NOW = "2026-11-30T12:00:00Z"
NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
MIDNIGHT = NOON - timedelta(hours=12)


def dated(value, field="date"):
    return Candidate("text", metadata={field: value})


class TestRecency:
    def test_a_document_of_this_moment_adds_the_weight_and_one_of_a_half_life_ago_half_of_it(self):
        new = recency("date", half_life_days=30, weight=2.0, now=NOW)
        ages = [timedelta(0), timedelta(days=30), timedelta(days=60), timedelta(days=3650)]
        assert [new(dated(NOON - age)) for age in ages] == pytest.approx([2.0, 1.0, 0.5, 0.0], abs=1e-9)

    @given(days=st.floats(0, 1e5), half_life=st.floats(1e-3, 1e5), weight=st.floats(-100, 100))
    def test_it_is_exponential(self, days, half_life, weight):
        found = recency("date", half_life_days=half_life, weight=weight, now=0)(dated(-86_400.0 * days))
        assert found == pytest.approx(weight * 0.5 ** (days / half_life), rel=1e-6, abs=1e-12)

    @pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan"), "", "  ", np.datetime64("NaT")])
    def test_a_document_without_a_date_adds_nothing(self, missing):
        new = recency("date", half_life_days=30)
        assert new(dated(missing)) == new(Candidate("text")) == 0.0

    def test_a_missing_value_of_pandas_adds_nothing(self):
        pandas = pytest.importorskip("pandas")
        assert [recency("date", half_life_days=30)(dated(each)) for each in (pandas.NaT, pandas.NA)] == [0.0, 0.0]

    def test_a_date_in_the_future_is_as_new_as_this_moment(self):
        assert recency("date", half_life_days=1, weight=3.0, now=NOW)(dated("2050-01-01")) == 3.0

    def test_without_a_moment_it_is_that_of_the_call(self):
        just_now = datetime.now(timezone.utc) - timedelta(days=30)
        assert recency("date", half_life_days=30)(dated(just_now)) == pytest.approx(0.5, abs=1e-3)

    def test_all_queries_of_a_call_are_held_at_one_moment(self):
        new = recency("date", half_life_days=1)
        (first, second) = of_queries(new, 2)
        assert first is second
        assert first.now is not None
        (both,) = of_queries(sum_of(new, len), 1)
        assert both.priors[0].now is not None
        assert new.now is None

    def test_an_attribute_named_held_of_a_users_function_is_its_own(self):
        mock = Mock(return_value=1.0)
        assert of_queries(mock, 2) == [mock, mock]
        assert of_queries(sum_of(mock, len), 1)[0].priors[0] is mock

    def test_numbers_of_numpy_become_pythons_which_json_can_hold(self):
        new = recency("date", half_life_days=np.float32(30), weight=np.int64(2), now=np.datetime64("1970-01-02"))
        assert json.loads(json.dumps(asdict(new))) == {"field": "date", "half_life_days": 30.0, "weight": 2.0, "now": 86_400.0}
        assert type(from_metadata("n", weight=np.float64(2)).weight) is float

    def test_it_orders_documents_of_one_score_by_date(self):
        days = ["2026-01-02", None, "2026-11-29", "2026-06-01"]
        documents = [Candidate("a cat", metadata={"date": day}) for day in days]
        found = Reranker(FakeEncoder()).rerank("cat", documents, prior=recency("date", half_life_days=30, now=NOW))
        assert [document.index for document in found] == [2, 3, 0, 1]

    def test_it_can_be_pickled_and_shown_and_compared(self):
        new = recency("date", half_life_days=30, weight=0.5)
        assert pickle.loads(pickle.dumps(new)) == new
        assert repr(new) == "Recency(field='date', half_life_days=30.0, weight=0.5, now=None)"
        assert len({new, recency("date", half_life_days=30, weight=0.5), recency("day", half_life_days=30)}) == 2

    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            ({"half_life_days": 0}, ValueError, "half_life_days must be a finite number above 0, got 0"),
            ({"half_life_days": -1}, ValueError, "half_life_days must be a finite number above 0, got -1"),
            ({"half_life_days": "30d"}, TypeError, "half_life_days must be a finite number above 0, got '30d'"),
            ({"half_life_days": float("nan")}, ValueError, "half_life_days must be"),
            ({"weight": float("inf")}, ValueError, "weight must be"),
            ({"weight": -1e305}, ValueError, r"weight must be from -1e\+150 to 1e\+150, got -1e\+305"),
            ({"weight": None}, TypeError, "weight must be a number"),
            ({"field": ""}, ValueError, "field must be the name of a metadata field, got ''"),
            ({"field": 5}, TypeError, "field must be the name of a metadata field, got int: 5"),
            ({"now": "soon"}, ValueError, "now must be a date as ISO 8601"),
            ({"now": ""}, ValueError, "now must be a date, or None"),
        ],
    )
    def test_a_wrong_argument_is_told(self, wrong, error, message):
        with pytest.raises(error, match=message):
            recency(**{"field": "date", "half_life_days": 30.0, **wrong})

    def test_a_wrong_date_names_the_document_and_the_field(self):
        new = recency("published", half_life_days=30)
        with pytest.raises(ValueError, match=r"failed for candidates\[1\]: ValueError: published must be a date as ISO 8601"):
            Reranker(FakeEncoder()).rerank("cat", [Candidate("a"), dated("30.11.2026", "published")], prior=new)
        named = Candidate("a", "n7", metadata={"published": "30.11.2026"})
        with pytest.raises(ValueError, match=r"failed for candidates\[0\] \(id 'n7'\): ValueError: published"):
            Reranker(FakeEncoder()).rerank("cat", [named], prior=new)


class TestDates:
    @pytest.mark.parametrize(
        "written",
        [
            NOW,
            "2026-11-30T12:00:00+00:00",
            "2026-11-30T12:00",
            "2026-11-30 12:00:00",
            "2026-11-30t12:00:00z",
            "2026-11-30T12:00:00.000Z",
            "2026-11-30T12:00:00.0000000Z",
            "2026-11-30T12:00:00,0Z",
            "2026-11-30 12:00:00 Z",
            "2026-11-30T13:00:00+01:00",
            "2026-11-30T13:00+0100",
            "2026-11-30T13:00+01",
            "2026-11-30T06:30:00-05:30",
            " 2026-11-30T12:00:00Z\n",
            "20261130T120000Z",
            "20261130T1200",
            NOON,
            NOON.replace(tzinfo=None),
            NOON.astimezone(ZoneInfo("Asia/Tokyo")),
            np.datetime64("2026-11-30T12:00"),
            np.datetime64("2026-11-30T12:00:00.000000000"),
            NOON.timestamp(),
            int(NOON.timestamp()),
            np.int64(NOON.timestamp()),
            np.float64(NOON.timestamp()),
        ],
        ids=repr,
    )
    def test_one_moment_may_be_written_in_many_ways(self, written):
        assert seconds_of(written, "date") == NOON.timestamp()

    @pytest.mark.parametrize("written", ["2026-11-30", "20261130", date(2026, 11, 30), np.datetime64("2026-11-30")], ids=repr)
    def test_a_day_is_its_beginning_in_utc(self, written):
        assert seconds_of(written, "date") == MIDNIGHT.timestamp()

    @pytest.mark.parametrize("written", ["2026-11-30Z", "20261130Z", "2026-11-30+00:00"])
    def test_a_day_with_a_zone_is_its_beginning_there(self, written):
        assert seconds_of(written, "date") == MIDNIGHT.timestamp()
        assert seconds_of("2026-11-30+01:00", "date") == seconds_of("20261130+01", "date") == MIDNIGHT.timestamp() - 3600

    @pytest.mark.parametrize("seconds", [20261131, 20261329, 999, 18991231, 20261129.5, 0, -20261129])
    def test_what_is_no_day_written_as_a_number_stays_seconds(self, seconds):
        assert seconds_of(seconds, "date") == seconds

    def test_a_year_or_a_month_is_its_beginning(self):
        assert seconds_of("2026", "date") == datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
        assert seconds_of("2026-11", "date") == datetime(2026, 11, 1, tzinfo=timezone.utc).timestamp()

    def test_pandas_timestamps_are_dates(self):
        pandas = pytest.importorskip("pandas")
        assert seconds_of(pandas.Timestamp("2026-11-30"), "date") == MIDNIGHT.timestamp()
        assert seconds_of(pandas.Timestamp("2026-11-30 21:00", tz="Asia/Tokyo"), "date") == NOON.timestamp()

    def test_fractions_of_seconds_count(self):
        assert seconds_of("2026-11-30T12:00:00.25Z", "date") == NOON.timestamp() + 0.25

    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            (1.7e12, ValueError, r"past the year 5000: milliseconds\? Divide them by 1000"),
            (2026, ValueError, 'as Unix seconds that is in 1970. Write a year as text, "2026"'),
            (2026.0, ValueError, 'Write a year as text, "2026"'),
            (20261129, ValueError, 'got 20261129: as Unix seconds that is in 1970. Write a day as text, "20261129"'),
            (np.int64(19991231), ValueError, 'Write a day as text, "19991231"'),
            ("1712123100000", ValueError, "must be a date as ISO 8601"),
            ("2026-11-30+0100+01:00", ValueError, "must be a date as ISO 8601"),
            (np.datetime64("20000-01-01"), ValueError, "must be a date of the years 1 to 9999, got"),
            ("30.11.2026", ValueError, "must be a date as ISO 8601, such as 2026-11-30"),
            ("2026-13-01", ValueError, "must be a date as ISO 8601"),
            ("2026-W48-1", ValueError, "must be a date as ISO 8601"),
            ("2026-11-30T25:00", ValueError, "must be a date as ISO 8601"),
            ("yesterday", ValueError, "must be a date as ISO 8601"),
            ("\u0661\u0662\u0663\u0664-11-30", ValueError, "must be a date as ISO 8601"),
            (True, TypeError, "got bool: True"),
            ([2026], TypeError, r"got list: \[2026\]"),
            (float("inf"), TypeError, "got float: inf"),
        ],
    )
    def test_what_is_no_date_is_told(self, wrong, error, message):
        with pytest.raises(error, match=f"(?s)^published .*{message}"):
            seconds_of(wrong, "published")


class TestMetadata:
    def test_a_number_counts_times_its_weight(self):
        assert from_metadata("n")(dated(2, "n")) == 2.0
        assert from_metadata("n", weight=-0.5)(dated(np.float32(2), "n")) == -1.0

    @pytest.mark.parametrize("missing", [None, float("nan")])
    def test_a_missing_number_adds_nothing(self, missing):
        assert from_metadata("n")(dated(missing, "n")) == from_metadata("n")(Candidate("text")) == 0.0

    @pytest.mark.parametrize("wrong", ["2", True, float("inf"), [1]])
    def test_what_is_no_number_is_told(self, wrong):
        with pytest.raises(TypeError, match=r"metadata\['n'\] must be a finite number, or missing, got"):
            from_metadata("n")(dated(wrong, "n"))
        with pytest.raises(ValueError, match="field must be the name"):
            from_metadata(" ")


class TestSums:
    def test_priors_add_up(self):
        both = sum_of(from_metadata("n"), recency("date", half_life_days=1, now=NOW), lambda candidate: len(candidate.text))
        assert both(Candidate("text", metadata={"n": 0.5, "date": NOW})) == 5.5
        assert pickle.loads(pickle.dumps(sum_of(from_metadata("n"), len))) == sum_of(from_metadata("n"), len)
        assert sum_of(len) is len
        assert sum_of()(Candidate("text")) == 0

    def test_what_is_no_function_is_told(self):
        with pytest.raises(TypeError, match=r"priors\[1\] must be a function of a Candidate, got str: 'n'"):
            sum_of(from_metadata("n"), "n")
