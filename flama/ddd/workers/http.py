"""Units of work on a remote service."""

import collections.abc
import contextlib
import dataclasses
import functools
import typing as t

import httpx

from flama import exceptions, types
from flama.client import Client, check_base_url, make_transport, share
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._backend import Backend, CallContext, LoopCache, Part, Transaction
from flama.ddd.workers._bindings import Binding, Remote, Writes
from flama.ddd.workers.base import BaseWorker
from flama.rest.operations import OPERATIONS
from flama.retry import CircuitBreaker

__all__ = ["HTTPWorker"]

_WRITES: t.Final = ("create_one", *[operation.name for operation in OPERATIONS.values() if operation.writes])
_Write: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[t.Any]]


class HTTPWorker(BaseWorker):
    """A unit of work whose repositories share a client of one service.

    ``url`` is the service's base URL, or a function that returns it, called for each unit. ``client_kwargs`` are the
    client's other arguments. A ``transport`` :class:`~flama.client.ASGITransport` reaches an application in this
    process. HTTP has no transaction: when the unit fails, what was sent is not undone, and ``commit`` and ``rollback``
    do nothing.

    While an application runs whose :class:`~flama.ddd.WorkerComponent` has the worker, units reuse connections, but not
    cookies.

    With ``writes="after_commit"``, writes return None and are sent, in order, when the unit ends well. ``commit`` sends
    those so far; ``rollback``, or a unit that fails, discards them. When the service refuses one, the others aren't
    sent, and leaving the unit raises an ``ExceptionGroup``.

    :raises ApplicationError: the URL has a query, which no path can follow.
    """

    derivable = False  # it needs the URL of the service

    def __init__(
        self,
        url: str | collections.abc.Callable[[], str],
        app: types.App | None = None,
        *,
        timeout: float | None = None,
        writes: Writes = "immediate",
        **client_kwargs: t.Any,
    ) -> None:
        super().__init__(app, timeout=timeout)
        self._service = _HTTPBackend(url, writes, client_kwargs)

    @property
    def url(self) -> str:
        """The service's base URL."""
        return self._service.url

    @property
    def client(self) -> Client:
        """The unit's client, which exists only within a unit."""
        unit = self._unit()
        if unit is None:
            raise AttributeError("Client not initialized")
        return t.cast("_Session", unit.handle).client

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        return self._service.make_repository(repository, session)

    def parts(self) -> collections.abc.Sequence[Part]:
        return ((self._service, self.repositories, self.make_repository),)

    @classmethod
    def backend_for(
        cls, repositories: dict[str, type[AbstractRepository]], binding: Binding | None, app: types.App | None
    ) -> Backend:
        """Return the backend of another worker's repositories of a service.

        :raises ApplicationError: the service isn't named.
        """
        if not isinstance(binding, Remote):
            names = ", ".join(repositories)
            raise exceptions.ApplicationError(
                f"It isn't said where the service of {names} is: Annotated[…, Remote(url)]"
            )
        return _HTTPBackend(binding.url, binding.writes, dict(binding.client), binding)


@dataclasses.dataclass(eq=False)
class _HTTPBackend(Backend):
    """A service, for whose units it opens clients."""

    calls_remotely = True

    address: str | collections.abc.Callable[[], str]
    writes: Writes
    options: dict[str, t.Any]  # of the clients
    key: Remote | None = None  # of the service, among those of one worker
    # what earlier units have learned of it
    guards: dict[t.Any, CircuitBreaker] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.address, str):
            check_base_url(self.address)

    @property
    def url(self) -> str:
        """The service's base URL."""
        return self.address() if callable(self.address) else self.address

    @contextlib.asynccontextmanager
    async def session(self, calls: CallContext) -> collections.abc.AsyncIterator["_Session"]:
        """Open a client of the service."""
        options: dict[str, t.Any] = self.options
        if calls.headers:
            headers = httpx.Headers(options.get("headers"))
            headers.update([(name.encode("ascii"), value.encode("latin-1")) for name, value in calls.headers.items()])
            options = {**options, "headers": headers}
        if (network := self._network(calls.cache)) is not None:
            options = {**options, "transport": share(network)}
        async with Client(base_url=self.url, **options) as client:
            client.circuit_breakers = self.guards
            yield _Session(client)

    async def begin_transaction(self, session: "_Session", *, nested: bool) -> Transaction | None:
        """Begin to defer writes until the commit; return None when they are sent at once."""
        if self.writes == "immediate":
            return None
        if nested:
            session.deferred.append([])
        return session

    def make_repository(self, repository: type[AbstractRepository], session: "_Session") -> AbstractRepository:
        made = repository(session.client)
        if self.writes == "after_commit":
            for name in _WRITES:
                if write := getattr(made, name, None):
                    setattr(made, name, _defer(write, session))
        return made

    def _network(self, cache: LoopCache | None) -> t.Any:
        if cache is None or not cache.is_here or "app" in self.options:
            return None
        if self.key not in cache:
            cache[self.key] = make_transport(self.options)
        return cache[self.key]


class _Session:
    """A unit's client, and as a transaction the writes that it defers."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.deferred: list[list[_Write]] = [[]]  # the unit's, then its savepoints'

    async def commit(self) -> None:
        outer, writes = self._end()
        if outer:
            outer[-1].extend(writes)
            return
        for sent, write in enumerate(writes, 1):
            try:
                await write()
            except Exception as error:  # noqa: BLE001 - it is in the group
                message = f"A remote write failed after the commit, {len(writes) - sent} more were not sent"
                raise ExceptionGroup(message, [error]) from None

    async def rollback(self) -> None:
        self._end()

    def _end(self) -> tuple[list[list[_Write]], list[_Write]]:
        *outer, writes = self.deferred
        self.deferred = outer or [[]]
        return outer, writes


def _defer(write: collections.abc.Callable[..., t.Any], session: _Session) -> collections.abc.Callable[..., t.Any]:
    async def defer(*args: t.Any, **kwargs: t.Any) -> None:
        session.deferred[-1].append(functools.partial(write, *args, **kwargs))

    return defer
