"""Trying again what has failed, as long as that may help."""

import asyncio
import collections.abc
import contextlib
import contextvars
import dataclasses
import hashlib
import itertools
import random
import time
import typing as t
import uuid

__all__ = ["Backoff", "Guard", "Keys", "Policy", "attempted", "attempted_again", "repeated"]

R = t.TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses of random length, of at most ``first`` seconds, then twice as long, and so on up to ``longest``."""

    first: float
    longest: float

    def pause(self, attempt: int) -> float:
        """Give the seconds to wait after an attempt, of which the first is 0."""
        # Of full jitter: those who failed together don't come back together.
        return random.uniform(0, min(self.longest, self.first * 2**attempt))  # noqa: S311


async def attempted(
    work: collections.abc.Callable[[], collections.abc.Awaitable[R]],
    attempts: int,
    backoff: Backoff,
    least: collections.abc.Callable[[Exception], float | None],
) -> R:
    """Give what ``work()`` gives, of up to so many attempts.

    ``least`` says of an error how many seconds there have to be before another attempt, on top of which comes the
    pause; None lets the error on.
    """
    try:
        return await work()
    except Exception as error:  # noqa: BLE001 - it is raised again unless there is another attempt
        failure = error
    return await attempted_again(failure, work, attempts - 1, backoff, least)


async def attempted_again(
    failure: Exception,
    work: collections.abc.Callable[[], collections.abc.Awaitable[R]],
    attempts: int,
    backoff: Backoff,
    least: collections.abc.Callable[[Exception], float | None],
) -> R:
    """Return what ``work()`` returns after a failure, of up to so many more attempts; see :func:`attempted`."""
    for attempt in range(attempts):
        pause = least(failure)
        if pause is None:
            break
        await asyncio.sleep(pause + backoff.pause(attempt))
        try:
            return await work()
        except Exception as error:  # noqa: BLE001 - as above
            failure = error
    try:
        raise failure
    finally:
        del failure  # whose traceback has this frame


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """How a client deals with services that are slow, or fail.

    A call takes ``deadline`` seconds at most, its repetitions included, and its answer ``max_size`` bytes. What may be
    repeated, which is what only reads or carries an idempotency key, is attempted up to ``attempts`` times. When a
    service asks to wait for longer than ``max_wait`` seconds, the call fails at once. Of all calls, about the part
    ``budget`` may be repetitions. After ``failures`` in a row, by a status or a timeout, none is made for ``rest``
    seconds, then one to see.
    """

    attempts: int = 3
    deadline: float = 30.0
    max_size: int = 32 * 1024 * 1024
    max_wait: float = 5.0
    budget: float = 0.1
    failures: int = 20
    rest: float = 5.0
    backoff: Backoff = Backoff(first=0.1, longest=2.0)


class Guard:
    """What keeps the clients of a service that is in trouble from adding to it.

    Its state: how many repetitions are left, how many calls have failed in a row, and since when none is made.
    """

    _MOST: t.Final = 10.0

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._left = self._MOST
        self._failures = 0
        self._closed_until = 0.0

    def wait(self) -> float:
        """Give the seconds for which no call may be made; 0 makes it this one's turn."""
        if self._failures < self._policy.failures:
            return 0.0
        now = time.monotonic()
        if now < self._closed_until:
            return self._closed_until - now
        self._closed_until = now + self._policy.rest  # one call goes to see, the others wait for what it finds
        return 0.0

    def may_repeat(self) -> bool:
        """Take one repetition, if there is one left."""
        if self._left < 1 or self._failures >= self._policy.failures:
            return False
        self._left -= 1
        return True

    def succeeded(self) -> None:
        """Note that the service does its work."""
        self._failures = 0
        if self._left < self._MOST:
            self._left = min(self._MOST, self._left + self._policy.budget)

    def failed(self) -> None:
        """Note that it doesn't."""
        self._failures += 1
        if self._failures == self._policy.failures:
            self._closed_until = time.monotonic() + self._policy.rest


_unit: contextvars.ContextVar[tuple[str, "itertools.count[int]"] | None] = contextvars.ContextVar("unit", default=None)


@contextlib.contextmanager
def repeated(unit: str) -> collections.abc.Generator[None]:
    """Give a block that is one attempt at a unit of work: in each, the keys of its writes are the same."""
    token = _unit.set((unit, itertools.count()))
    try:
        yield
    finally:
        _unit.reset(token)


class Keys:
    """The idempotency keys of a unit of work's writes to one collection, the same when the unit is repeated.

    Its state: how many there were.
    """

    def __init__(self, collection: str) -> None:
        unit = _unit.get()
        self._begins = f"{uuid.uuid4()}" if unit is None else f"{unit[0]} {next(unit[1])}"
        self._collection = collection
        self._ordinal = 0

    def next(self) -> str:
        """Give the key of the next write."""
        self._ordinal += 1
        return hashlib.sha256(f"{self._begins} {self._collection} {self._ordinal}".encode()).hexdigest()[:32]
