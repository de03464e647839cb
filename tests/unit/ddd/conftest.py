"""A table or two on every database."""

import collections.abc
import pathlib
import types
import uuid

import pytest
import sqlalchemy as sa

from flama.sqlalchemy import SQLAlchemyModule
from tests.support import schemas

metadata = sa.MetaData()
user_table = sa.Table(
    "user",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True, default=lambda: str(uuid.uuid4())),
    sa.Column("name", sa.String(32), nullable=False),
    sa.Column("email_address", sa.String(64), key="email", nullable=False, unique=True),
    sa.Column("age", sa.Integer, default=18),
    sa.Column("note", sa.String(200)),
    sa.CheckConstraint("age < 150", name="age_is_human"),
)
post_table = sa.Table(
    "post",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String(64), nullable=False, server_default="untitled"),
    sa.Column("author", sa.String(36), sa.ForeignKey("user.id", name="post_has_author")),
)


@pytest.fixture(params=["memory", "file", "asyncpg", "psycopg", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """Give the URL of a database, for each way to keep one."""
    match request.param:
        case "memory":
            return "sqlite+aiosqlite:///"
        case "file":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case "mariadb":
            return str(request.getfixturevalue("mariadb_url"))
        case driver:
            return str(request.getfixturevalue("postgres_url")).replace("asyncpg", driver)


@pytest.fixture
async def module(url: str) -> collections.abc.AsyncIterator[SQLAlchemyModule]:
    """Give a module that is started, with the tables made."""
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with schemas.tables(module.engine, *metadata.sorted_tables):
        yield module
        assert module.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    await module.on_shutdown()


@pytest.fixture
def app(module: SQLAlchemyModule) -> types.SimpleNamespace:
    """Give what a worker needs of an application: its module."""
    return types.SimpleNamespace(sqlalchemy=module)


@pytest.fixture
async def connection(module: SQLAlchemyModule):
    """Give a connection of the module."""
    connection = await module.open_connection()
    yield connection
    await module.close_connection(connection)


@pytest.fixture(name="user_table")
def _user_table() -> sa.Table:
    """Give a table with a key under another name than its column's, and a constraint of each kind."""
    return user_table


@pytest.fixture(name="post_table")
def _post_table() -> sa.Table:
    """Give a table that refers to the other."""
    return post_table
