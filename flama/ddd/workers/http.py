"""Units of work on a remote service."""

import collections.abc
import contextlib
import typing as t

from flama import types
from flama.client import Client
from flama.ddd.workers.base import BaseWorker

__all__ = ["HTTPWorker"]


class HTTPWorker(BaseWorker):
    """A unit of work whose repositories share a client of one service.

    ``url`` is the service's base, or a function that gives it, asked anew for each unit; ``client_kwargs`` are the
    client's other arguments, ``transport`` among them: an :class:`~flama.client.ASGITransport` reaches an
    application in this process. HTTP has no transaction: when the unit fails, what was sent is not undone, and
    ``commit`` and ``rollback`` do nothing.
    """

    def __init__(
        self,
        url: str | collections.abc.Callable[[], str],
        app: types.App | None = None,
        **client_kwargs: t.Any,
    ) -> None:
        super().__init__(app)
        self._url = url
        self._client_kwargs = client_kwargs

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
        return t.cast("Client", unit.session)

    @contextlib.asynccontextmanager
    async def session(self) -> collections.abc.AsyncIterator[Client]:
        """Give a client of the service."""
        async with Client(base_url=self.url, **self._client_kwargs) as client:
            yield client
