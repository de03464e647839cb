"""What is tried again, after which pauses, and when nothing is tried any more."""

import pytest

from flama import retry
from flama.retry import (
    Backoff,
    CircuitBreaker,
    IdempotencyKeySequence,
    Policy,
    run_with_retries,
    stable_idempotency_keys,
)

pytestmark = pytest.mark.anyio

AT_ONCE = Backoff(0, 0)


class Work:
    """What fails so many times, and then gives 42."""

    def __init__(self, failures):
        self.calls = 0
        self._failures = failures

    async def __call__(self):
        self.calls += 1
        if self.calls <= self._failures:
            raise OSError(self.calls)
        return 42


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still, and is moved."""
    now = [100.0]
    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])
    return now


class TestAttempts:
    @pytest.mark.parametrize("failures", [0, 1, 2])
    async def test_what_fails_is_tried_again(self, failures):
        work = Work(failures)

        assert await run_with_retries(work, 3, AT_ONCE, lambda error: 0) == 42
        assert work.calls == failures + 1

    async def test_the_last_error_is_raised(self):
        work = Work(9)

        with pytest.raises(OSError, match="3"):
            await run_with_retries(work, 3, AT_ONCE, lambda error: 0)
        assert work.calls == 3

    async def test_an_error_that_is_not_for_repeating_is_raised_at_once(self):
        work = Work(9)

        with pytest.raises(OSError, match="1"):
            await run_with_retries(work, 3, AT_ONCE, lambda error: None)

    @pytest.mark.parametrize(("attempt", "most"), [(0, 0.1), (1, 0.2), (2, 0.4), (9, 1.0)])
    async def test_pauses_are_random_and_double_up_to_the_longest(self, attempt, most):
        pauses = [Backoff(0.1, 1.0).pause(attempt) for _ in range(300)]

        assert 0.8 * most < max(pauses) <= most
        assert min(pauses) < 0.2 * most


class TestGuards:
    async def test_after_so_many_failures_in_a_row_no_call_is_made(self, clock):
        guard = CircuitBreaker(Policy(failures=3, rest=5))

        waits = []
        for _ in range(3):
            waits.append(guard.retry_after())
            guard.record_failure()

        assert waits == [0, 0, 0]
        assert guard.retry_after() == 5
        clock[0] += 2
        assert guard.retry_after() == 3

    async def test_then_one_call_goes_to_see(self, clock):
        guard = CircuitBreaker(Policy(failures=1, rest=5))
        guard.record_failure()
        clock[0] += 5

        assert [guard.retry_after(), guard.retry_after()] == [0, 5]
        guard.record_success()
        assert [guard.retry_after(), guard.retry_after()] == [0, 0]

    async def test_a_success_in_between_makes_a_new_start(self, clock):
        guard = CircuitBreaker(Policy(failures=2))

        for end in (guard.record_failure, guard.record_success, guard.record_failure):
            end()

        assert guard.retry_after() == 0

    async def test_repetitions_are_a_part_of_the_calls(self):
        guard = CircuitBreaker(Policy(budget=0.1, failures=1_000))
        repetitions = 0
        for _ in range(500):
            guard.record_success()
            repetitions += guard.acquire_retry_token()

        assert 50 <= repetitions <= 60


class TestKeys:
    async def test_the_keys_of_a_unit_that_is_repeated_are_the_same(self):
        attempts = []
        for _ in range(2):
            with stable_idempotency_keys("unit"):
                users, orders = IdempotencyKeySequence("/user"), IdempotencyKeySequence("/order")
                attempts.append([users.next(), users.next(), orders.next(), IdempotencyKeySequence("/user").next()])

        assert attempts[0] == attempts[1]
        assert len(set(attempts[0])) == 4

    async def test_the_keys_of_two_units_are_not(self):
        assert IdempotencyKeySequence("/user").next() != IdempotencyKeySequence("/user").next()
        with stable_idempotency_keys("one"):
            one = IdempotencyKeySequence("/user").next()
        with stable_idempotency_keys("other"):
            assert IdempotencyKeySequence("/user").next() != one
