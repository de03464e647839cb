"""Open units of work: their sessions, savepoints and hooks."""

import asyncio
import collections.abc
import contextlib
import typing as t

from flama import types
from flama._shielding import Work
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._backend import CallContext, Part, Session
from flama.ddd.workers._hooks import Hooks

__all__ = ["Rollback", "Unit"]

_Exit: t.TypeAlias = collections.abc.Callable[..., collections.abc.Awaitable[t.Any]]


class Rollback(Exception):
    """A rollback of a unit that no exception caused."""


class Unit:
    """A unit of work that a task has entered."""

    __slots__ = ("_hooks", "_sessions", "_start", "deadline", "open", "repositories", "task")

    def __init__(self, deadline: asyncio.Timeout | None, start: collections.abc.Callable[[Work], None]) -> None:
        self._start = start  # runs in the background
        self.task = asyncio.current_task()
        self.deadline = deadline
        self.open = True
        self.repositories: dict[str, AbstractRepository] = {}
        self._sessions: list[Session] = []
        self._hooks = [Hooks(start)]  # the unit's own, then its savepoints'

    @property
    def handle(self) -> t.Any:
        """The handle of its last session, which for most units is the only one."""
        return self._sessions[-1].handle

    @property
    def transaction(self) -> t.Any:
        """The innermost transaction of that session."""
        return self._sessions[-1].transactions[-1]

    @property
    def hooks(self) -> Hooks:
        """The hooks of the unit, or of its innermost savepoint."""
        return self._hooks[-1]

    @property
    def nested(self) -> bool:
        """Whether there is a savepoint."""
        return len(self._hooks) > 1

    @property
    def only_session(self) -> Session | None:
        """The session of a unit that ends when this does; None if there is more to end."""
        is_alone = self.deadline is None and len(self._sessions) == 1 and not self._hooks[0]
        return self._sessions[0] if is_alone else None

    async def begin(self, parts: collections.abc.Iterable[Part], app: types.App | None, calls: CallContext) -> None:
        """Open the sessions in order, begin their transactions, and make their repositories."""
        for backend, repositories, make in parts:
            session = await backend.open(app, calls)
            self._sessions.append(session)
            session.transactions.append(await session.begin(nested=False))
            for name, repository in repositories.items():
                self.repositories[name] = make(repository, session.handle)

    async def begin_nested(self) -> None:
        """Begin a savepoint."""
        async with contextlib.AsyncExitStack() as stack:
            for session in self._sessions:
                session.transactions.append(await session.begin(nested=True))
                stack.push_async_exit(session.end)
            stack.pop_all()
        self._hooks.append(Hooks(self._start))

    async def end_nested(self, error: BaseException | None) -> None:
        """End the innermost savepoint, in the reverse order; an error undoes it."""
        hooks = self._hooks.pop()
        await self._unwind([session.end for session in self._sessions], hooks, error, nested=True)
        if error is None:
            self._hooks[-1].extend(hooks)

    def end(self, error: BaseException | None) -> collections.abc.Coroutine[t.Any, t.Any, None]:
        """End its transactions and close its sessions, in the reverse order; an error undoes it. Then run its hooks."""
        exits: list[_Exit] = []
        for session in self._sessions:
            exits += [session.close, session.end] if session.transactions else [session.close]
        return self._unwind(exits, self.hooks, error, nested=False)

    async def restart(self, *, rollback: bool) -> None:
        """Commit or undo what was done so far, in the reverse order, and go on. Then run its hooks."""
        entered, self.task = self.task, asyncio.current_task()  # a hook that enters the worker begins a savepoint
        error = Rollback() if rollback else None
        try:
            exits = [session.restart for session in self._sessions]
            await self._unwind(exits, self.hooks, error, nested=self.nested)
        finally:
            self.task = entered

    async def _unwind(
        self, exits: collections.abc.Iterable[_Exit], hooks: Hooks, error: BaseException | None, *, nested: bool
    ) -> None:
        stack = contextlib.AsyncExitStack()
        for leave in exits:
            stack.push_async_exit(leave)
        # the cause of the rollback is what is raised
        traceback = None if error is None else error.__traceback__
        try:
            await stack.__aexit__(None if error is None else type(error), error, traceback)
        except BaseException as failure:
            await self._fail(hooks, error, failure)
            raise
        if error is not None:
            await hooks.run(committed=False, error=None if isinstance(error, Rollback) else error)
        elif not nested:
            await hooks.run(committed=True)

    async def _fail(self, hooks: Hooks, error: BaseException | None, failure: BaseException) -> None:
        # a session that ends after the first has committed can't undo that
        committed = hooks is self._hooks[0] and any(session.committed for session in self._sessions)
        is_unknown = isinstance(failure, asyncio.CancelledError) or getattr(failure, "maybe_applied", False)
        if error is None and not committed and is_unknown:  # the commit may have been applied all the same
            hooks.clear()
        else:
            await hooks.run(committed=committed, error=failure)
