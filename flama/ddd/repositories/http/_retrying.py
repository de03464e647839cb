"""A call of a remote resource with retries."""

import asyncio
import collections.abc
import contextlib
import logging
import time
import typing as t

from flama._timeouts import timeout
from flama.client import (
    NOT_SENT,
    DecodingError,
    HTTPError,
    LocalProtocolError,
    RawResponse,
    Response,
    TimeoutException,
    TransportError,
    UnsupportedProtocol,
    iter_decompressed,
    lower_names,
)
from flama.exceptions import (
    InvalidDataError,
    InvalidResponseError,
    ResourceException,
    TooManyRequestsError,
    UnavailableError,
)
from flama.rest import errors
from flama.retry import CircuitBreaker, Policy, retry_after_failure

__all__ = ["RetryingCall"]

R = t.TypeVar("R")
_Call: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[RawResponse]]
_Opening: t.TypeAlias = collections.abc.Callable[[], contextlib.AbstractAsyncContextManager[Response]]

_LONGEST_ERROR: t.Final = 65_536

_logger = logging.getLogger("flama")


class RetryingCall:
    """One call of a resource, which may be retried (``again``) if it fails.

    Its state is whether an attempt may have been applied, and the deadline for further attempts.
    """

    __slots__ = ("_attempts", "_breaker", "_id", "_maybe_applied", "_policy", "_resource", "_until", "_writes")

    def __init__(
        self, resource: str, id: t.Any, policy: Policy, breaker: CircuitBreaker, *, writes: bool, again: bool
    ) -> None:
        self._resource = resource
        self._id = id
        self._policy = policy
        self._breaker = breaker
        self._writes = writes
        self._attempts = policy.attempts if again else 1
        self._maybe_applied = False
        self._until = time.monotonic() + policy.deadline

    def send(self, call: _Call) -> collections.abc.Coroutine[t.Any, t.Any, RawResponse]:
        """Return the response, which is successful.

        :raises ResourceException: it isn't, or is a page that an intermediary made.
        """
        return self._repeat(lambda: self._attempt(call))

    @contextlib.asynccontextmanager
    async def open(self, opening: _Opening, media_type: str) -> collections.abc.AsyncGenerator[Response]:
        """Open a successful response with a body of this media type, to be read while it arrives.

        Opening the response is retried; reading it isn't. Errors that the client raises within the block become errors
        of the resource.

        :raises ResourceException: the response isn't successful, or has another media type.
        """
        try:
            async with contextlib.AsyncExitStack() as stack:
                yield await self._repeat(lambda: self._open(opening, media_type, stack))
        except HTTPError as error:
            raise self._translate_error(error) from error
        except TimeoutError as error:
            raise self._deadline_error(error) from error

    async def _repeat(self, attempt: collections.abc.Callable[[], collections.abc.Awaitable[R]]) -> R:
        policy = self._policy
        try:
            with timeout(policy.deadline):
                try:
                    return await attempt()
                except UnavailableError as error:
                    failure = error
                return await retry_after_failure(
                    failure, attempt, self._attempts - 1, policy.backoff, self._retry_delay
                )
        except UnavailableError as error:
            error.maybe_applied = error.maybe_applied or self._maybe_applied
            self._log(error)
            raise
        except InvalidResponseError as error:
            self._log(error)
            raise
        except TimeoutError as error:
            raise self._deadline_error(error) from error

    async def _attempt(self, call: _Call) -> RawResponse:
        self._check_circuit()
        try:
            response = await call()
        except HTTPError as error:
            raise self._translate_error(error) from error
        if not response.is_success or errors.is_page(response.body):
            raise self._error_from_response(response)
        self._breaker.record_success()
        return response

    async def _open(self, opening: _Opening, media_type: str, stack: contextlib.AsyncExitStack) -> Response:
        self._check_circuit()
        try:
            async with contextlib.AsyncExitStack() as attempt:
                response = await attempt.enter_async_context(opening())
                if not response.is_success or media_type not in response.headers.get("content-type", "").lower():
                    raise self._stream_error(await _read_error(response), media_type)
                self._breaker.record_success()
                stack.push_async_exit(attempt.pop_all())
        except HTTPError as error:
            raise self._translate_error(error) from error
        return response

    def _deadline_error(self, error: TimeoutError) -> Exception:
        """Return the resource's error for a deadline that has passed."""
        if not isinstance(error.__cause__, asyncio.CancelledError):
            return error  # the application's own error, which tests need to see
        self._breaker.record_failure()
        return self._unavailable_error(str(error), maybe_applied=self._writes)

    def _translate_error(self, error: HTTPError) -> Exception:
        """Return the resource's error for a client error; the error for an invalid URL is returned unchanged."""
        if isinstance(error, UnsupportedProtocol):
            return error
        if isinstance(error, LocalProtocolError):  # nothing was sent
            return InvalidDataError(resource=self._resource, id=self._id, detail=str(error))
        if not isinstance(error, TransportError):
            return InvalidResponseError(resource=self._resource, id=self._id, detail=str(error))
        # A service that restarts refuses or ends connections at once. These failures cost no waiting time. They don't
        # open the circuit: the service must be called again as soon as it is back.
        if isinstance(error, TimeoutException):
            self._breaker.record_failure()
        applied = self._writes and not isinstance(error, NOT_SENT)
        return self._unavailable_error(_describe(error), maybe_applied=applied)

    def _stream_error(self, response: RawResponse, media_type: str) -> ResourceException:
        if not response.is_success or errors.is_page(response.body):
            return self._error_from_response(response)
        kind = (response.header(b"content-type") or b"a body of no type").decode("latin-1")
        detail = f"asked for {media_type}, it answered with {kind}"
        return InvalidResponseError(resource=self._resource, detail=detail)

    def _error_from_response(self, response: RawResponse) -> ResourceException:
        error = errors.decode(
            response.status,
            response.body,
            {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers},
            resource=self._resource,
            id=self._id,
            write=self._writes,
        )
        is_down = isinstance(error, UnavailableError) and not isinstance(error, TooManyRequestsError)
        if is_down:
            self._breaker.record_failure()
        else:
            self._breaker.record_success()
        return error

    def _check_circuit(self) -> None:
        if wait := self._breaker.retry_after():
            detail = f"its last {self._policy.failures} calls failed: none is made for another {wait:.1f} s"
            raise UnavailableError(resource=self._resource, id=self._id, detail=detail, retry_after=wait)

    def _retry_delay(self, error: Exception) -> float | None:
        """Return the minimum wait in seconds before another attempt; None if there must be none."""
        if not isinstance(error, UnavailableError):
            return None
        self._maybe_applied = self._maybe_applied or error.maybe_applied
        wait = error.retry_after or 0.0
        left = self._until - time.monotonic()
        if wait > self._policy.max_wait or wait >= left or not self._breaker.acquire_retry_token():
            return None
        return wait

    def _log(self, error: ResourceException) -> None:
        """Log the error's message and the details withheld from callers, such as server addresses."""
        about = [str(error.__cause__)] if error.__cause__ is not None else getattr(error, "__notes__", [])
        _logger.warning("%s", "; ".join([str(error), *about]))

    def _unavailable_error(self, detail: str, *, maybe_applied: bool) -> UnavailableError:
        applied = maybe_applied or self._maybe_applied
        return UnavailableError(resource=self._resource, id=self._id, detail=detail, maybe_applied=applied)


def _describe(error: TransportError) -> str:
    """Return the part of an error that a caller may see; a gateway's caller must not learn server addresses."""
    if isinstance(error, NOT_SENT):
        return "no connection could be made"
    if isinstance(error, TimeoutException):
        return "it took too long"
    return "the connection was lost"


async def _read_error(response: Response) -> RawResponse:
    """Return a response with as much of its body as an error needs."""
    body = b""
    with contextlib.suppress(DecodingError):  # then the status alone is used
        async with contextlib.aclosing(iter_decompressed(response)) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > _LONGEST_ERROR:
                    break
    return RawResponse(response.status_code, lower_names(response.headers.raw), body)
