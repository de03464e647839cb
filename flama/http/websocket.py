"""Web sockets that close with the right code on a message of the wrong kind."""

import typing as t

import msgspec
import starlette.websockets

from flama.exceptions import WebSocketException

__all__ = ["WebSocket"]

_UNSUPPORTED: t.Final = 1003
_INVALID: t.Final = 1007


class WebSocket(starlette.websockets.WebSocket):
    """A web socket.

    Receiving text when the message is of bytes, or the reverse, raises :class:`~flama.exceptions.WebSocketException`,
    which closes the socket with code 1003. Invalid JSON raises it with code 1007; NaN, infinity and lone surrogates are
    invalid (RFC 6455, section 7.4.1).
    """

    async def receive_text(self) -> str:
        """Return the text of the next message.

        :raises WebSocketException: the message is of bytes.
        :raises WebSocketDisconnect: the client has disconnected.
        """
        return t.cast(str, await self._read_content("text"))

    async def receive_bytes(self) -> bytes:
        """Return the bytes of the next message.

        :raises WebSocketException: the message is text.
        :raises WebSocketDisconnect: the client has disconnected.
        """
        return t.cast(bytes, await self._read_content("bytes"))

    async def receive_json(self, mode: str = "text") -> t.Any:
        """Return the JSON value of the next message, sent as text or, with ``mode="binary"``, as bytes.

        :raises WebSocketException: the message is of the other kind, or isn't JSON.
        :raises WebSocketDisconnect: the client has disconnected.
        :raises RuntimeError: ``mode`` is neither "text" nor "binary".
        """
        if mode not in {"text", "binary"}:
            raise RuntimeError(f"The mode of a message of JSON is 'text' or 'binary', not {mode!r}")
        content = await self._read_content("text" if mode == "text" else "bytes")
        try:
            return msgspec.json.decode(content)
        except (ValueError, RecursionError) as error:
            raise WebSocketException(_INVALID, "The message isn't valid JSON") from error

    async def _read_content(self, kind: str) -> str | bytes:
        if self.application_state is not starlette.websockets.WebSocketState.CONNECTED:
            raise RuntimeError('WebSocket is not connected. Need to call "accept" first.')
        message = await self.receive()
        self._raise_on_disconnect(message)
        content: str | bytes | None = message.get(kind)
        if content is None:
            raise WebSocketException(_UNSUPPORTED, f"A message of {kind} is expected")
        return content
