"""Records known by what a partial unique index keeps apart, by every database that has such indexes, and in memory."""

import contextlib
import datetime

import pytest
import sqlalchemy as sa

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import F
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.memory import MemoryWorker
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
account = sa.Table(
    "account",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.String(30)),
    sa.Column("login", sa.String(30), key="name"),
    sa.Column("state", sa.String(20), server_default="it's 5% open"),
    sa.Column("gone", sa.DateTime),
)


def add_index(name, *columns, where):
    sa.Index(name, *columns, unique=True, postgresql_where=where, sqlite_where=where)


add_index("email_of_those_there", account.c.email, where=account.c.gone.is_(None))
add_index("name_of_those_open", account.c.name, where=account.c.state == "it's 5% open")


class Accounts(SQLAlchemyTableRepository):
    _table = account


class Soft(Accounts):
    _deleted_at = "gone"


class Unit(SQLAlchemyWorker):
    accounts: Accounts
    soft: Soft


@pytest.fixture(params=["memory store", "sqlite", "asyncpg", "psycopg"])
def url(request):
    match request.param:
        case "memory store":
            return None
        case "sqlite":
            return "sqlite+aiosqlite://"
    return request.getfixturevalue("postgres_url").replace("asyncpg", request.param)


@contextlib.asynccontextmanager
async def served(url):
    app = Flama(modules=[SQLAlchemyModule(url)])
    app.resources.add_resource("/accounts/", type("Account", (CRUDResource,), {"model": account}))
    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield client
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)


@pytest.fixture
async def unit(url):
    if url is None:
        async with MemoryWorker.of(Unit)() as unit:
            yield unit
        return
    async with served(url) as client, Unit(client.app) as unit:
        yield unit


GONE = datetime.datetime(2020, 1, 1)  # noqa: DTZ001 - as the column keeps it


async def test_one_that_is_there_is_found_and_changed(unit):
    accounts = unit.accounts
    first, created = await accounts.get_or_create({"email": "a", "name": "x"}, on="email")
    assert created
    assert await accounts.get_or_create({"email": "a"}, on="email") == (first, False)

    changed = await accounts.upsert({"email": "a", "name": "y"}, {"email": "b", "name": "z"}, on="email")
    assert [(record["id"] == first["id"], record["name"]) for record in changed] == [(True, "y"), (False, "z")]
    again = await accounts.upsert({"name": "y", "email": "c"}, on=account.c.name)
    assert [(record["id"], record["email"]) for record in again] == [(first["id"], "c")]
    assert await accounts.count() == 2


async def test_one_that_the_condition_does_not_hold_of_is_another(unit):
    accounts = unit.accounts
    await accounts.create({"id": 10, "email": "a", "gone": GONE}, {"id": 11, "email": "a", "gone": GONE})

    (stored,) = await accounts.upsert({"email": "a", "name": "new"}, on="email")
    assert stored["id"] not in (10, 11)
    found, created = await accounts.get_or_create({"email": "a"}, on="email")
    assert (found["id"], created) == (stored["id"], False)
    (gone,) = await accounts.upsert({"email": "a", "gone": GONE, "id": 99}, on="email")
    assert gone["id"] == 99
    assert await accounts.count(email="a") == 4


async def test_beside_soft_deletion_one_that_is_deleted_is_no_obstacle(unit):
    soft = unit.soft
    first, created = await soft.get_or_create({"email": "a"}, on="email")
    assert created
    await soft.delete(id=first["id"])

    second, created = await soft.get_or_create({"email": "a"}, on="email")
    assert (created, second["id"] != first["id"]) == (True, True)
    (third,) = await soft.upsert({"email": "a", "name": "n"}, on="email")
    assert third["id"] == second["id"]
    assert await soft.count() == 1
    assert await soft.with_deleted().count() == 2


async def test_two_that_the_condition_holds_of_are_refused(unit):
    await unit.accounts.create({"email": "a"})

    with pytest.raises(exceptions.IntegrityError) as caught:
        await unit.accounts.create({"email": "a"})
    with pytest.raises(exceptions.IntegrityError):
        await unit.accounts.create({"email": "b", "gone": GONE}, {"email": "b"}, {"email": "b"})

    assert (caught.value.kind, caught.value.fields) == ("unique", ("email",))
    assert [record["email"] async for record in unit.accounts.list()] == ["a"]


async def test_of_a_scope_that_hides_it_it_is_refused(unit):
    await unit.accounts.create({"email": "a", "name": "x"})
    scoped = unit.accounts.scoped(F.name == "y")

    for write in (scoped.upsert, scoped.get_or_create):
        with pytest.raises(exceptions.IntegrityError):
            await write({"email": "a"}, on="email")


async def test_over_http_it_is_what_records_are_known_by(url):
    if url is None:
        pytest.skip("it is a database's")
    async with served(url) as client:
        answers = [
            await client.post("/accounts/:get_or_create/?on=email", json={"email": "a"}),
            await client.post("/accounts/:get_or_create/?on=email", json={"email": "a"}),
            await client.post("/accounts/:upsert/?on=email", json=[{"email": "a", "name": "n"}]),
        ]

    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert answers[2].json()[0]["id"] == answers[0].json()["id"]


async def test_a_database_without_partial_indexes_has_a_whole_one(mariadb_url):
    async with served(mariadb_url) as client, Unit(client.app) as unit:
        first, _ = await unit.accounts.get_or_create({"email": "a", "gone": GONE}, on="email")
        (second,) = await unit.accounts.upsert({"email": "a", "name": "n"}, on="email")

        assert first["id"] == second["id"]


async def test_of_two_indexes_on_the_same_columns_none_is_chosen():
    table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Integer))
    for name, where in (("positive", table.c.a > 0), ("negative", table.c.a < 0)):
        add_index(name, table.c.a, where=where)
    module = SQLAlchemyModule("sqlite+aiosqlite://")
    await module.on_startup()

    async with module.engine.connect() as connection:
        repository = type("Repository", (SQLAlchemyTableRepository,), {"_table": table})(connection)
        with pytest.raises(exceptions.SQLAlchemyError, match=r"several partial indexes on \(a\): negative, positive"):
            await repository.upsert({"a": 1}, on="a")
    await module.on_shutdown()
