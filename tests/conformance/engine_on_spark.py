"""EngineTests on Spark. test_engines.py runs this file in a network of its own."""

import pytest

from late_rerank.bulk.engines import as_engine
from late_rerank.testing import EngineTests

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore")]


class TestSpark(EngineTests):
    def make_engine(self):
        return as_engine("spark")
