"""Spawned workers, as they are begun: nothing runs here."""

import inspect
import signal
from contextlib import suppress

import pytest
import uvicorn

from late_rerank.serve import workers


@pytest.fixture
def handlers():
    """Signal handlers, of which uvicorn's supervisor sets its own: those of before are put back."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield
    for number, handler in before.items():
        with suppress(OSError, ValueError, TypeError):  # some can't be handled by anybody
            signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_spawned_worker_may_be_silent_while_it_imports_its_engine(monkeypatch):
    if "timeout_worker_healthcheck" not in inspect.signature(uvicorn.Config).parameters:
        pytest.skip("this uvicorn allows five seconds: pip install 'uvicorn>=0.37'")
    allowed = []
    monkeypatch.setattr(workers._Spawned, "run", lambda self: allowed.append(self.config.timeout_worker_healthcheck))
    workers.run_workers(uvicorn.Config("", port=0, workers=2), forks=False)
    assert allowed == [30]
