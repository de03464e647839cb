"""Units of work on a remote service."""

import collections.abc
import contextlib
import functools
import typing as t

import httpx

from flama import exceptions, types
from flama.client import Client, check_base_url, lease, network_transport
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers.base import BaseWorker
from flama.ddd.workers.database import Database
from flama.ddd.workers.remote import Remote, Writes
from flama.ddd.workers.units import Transaction
from flama.rest.operations import OPERATIONS
from flama.retry import Guard

__all__ = ["HTTPWorker"]

_Write: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[t.Any]]


class HTTPWorker(BaseWorker):
    """A unit of work whose repositories share a client of one service.

    ``url`` is the service's base, or a function that gives it, asked anew for each unit; ``client_kwargs`` are the
    client's other arguments, ``transport`` among them: an :class:`~flama.client.ASGITransport` reaches an
    application in this process. HTTP has no transaction: when the unit fails, what was sent is not undone, and
    ``commit`` and ``rollback`` do nothing.

    While an application runs whose :class:`~flama.ddd.WorkerComponent` has the worker, connections are kept from one
    unit to the next; cookies aren't.

    With ``writes="after_commit"`` what the repositories write is sent when the unit ends well, in order, and until
    then answered with None; ``commit`` sends what there is, ``rollback`` and a unit that fails forget it. When the
    service refuses one, the others aren't sent, and leaving the unit raises an ``ExceptionGroup``.

    :raises ApplicationError: the URL has a query, which no path can follow.
    """

    calls_remotely = True

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
        if isinstance(url, str):
            check_base_url(url)
        self._url = url
        self._writes = writes
        self._client_kwargs = client_kwargs
        self._remote: Remote | None = None  # the service, as the worker that it serves calls it
        self._guards: dict[t.Any, Guard] = {}  # what the units before have learned of the service

    @classmethod
    def serving(
        cls, repositories: dict[str, type[AbstractRepository]], app: types.App | None, place: Remote | Database | None
    ) -> t.Self:
        """Give what opens the session of another worker's repositories of a service.

        :raises ApplicationError: it isn't said which.
        """
        if not isinstance(place, Remote):
            names = ", ".join(repositories)
            raise exceptions.ApplicationError(
                f"It isn't said where the service of {names} is: Annotated[…, Remote(url)]"
            )
        worker = cls(place.url, app, writes=place.writes, **dict(place.client))
        worker._served, worker._remote = repositories, place
        return worker

    @property
    def url(self) -> str:
        """The base of the service's paths."""
        return self._url() if callable(self._url) else self._url

    @property
    def client(self) -> Client:
        """The unit's client; there is none outside."""
        unit = self._unit()
        if unit is None:
            raise AttributeError("Client not initialized")
        return t.cast("_Session", unit.session).client

    @contextlib.asynccontextmanager
    async def session(self) -> collections.abc.AsyncIterator["_Session"]:
        """Give a client of the service."""
        options: dict[str, t.Any] = self._client_kwargs
        if self._headers:
            headers = httpx.Headers(options.get("headers"))
            headers.update([(name.encode("ascii"), value.encode("latin-1")) for name, value in self._headers.items()])
            options = {**options, "headers": headers}
        if (network := self._network) is not None:
            options = {**options, "transport": lease(network)}
        async with Client(base_url=self.url, **options) as client:
            client.guards = self._guards
            yield _Session(client)

    async def begin_transaction(self, session: "_Session", *, nested: bool) -> Transaction | None:
        """Begin to keep what is written until it may be sent; None when it is sent at once."""
        if self._writes == "immediate":
            return None
        if nested:
            session.waiting.append([])
        return _Waiting(session)

    @property
    def _network(self) -> t.Any:
        if self._kept is None or not self._kept.is_here or "app" in self._client_kwargs:
            return None
        if self._remote not in self._kept:
            self._kept[self._remote] = network_transport(self._client_kwargs)
        return self._kept[self._remote]

    def make_repository(self, repository: type[AbstractRepository], session: "_Session") -> AbstractRepository:
        """Make a repository of the service."""
        made = repository(session.client)
        if self._writes == "after_commit":
            for operation in OPERATIONS.values():
                if operation.writes and (write := getattr(made, operation.name, None)):
                    setattr(made, operation.name, _later(write, session))
        return made


class _Session:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.waiting: list[list[_Write]] = [[]]  # what is to be sent: the unit's, then its savepoints'


class _Waiting:
    def __init__(self, session: _Session) -> None:
        self._session = session

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
        *outer, writes = self._session.waiting
        self._session.waiting = outer or [[]]
        return outer, writes


def _later(write: collections.abc.Callable[..., t.Any], session: _Session) -> collections.abc.Callable[..., t.Any]:
    async def later(*args: t.Any, **kwargs: t.Any) -> None:
        session.waiting[-1].append(functools.partial(write, *args, **kwargs))

    return later
