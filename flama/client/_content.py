"""Request bodies that come from asynchronous generators."""

import collections.abc

import httpx

__all__ = ["GeneratedContent"]


class GeneratedContent(httpx.AsyncByteStream):
    """The chunks of an asynchronous generator, which can be iterated once.

    Closing the content closes the generator. httpx's own stream leaves an unfinished generator open, for the event
    loop to close at some later time.
    """

    def __init__(self, chunks: collections.abc.AsyncGenerator[bytes]) -> None:
        self._chunks = chunks
        self._is_consumed = False

    def __aiter__(self) -> collections.abc.AsyncGenerator[bytes]:
        if self._is_consumed:
            raise httpx.StreamConsumed
        self._is_consumed = True
        return self._chunks

    async def aclose(self) -> None:
        """Close the generator."""
        await self._chunks.aclose()
