"""The two nulls of a JSON column: both are None, and either can be stored and asked for, wherever it is kept."""

import contextlib

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import F
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.memory import MemoryWorker
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]


class Decorated(sa.types.TypeDecorator):
    impl = sa.JSON
    cache_ok = True


TYPES = {
    "JSON": sa.JSON(),
    "JSON or JSONB": sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
    "JSON, none as null": sa.JSON(none_as_null=True),
    "decorated": Decorated(),
}
FIRST = {"id": 1, "j": None}
ABSENT = {"id": 2}
OBJECT = {"id": 3, "j": {"a": None}}
JSON_NULL = {"id": 4, "j": sa.JSON.NULL}
SQL_NULL = {"id": 5, "j": sa.null()}
TEXT = {"id": 6, "j": "null"}


def table_of(kind):
    return sa.Table("document", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("j", kind))


def worker_of(table):
    class Documents(SQLAlchemyTableRepository):
        _table = table

    class Unit(SQLAlchemyWorker):
        documents: Documents

    return Unit


@pytest.fixture(params=["memory store", "sqlite", "asyncpg", "psycopg", "mariadb"])
def url(request):
    """The URL of each database; None for memory."""
    match request.param:
        case "memory store":
            return None
        case "sqlite":
            return "sqlite+aiosqlite://"
        case "mariadb":
            return request.getfixturevalue("mariadb_url")
    return request.getfixturevalue("postgres_url").replace("asyncpg", request.param)


@contextlib.asynccontextmanager
async def opened(url, table):
    """A repository of a table, in a unit of work."""
    unit = worker_of(table)
    if url is None:
        async with MemoryWorker.of(unit)() as worker:
            yield worker.documents
        return
    async with served(url, table) as client, unit(client.app) as worker:
        yield worker.documents


@contextlib.asynccontextmanager
async def served(url, table):
    """A client of a resource of a table."""
    app = Flama(modules=[SQLAlchemyModule(url)])
    app.resources.add_resource("/documents/", type("Document", (CRUDResource,), {"model": table}))
    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(table.metadata.create_all)
        yield client
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(table.metadata.drop_all)


@pytest.fixture(params=TYPES)
async def documents(request, url):
    """A repository of documents, of each type, on each backend."""
    async with opened(url, table_of(TYPES[request.param])) as documents:
        yield documents


async def ids(documents, *clauses, **filters):
    return [record["id"] async for record in documents.list(*clauses, order_by="id", **filters)]


async def test_each_null_can_be_stored_and_asked_for(documents):
    for record in (FIRST, ABSENT, OBJECT, JSON_NULL, SQL_NULL, TEXT):
        (stored,) = await documents.create(record)
        assert stored["j"] == (record["j"] if record in (OBJECT, TEXT) else None)
    first_is_json = not getattr(documents._table.columns.j.type, "none_as_null", False)
    of_json, of_sql = ([1, 4], [2, 5]) if first_is_json else ([4], [1, 2, 5])

    assert await ids(documents, j=None) == [1, 2, 4, 5]
    assert await ids(documents, F.j.isnull()) == [1, 2, 4, 5]
    assert await ids(documents, F.j.is_(None), F.id > 1) == [2, 4, 5]
    assert await ids(documents, ~F.j.isnull()) == [3, 6]
    assert await ids(documents, (F.j.isnull()) | (F.id == 3)) == [1, 2, 3, 4, 5]
    assert await ids(documents, j=sa.JSON.NULL) == of_json
    assert await ids(documents, j=sa.null()) == of_sql
    assert await ids(documents, F.j == sa.JSON.NULL) == of_json
    assert await ids(documents, F.j == sa.null()) == of_sql
    assert await documents.count(j=None) == 4
    assert (await documents.get(j=None, id=4))["id"] == 4
    assert await documents.exists(F.j == sa.JSON.NULL, id=5) is False


async def test_one_null_can_be_changed_to_the_other(documents):
    await documents.create(JSON_NULL, SQL_NULL)

    changed = await documents.update({"j": sa.null()}, j=sa.JSON.NULL)
    assert [record["id"] for record in changed] == [4]
    assert await ids(documents, j=sa.null()) == [4, 5]

    changed = await documents.update({"j": sa.JSON.NULL}, F.j == sa.null(), id=5)
    assert [record["id"] for record in changed] == [5]
    assert (await ids(documents, j=sa.JSON.NULL), await ids(documents, j=sa.null())) == ([5], [4])

    await documents.upsert({"id": 4, "j": sa.JSON.NULL})
    assert await ids(documents, j=sa.JSON.NULL) == [4, 5]
    assert await documents.drop(j=None) == 2


async def test_a_null_of_json_is_a_value_to_not_null(url):
    key = sa.Column("id", sa.Integer, primary_key=True)
    table = sa.Table("document", sa.MetaData(), key, sa.Column("j", sa.JSON, nullable=False))

    async with opened(url, table) as documents:
        await documents.create({"id": 1, "j": None}, {"id": 2, "j": sa.JSON.NULL})
        with pytest.raises(exceptions.IntegrityError):
            await documents.create({"id": 3, "j": sa.null()})

        assert await ids(documents, j=None) == [1, 2]


async def test_over_http_both_are_null(url):
    if url is None:
        pytest.skip("it is a database's")
    async with served(url, table_of(sa.JSON())) as client:
        for body in ({"j": None}, {}, {"j": {"a": 1}}):
            await client.post("/documents/", json=body)
        found = [
            [record["id"] for record in (await client.get(f"/documents/?{query}")).json()["data"]]
            for query in ("j=isnull", "j=not:isnull", 'filter=["j","isnull"]')
        ]
        refused = await client.get("/documents/?j=eq:1")
        unordered = await client.get("/documents/?order=j")

    assert found == [[1, 2], [3], [1, 2]]
    assert (refused.status_code, unordered.status_code) == (400, 422)
