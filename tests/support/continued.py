"""A plugin of pytest's by which ``import httpx`` is httpx2, which goes on where that left off."""

import httpx2
import pytest

__all__ = ["pytest_sessionfinish"]

httpx2.alias_httpx()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Make sure that it was so."""
    from flama.client import Client

    assert issubclass(Client, httpx2.AsyncClient)
