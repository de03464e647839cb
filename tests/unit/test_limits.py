"""What a block that may take so long promises."""

import asyncio
import time

import pytest

from flama._timeouts import timeout

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr("flama._timeouts._AGAIN", 0.05)


async def test_a_block_that_takes_too_long_is_cancelled():
    began = time.perf_counter()

    with pytest.raises(TimeoutError, match="it took longer"):
        with timeout(0.1):
            await asyncio.sleep(60)

    assert time.perf_counter() - began < 1
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(0)  # the task goes on


async def test_a_block_that_goes_on_when_it_is_cancelled_is_cancelled_again():
    cancellations = 0

    with pytest.raises(TimeoutError):
        with timeout(0):
            while cancellations < 2:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancellations += 1
            await asyncio.sleep(60)

    assert asyncio.current_task().cancelling() == 0


async def test_a_block_that_ends_in_time_is_let_be():
    with timeout(0.05):
        await asyncio.sleep(0)

    await asyncio.sleep(0.2)


async def test_what_a_late_block_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        with timeout(0):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise ZeroDivisionError from None

    assert asyncio.current_task().cancelling() == 0


async def test_a_cancellation_from_outside_is_not_taken_for_the_limit():
    async def block():
        with timeout(0):
            try:
                await asyncio.sleep(60)
            finally:
                task.cancel()

    task = asyncio.create_task(block())
    await asyncio.wait((task,))

    assert task.cancelled()


async def test_blocks_have_limits_of_their_own():
    async def block(seconds, waits):
        with timeout(seconds):
            await asyncio.sleep(waits)

    late, in_time = await asyncio.gather(block(0.1, 60), block(60, 0.3), return_exceptions=True)

    assert isinstance(late, TimeoutError)
    assert in_time is None


def test_each_event_loop_has_its_limits(anyio_backend):
    async def late():
        with timeout(0):
            await asyncio.sleep(60)

    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(late())
