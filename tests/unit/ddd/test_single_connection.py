"""Units on one connection: within one another, and within a transaction that a test rolls back as a whole."""

import asyncio

import pytest
import sqlalchemy as sa

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
number_table = sa.Table("number", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))


class Numbers(SQLAlchemyTableRepository):
    _table = number_table


class Outer(SQLAlchemyWorker):
    numbers: Numbers


class Inner(SQLAlchemyWorker):
    numbers: Numbers


@pytest.fixture
async def app(url):
    app = Flama(schema=None, docs=None, modules=[SQLAlchemyModule(url, single_connection=True)])
    app.resources.add_resource("/numbers/", type("Number", (CRUDResource,), {"model": number_table}))
    async with Client(app=app) as app.client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
        yield app
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)


async def stored(app):
    async with Outer(app) as unit:
        return sorted([record["id"] async for record in unit.numbers.list()])


async def test_a_unit_within_another_is_a_savepoint_of_it(app):
    async with Outer(app) as outer:
        await outer.numbers.create({"id": 1})
        async with Inner(app) as inner:
            await inner.numbers.create({"id": 2})
            async with Outer(app) as innermost:
                await innermost.numbers.create({"id": 3})
        with pytest.raises(ZeroDivisionError):
            async with Inner(app) as inner:
                await inner.numbers.create({"id": 4})
                raise ZeroDivisionError
        with pytest.raises(exceptions.IntegrityError):
            async with Inner(app) as inner:
                await inner.numbers.create({"id": 1})
        async with inner, inner.savepoint():
            await inner.numbers.create({"id": 5})

    assert await stored(app) == [1, 2, 3, 5]


async def test_what_undoes_the_outer_unit_undoes_those_within(app):
    with pytest.raises(ZeroDivisionError):
        async with Outer(app) as outer:
            async with Inner(app) as inner:
                await inner.numbers.create({"id": 1})
            await outer.numbers.create({"id": 2})
            raise ZeroDivisionError

    assert await stored(app) == []


async def test_an_inner_unit_may_commit_and_roll_back_in_between(app):
    async with Outer(app):
        async with Inner(app) as inner:
            await inner.numbers.create({"id": 1})
            await inner.commit()
            await inner.numbers.create({"id": 2})
            await inner.rollback()
            await inner.numbers.create({"id": 3})

    assert await stored(app) == [1, 3]


@pytest.mark.parametrize("own_task", [False, True], ids=["one task", "a task of its own"])
async def test_all_that_a_test_does_is_rolled_back_with_its_transaction(app, own_task):
    async def begin():
        connection = await app.sqlalchemy.open_connection()
        return connection, await app.sqlalchemy.begin_transaction(connection)

    async def end(connection, transaction):
        await app.sqlalchemy.end_transaction(transaction, rollback=True)
        await app.sqlalchemy.close_connection(connection)

    async def work():
        async with Outer(app) as unit:
            await unit.numbers.create({"id": 1})
        assert (await app.client.post("/numbers/", json={"id": 2})).status_code == 201
        assert (await app.client.post("/numbers/", json={"id": 2})).status_code == 400
        async with Outer(app).options(isolation="SERIALIZABLE") as unit:
            await unit.numbers.create({"id": 3})
        with pytest.raises(ZeroDivisionError):
            async with Outer(app) as unit:
                await unit.numbers.create({"id": 4})
                raise ZeroDivisionError
        assert await Outer(app).run(lambda unit: unit.numbers.count()) == 3
        assert await stored(app) == [1, 2, 3]

    async def run(coroutine):
        return await (asyncio.create_task(coroutine) if own_task else coroutine)

    held = await run(begin())
    await run(work())
    await run(end(*held))

    assert await stored(app) == []


async def test_units_of_several_tasks_are_within_the_transaction_one_after_the_other(app):
    running = 0

    async def unit(number):
        nonlocal running
        async with Outer(app) as unit:
            running += 1
            assert running == 1
            await unit.numbers.create({"id": number})
            await asyncio.sleep(0)
            running -= 1
            if number % 2:
                raise ZeroDivisionError

    connection = await app.sqlalchemy.open_connection()
    transaction = await app.sqlalchemy.begin_transaction(connection)
    await asyncio.gather(*(unit(number) for number in range(8)), return_exceptions=True)
    assert await stored(app) == [0, 2, 4, 6]
    await app.sqlalchemy.end_transaction(transaction)
    await app.sqlalchemy.close_connection(connection)

    assert await stored(app) == [0, 2, 4, 6]


async def test_a_unit_that_is_cancelled_while_it_waits_leaves_the_others_their_turn(app):
    connection = await app.sqlalchemy.open_connection()
    transaction = await app.sqlalchemy.begin_transaction(connection)
    async with Outer(app) as unit:
        waiting = asyncio.create_task(stored(app))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait((waiting,))
        await unit.numbers.create({"id": 1})
    assert await asyncio.wait_for(stored(app), 5) == [1]
    await app.sqlalchemy.end_transaction(transaction, rollback=True)
    await app.sqlalchemy.close_connection(connection)

    assert waiting.cancelled()
    assert await stored(app) == []


async def test_without_a_transaction_of_the_program_other_tasks_wait(app):
    connection = await app.sqlalchemy.open_connection()
    waiting = asyncio.create_task(stored(app))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await app.sqlalchemy.close_connection(connection)

    assert await asyncio.wait_for(waiting, 5) == []
