"""What is logged of a database that is down or locked, and that nothing else is."""

import asyncio
import logging
import types

import pytest
import sqlalchemy as sa

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import relay

pytestmark = pytest.mark.anyio

door_table = sa.Table("door", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


class Doors(SQLAlchemyTableRepository):
    _table = door_table


class House(SQLAlchemyWorker):
    doors: Doors


@pytest.fixture(params=["asyncpg", "psycopg", "mariadb", "sqlite"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/house.db"
    if request.param == "mariadb":
        return str(request.getfixturevalue("mariadb_url"))
    return str(request.getfixturevalue("postgres_url")).replace("asyncpg", request.param)


async def test_a_database_that_is_down_is_logged_once_with_its_cause_until_it_is_back(url, caplog):
    there = sa.make_url(url)
    if there.get_backend_name() == "sqlite":
        pytest.skip("it has no server")
    away = there.set(host="127.0.0.1", port=20_001, password="secret", query={})
    module = SQLAlchemyModule(away.render_as_string(hide_password=False))
    await module.on_startup()
    house = House(types.SimpleNamespace(sqlalchemy=module))

    for _ in range(3):
        with pytest.raises(exceptions.UnavailableError):
            async with house:
                await house.doors.count()
    await module.on_shutdown()

    messages = [record.getMessage() for record in caplog.records if record.name == "flama.sqlalchemy"]
    assert len(messages) == 1
    assert "can't be reached" in messages[0]
    assert "20001" in messages[0]
    assert "secret" not in messages[0]


async def test_a_database_that_is_back_is_logged_and_that_it_is_down_again(postgres_url, caplog):
    async with relay.relayed(sa.make_url(postgres_url)) as between:
        module = SQLAlchemyModule(between.url.render_as_string(hide_password=False))
        await module.on_startup()
        for between.refusing in (True, True, False, True, True):
            if between.refusing:
                between.reset()
                await module.engine.dispose()
                with pytest.raises((OSError, sa.exc.DBAPIError)):
                    await module.open_connection()
            else:
                await module.close_connection(await module.open_connection())
        await module.on_shutdown()

    told = [record.getMessage().partition(":")[0] for record in caplog.records if record.name == "flama.sqlalchemy"]
    down, back = "The database can't be reached", "The database can be reached again"
    assert told == [down, back, down]


async def test_a_database_that_is_locked_says_so(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path}/house.db"
    module = SQLAlchemyModule(url, engine_args={"connect_args": {"timeout": 0.05}})
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(door_table.metadata.create_all)
    other = SQLAlchemyModule(url, engine_args={"connect_args": {"timeout": 0.05}})
    await other.on_startup()
    async with other.engine.connect() as holder:
        await holder.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(exceptions.ConflictError, match="database is locked") as caught:
            async with House(types.SimpleNamespace(sqlalchemy=module)) as house:
                await house.doors.create({"id": 1})
        await holder.rollback()
    await other.on_shutdown()
    await module.on_shutdown()

    assert caught.value.retryable


async def test_an_application_that_stops_logs_nothing(url, caplog):
    caplog.set_level(logging.INFO)
    app = Flama(schema=None, docs=None, modules=[SQLAlchemyModule(url)])

    async with Client(app=app):
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(door_table.metadata.create_all)
        for _ in range(3):
            async with House(app) as house:
                await house.doors.create({})
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(door_table.metadata.drop_all)
    await asyncio.sleep(0.01)

    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
