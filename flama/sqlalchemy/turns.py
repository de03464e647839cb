"""Turns that are taken in the order of asking."""

import asyncio
import collections
import math

__all__ = ["Turns"]


class Turns:
    """So many turns at a time; one that is given back goes to whoever waits longest."""

    __slots__ = ("_free", "_waiting")

    def __init__(self, number: float) -> None:
        self._free = number  # none as long as somebody waits
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    @property
    def are_free(self) -> bool:
        """Whether one is to be had at once."""
        return self._free > 0

    @property
    def are_wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def take(self) -> bool:
        """Take one if one is to be had at once, and tell whether it was."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    async def wait(self) -> None:
        """Take one, waiting for it if need be."""
        if self.take():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:  # it had come
                self.give_back()
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
                self._waiting.remove(turn)
                turn.set_result(None)
                return
        self._free += 1

    def let_all_pass(self) -> None:
        """Let nobody wait any more."""
        for _ in range(len(self._waiting)):
            self.give_back()
        self._free = math.inf
