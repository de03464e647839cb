"""Transports of a client: the network, or an ASGI application in this process."""

__all__: list[str] = []
