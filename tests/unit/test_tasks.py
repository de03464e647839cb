"""A coroutine that has begun goes to its end, whoever waits for it."""

import asyncio

import pytest

from flama._shielding import EagerCoroutine

pytestmark = pytest.mark.anyio


class Work:
    """Something that waits twice, and is told how it ends."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first, self.second = loop.create_future(), loop.create_future()
        self.ended = False

    async def run(self) -> None:
        try:
            await self.first
            await self.second
        finally:
            self.ended = True


@pytest.fixture
async def work():
    return Work()


async def turns(number=5):
    for _ in range(number):
        await asyncio.sleep(0)


async def test_it_begins_at_once_and_ends_by_itself(work):
    begun = EagerCoroutine(work.run())
    work.first.set_result(None)
    work.second.set_result(None)
    await turns()

    assert work.ended
    await begun.wait()
    await begun.wait()


async def test_what_waits_for_nothing_has_ended():
    async def nothing() -> None:
        pass

    await EagerCoroutine(nothing()).wait()


async def test_who_waits_is_told_of_its_end(work):
    waiting = asyncio.ensure_future(EagerCoroutine(work.run()).wait())
    await turns()
    assert not waiting.done()

    work.first.set_result(None)
    work.second.set_result(None)
    await waiting


async def test_a_wait_that_is_cancelled_leaves_it_as_it_is(work):
    begun = EagerCoroutine(work.run())
    waiting = asyncio.ensure_future(begun.wait())
    await turns()
    waiting.cancel()
    await turns()
    assert waiting.cancelled()
    assert not work.first.cancelled()
    assert not work.ended

    again = asyncio.ensure_future(begun.wait())
    work.first.set_result(None)
    await turns()
    assert not again.done()
    work.second.set_result(None)
    await again
    assert work.ended


async def test_a_wait_that_takes_too_long_leaves_it_as_it_is(work):
    begun = EagerCoroutine(work.run())
    with pytest.raises(TimeoutError):
        await begun.wait(0.01)
    assert not work.first.done()

    work.first.set_result(None)
    work.second.set_result(None)
    await begun.wait(0.01)
    assert work.ended


@pytest.mark.parametrize("early", [True, False])
async def test_its_error_is_raised_where_one_waits(work, early):
    begun = EagerCoroutine(work.run())
    waiting = None if early else asyncio.ensure_future(begun.wait())
    await turns()
    work.first.set_exception(ConnectionError("gone"))
    await turns()

    for wait in (waiting or begun.wait(), begun.wait()):
        with pytest.raises(ConnectionError, match="gone"):
            await wait


async def test_an_error_before_it_waits_is_raised_where_one_waits():
    async def fail() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await EagerCoroutine(fail()).wait()
