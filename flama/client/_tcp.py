"""TCP connections to hosts that have several addresses, on any event loop."""

import asyncio
import collections
import collections.abc
import ipaddress
import itertools
import socket
import ssl
import typing as t

__all__ = ["connect"]

P = t.TypeVar("P", bound=asyncio.BaseProtocol)

_Address: t.TypeAlias = tuple[t.Any, ...]  # what getaddrinfo returns one of

_DELAY: t.Final = 0.25  # seconds after which the next address is tried as well, as RFC 8305 recommends


async def connect(
    protocol_factory: collections.abc.Callable[[], P], host: str, port: int, context: ssl.SSLContext | None
) -> P:
    """Connect to a host, over TLS if there is a context, and return the protocol.

    The host's addresses are tried one after another, each beginning when the one before has failed or has taken too
    long (RFC 8305).

    :raises OSError: no address accepts a connection, or the certificate isn't the host's.
    """
    loop = asyncio.get_running_loop()
    if _is_address(host):
        _, protocol = await loop.create_connection(protocol_factory, host, port, ssl=context)
        return protocol
    # not by the argument happy_eyeballs_delay: uvloop doesn't have it, and asyncio loses sockets when it is cancelled
    connected = await _race(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    try:
        _, protocol = await loop.create_connection(
            protocol_factory, sock=connected, ssl=context, server_hostname=host if context else None
        )
    except BaseException:
        connected.close()
        raise
    return protocol


async def _race(addresses: collections.abc.Iterable[_Address]) -> socket.socket:
    """Return the first socket that is connected to one of the addresses, and close the others."""
    remaining = collections.deque(_alternate_families(addresses))
    attempts: list[asyncio.Task[socket.socket]] = []
    winner = None
    try:
        while winner is None and (remaining or not all(attempt.done() for attempt in attempts)):
            if remaining:
                attempts.append(asyncio.create_task(_open_socket(remaining.popleft())))
            pending = [attempt for attempt in attempts if not attempt.done()]
            await asyncio.wait(pending, timeout=_DELAY if remaining else None, return_when=asyncio.FIRST_COMPLETED)
            winner = next(filter(_has_succeeded, attempts), None)
    finally:
        for attempt in attempts:
            if attempt is not winner:
                attempt.cancel()
                attempt.add_done_callback(_close)
    if winner is None:
        raise _summarize([t.cast("OSError", attempt.exception()) for attempt in attempts])
    return winner.result()


async def _open_socket(address: _Address) -> socket.socket:
    family, kind, protocol, _, target = address
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, target)
    except BaseException:
        opened.close()
        raise
    return opened


def _alternate_families(addresses: collections.abc.Iterable[_Address]) -> collections.abc.Iterator[_Address]:
    """Yield an address of the resolver's first family, one of the next, and so on, in the resolver's order in each."""
    families: dict[int, list[_Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    for turn in itertools.zip_longest(*families.values()):
        yield from filter(None, turn)


def _summarize(errors: collections.abc.Sequence[OSError]) -> OSError:
    return errors[0] if len(errors) == 1 else OSError("; ".join(map(str, errors)))


def _has_succeeded(attempt: asyncio.Task[socket.socket]) -> bool:
    return attempt.done() and not attempt.cancelled() and attempt.exception() is None


def _close(attempt: asyncio.Task[socket.socket]) -> None:
    if _has_succeeded(attempt):
        attempt.result().close()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
