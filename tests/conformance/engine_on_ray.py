"""EngineTests on Ray. test_engines.py runs this file in a network of its own."""

import pytest

from late_rerank.bulk.engines import as_engine
from late_rerank.testing import EngineTests

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore")]

# On a busy machine Ray needs more time than it gives itself. How long its node may take to start, 30 s, can't be set.
PATIENCE = {"RAY_gcs_server_port_wait_time_s": "300", "RAY_worker_register_timeout_seconds": "300"}
STARTS = 4


@pytest.fixture(autouse=True, scope="module")
def _one_cluster():
    """Ray takes seconds to start; all runs use one that is there."""
    with pytest.MonkeyPatch.context() as patch:
        for name, seconds in PATIENCE.items():
            patch.setenv(name, seconds)
        import ray

        for tries_left in reversed(range(STARTS)):
            try:
                ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
                break
            except Exception as error:  # a bare one
                ray.shutdown()
                if not tries_left or "timed out during startup" not in str(error):
                    raise
        yield
        ray.shutdown()


class TestRay(EngineTests):
    def make_engine(self):
        return as_engine("ray")
