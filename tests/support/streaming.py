"""A service of wide records: ``python -m tests.support.streaming URL FD OPTIONS``.

The options, in JSON, are those of :func:`application`, and ``http`` is uvicorn's implementation of the protocol.
"""

import json
import socket
import sys
import typing as t

import sqlalchemy as sa
import uvicorn

from flama import Flama
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import loops

__all__ = ["CONNECTIONS", "Held", "Wide", "application", "wide_table"]

CONNECTIONS: t.Final = 5

wide_table = sa.Table(
    "wide",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.String(10_000), nullable=False),
)


class Wide(CRUDResource):
    """The records, streamed in batches."""

    model = wide_table


class Held(CRUDResource):
    """The records, streamed within a transaction."""

    model = wide_table
    stream_snapshot = True


def application(url: str, *, send_timeout: float = 60.0, pool_timeout: float = 10.0) -> Flama:
    """Return the service, whose pool has five connections."""
    pool = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_timeout": pool_timeout}
    app = Flama(modules=[SQLAlchemyModule(url, engine_args=pool)], send_timeout=send_timeout)
    app.resources.add_resource("/wide/", Wide)
    app.resources.add_resource("/held/", Held)

    @app.get("/taken/")
    def taken() -> int:
        return int(app.sqlalchemy.engine.pool.checkedout())

    return app


def _serve(url: str, listener: socket.socket, *, http: t.Any = "auto", **options: t.Any) -> None:
    app = application(url, **options)
    config = uvicorn.Config(app, lifespan="on", log_level="warning", loop=loops.chosen(), http=http)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    match sys.argv[1:]:
        case [url, number, options]:
            _serve(url, socket.socket(fileno=int(number)), **json.loads(options))
