"""When a driver is spoken to directly, and what SQLAlchemy still sees of it."""

import asyncio
import contextlib
import gc
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import create_async_engine

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy import SQLAlchemyModule, drivers
from flama.sqlalchemy.drivers._compiled_cache import CompiledCache
from flama.sqlalchemy.drivers._resolve import resolve_driver
from flama.sqlalchemy.sql import statements

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
note_table = sa.Table(
    "note",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.String(40)),
    sa.Column("number", sa.Integer, sa.CheckConstraint("number < 100", name="few")),
)


class Notes(SQLAlchemyTableRepository):
    _table = note_table


@pytest.fixture(params=["aiosqlite", "asyncpg", "psycopg"])
def url(request, tmp_path):
    if request.param == "aiosqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/data.db"
    return request.getfixturevalue("postgres_url").replace("asyncpg", request.param)


@contextlib.asynccontextmanager
async def tables_on(engine):
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    yield engine
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)


@pytest.fixture
async def engine(url):
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with tables_on(module.engine) as engine:
        yield engine
    await module.on_shutdown()


@pytest.fixture
async def connection(engine):
    async with engine.connect() as connection:
        yield connection


async def test_a_known_driver_is_spoken_to_directly(connection):
    assert resolve_driver(connection) is not None


async def test_a_statement_whose_signature_is_known_is_not_made_again(connection, monkeypatch):
    notes, guards = (
        Notes(connection),
        resolve_driver(connection).guards,
    )  # where it doesn't, a write is a block of its own

    async def each_verb(id):
        if guards or id == 1:
            assert await notes.create({"id": id, "text": "a"}) == [{"id": id, "text": "a", "number": None}]
            assert await notes.update({"text": "b"}, id=id) == [{"id": id, "text": "b", "number": None}]
        assert await notes.retrieve(id=1) == {"id": 1, "text": "b", "number": None}
        if guards and id > 1:
            await notes.delete(id=id)

    await each_verb(1)
    await each_verb(2)
    for name in ("insert", "select", "update", "delete_one"):
        monkeypatch.setattr(statements, name, lambda *_, **__: pytest.fail("it is made"))
    await each_verb(3)


async def test_a_statement_that_is_left_to_sqlalchemy_is_made_once(connection, monkeypatch):
    made, make = [], statements.update

    def count(*args):
        made.append(args)
        return make(*args)

    [note] = await Notes(connection).create({"text": "a"})
    monkeypatch.setattr(statements, "update", count)

    changed = await Notes(connection).update({"text": sa.func.upper(note_table.c.text)}, id=note["id"])

    assert changed == [{**note, "text": "A"}]
    assert len(made) == 1


async def test_a_key_of_the_drivers_own_type_is_known(url):
    table = sa.Table("ticket", sa.MetaData(), sa.Column("id", sa.Uuid, primary_key=True, default=uuid.uuid4))
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(table.create)
        [ticket] = await type("Tickets", (SQLAlchemyTableRepository,), {"_table": table})(connection).create({})

        assert statements.signature("few", table, {}, (), ticket) != statements.NO_SIGNATURE
        assert await connection.run_sync(table.drop) is None
    await engine.dispose()


async def test_mariadb_is_left_to_sqlalchemy(mariadb_url):
    engine = create_async_engine(mariadb_url)

    async with engine.connect() as connection:
        assert resolve_driver(connection) is None

    await engine.dispose()


@pytest.mark.parametrize("name", ["before_execute", "after_execute", "before_cursor_execute", "after_cursor_execute"])
@pytest.mark.parametrize("on_engine", [True, False])
async def test_who_listens_to_statements_hears_them(engine, connection, name, on_engine):
    heard = []
    retval = name == "before_execute"

    def listen(*args):
        heard.append(args)
        return args[1:4]

    target = engine.sync_engine if on_engine else connection.sync_connection
    event.listen(target, name, listen, **({"retval": True} if retval else {}))

    await Notes(connection).create({"text": "a"})

    assert resolve_driver(connection) is None
    assert len(heard) == 1


async def test_who_listens_to_the_transaction_hears_it_begin_and_end(engine, connection):
    heard = []
    for name in ("begin", "commit", "rollback"):
        event.listen(engine.sync_engine, name, lambda connection, name=name: heard.append(name))
    notes = Notes(connection)

    await notes.create({"text": "a"})
    await connection.commit()
    await notes.create({"text": "b"})
    await connection.rollback()

    assert heard == ["begin", "commit", "begin", "rollback"]
    assert [note["text"] async for note in notes.list()] == ["a"]


async def test_who_listens_to_errors_hears_what_the_driver_said(engine, connection):
    heard = []
    event.listen(engine.sync_engine, "handle_error", heard.append)

    with pytest.raises(exceptions.IntegrityError):
        await Notes(connection).create({"number": 100})

    [context] = heard
    assert isinstance(context.sqlalchemy_exception, exc.IntegrityError)
    assert context.statement.startswith("INSERT INTO note")
    assert context.execution_context.isinsert


@pytest.mark.parametrize(
    "options", [{"schema_translate_map": {None: None}}, {"logging_token": "x"}, {"compiled_cache": None}]
)
async def test_execution_options_are_left_to_sqlalchemy(connection, options):
    await connection.execution_options(**options)

    assert resolve_driver(connection) is None
    assert len(await Notes(connection).create({"text": "a"})) == 1


async def test_an_isolation_level_is_the_drivers_own(connection):
    await connection.execution_options(isolation_level="SERIALIZABLE")

    assert resolve_driver(connection) is not None
    assert len(await Notes(connection).create({"text": "a"}, {"text": "b"})) == 2


async def test_without_transactions_each_statement_is_kept(engine):
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await Notes(connection).create({"text": "a"})
        await connection.rollback()

    async with engine.connect() as connection:
        assert [note["text"] async for note in Notes(connection).list()] == ["a"]


async def test_statements_are_logged_if_the_engine_is_told_to(url, caplog):
    engine = create_async_engine(url, echo=True)

    async with tables_on(engine), engine.connect() as connection:
        caplog.clear()
        await Notes(connection).create({"text": "a"})

    assert "INSERT INTO note" in caplog.text
    await engine.dispose()


async def test_a_transaction_begins_with_the_first_statement_and_is_sqlalchemys(connection):
    notes = Notes(connection)
    assert not connection.in_transaction()

    await notes.create({"text": "a"})

    assert connection.in_transaction()
    await connection.rollback()
    assert [note async for note in notes.list()] == []


async def test_savepoints_and_statements_of_the_user_are_in_the_same_transaction(connection):
    notes = Notes(connection)
    async with connection.begin():
        await notes.create({"text": "a"})
        nested = await connection.begin_nested()
        await notes.create({"text": "b"})
        await connection.execute(sa.insert(note_table).values(text="c"))
        await nested.rollback()
        await notes.create({"text": "d"})

    assert [note["text"] async for note in notes.list(order_by="id")] == ["a", "d"]


async def test_a_closed_connection_is_told(engine):
    async with engine.connect() as connection:
        notes = Notes(connection)

    with pytest.raises(exceptions.SessionClosedError):
        await notes.retrieve(id=1)


async def test_a_transaction_that_has_ended_within_its_block_is_refused(connection):
    async with connection.begin() as transaction:
        await transaction.rollback()

        with pytest.raises(exc.InvalidRequestError):
            await Notes(connection).create({"text": "a"})


async def test_a_cancelled_statement_takes_its_connection_with_it(engine):
    async with engine.connect() as connection:
        notes = Notes(connection)
        await notes.create({"text": "a"})

        task = asyncio.create_task(notes.create({"text": "b"}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert connection.invalidated
        with pytest.raises(exceptions.UnavailableError):
            await notes.create({"text": "c"})
    async with engine.connect() as connection:
        assert [note async for note in Notes(connection).list()] == []


@pytest.mark.parametrize("before", [0, 1])
async def test_many_are_stored_all_or_none(connection, before):
    notes = Notes(connection)
    for number in range(before):
        await notes.create({"number": number})

    with pytest.raises(exceptions.IntegrityError):
        await notes.create({"number": 1}, {"number": 2}, {"text": "other columns"}, {"number": 100})

    assert len([note async for note in notes.list()]) == before
    await connection.commit()
    assert len(await notes.create({"number": 1}, {"number": 2})) == 2


async def test_more_are_created_at_once_than_a_statement_takes_parameters(connection):
    created = await Notes(connection).create(*({"text": f"{number}", "number": 1} for number in range(40_000)))

    assert [note["text"] for note in created] == [f"{number}" for number in range(40_000)]


async def test_a_table_that_changes_is_read_as_it_then_is(connection):
    notes = Notes(connection)
    await notes.create({"text": "a"})
    await notes.retrieve(text="a")
    await connection.commit()

    for type_ in ("TEXT", "VARCHAR(80)"):
        if connection.dialect.name == "postgresql":
            await connection.execute(sa.text(f"ALTER TABLE note ALTER COLUMN text TYPE {type_}"))
        else:
            await connection.execute(sa.text(f"ALTER TABLE note ADD COLUMN more_{len(type_)} {type_}"))
        await connection.commit()
        with contextlib.suppress(exc.NotSupportedError):  # a prepared statement says once that it is too old
            await notes.retrieve(text="a")
        await connection.rollback()

        assert (await notes.retrieve(text="a"))["text"] == "a"


async def test_two_tables_of_one_name_are_read_each_in_its_own_way(connection):
    class Doubled(sa.types.TypeDecorator):
        impl = sa.String
        cache_ok = True

        def process_result_value(self, value, dialect):
            return value * 2

    other = sa.Table("note", sa.MetaData(), *(column._copy() for column in note_table.c))
    other.c.text.type = Doubled(40)
    others = type("Others", (SQLAlchemyTableRepository,), {"_table": other})(connection)
    notes = Notes(connection)

    await notes.create({"id": 1, "text": "a"})

    for _ in range(2):
        assert (await notes.retrieve(id=1))["text"] == "a"
        assert (await others.retrieve(id=1))["text"] == "aa"


async def test_a_shape_is_compiled_once(connection):
    notes = Notes(connection)

    for number in range(20):
        await notes.create({"number": number})
        await notes.update({"text": f"{number}"}, number=number)

    assert len(resolve_driver(connection).shapes._shapes) == 2


async def test_shapes_go_with_their_engine(url, engine):
    gc.collect()
    before = len(CompiledCache._of)

    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with module.engine.connect() as connection:
        assert [note async for note in Notes(connection).list()] == []
    during = len(CompiledCache._of)
    await module.on_shutdown()
    del module, connection
    gc.collect()

    assert (during, len(CompiledCache._of)) == (before + 1, before)


async def test_what_cannot_be_told_apart_by_its_shape_is_left_to_sqlalchemy(connection):
    shapes = resolve_driver(connection).shapes
    clause = statements.select(note_table, (note_table.c.number > 1,), {})
    of_another_kind = statements.select(note_table, (), {"number": 1.5})

    assert shapes.get(clause) is None
    assert shapes.get(of_another_kind) is None


async def test_a_dialect_that_does_something_to_begin_does_it(tmp_path):
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/data.db")

    class Begins(type(engine.dialect)):
        def do_begin(self, dbapi_connection):
            dbapi_connection.cursor().execute("BEGIN")

    engine.dialect.__class__ = Begins
    async with engine.connect() as connection:
        await drivers.begin(connection)

        assert (await connection.get_raw_connection()).driver_connection.in_transaction
    await engine.dispose()
