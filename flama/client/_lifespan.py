"""The lifespan protocol of ASGI, for an application that runs without a server."""

import asyncio
import collections.abc
import typing as t
import weakref

from flama import types
from flama._shielding import wait_uncancelled
from flama.exceptions import ApplicationError

__all__ = ["ASGIApp", "LifespanContextManager", "shared_lifespan"]

#: Any ASGI application.
ASGIApp: t.TypeAlias = collections.abc.Callable[
    [types.Scope, types.Receive, types.Send], collections.abc.Awaitable[None]
]


class LifespanContextManager:
    """Start an ASGI application on entry, and shut it down on exit, also after an error.

    It may be entered several times at once: the first entry starts the application, and the last exit shuts it down.
    An application without the lifespan protocol is neither started nor shut down. ``state`` is the scope's state that
    the application shares with its requests. ``timeout`` bounds the start-up and the shutdown, in seconds.

    :raises ApplicationError: start-up or shutdown failed, with the application's own message, or took too long.
    """

    # Its state, beside the application's: the number of entries, and the start-up or shutdown in progress.

    def __init__(self, app: ASGIApp, timeout: float = 60.0) -> None:
        self.app = app
        self.timeout = timeout
        self.state: dict[str, t.Any] = {}
        self._entered = 0
        self._changing: asyncio.Future[None] | None = None

    async def __aenter__(self) -> t.Self:
        while self._changing is not None and self._is_in_running_loop(self._changing):
            await asyncio.wait((self._changing,))
        if not self._entered or not self._is_in_running_loop(self._task):
            await self._change(self._start())
            self._entered = 0
        self._entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._entered -= 1
        if not self._entered:
            await self._change(self._stop())

    async def _change(self, change: collections.abc.Coroutine[t.Any, t.Any, None]) -> None:
        changing = self._changing = asyncio.get_running_loop().create_future()
        try:
            await change
        finally:
            self._changing = None
            changing.set_result(None)

    def _is_in_running_loop(self, future: asyncio.Future[t.Any]) -> bool:
        """Whether a future belongs to this event loop, rather than to one that ended before the last exit."""
        return future.get_loop() is asyncio.get_running_loop()

    async def _start(self) -> None:
        self.state.clear()
        self._received = False
        self._inbox: asyncio.Queue[types.Message] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())
        ends: list[asyncio.Future[t.Any]] = [self._send_event("startup"), self._task]
        try:
            await asyncio.wait(ends, timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._stop()
            raise
        await self._check_outcome("startup")

    async def _stop(self) -> None:
        if not self._reply.done():  # cancelled while it was starting
            await self._end()
            return
        reply = self._send_event("shutdown")
        try:
            await wait_uncancelled({reply, self._task}, self.timeout)
        finally:
            await self._check_outcome("shutdown")

    def _send_event(self, phase: str) -> asyncio.Future[types.Message]:
        self._reply: asyncio.Future[types.Message] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait({"type": f"lifespan.{phase}"})
        return self._reply

    async def _check_outcome(self, phase: str) -> None:
        message = self._reply.result() if self._reply.done() else None
        if message is not None and message["type"] == "lifespan.startup.complete":
            return
        late = message is None and not self._task.done()
        error = await self._end(self.timeout if phase == "shutdown" and not late else 0)
        if late:
            raise ApplicationError(f"Lifespan {phase} took longer than {self.timeout:g} seconds") from error
        if message is not None and message["type"] == f"lifespan.{phase}.failed":
            raise ApplicationError(f"Lifespan {phase} failed: {message.get('message') or error}") from error
        if isinstance(error, ApplicationError) or (error and self._received and not isinstance(error, _NoLifespan)):
            raise ApplicationError(f"Lifespan {phase} failed: {error}") from error

    async def _end(self, grace: float = 0) -> BaseException | None:
        """End the application's task, and return the error that it ended with."""
        if grace and not self._task.done():
            await wait_uncancelled({self._task}, grace)
        self._task.cancel()
        await wait_uncancelled({self._task}, self.timeout)
        return None if self._task.cancelled() or not self._task.done() else self._task.exception()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        await self.app(scope, self._receive, self._send)

    async def _receive(self) -> types.Message:
        message = await self._inbox.get()
        self._received = True
        return message

    async def _send(self, message: types.Message) -> None:
        if not message["type"].startswith("lifespan."):
            raise _NoLifespan(f"'{message['type']}' is no answer to the lifespan protocol")
        if not self._reply.done():
            self._reply.set_result(message)


class _NoLifespan(Exception):
    """The application ignores the scope's type."""


_lifespans: weakref.WeakValueDictionary[int, LifespanContextManager] = weakref.WeakValueDictionary()


def shared_lifespan(app: ASGIApp) -> LifespanContextManager:
    """Return the context manager of an application, one for all its clients."""
    manager = _lifespans.get(id(app))
    if manager is None or manager.app is not app:
        manager = _lifespans[id(app)] = LifespanContextManager(app)
    return manager
