"""Turns go to those who ask, in order, and to nobody who has given up."""

import asyncio

import pytest

from flama.sqlalchemy.turns import Turns

pytestmark = pytest.mark.anyio


async def asked(turns, number, order):
    """Have ``number`` tasks ask for a turn, one after the other, and note in which order they get it."""

    async def ask(name):
        await turns.wait()
        order.append(name)

    tasks = [asyncio.create_task(ask(name)) for name in range(number)]
    await asyncio.sleep(0)
    return tasks


async def test_those_who_wait_get_it_in_the_order_of_asking():
    turns, order = Turns(1), []
    await turns.wait()
    tasks = await asked(turns, 3, order)

    for _ in tasks:
        assert turns.are_wanted
        assert not turns.take()
        turns.give_back()
        await asyncio.sleep(0)

    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    turns.give_back()
    assert turns.are_free


async def test_who_is_cancelled_keeps_nobody_waiting():
    turns, order = Turns(1), []
    await turns.wait()
    waiting, given, _ = tasks = await asked(turns, 3, order)

    waiting.cancel()
    await asyncio.sleep(0)
    turns.give_back()
    given.cancel()  # with the turn on its way to it

    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [2]
    assert not turns.are_wanted
    assert not turns.are_free


async def test_each_waits_for_as_long_as_the_limit_says_and_no_longer():
    turns, loop = Turns(1, 0.05), asyncio.get_running_loop()
    await turns.wait()

    async def waited():
        begun = loop.time()
        with pytest.raises(TimeoutError):
            await turns.wait()
        return loop.time() - begun

    first = asyncio.create_task(waited())
    await asyncio.sleep(0.03)
    second = asyncio.create_task(waited())

    for seconds in await asyncio.gather(first, second):
        assert 0.049 <= seconds < 1  # uvloop counts milliseconds
    assert not turns.are_wanted
    turns.give_back()
    assert turns.are_free


async def test_who_has_it_in_time_is_not_told_that_time_is_over():
    turns, order = Turns(1, 0.05), []
    await turns.wait()
    early, late = await asked(turns, 2, order)

    turns.give_back()
    await asyncio.sleep(0.1)

    await early
    assert isinstance(late.exception(), TimeoutError)
    assert order == [0]


async def test_who_is_cancelled_as_time_runs_out_takes_no_turn_along():
    turns = Turns(1, 0.01)
    await turns.wait()

    for _ in range(20):
        task = asyncio.create_task(turns.wait())
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        await asyncio.wait([task])

    turns.give_back()
    assert turns.are_free
    assert not turns.are_wanted


def test_each_event_loop_has_a_timer_of_its_own():
    turns = Turns(1, 0.01)
    assert turns.take()

    async def wait_in_vain():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(turns.wait(), 5)

    async def be_gone():
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        await turns.wait()

    with pytest.raises(RuntimeError):
        asyncio.run(be_gone())
    asyncio.run(wait_in_vain())
