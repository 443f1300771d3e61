"""EngineTests on Ray. test_engines.py runs this file in a network of its own."""

import pytest

from late_rerank.bulk.engines import as_engine
from late_rerank.testing import EngineTests

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True, scope="module")
def _one_cluster():
    """Ray takes seconds to start; runs use one that is there."""
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    yield
    ray.shutdown()


class TestRay(EngineTests):
    def make_engine(self):
        return as_engine("ray")
