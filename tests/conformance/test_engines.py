"""Each engine does each task, whoever dies. Ray listens on all addresses of a machine, so it runs in a network of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from private_network import in_private_network, why_not

from late_rerank.bulk.engines import NAMES, as_engine
from late_rerank.errors import MissingDependencyError
from late_rerank.testing import EngineTests

pytest.importorskip("fcntl", reason="workers of stores need POSIX")


@pytest.mark.process
class TestLocal(EngineTests):
    def make_engine(self):
        return as_engine("local")


@pytest.mark.process
@pytest.mark.slow("starts clusters of processes, 25 s")
class TestDask(EngineTests):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _installed(cls):
        pytest.importorskip("distributed", reason='pip install "late-rerank[dask]"')

    def make_engine(self):
        return as_engine("dask")


@pytest.mark.slow("starts Ray or Spark, 30 s")
@pytest.mark.parametrize("engine", ["ray", "spark"])
def test_a_cluster_passes_in_a_network_of_its_own(engine):
    pytest.importorskip({"spark": "pyspark"}.get(engine, engine), reason=f'pip install "late-rerank[{engine}]"')
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    suite = Path(__file__).with_name(f"engine_on_{engine}.py")
    command = in_private_network(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=suite.parents[2])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


class TestChoosing:
    def test_an_unknown_engine_is_refused(self):
        with pytest.raises(ValueError, match="choose one of local, ray, dask, spark"):
            as_engine("hadoop")
        with pytest.raises(TypeError, match="or an Engine, got int"):
            as_engine(7)

    def test_an_engine_stays_itself_and_brings_its_own_address(self):
        engine = as_engine("local")
        assert as_engine(engine) is engine
        with pytest.raises(ValueError, match="give it to LocalEngine itself"):
            as_engine(engine, "here:1")

    def test_processes_of_this_machine_have_no_address(self):
        with pytest.raises(ValueError, match="takes no address"):
            as_engine("local", "tcp://here:8786")

    @pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("dask", "distributed"), ("spark", "pyspark")])
    def test_without_its_library_the_extra_is_named(self, engine, package, monkeypatch):
        monkeypatch.setattr("late_rerank.errors.is_installed", lambda name: name != package)
        with pytest.raises(MissingDependencyError, match=rf"late-rerank\[{engine}\]"):
            as_engine(engine)

    def test_every_engine_says_what_it_is(self, monkeypatch):
        monkeypatch.setattr("late_rerank.errors.is_installed", lambda name: True)
        engines = [as_engine(name) for name in NAMES]
        assert [engine.name for engine in engines] == list(NAMES)
        assert [engine.is_spread for engine in engines] == [False, True, True, True]
