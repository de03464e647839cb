"""A timeout for each send of a response to a slow client."""

import contextlib
import logging
import typing as t

from flama import types
from flama._timeouts import timeout

__all__ = ["SendTimeoutError", "abort_connection", "add_send_timeout"]

_DISCONNECT_WAIT: t.Final = 1.0  # seconds for a server to notice that a connection is closed

_logger = logging.getLogger("flama")


class SendTimeoutError(Exception):
    """A client read nothing for ``seconds``: the request ends, and the outermost application closes the connection."""

    # not a TimeoutError: that is an OSError, which Starlette treats as a disconnected client

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the client took nothing for {seconds} s")


def add_send_timeout(send: types.Send, seconds: float) -> types.Send:
    """Return a ``send`` that waits at most ``seconds`` for the client.

    :raises SendTimeoutError: from the returned ``send``: the client read nothing in time.
    """

    async def send_in_time(message: types.Message) -> None:
        try:
            with timeout(seconds):
                await send(message)
        except TimeoutError as error:
            raise SendTimeoutError(seconds) from error

    return send_in_time


async def abort_connection(scope: types.Scope, receive: types.Receive, send: types.Send, error: BaseException) -> None:
    """Abort the connection of a request, and discard unsent data; ``send`` must be the server's own."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    _logger.warning("%r: %s, and is hung up on", scope["path"], error)
    if (transport := _transport(send)) is None:
        return
    transport.abort()
    # the server would log an incomplete response if the application returned first
    with contextlib.suppress(TimeoutError), timeout(_DISCONNECT_WAIT):
        while (await receive())["type"] != "http.disconnect":
            pass


def _transport(send: t.Any) -> t.Any:
    """Return the transport of the connection if the server is uvicorn.

    ASGI has no message that closes a connection. For an unfinished response, uvicorn calls ``transport.close()``,
    which first waits until the client has read everything that was sent.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return transport if hasattr(transport, "abort") else None
