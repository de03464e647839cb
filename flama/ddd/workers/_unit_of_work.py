"""Open units of work: their parts, savepoints and hooks."""

import abc
import asyncio
import collections.abc
import contextlib
import typing as t

from flama._shielding import Work
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._hooks import Hooks

__all__ = ["Backend", "Part", "Rollback", "StreamMode", "Transaction", "Unit"]

StreamMode: t.TypeAlias = t.Literal["unit", "batches", "whole"]
"""How a stream of records is read: within one unit, in batches with a unit for each, or whole before it begins."""


class Transaction(t.Protocol):
    """A backend's transaction, which the worker ends once."""

    async def commit(self) -> None:
        """Make permanent what was done."""

    async def rollback(self) -> None:
        """Undo what was done."""


class Backend(abc.ABC):
    """A backend of units: it opens the session that their repositories share.

    Of several in one unit, those of higher ``precedence`` are opened later, and commit first.
    """

    precedence: t.ClassVar[int] = 0
    calls_remotely: t.ClassVar[bool] = False  # in calls that can carry a request's headers
    stream_mode: t.ClassVar[StreamMode] = "unit"

    def stream_slot(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Return what a unit that streams holds beside its session, so that others find sessions as well."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def session(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        """Return the context manager that opens the backend's session for a unit, and closes it."""

    def begin_end(
        self, session: t.Any, transaction: Transaction | None, *, commit: bool
    ) -> bool | collections.abc.Awaitable[bool]:
        """Begin to end the unit's transaction and to close its session.

        Return True when both are done, as there was nothing to commit or to undo. Otherwise, with ``commit``, begin to
        commit and return an awaitable. It waits for the end of that, closes the session and returns whether it is
        closed. It may be cancelled, or return False: then :meth:`commit_and_close` does the rest. Return False when
        neither is possible.
        """
        return False

    async def commit_and_close(self, session: t.Any, transaction: Transaction | None) -> bool:
        """Commit the unit's transaction and close its session, if one step can do both; return whether it did."""
        return False

    async def begin_transaction(self, session: t.Any, *, nested: bool) -> Transaction | None:
        """Begin the unit's transaction, or one nested in it; return None when the backend has none."""
        return None

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        """Make one of the unit's repositories."""
        return repository(session)


_Context: t.TypeAlias = contextlib.AbstractAsyncContextManager[t.Any]
_Exit: t.TypeAlias = collections.abc.Callable[..., collections.abc.Awaitable[t.Any]]


Part: t.TypeAlias = tuple[Backend, collections.abc.Mapping[str, type[AbstractRepository]]]
"""A backend's part of a unit: the backend, and the repositories that share its session, by name."""


class Rollback(Exception):
    """A rollback of a unit that no exception caused."""


class _OpenSession:
    __slots__ = ("backend", "committed", "context", "session", "transactions")

    def __init__(self, backend: Backend, context: _Context, session: t.Any) -> None:
        self.backend = backend
        self.context = context
        self.session = session
        self.transactions: list[Transaction | None] = []  # the unit's own, then its savepoints'
        self.committed = False

    @property
    def exits(self) -> tuple[_Exit, ...]:
        """The callbacks that close the session, and before that end the transaction if it has begun."""
        return (self.context.__aexit__, self.end) if self.transactions else (self.context.__aexit__,)

    async def end(self, *details: t.Any) -> None:
        transaction, error = self.transactions.pop(), details[1]
        self.committed = False
        if transaction is not None:
            await (transaction.commit() if error is None else transaction.rollback())
            self.committed = error is None

    async def commit_and_close(self) -> None:
        """Commit and close the only part of a unit."""
        try:
            closed = await self.backend.commit_and_close(self.session, self.transactions[0])
            if not closed:
                await self.end(None, None, None)
        except BaseException as failure:
            await self.context.__aexit__(type(failure), failure, failure.__traceback__)
            raise
        if not closed:
            await self.context.__aexit__(None, None, None)

    async def restart(self, *details: t.Any) -> None:
        begun = self.transactions[-1]  # unless another one follows, it can store nothing more
        try:
            await self.end(*details)
            if begun is not None:
                begun = await self.backend.begin_transaction(self.session, nested=bool(self.transactions))
        finally:
            self.transactions.append(begun)


class Unit:
    """A unit of work that a task has entered."""

    __slots__ = ("_hooks", "_parts", "_start", "deadline", "open", "repositories", "task")

    def __init__(self, deadline: asyncio.Timeout | None, start: collections.abc.Callable[[Work], None]) -> None:
        self._start = start  # runs in the background
        self.task = asyncio.current_task()
        self.deadline = deadline
        self.open = True
        self.repositories: dict[str, AbstractRepository] = {}
        self._parts: list[_OpenSession] = []
        self._hooks = [Hooks(start)]  # the unit's own, then its savepoints'

    @property
    def session(self) -> t.Any:
        """The session of its last part, which for most units is the only one."""
        return self._parts[-1].session

    @property
    def transaction(self) -> Transaction | None:
        """The innermost transaction of that part."""
        return self._parts[-1].transactions[-1]

    @property
    def hooks(self) -> Hooks:
        """The hooks of the unit, or of its innermost savepoint."""
        return self._hooks[-1]

    @property
    def nested(self) -> bool:
        """Whether there is a savepoint."""
        return len(self._hooks) > 1

    async def begin(self, parts: collections.abc.Iterable[Part]) -> None:
        """Open the sessions in order, begin their transactions, and make their repositories."""
        for backend, repositories in parts:
            context = backend.session()
            opened = _OpenSession(backend, context, await context.__aenter__())
            self._parts.append(opened)
            opened.transactions.append(await backend.begin_transaction(opened.session, nested=False))
            for name, repository in repositories.items():
                self.repositories[name] = backend.make_repository(repository, opened.session)

    async def begin_nested(self) -> None:
        """Begin a savepoint."""
        async with contextlib.AsyncExitStack() as stack:
            for part in self._parts:
                part.transactions.append(await part.backend.begin_transaction(part.session, nested=True))
                stack.push_async_exit(part.end)
            stack.pop_all()
        self._hooks.append(Hooks(self._start))

    async def end_nested(self, error: BaseException | None) -> None:
        """End the innermost savepoint, in the reverse order; an error undoes it."""
        hooks = self._hooks.pop()
        await self._unwind(_exit_stack([part.end for part in self._parts]), hooks, error)
        if error is None:
            self._hooks[-1].extend(hooks)

    def begin_end(self, *, commit: bool) -> bool | collections.abc.Awaitable[bool]:
        """Begin to end it, as :meth:`Backend.begin_end` does, if there is nothing else to do."""
        if len(self._parts) != 1 or self._hooks[0]:
            return False
        part = self._parts[0]
        return part.backend.begin_end(part.session, part.transactions[0], commit=commit)

    async def end(self, error: BaseException | None) -> None:
        """End its transactions and close its sessions, in the reverse order; an error undoes it. Then run its hooks."""
        if error is None and len(self._parts) == 1 and not self._hooks[0]:
            await self._parts[0].commit_and_close()
            return
        await self._unwind(_exit_stack([leave for part in self._parts for leave in part.exits]), self.hooks, error)
        if error is None:
            await self.hooks.run(committed=True)

    async def restart(self, *, rollback: bool) -> None:
        """Commit or undo what was done so far, in the reverse order, and go on. Then run its hooks."""
        entered, self.task = self.task, asyncio.current_task()  # a hook that enters the worker begins a savepoint
        try:
            renewals = _exit_stack([part.restart for part in self._parts])
            await self._unwind(renewals, self.hooks, Rollback() if rollback else None)
            if not rollback and not self.nested:
                await self.hooks.run(committed=True)
        finally:
            self.task = entered

    async def _unwind(self, stack: contextlib.AsyncExitStack, hooks: Hooks, error: BaseException | None) -> None:
        # the cause of the rollback is what is raised
        traceback = None if error is None else error.__traceback__
        try:
            await stack.__aexit__(None if error is None else type(error), error, traceback)
        except BaseException as failure:
            await self._fail(hooks, error, failure)
            raise
        if error is not None:
            await hooks.run(committed=False, error=None if isinstance(error, Rollback) else error)

    async def _fail(self, hooks: Hooks, error: BaseException | None, failure: BaseException) -> None:
        # a part that ends after the first has committed can't undo that
        committed = hooks is self._hooks[0] and any(part.committed for part in self._parts)
        if error is None and not committed and _is_outcome_unknown(failure):
            hooks.clear()
        else:
            await hooks.run(committed=committed, error=failure)


def _exit_stack(exits: collections.abc.Iterable[_Exit]) -> contextlib.AsyncExitStack:
    stack = contextlib.AsyncExitStack()
    for leave in exits:
        stack.push_async_exit(leave)
    return stack


def _is_outcome_unknown(failure: BaseException) -> bool:
    """Whether a commit that failed may have been applied all the same."""
    return isinstance(failure, asyncio.CancelledError) or getattr(failure, "maybe_applied", False)
