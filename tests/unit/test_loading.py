"""An object that is made in the background: waited for, tried again, warmed, closed."""

import asyncio
import threading

import pytest

from late_rerank.processes.loading import Loader
from late_rerank.testing.fakes import Gate


class Thing:
    """Notes what is done with it."""

    def __init__(self):
        self.log = []

    def warm(self):
        self.log.append("warmed")

    def close(self):
        self.log.append("closed")


class Maker:
    """Fails a number of times, then makes things; notes them, and what it told."""

    def __init__(self, n_failures=0, before=lambda: None, warm=Thing.warm):
        self.made, self.told, self.threads = [], [], []
        self._n_failures = n_failures
        self._before = before
        self._warm = warm

    def make(self):
        self.threads.append(threading.current_thread())
        self._before()
        if len(self.told) < self._n_failures:
            raise ConnectionError(f"away {len(self.told)}")
        self.made.append(Thing())
        return self.made[-1]

    def loader(self):
        return Loader(self.make, warm=self._warm, tell=self.told.append)


def test_it_is_made_in_a_thread_and_warmed_while_the_loop_goes_on():
    gate = Gate()
    maker = Maker(before=gate)

    async def loaded():
        loader = maker.loader()
        loader.begin()
        made = await gate.opened_during(loader.loaded())
        assert loader.made is made
        assert made.log == ["warmed"]
        await loader.close()
        return made

    made = asyncio.run(loaded())
    assert made.log == ["warmed", "closed"]
    assert maker.threads != [threading.main_thread()]


def test_a_failure_is_told_and_tried_again_as_often_as_there_are_waits():
    maker = Maker(n_failures=2)

    async def loaded(waits_s):
        loader = maker.loader()
        loader.begin(waits_s)
        return await loader.loaded(), loader.error

    made, error = asyncio.run(loaded([0.0, 0.0, 0.0]))
    assert maker.made == [made]
    assert [str(error) for error in maker.told] == ["away 0", "away 1"]
    assert error is maker.told[-1]


@pytest.mark.parametrize("waits_s", [[], [0.0]])
def test_the_last_failure_is_raised_by_each_call_that_waits(waits_s):
    maker = Maker(n_failures=9)

    async def failed():
        loader = maker.loader()
        loader.begin(waits_s)
        return await asyncio.gather(loader.loaded(), loader.loaded(), return_exceptions=True)

    assert asyncio.run(failed()) == [maker.told[-1]] * 2
    assert len(maker.told) == len(waits_s) + 1


def test_what_can_not_be_warmed_is_closed_and_is_a_failure():
    def broken(thing):
        raise ValueError("a broken model")

    maker = Maker(warm=broken)

    async def failed():
        loader = maker.loader()
        loader.begin()
        with pytest.raises(ValueError, match="a broken model"):
            await loader.loaded()
        await loader.close()
        return loader.made

    assert asyncio.run(failed()) is None
    assert maker.made[0].log == ["closed"]


def test_closing_ends_the_wait_for_the_next_try():
    maker = Maker(n_failures=9)

    async def ended():
        loader = maker.loader()
        loader.begin([3600.0])
        while loader.error is None:
            await asyncio.sleep(0.001)
        await asyncio.wait_for(loader.close(), 60)

    asyncio.run(ended())
    assert len(maker.told) == 1


def test_closing_waits_for_a_try_that_runs_and_closes_what_it_made():
    gate = Gate()
    maker = Maker(before=gate)

    async def closed():
        loader = maker.loader()
        loader.begin()
        await gate.reached(asyncio.ensure_future(loader.loaded()))
        await gate.opened_during(loader.close())

    asyncio.run(closed())
    assert maker.made[0].log == ["warmed", "closed"]


def test_one_that_is_closed_before_it_began_makes_nothing():
    maker = Maker()

    async def closed():
        loader = maker.loader()
        loader.begin()
        await loader.close()

    asyncio.run(closed())
    assert maker.threads == []


def test_a_call_that_is_cancelled_cancels_nothing_for_the_others():
    gate = Gate()
    maker = Maker(before=gate)

    async def loaded():
        loader = maker.loader()
        loader.begin()
        cancelled = asyncio.ensure_future(loader.loaded())
        await gate.reached(cancelled)
        cancelled.cancel()
        gate.open()
        return await loader.loaded()

    assert asyncio.run(loaded()) is maker.made[0]


def test_it_must_be_begun():
    async def waited():
        await Maker().loader().loaded()

    with pytest.raises(RuntimeError, match="begin"):
        asyncio.run(waited())
