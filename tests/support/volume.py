"""A service of very many records, and what reads them all: each in a process of its own, to see what memory it takes.

``python -m tests.support.volume serve URL FD`` serves them on a socket, ``python -m tests.support.volume KIND URL
ROWS`` reads the first of them in one of three ways, and says how many they were, and the most memory that it took.
"""

import asyncio
import collections.abc
import contextlib
import json
import pathlib
import socket
import sys
import types
import typing as t

import sqlalchemy as sa
import uvicorn

from flama import Flama
from flama.client import Client
from flama.ddd import F, HTTPResourceRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule
from flama.types import App

__all__ = ["Line", "line_table", "most_memory"]

_Records: t.TypeAlias = collections.abc.AsyncIterator[dict[str, t.Any]]

line_table = sa.Table(
    "line",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.String(100), nullable=False),
)


class _Lines(SQLAlchemyTableRepository):
    _table = line_table


class _Worker(SQLAlchemyWorker):
    lines: _Lines


class Line(CRUDResource):
    """The records, served."""

    model = line_table


class _Remote(HTTPResourceRepository):
    _resource = "/line"
    _page_size = 1_000


@contextlib.asynccontextmanager
async def _over_sql(url: str, rows: int) -> collections.abc.AsyncGenerator[_Records]:
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with _Worker(t.cast(App, types.SimpleNamespace(sqlalchemy=module))) as worker:
        yield worker.lines.list(F.id <= rows)
    await module.on_shutdown()


@contextlib.asynccontextmanager
async def _as_stream(url: str, rows: int) -> collections.abc.AsyncGenerator[_Records]:
    async with Client(base_url=url) as client:
        yield _Remote(client).list(F.id <= rows, stream=True)


@contextlib.asynccontextmanager
async def _in_pages(url: str, rows: int) -> collections.abc.AsyncGenerator[_Records]:
    async with Client(base_url=url) as client:
        yield _Remote(client).list(F.id <= rows, pagination="cursor")


_KINDS: t.Final = {"sql": _over_sql, "stream": _as_stream, "pages": _in_pages}


def most_memory(process: str | int) -> int:
    """Give the most memory that a process has taken since its program began, in kilobytes, as Linux tells."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


async def _read(kind: str, url: str, rows: int) -> dict[str, int]:
    number = last = 0
    async with _KINDS[kind](url, rows) as records:
        async for record in records:
            number, last = number + 1, record["id"]
    return {"rows": number, "last": last, "kilobytes": most_memory("self")}


def _serve(url: str, listener: socket.socket) -> None:
    app = Flama(modules=[SQLAlchemyModule(url)])
    app.resources.add_resource("/line/", Line)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_level="warning", loop="none"))
    server.run([listener])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", url, number]:
            _serve(url, socket.socket(fileno=int(number)))
        case [kind, url, rows]:
            print(json.dumps(asyncio.run(_read(kind, url, int(rows)))))
