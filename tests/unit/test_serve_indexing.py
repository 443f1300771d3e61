"""/v1/index within its time: the clock is looked at after each picture, and after each batch of texts."""

import time

import pytest
from PIL import Image

from late_rerank import Candidate, Reranker
from late_rerank.serve.errors import RequestError
from late_rerank.serve.indexing import Indexer
from late_rerank.testing.fakes import FakeVisualEncoder

PAGES = [Candidate(image=Image.new("RGB", (64, 96), colour)) for colour in ("red", "green", "blue")]


@pytest.mark.parametrize(("documents", "n"), [(PAGES, 1), ([f"text {i}" for i in range(40)], 16), ([*PAGES[:1], "a", "b"], 1)])
def test_a_request_whose_time_is_up_ends_after_its_first_part(documents, n):
    encoder = FakeVisualEncoder()
    indexer = Indexer(Reranker(encoder), timeout_s=1.0)
    with pytest.raises(RequestError, match=f"^{n} of {len(documents)} documents are stored by now") as told:
        indexer.index(documents, arrived=time.monotonic() - 1.0)
    assert (told.value.status, encoder.n_documents) == (504, n)


def test_pictures_that_are_encoded_together_are_a_part():
    encoder = FakeVisualEncoder()
    encoder.batch_pictures = 2
    with pytest.raises(RequestError, match=r"^2 of 3"):
        Indexer(Reranker(encoder), timeout_s=1.0).index(PAGES, arrived=time.monotonic() - 1.0)


def test_one_whose_server_ends_may_be_sent_to_another():
    indexer = Indexer(Reranker(FakeVisualEncoder()), timeout_s=60.0)
    indexer.close()
    with pytest.raises(RequestError, match=r"^1 of 3") as told:
        indexer.index(PAGES, arrived=time.monotonic())
    assert told.value.status == 503


def test_one_that_waits_for_another_until_its_time_is_up_is_not_sent_elsewhere():
    indexer = Indexer(Reranker(FakeVisualEncoder()), timeout_s=0.01)
    with indexer._turn, pytest.raises(RequestError, match="documents of other requests") as told:
        indexer.index(PAGES, arrived=time.monotonic())
    assert told.value.status == 504
