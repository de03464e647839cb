"""A time limit for clients to take the pieces of a response."""

import contextlib
import logging
import typing as t

from flama import types
from flama.limits import limited

__all__ = ["SendTimeoutError", "hang_up", "timed"]

_NOTICE: t.Final = 1.0  # seconds for a server to notice that a connection is closed

_logger = logging.getLogger("flama")


class SendTimeoutError(Exception):
    """A client took nothing for ``seconds``. It ends the request, and the outermost application hangs up."""

    # no TimeoutError: as an OSError, Starlette takes it for a client that is gone

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the client took nothing for {seconds} s")


def timed(send: types.Send, seconds: float) -> types.Send:
    """Return a ``send`` that waits for the client for so many seconds.

    :raises SendTimeoutError: by sending: the client took nothing in time.
    """

    async def timed_send(message: types.Message) -> None:
        try:
            with limited(seconds):
                await send(message)
        except TimeoutError as error:
            raise SendTimeoutError(seconds) from error

    return timed_send


async def hang_up(scope: types.Scope, receive: types.Receive, send: types.Send, error: BaseException) -> None:
    """Close the connection of a request, whatever its client has not taken yet; ``send`` is the server's own."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    _logger.warning("%r: %s, and is hung up on", scope["path"], error)
    if (transport := _transport(send)) is None:
        return
    transport.abort()
    with contextlib.suppress(TimeoutError), limited(_NOTICE):  # else the server would log that the response is cut
        while (await receive())["type"] != "http.disconnect":
            pass


def _transport(send: t.Any) -> t.Any:
    """Return the transport of the server's connection, where the server is uvicorn.

    ASGI has no message by which an application closes a connection. What uvicorn does when a response is left
    unfinished is ``transport.close()``, which first waits until the client has taken what it was sent.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return transport if hasattr(transport, "abort") else None
