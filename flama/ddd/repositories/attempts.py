"""A call of a remote resource, as often as it takes."""

import asyncio
import collections.abc
import contextlib
import typing as t

from flama.client import NOT_SENT, Answer, HTTPError, TimeoutException, TransportError, UnsupportedProtocol
from flama.exceptions import InvalidResponseError, ResourceException, TooManyRequestsError, UnavailableError
from flama.limits import limited
from flama.rest import errors
from flama.retry import Guard, Policy, attempted

__all__ = ["Attempts"]

_Call: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[Answer]]


class Attempts:
    """One call of a resource, which may be made ``again`` when it fails.

    Its state: whether an attempt may have been applied, and until when there may be another.
    """

    def __init__(self, resource: str, id: t.Any, policy: Policy, guard: Guard, *, writes: bool, again: bool) -> None:
        self._resource = resource
        self._id = id
        self._policy = policy
        self._guard = guard
        self._writes = writes
        self._attempts = policy.attempts if again else 1
        self._maybe_applied = False
        self._until = asyncio.get_running_loop().time() + policy.deadline

    async def answer(self, call: _Call) -> Answer:
        """Give the answer, which is a success."""
        with self.in_time():
            try:
                return await attempted(lambda: self._attempt(call), self._attempts, self._policy.backoff, self._pause)
            except UnavailableError as error:
                error.maybe_applied = error.maybe_applied or self._maybe_applied
                raise

    @contextlib.contextmanager
    def in_time(self) -> collections.abc.Generator[None]:
        """Give a block that takes no longer than the policy's deadline.

        :raises UnavailableError: it would.
        """
        try:
            with limited(self._policy.deadline):
                yield
        except TimeoutError as error:
            if not isinstance(error.__cause__, asyncio.CancelledError):
                raise  # the application's own, which a test wants to see
            self._guard.failed()
            raise self._unavailable(str(error), maybe_applied=self._writes) from error

    async def _attempt(self, call: _Call) -> Answer:
        with self.translated():
            answer = await call()
        if not answer.is_success:
            raise self.refusal(answer)
        self.succeeded()
        return answer

    def succeeded(self) -> None:
        """Note that the service does its work."""
        self._guard.succeeded()

    @contextlib.contextmanager
    def translated(self) -> collections.abc.Generator[None]:
        """Give a block in which what the client raises is the resource's own error."""
        self._admit()
        try:
            yield
        except UnsupportedProtocol:
            raise
        except TransportError as error:
            # A service that is restarted refuses or ends connections at once. Nobody has to be kept from waiting for
            # it, and it is to be called again as soon as it is back.
            if isinstance(error, TimeoutException):
                self._guard.failed()
            applied = self._writes and not isinstance(error, NOT_SENT)
            raise self._unavailable(str(error) or type(error).__name__, maybe_applied=applied) from error
        except HTTPError as error:
            raise InvalidResponseError(resource=self._resource, id=self._id, detail=str(error)) from error

    def refusal(self, answer: Answer) -> ResourceException:
        """Give the error that an answer other than a success means."""
        error = errors.decode(
            answer.status,
            answer.body,
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers},
            resource=self._resource,
            id=self._id,
            write=self._writes,
        )
        is_down = isinstance(error, UnavailableError) and not isinstance(error, TooManyRequestsError)
        self._guard.failed() if is_down else self._guard.succeeded()
        return error

    def _admit(self) -> None:
        if wait := self._guard.wait():
            detail = f"its last {self._policy.failures} calls failed: none is made for another {wait:.1f} s"
            raise UnavailableError(resource=self._resource, id=self._id, detail=detail, retry_after=wait)

    def _pause(self, error: Exception) -> float | None:
        """Give the least seconds before another attempt; None when there is to be none."""
        if not isinstance(error, UnavailableError):
            return None
        self._maybe_applied = self._maybe_applied or error.maybe_applied
        wait = error.retry_after or 0.0
        left = self._until - asyncio.get_running_loop().time()
        if wait > self._policy.max_wait or wait >= left or not self._guard.may_repeat():
            return None
        return wait

    def _unavailable(self, detail: str, *, maybe_applied: bool) -> UnavailableError:
        applied = maybe_applied or self._maybe_applied
        return UnavailableError(resource=self._resource, id=self._id, detail=detail, maybe_applied=applied)
