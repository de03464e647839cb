"""Deadlines: a server that doesn't answer holds its caller no longer than the caller said."""

import asyncio
import time

import pytest

from flama import _timeouts
from flama._timeouts import timeout

pytestmark = pytest.mark.anyio


async def ended(seconds):
    """How long a block of so many seconds took."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        with timeout(seconds):
            await asyncio.sleep(60)
    return time.monotonic() - began


async def test_deadlines_are_exact_to_50_ms():
    lengths = [0.11, 0.2, 0.34, 0.49]
    # the best of three: on a machine that is busy, all timers are late
    taken = [await asyncio.gather(*map(ended, lengths)) for _ in range(3)]

    late = [min(each) - length for each, length in zip(zip(*taken, strict=True), lengths, strict=True)]
    assert all(0 <= each < 0.05 for each in late), late


async def test_a_short_deadline_after_a_long_one_is_exact_too():
    async def short():
        with timeout(30):
            return await ended(0.1)

    assert min([await short() for _ in range(3)]) < 0.15


async def test_a_deadline_is_counted_from_where_its_block_begins():
    time.sleep(0.1)  # noqa: ASYNC251 - the loop's own clock may stand still meanwhile

    assert await ended(0.1) >= 0.1


async def test_deadlines_that_are_met_leave_the_timer_alone(monkeypatch):
    loop, made = asyncio.get_running_loop(), []

    class Counting(_timeouts.TimeoutScheduler):
        def _schedule(self, when, seconds):
            made.append(seconds)
            super()._schedule(when, seconds)

    monkeypatch.setattr(_timeouts._local, "scheduler", Counting(loop))
    for _ in range(1_000):
        with timeout(30):
            await asyncio.sleep(0)

    assert len(made) == 1


async def test_many_deadlines_at_different_times_are_looked_at_together(monkeypatch):
    loop, looks = asyncio.get_running_loop(), []

    class Counting(_timeouts.TimeoutScheduler):
        def _expire_due(self):
            looks.append(len(self._deadlines))
            super()._expire_due()

    monkeypatch.setattr(_timeouts._local, "scheduler", Counting(loop))
    await asyncio.gather(*(ended(0.05 + number / 10_000) for number in range(1_000)))  # 0.05 to 0.15 s

    assert len(looks) <= 8
