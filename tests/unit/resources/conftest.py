"""An application with resources, on every backend."""

import collections.abc
import contextlib
import enum
import pathlib
import typing as t
import uuid

import pytest
import sqlalchemy as sa

from flama import Flama
from flama.client import Client
from flama.ddd import MemoryWorker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.resources._idempotency import IdempotencyKeys, table as keys
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import schemas

metadata = sa.MetaData()


class Size(enum.Enum):
    """How large a puppy is."""

    SMALL = "small"
    LARGE = "large"


puppy = sa.Table(
    "puppy",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), nullable=False, unique=True),
    sa.Column("age", sa.Integer),
    sa.Column("weight", sa.Numeric(6, 2)),
    sa.Column("born", sa.Date),
    sa.Column("kind", sa.String(8), nullable=False, server_default="dog"),
    sa.Column("good", sa.Boolean, default=True),
    sa.Column("size", sa.Enum(Size)),
)
toy = sa.Table(
    "toy",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, default=uuid.uuid4),
    sa.Column("owner", sa.ForeignKey("puppy.id", name="toy_has_owner")),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("speed", sa.Float),
    sa.Column("raw", sa.LargeBinary(100)),
    sa.Column("bought", sa.DateTime(timezone=True)),
    sa.Column("made", sa.DateTime),
    sa.Column("span", sa.Interval),
    sa.Column("notes", sa.JSON),
    sa.Column("kind", sa.Enum("ball", "bone", name="kind_of_toy")),
)


class Puppies(SQLAlchemyTableRepository):
    """Puppies."""

    _table = puppy


class Toys(SQLAlchemyTableRepository):
    """Toys, which count their versions."""

    _table = toy
    _version = "version"


class PuppyWorker(SQLAlchemyWorker):
    """A unit with both."""

    puppy: Puppies
    toy: Toys
    keys: IdempotencyKeys


class Puppy(CRUDResource):
    """Puppies, served."""

    repository = Puppies
    idempotency = True


class Toy(CRUDResource):
    """Toys, served."""

    repository = Toys


@pytest.fixture(params=["memory store", "sqlite", "asyncpg", "psycopg", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str | None:
    """Give the URL of a database; None for none."""
    match request.param:
        case "memory store":
            return None
        case "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case "mariadb":
            return str(request.getfixturevalue("mariadb_url"))
        case driver:
            return str(request.getfixturevalue("postgres_url")).replace("asyncpg", driver)


def application(url: str | None) -> Flama:
    """Give an application with the resources."""
    if url is None:
        app = Flama(components=[WorkerComponent(MemoryWorker.of(PuppyWorker)())])
    else:
        app = Flama(modules=[SQLAlchemyModule(url)], components=[WorkerComponent(PuppyWorker())])
    app.resources.add_resource("/puppy/", Puppy)
    app.resources.add_resource("/toy/", Toy)
    return app


@contextlib.asynccontextmanager
async def tables(app: Flama) -> collections.abc.AsyncGenerator[None]:
    """Make the tables exist and be empty."""
    engine = app.sqlalchemy.engine
    async with schemas.tables(engine, *metadata.sorted_tables), schemas.tables(engine, keys):
        yield
        assert engine.pool.checkedout() == 0


@pytest.fixture
async def client(url: str | None) -> collections.abc.AsyncIterator[t.Any]:
    """Give a client of the application."""
    app = application(url)
    async with Client(app=app) as client, contextlib.AsyncExitStack() as stack:
        if url is not None:
            await stack.enter_async_context(tables(app))
        yield client
