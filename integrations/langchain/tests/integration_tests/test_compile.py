"""LangChain's convention: `pytest -m compile tests/integration_tests` imports them without running any."""

import pytest


@pytest.mark.compile
def test_the_integration_tests_can_be_imported():
    """The import is the test."""
