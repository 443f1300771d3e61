"""The stand-ins that tests are written with: hooks of the encoder, and the gate."""

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder, Gate

TEXTS = ["cats sleep all day", "dogs bark"]


class TestHooks:
    def test_a_hook_is_called_with_the_texts_of_its_kind_before_they_are_encoded(self):
        seen = []
        encoder = FakeEncoder(
            before_query=lambda texts: seen.append(("query", *texts, encoder.n_queries)),
            before_document=lambda texts: seen.append(("document", *texts, encoder.n_documents)),
        )
        encoder.encode_document(TEXTS)
        encoder.encode_query(["cats"])

        assert seen == [("document", *TEXTS, 0), ("query", "cats", 0)]

    def test_what_a_hook_raises_goes_to_the_caller_and_nothing_is_counted(self):
        def fail(texts):
            raise OSError("broken")

        encoder = FakeEncoder(before_query=fail)
        with pytest.raises(OSError, match="broken"):
            encoder.encode_query(["cats"])
        assert encoder.n_queries == 0

    def test_an_encoder_with_hooks_serves_the_vectors_of_one_without(self):
        hooked, plain = FakeEncoder(before_document=lambda texts: None), FakeEncoder()

        assert hooked.fingerprint == plain.fingerprint
        assert (hooked.encode_document(TEXTS).values == plain.encode_document(TEXTS).values).all()

    def test_an_encoder_without_hooks_can_be_pickled(self):
        assert pickle.loads(pickle.dumps(FakeEncoder(8))).encode_query(["cats"]).values.shape == (1, 8)


class TestGate:
    def test_threads_wait_until_it_is_opened_and_later_ones_pass(self):
        gate = Gate()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(gate)
            gate.wait_until_reached()
            assert not waiting.done()
            gate.open()
            waiting.result(60)
        gate("anything", "at all")

        assert gate.threads[1] == threading.current_thread().name != gate.threads[0]

    def test_who_is_let_in_by_nobody_gets_an_error_that_names_its_thread(self):
        with pytest.raises(TimeoutError, match=r"nobody opened the gate within 0\.01 s.*'MainThread'"):
            Gate(0.01)()
        with pytest.raises(TimeoutError, match=r"no thread came to the gate within 0\.01 s"):
            Gate(0.01).wait_until_reached()

    def test_work_beside_the_event_loop_gets_through(self):
        gate = Gate()
        reranker = Reranker(FakeEncoder(before_query=gate, before_document=gate))
        ranking = asyncio.run(gate.opened_during(reranker.arerank("cats", TEXTS)))

        assert ranking[0].text == TEXTS[0]
        assert threading.current_thread().name not in gate.threads

    def test_work_that_blocks_the_event_loop_fails(self):
        gate = Gate(0.05)
        reranker = Reranker(FakeEncoder(before_query=gate))

        async def blocks():
            return reranker.rerank("cats", TEXTS)

        with pytest.raises(TimeoutError, match="nobody opened the gate"):
            asyncio.run(gate.opened_during(blocks()))

    def test_work_that_never_comes_to_the_gate_fails(self):
        async def work():
            return 5

        with pytest.raises(RuntimeError, match="the work gave 5 without coming to the gate"):
            asyncio.run(Gate().opened_during(work()))

    def test_work_that_fails_before_the_gate_gives_its_own_error(self):
        async def work():
            raise KeyError("missing")

        with pytest.raises(KeyError, match="missing"):
            asyncio.run(Gate().opened_during(work()))
