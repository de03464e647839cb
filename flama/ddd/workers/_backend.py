"""Backends of units of work, and the sessions that they open for a unit."""

import asyncio
import collections.abc
import contextlib
import typing as t

from flama import types
from flama.ddd.repositories.base import AbstractRepository

__all__ = ["Backend", "CallContext", "LoopCache", "Part", "Session", "StreamMode", "Transaction"]

StreamMode: t.TypeAlias = t.Literal["unit", "batches", "whole"]
"""How a stream of records is read: within one unit, in batches with a unit for each, or whole before it begins."""

_Context: t.TypeAlias = contextlib.AbstractAsyncContextManager[t.Any]
_NO_CONTEXT: t.Final[_Context] = contextlib.nullcontext()

Part: t.TypeAlias = tuple[
    "Backend",
    collections.abc.Mapping[str, type[AbstractRepository]],
    collections.abc.Callable[[type[AbstractRepository], t.Any], AbstractRepository],
]
"""A part of a unit: a backend, the repositories by name that share its session, and the function that makes them."""


class Transaction(t.Protocol):
    """A backend's transaction, which the worker ends once."""

    async def commit(self) -> None:
        """Make permanent what was done."""

    async def rollback(self) -> None:
        """Undo what was done."""


class LoopCache(dict[t.Any, t.Any]):
    """Resources that units on one event loop reuse, until they are closed."""

    def __init__(self) -> None:
        super().__init__()
        self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()

    @property
    def is_here(self) -> bool:
        """Whether it is open, and belongs to the running event loop."""
        return self._loop is asyncio.get_running_loop()

    async def aclose(self) -> None:
        """Close all resources. They can't be reused afterwards, even through a remaining reference."""
        self._loop = None
        for each in filter(None, self.values()):
            await each.aclose()


class CallContext(t.NamedTuple):
    """The resources that a worker's calls of remote services reuse, and the headers that their request adds."""

    cache: LoopCache | None = None  # while an application runs
    headers: collections.abc.Mapping[str, str] = {}


class Session:
    """A backend's part of one unit: what repositories work on, and a transaction with the savepoints in it."""

    __slots__ = ("_backend", "_context", "committed", "handle", "transactions")

    def __init__(self, backend: "Backend", handle: t.Any, context: _Context = _NO_CONTEXT) -> None:
        self._backend = backend
        self._context = context  # closes it
        self.handle = handle  # what repositories are made with
        self.transactions: list[t.Any] = []  # the unit's own, once it has begun, then its savepoints'
        self.committed = False  # whether the transaction that ended last was committed

    async def begin(self, *, nested: bool) -> t.Any:
        """Begin and return the unit's transaction, or one nested in it; None when there are none."""
        return await self._backend.begin_transaction(self.handle, nested=nested)

    async def commit(self, transaction: t.Any, *, last: bool) -> None:
        """Commit the innermost transaction; with ``last``, no other follows before the session closes."""
        if transaction is not None:
            await transaction.commit()

    async def rollback(self, transaction: t.Any) -> None:
        """Roll back the innermost transaction."""
        if transaction is not None:
            await transaction.rollback()

    async def close(self, *details: t.Any) -> t.Any:
        """Close the session, as the ``__aexit__`` of a context manager does."""
        return await self._context.__aexit__(*details)

    def finish(self, *, commit: bool) -> bool | collections.abc.Awaitable[bool]:
        """Begin to end the only transaction and to close the session, without suspending.

        Return True when both are done, as there was nothing to commit or to undo. Otherwise, with ``commit``, begin to
        commit and return an awaitable. It waits for the end of that, closes the session and returns whether it is
        closed. It may be cancelled, or return False: then :meth:`end` and :meth:`close` do the rest. Return False when
        neither is possible.
        """
        return False

    async def end(self, *details: t.Any, last: bool = True) -> None:
        """Commit the innermost transaction, or roll it back because of an error."""
        transaction, error = self.transactions.pop(), details[1]
        self.committed = False
        await (self.commit(transaction, last=last) if error is None else self.rollback(transaction))
        self.committed = error is None

    async def restart(self, *details: t.Any) -> None:
        """End the innermost transaction, and begin another in its place."""
        begun = self.transactions[-1]  # unless another one follows, it can store nothing more
        try:
            await self.end(*details, last=False)
            begun = await self.begin(nested=bool(self.transactions))
        finally:
            self.transactions.append(begun)


class Backend:
    """A backend of units: it opens the session that their repositories share. This one's is None.

    Of several in one unit, those of higher ``precedence`` are opened later, and commit first.
    """

    precedence: t.ClassVar[int] = 0
    calls_remotely: t.ClassVar[bool] = False  # in calls that can carry a request's headers
    stream_mode: t.ClassVar[StreamMode] = "unit"

    async def open(self, app: types.App | None, calls: CallContext) -> Session:
        """Open a session for a unit of a worker of the application."""
        context = self.session(calls)
        return Session(self, await context.__aenter__(), context)

    def session(self, calls: CallContext) -> _Context:
        """Return the context manager that opens and closes what a session's repositories are made with."""
        return _NO_CONTEXT

    async def begin_transaction(self, session: t.Any, *, nested: bool) -> Transaction | None:
        """Begin the unit's transaction, or one nested in it; return None when the backend has none."""
        return None

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        """Make one of the unit's repositories with the session's handle."""
        return repository(session)

    def stream_slot(self, app: types.App | None) -> contextlib.AbstractAsyncContextManager[None]:
        """Return what a unit that streams holds beside its session, so that others find sessions as well."""
        return contextlib.nullcontext()
