"""Records that a trigger of the database takes away: each write of one is a data error, and leaves nothing behind."""

import asyncio

import pytest
import sqlalchemy as sa

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import F
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.drivers import _triggers

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
table = sa.Table(
    "thing",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), unique=True),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("gone", sa.DateTime),
)
SKIPPING = {
    "postgresql": [
        """CREATE FUNCTION skip_thing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' THEN IF OLD.name = 'kept' THEN RETURN NULL; END IF; RETURN OLD; END IF;
        IF NEW.name = 'skip' THEN RETURN NULL; END IF; RETURN NEW; END $$""",
        "CREATE TRIGGER skipping BEFORE INSERT OR UPDATE OR DELETE ON thing FOR EACH ROW EXECUTE FUNCTION skip_thing()",
    ],
    "sqlite": [
        f"""CREATE TRIGGER skipping_{verb} BEFORE {verb} ON thing WHEN {row}.name = '{name}'
        BEGIN SELECT RAISE(IGNORE); END"""
        for verb, row, name in (("INSERT", "NEW", "skip"), ("UPDATE", "NEW", "skip"), ("DELETE", "OLD", "kept"))
    ],
}


class Things(SQLAlchemyTableRepository):
    _table = table


class Versioned(Things):
    _version = "version"


class Soft(Things):
    _deleted_at = "gone"


@pytest.fixture
def url(request, tmp_path):
    match request.param:
        case "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case driver:
            return str(request.getfixturevalue("postgres_url")).replace("asyncpg", driver)


@pytest.fixture
async def engine(url):
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        for statement in SKIPPING[connection.dialect.name]:
            await connection.exec_driver_sql(statement)
    yield module.engine
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        if connection.dialect.name == "postgresql":
            await connection.exec_driver_sql("DROP FUNCTION skip_thing")
    await module.on_shutdown()


WRITES = {
    "create one": lambda things: things.create({"name": "skip"}),
    "create one in a scope": lambda things: things.scoped(F.id > 0).create({"name": "skip"}),
    "create many": lambda things: things.create({"name": "a"}, {"name": "skip"}, {"name": "b"}),
    "create many of another form": lambda things: things.create({"name": "a"}, {"name": "skip", "id": 9}),
    "create with an expression": lambda things: things.create({"name": "a"}, {"name": sa.literal("skip")}),
    "update one": lambda things: things.update({"name": "skip"}, id=1),
    "update few": lambda things: things.update({"name": "skip"}, F.id == 1, max_affected=3),
    "upsert a new one": lambda things: things.upsert({"name": "skip"}, on="name"),
    "upsert without a key": lambda things: things.upsert({"name": "skip"}),
    "upsert one": lambda things: things.upsert({"id": 1, "name": "skip"}),
    "upsert many": lambda things: things.upsert({"id": 1, "name": "skip"}, {"id": 2, "name": "b"}),
    "upsert many of a scope": lambda things: things.scoped(F.id > 0).upsert({"id": 5, "name": "skip"}),
    "get_or_create": lambda things: things.get_or_create({"name": "skip"}, on="name"),
    "delete one": lambda things: things.delete(id=1),
    "drop few": lambda things: things.drop(F.id == 1, max_affected=3),
}


@pytest.mark.parametrize("path", ["shape", "core"])
@pytest.mark.parametrize("repository", [Things, Versioned, Soft])
@pytest.mark.parametrize("url", ["sqlite", "asyncpg", "psycopg"], indirect=True)
async def test_a_record_that_a_trigger_takes_away_is_a_data_error(engine, repository, path):
    found = {}
    async with engine.connect() as connection:
        if path == "core":  # which runs what somebody listens to
            sa.event.listen(connection.sync_connection, "before_execute", lambda *args: None)
        things = repository(connection)
        await things.create({"id": 1, "name": "kept"})
        before = [record async for record in things.list()]
        for verb, write in WRITES.items():
            if repository is Soft and verb in ("delete one", "drop few"):
                continue  # they change the record, which no trigger minds
            try:
                found[verb] = await write(things)
            except exceptions.IntegrityError as error:
                found[verb] = "a trigger or a rule" in error.detail

        assert found == dict.fromkeys(found, True)
        assert [record async for record in things.list()] == before
        await connection.rollback()


@pytest.mark.parametrize("url", ["sqlite", "asyncpg", "psycopg"], indirect=True)
async def test_a_write_that_no_trigger_minds_finds_what_is_there_as_ever(engine):
    async with engine.connect() as connection:
        things = Things(connection)
        await things.create({"id": 1, "name": "kept"}, {"id": 2, "name": "a"})

        assert await things.update({"name": "b"}, id=3) == []
        assert (await things.update({"name": "b"}, id=2))[0]["name"] == "b"
        with pytest.raises(exceptions.NotFoundError):
            await things.delete(id=3)
        with pytest.raises(exceptions.NotFoundError):
            await things.delete(F.id == 2, name="kept")
        await things.delete(id=2)
        await connection.rollback()


@pytest.mark.parametrize("url", ["sqlite", "asyncpg", "psycopg"], indirect=True)
async def test_over_http_it_is_a_fault_of_the_request(engine, url):
    app = Flama(modules=[SQLAlchemyModule(url)])
    app.resources.add_resource("/things/", type("Thing", (CRUDResource,), {"model": table}))
    requests = [
        ("POST", "/things/", {"name": "skip"}),
        ("POST", "/things/", [{"name": "a"}, {"name": "skip"}]),
        ("PUT", "/things/1/", {"name": "skip"}),
        ("PATCH", "/things/1/", {"name": "skip"}),
        ("DELETE", "/things/1/", None),
        ("PUT", "/things/", [{"id": 1, "name": "skip"}]),
        ("POST", "/things/:upsert/", [{"id": 1, "name": "skip"}]),
    ]

    async with Client(app=app) as client:
        await client.post("/things/", json={"id": 1, "name": "kept"})
        answers = [(await client.request(method, path, json=body)).status_code for method, path, body in requests]
        left = (await client.get("/things/")).json()["data"]

    assert answers == [400] * len(requests)
    assert [record["name"] for record in left] == ["kept"]


BEFORE_UPDATES = "CREATE TRIGGER skipping BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION skip_thing()"
# what there may be of a table, and whether the database may pass over a record of it that it is told to change
KINDS = {
    "a table": (False, []),
    "a trigger before updates": (True, [BEFORE_UPDATES.format("thing")]),
    "a trigger before inserts": (False, [BEFORE_UPDATES.format("thing").replace("UPDATE", "INSERT")]),
    "a trigger after updates": (False, [BEFORE_UPDATES.format("thing").replace("BEFORE", "AFTER")]),
    "a trigger that is off": (False, [BEFORE_UPDATES.format("thing"), "ALTER TABLE thing DISABLE TRIGGER ALL"]),
    "a rule": (True, ["CREATE RULE skipping AS ON INSERT TO thing WHERE NEW.id = 7 DO INSTEAD NOTHING"]),
    "a view": (True, ["ALTER TABLE thing RENAME TO things", "CREATE VIEW thing AS SELECT * FROM things"]),
    "an heir with a trigger": (True, ["CREATE TABLE heir () INHERITS (thing)", BEFORE_UPDATES.format("heir")]),
}


@pytest.fixture
async def connection(postgres_url):
    """A connection to PostgreSQL in a transaction, in which there are the table and the function, but no trigger."""
    module = SQLAlchemyModule(postgres_url)
    await module.on_startup()
    async with module.engine.connect() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.exec_driver_sql(SKIPPING["postgresql"][0])
        yield connection
        await connection.rollback()
    await module.on_shutdown()


@pytest.fixture
def reads(connection):
    """The statements that the connection runs, but for those that write."""
    found = []

    def hear(connection, cursor, statement, *rest):
        if "SELECT" in statement:
            found.append(statement)

    sa.event.listen(connection.sync_connection, "before_cursor_execute", hear)
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_what_an_update_has_not_found_is_looked_for_where_the_database_may_pass_over_it(connection, reads, kind):
    may_pass_over, commands = KINDS[kind]
    for command in commands:
        await connection.exec_driver_sql(command)
    things = Things(connection)
    reads.clear()

    for _ in range(3):
        assert await things.update({"name": "a"}, id=404) == []

    assert len(reads) == (6 if may_pass_over else 1)


async def test_a_trigger_that_is_created_meanwhile_is_noticed_after_a_while(connection, monkeypatch):
    monkeypatch.setattr(_triggers, "_SECONDS", 0.2)
    things = Things(connection)
    await things.create({"id": 1, "name": "kept"})
    assert await things.update({"name": "a"}, id=404) == []
    await connection.exec_driver_sql(BEFORE_UPDATES.format("thing"))

    await asyncio.sleep(0.3)

    with pytest.raises(exceptions.IntegrityError, match="a trigger or a rule"):
        await things.update({"name": "skip"}, id=1)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_sqlite_knows_its_triggers_by_any_spelling_of_the_table(engine):
    spelled = sa.Table("THING", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    plain = sa.Table("plain", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    async with engine.connect() as connection:
        await connection.run_sync(plain.create)

        assert await _triggers.may_pass_over(connection, spelled)
        assert not await _triggers.may_pass_over(connection, plain)


@pytest.mark.parametrize("url", ["asyncpg"], indirect=True)
async def test_of_a_schema_that_is_chosen_by_the_connection_nothing_is_taken_for_known(engine):
    async with engine.connect() as connection:
        await connection.execution_options(schema_translate_map={None: "public"})

        with pytest.raises(exceptions.IntegrityError, match="a trigger or a rule"):
            things = Things(connection)
            await things.create({"id": 1, "name": "kept"})
            await things.update({"name": "skip"}, id=1)
