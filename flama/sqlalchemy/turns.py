"""Turns that are taken in the order of asking."""

import asyncio
import collections.abc
import math

__all__ = ["ExpiredError", "Turns"]


class ExpiredError(TimeoutError):
    """Nobody gave a turn back within the time limit."""


class Turns:
    """So many turns at a time; one that is given back goes to whoever waits longest.

    One waits for ``limit`` seconds at most. As that is the same for all, one timer, for whoever waits longest, serves.

    :raises ExpiredError: by waiting: it took longer.
    """

    __slots__ = ("_free", "_limit", "_loop", "_timed", "_waiting")

    def __init__(self, number: float, limit: float = math.inf) -> None:
        self._free = number  # none as long as somebody waits
        self._limit = limit
        self._waiting: dict[asyncio.Future[None], float] = {}  # with the loop's time since when
        self._loop: asyncio.AbstractEventLoop | None = None  # in which one waited last
        self._timed = False  # whether that has a timer

    @property
    def are_free(self) -> bool:
        """Whether one is to be had at once."""
        return self._free > 0

    @property
    def are_wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    @property
    def waiters(self) -> collections.abc.Mapping[asyncio.Future[None], float]:
        """Those who wait, the longest first, each with the loop's time since when."""
        return self._waiting

    def take(self) -> bool:
        """Take one if one is to be had at once, and tell whether it was."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    async def wait(self) -> None:
        """Take one, waiting for it if need be."""
        if not self.take():
            await self.wait_for(self.enqueue())

    def enqueue(self) -> asyncio.Future[None]:
        """Put one more into the queue, to be waited for at once."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._timed = loop, False
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting[turn] = since = loop.time()
        if not self._timed and self._limit < math.inf:
            self._timed = True
            loop.call_at(since + self._limit, self._expire, loop)
        return turn

    async def wait_for(self, waiter: asyncio.Future[None]) -> None:
        """Wait until one who was put into the queue has a turn."""
        try:
            await waiter
        except BaseException:
            if self._waiting.pop(waiter, None) is None and not waiter.cancelled() and waiter.exception() is None:
                self.give_back()  # it had come
            raise

    async def __aenter__(self) -> None:
        """Take one, waiting for it if need be."""
        await self.wait()

    async def __aexit__(self, *_: object) -> None:
        """Give it back."""
        self.give_back()

    def give_back(self) -> None:
        """Let the next one have it."""
        for turn in self._waiting:
            if not turn.done():
                del self._waiting[turn]
                turn.set_result(None)
                return
        self._free += 1

    def fail(self, waiter: asyncio.Future[None], error: BaseException) -> None:
        """Have one who still waits raise an error."""
        if self._waiting.pop(waiter, None) is not None and not waiter.done():
            waiter.set_exception(error)

    def let_all_pass(self) -> None:
        """Let nobody wait any more."""
        for _ in range(len(self._waiting)):
            self.give_back()
        self._free = math.inf

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        for turn, since in list(self._waiting.items()):
            if (until := since + self._limit) > loop.time():
                loop.call_at(until, self._expire, loop)
                return
            del self._waiting[turn]
            if not turn.done():
                turn.set_exception(ExpiredError())
        self._timed = False
