"""Retries: backoff, the circuit breaker of a service, and idempotency keys that a retry reuses."""

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

__all__ = [
    "Backoff",
    "CircuitBreaker",
    "IdempotencyKeySequence",
    "Policy",
    "retry_after_failure",
    "run_with_retries",
    "stable_idempotency_keys",
]

R = t.TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: at most ``initial`` seconds, doubled for each retry, up to ``maximum``."""

    initial: float
    maximum: float

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after an attempt, counted from 0."""
        # Full jitter: clients that failed at the same time don't retry at the same time.
        return random.uniform(0, min(self.maximum, self.initial * 2**attempt))  # noqa: S311


async def run_with_retries(
    work: collections.abc.Callable[[], collections.abc.Awaitable[R]],
    attempts: int,
    backoff: Backoff,
    min_delay: collections.abc.Callable[[Exception], float | None],
) -> R:
    """Return the result of ``work()``, which is awaited up to ``attempts`` times.

    ``least`` returns the minimum of seconds before a retry after an error, to which the backoff is added. If it
    returns None, the error is raised.
    """
    try:
        return await work()
    except Exception as error:  # noqa: BLE001 - it is raised again unless there is another attempt
        failure = error
    return await retry_after_failure(failure, work, attempts - 1, backoff, min_delay)


async def retry_after_failure(
    failure: Exception,
    work: collections.abc.Callable[[], collections.abc.Awaitable[R]],
    attempts: int,
    backoff: Backoff,
    min_delay: collections.abc.Callable[[Exception], float | None],
) -> R:
    """Return the result of ``work()`` after a failure, in up to ``attempts`` more attempts."""
    for attempt in range(attempts):
        pause = min_delay(failure)
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
        del failure  # its traceback has this frame, a reference cycle


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """How a client handles services that are slow or fail.

    A call takes at most ``deadline`` seconds including its retries, and its response at most ``max_size`` bytes. Calls
    that read, or have an idempotency key, are attempted up to ``attempts`` times. If a service demands a wait of more
    than ``max_wait`` seconds, the call fails at once. ``budget`` is the approximate share of retries in all calls.

    After ``failures`` in a row, by a status or a timeout, the circuit breaker opens: no call is made for ``rest``
    seconds, then a single one as a test.
    """

    attempts: int = 3
    deadline: float = 30.0
    max_size: int = 32 * 1024 * 1024
    max_wait: float = 5.0
    budget: float = 0.1
    failures: int = 20
    rest: float = 5.0
    backoff: Backoff = Backoff(initial=0.1, maximum=2.0)


class CircuitBreaker:
    """A circuit breaker and retry budget of one service, which keep clients from overloading it.

    Its state: the retries that are left, the number of failures in a row, and until when no call is made.
    """

    _MAX_RETRIES: t.Final = 10.0

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._retries_left = self._MAX_RETRIES
        self._failures = 0
        self._open_until = 0.0

    def retry_after(self) -> float:
        """Return the seconds for which no call may be made; 0 if this call may be made now."""
        if self._failures < self._policy.failures:
            return 0.0
        now = time.monotonic()
        if now < self._open_until:
            return self._open_until - now
        self._open_until = now + self._policy.rest  # one call tests the service, the others wait for its result
        return 0.0

    def acquire_retry_token(self) -> bool:
        """Take one retry from the budget, and return whether there was one."""
        if self._retries_left < 1 or self._failures >= self._policy.failures:
            return False
        self._retries_left -= 1
        return True

    def record_success(self) -> None:
        """Record a success of the service."""
        self._failures = 0
        if self._retries_left < self._MAX_RETRIES:
            self._retries_left = min(self._MAX_RETRIES, self._retries_left + self._policy.budget)

    def record_failure(self) -> None:
        """Record a failure of the service."""
        self._failures += 1
        if self._failures == self._policy.failures:
            self._open_until = time.monotonic() + self._policy.rest


_unit: contextvars.ContextVar[tuple[str, "itertools.count[int]"] | None] = contextvars.ContextVar("unit", default=None)


@contextlib.contextmanager
def stable_idempotency_keys(unit: str) -> collections.abc.Generator[None]:
    """Return a context manager for one attempt at a unit of work: each attempt's writes have the same keys."""
    token = _unit.set((unit, itertools.count()))
    try:
        yield
    finally:
        _unit.reset(token)


class IdempotencyKeySequence:
    """The idempotency keys of a unit of work's writes to one collection, the same when the unit is retried.

    Its state: the number of keys so far.
    """

    def __init__(self, collection: str) -> None:
        unit = _unit.get()
        self._prefix = f"{uuid.uuid4()}" if unit is None else f"{unit[0]} {next(unit[1])}"
        self._collection = collection
        self._ordinal = 0

    def next(self) -> str:
        """Return the key of the next write."""
        self._ordinal += 1
        return hashlib.sha256(f"{self._prefix} {self._collection} {self._ordinal}".encode()).hexdigest()[:32]
