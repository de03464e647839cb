"""The operations of one remote resource."""

import asyncio
import collections.abc
import functools
import math
import typing as t

import msgspec

from flama.client import NOT_SENT, Address, Answer, Client, HTTPError, TransportError, UnsupportedProtocol
from flama.exceptions import InvalidResponseError, SessionClosedError, TooManyRequestsError, UnavailableError
from flama.limits import limited
from flama.rest import errors
from flama.rest.operations import OPERATIONS, Operation, path
from flama.retry import Keys, attempted

__all__ = ["HTTPResourceManager"]

_Headers: t.TypeAlias = list[tuple[bytes, bytes]]
_Call: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[Answer]]

_JSON: t.Final = (b"content-type", b"application/json")
_DECODERS: dict[str, msgspec.json.Decoder[t.Any]] = {
    operation.name: msgspec.json.Decoder(operation.response)
    for operation in OPERATIONS.values()
    if operation.response is not None
}


class HTTPResourceManager:
    """The operations of one remote resource.

    ``resource`` is its path, below the client's ``base_url``, or a whole URL. How often and for how long it is
    asked is the client's ``policy``. With ``idempotent``, writes carry keys, so that a service which keeps
    their answers does each of them once, however often it is sent.
    """

    def __init__(self, resource: str, client: Client, *, idempotent: bool = False) -> None:
        self.resource = resource.rstrip("/")
        self.client = client
        self._keys = Keys(self.resource) if idempotent else None
        self._address: tuple[t.Any, Address] | None = None  # with the client's base that it is below

    async def call(
        self, name: str, id: t.Any = None, *, json: t.Any = None, query: str = "", headers: _Headers | None = None
    ) -> t.Any:
        """Do an operation, and give its answer's body.

        ``json`` is the body to send, ``query`` what the URL has of it, percent-encoded.

        :raises ValueError: the id is no segment of a path; nothing was sent.
        :raises ResourceException: the service refused, as :mod:`flama.rest.errors` has it.
        :raises UnavailableError: it could not be reached, or did not answer.
        :raises InvalidResponseError: it answered something else than the operation's result.
        """
        operation = OPERATIONS[name]
        answer = await self._answer(operation, id, json, query, headers or [])
        return None if operation.response is None else self._body(operation, answer, id)

    async def _answer(self, operation: Operation, id: t.Any, json: t.Any, query: str, headers: _Headers) -> Answer:
        if self.client.is_closed:
            raise SessionClosedError(f"The client of '{self.resource}' is closed: its unit of work has ended")
        where, body = path(operation, id), b""
        if operation.request is not None:
            body = _encoded(json)
            headers = [*headers, _JSON]
        if operation.writes and self._keys is not None:
            headers = [*headers, (b"idempotency-key", self._keys.next().encode())]
        address, limit = self._located(), self.client.policy.max_size
        call = functools.partial(
            self.client.call, operation.method, address, where, query, headers=headers, body=body, limit=limit
        )
        return await _Attempts(self, operation, id, address).answer(call)

    def _located(self) -> Address:
        base = self.client.base_url
        if self._address is None or self._address[0] is not base:
            self._address = base, self.client.address(self.resource)
        return self._address[1]

    def _body(self, operation: Operation, answer: Answer, id: t.Any) -> t.Any:
        try:
            return _DECODERS[operation.name].decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            detail = f"{operation.method} answered {answer.status} with another body: {error}"
            raise InvalidResponseError(resource=self.resource, id=id, detail=detail) from error


class _Attempts:
    """One call, as often as it takes.

    Its state: whether an attempt may have been applied, and until when there may be another.
    """

    def __init__(self, manager: HTTPResourceManager, operation: Operation, id: t.Any, address: Address) -> None:
        self._resource = manager.resource
        self._policy = manager.client.policy
        self._guard = manager.client.guard(address)
        self._operation = operation
        self._id = id
        self._is_repeatable = not operation.writes or manager._keys is not None
        self._maybe_applied = False
        self._until = asyncio.get_running_loop().time() + self._policy.deadline

    async def answer(self, call: _Call) -> Answer:
        """Give the answer, which is a success."""
        attempts = self._policy.attempts if self._is_repeatable else 1
        try:
            with limited(self._policy.deadline):
                return await attempted(lambda: self._attempt(call), attempts, self._policy.backoff, self._pause)
        except UnavailableError as error:
            error.maybe_applied = error.maybe_applied or self._maybe_applied
            raise
        except TimeoutError as error:
            if not isinstance(error.__cause__, asyncio.CancelledError):
                raise  # the application's own, which a test wants to see
            self._guard.failed()
            raise self._unavailable(str(error), maybe_applied=self._operation.writes) from error

    async def _attempt(self, call: _Call) -> Answer:
        self._admit()
        try:
            answer = await call()
        except UnsupportedProtocol:
            raise
        except TransportError as error:
            self._guard.failed()
            applied = self._operation.writes and not isinstance(error, NOT_SENT)
            raise self._unavailable(str(error) or type(error).__name__, maybe_applied=applied) from error
        except HTTPError as error:
            raise InvalidResponseError(resource=self._resource, id=self._id, detail=str(error)) from error
        if answer.is_success:
            self._guard.succeeded()
            return answer
        raise self._refusal(answer)

    def _admit(self) -> None:
        if wait := self._guard.wait():
            detail = f"its last {self._policy.failures} calls failed: none is made for another {wait:.1f} s"
            raise UnavailableError(resource=self._resource, id=self._id, detail=detail, retry_after=wait)

    def _refusal(self, answer: Answer) -> Exception:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        error = errors.decode(
            answer.status,
            answer.body,
            headers,
            resource=self._resource,
            id=self._id,
            write=self._operation.writes,
        )
        is_down = isinstance(error, UnavailableError) and not isinstance(error, TooManyRequestsError)
        self._guard.failed() if is_down else self._guard.succeeded()
        return error

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


def _encoded(data: t.Any) -> bytes:
    body = msgspec.json.encode(data)
    # The encoder makes null of numbers that JSON doesn't have.
    if b"null" in body and not _is_finite(data):
        raise ValueError("JSON has no infinity and no number that is none")
    return body


def _is_finite(data: t.Any) -> bool:
    match data:
        case float():
            return math.isfinite(data)
        case dict():
            return all(map(_is_finite, data.values()))
        case list() | tuple():
            return all(map(_is_finite, data))
        case _:
            return True
