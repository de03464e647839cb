"""FairSemaphore go to those who ask, in order, and to nobody who has given up."""

import asyncio

import pytest

from flama._semaphore import FairSemaphore

pytestmark = pytest.mark.anyio


async def asked(semaphore, number, order):
    """Have ``number`` tasks ask for a turn, one after the other, and note in which order they get it."""

    async def ask(name):
        await semaphore.acquire()
        order.append(name)

    tasks = [asyncio.create_task(ask(name)) for name in range(number)]
    await asyncio.sleep(0)
    return tasks


async def test_those_who_wait_get_it_in_the_order_of_asking():
    semaphore, order = FairSemaphore(1), []
    await semaphore.acquire()
    tasks = await asked(semaphore, 3, order)

    for _ in tasks:
        assert semaphore.has_waiters
        assert not semaphore.acquire_nowait()
        semaphore.release()
        await asyncio.sleep(0)

    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    semaphore.release()
    assert semaphore.available


async def test_who_is_cancelled_keeps_nobody_waiting():
    semaphore, order = FairSemaphore(1), []
    await semaphore.acquire()
    waiting, given, _ = tasks = await asked(semaphore, 3, order)

    waiting.cancel()
    await asyncio.sleep(0)
    semaphore.release()
    given.cancel()  # with the turn on its way to it

    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [2]
    assert not semaphore.has_waiters
    assert not semaphore.available


async def test_each_waits_for_as_long_as_the_limit_says_and_no_longer():
    semaphore, loop = FairSemaphore(1, 0.05), asyncio.get_running_loop()
    await semaphore.acquire()

    async def waited():
        begun = loop.time()
        with pytest.raises(TimeoutError):
            await semaphore.acquire()
        return loop.time() - begun

    first = asyncio.create_task(waited())
    await asyncio.sleep(0.03)
    second = asyncio.create_task(waited())

    for seconds in await asyncio.gather(first, second):
        assert 0.049 <= seconds < 1  # uvloop counts milliseconds
    assert not semaphore.has_waiters
    semaphore.release()
    assert semaphore.available


async def test_who_has_it_in_time_is_not_told_that_time_is_over():
    semaphore, order = FairSemaphore(1, 0.05), []
    await semaphore.acquire()
    early, late = await asked(semaphore, 2, order)

    semaphore.release()
    await asyncio.sleep(0.1)

    await early
    assert isinstance(late.exception(), TimeoutError)
    assert order == [0]


async def test_who_is_cancelled_as_time_runs_out_takes_no_turn_along():
    semaphore = FairSemaphore(1, 0.01)
    await semaphore.acquire()

    for _ in range(20):
        task = asyncio.create_task(semaphore.acquire())
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        await asyncio.wait([task])

    semaphore.release()
    assert semaphore.available
    assert not semaphore.has_waiters


def test_each_event_loop_has_a_timer_of_its_own():
    semaphore = FairSemaphore(1, 0.01)
    assert semaphore.acquire_nowait()

    async def wait_in_vain():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(semaphore.acquire(), 5)

    async def be_gone():
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        await semaphore.acquire()

    with pytest.raises(RuntimeError):
        asyncio.run(be_gone())
    asyncio.run(wait_in_vain())
