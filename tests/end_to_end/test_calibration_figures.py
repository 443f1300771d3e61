"""The committed figures of calibration, and their plot."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from benchmarks.calibration import COLLECTIONS, plot

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def report():
    return json.loads((BENCHMARKS / "calibration.json").read_text(encoding="utf-8"))


def test_on_held_out_queries_it_errs_less_than_the_clipped_mean(report):
    for name in (*COLLECTIONS, "overall"):
        result = report["results"][name]
        assert result["calibrated"]["calibration_error"] < result["clipped_mean"]["calibration_error"]
    assert report["results"]["overall"]["calibrated"]["calibration_error"] < 0.1


def test_the_reliability_plot_is_the_committed_one_and_well_formed(report):
    committed = (BENCHMARKS / "calibration.svg").read_text(encoding="utf-8")

    assert committed == plot(report)
    assert ElementTree.fromstring(committed).tag.endswith("svg")
