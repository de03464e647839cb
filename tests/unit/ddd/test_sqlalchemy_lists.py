"""What becomes of a list that is asked for its records by hand, left early, or asked by two at once."""

import asyncio

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy.drivers._server_cursors import has_open_cursors

pytestmark = pytest.mark.anyio

MANY = 3000  # more than one batch

pebble_table = sa.Table("pebble", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))


class Pebbles(SQLAlchemyTableRepository):
    """The pebbles."""

    _table = pebble_table


@pytest.fixture
async def pebbles(module, connection):
    await connection.run_sync(pebble_table.create)
    await connection.commit()
    pebbles = Pebbles(connection)
    await pebbles.create(*({"id": number} for number in range(MANY)))
    yield pebbles
    await module.close_connection(connection)
    async with module.engine.begin() as other:
        await other.run_sync(pebble_table.drop)


async def numbers(records):
    return [record["id"] async for record in records]


async def test_one_may_ask_by_hand_and_go_on_by_a_loop(pebbles):
    records = pebbles.list(order_by="id")

    first = [await anext(records), await anext(records)]
    assert [record["id"] for record in first] == [0, 1]
    assert await numbers(records) == list(range(2, MANY))
    assert await numbers(records) == []
    with pytest.raises(StopAsyncIteration):
        await anext(records)


async def test_a_list_that_was_left_is_closed_before_the_next_statement(pebbles, connection):
    async for record in pebbles.list(order_by="id"):
        assert record["id"] == 0
        break
    assert has_open_cursors(connection)

    assert await pebbles.count() == MANY

    assert not has_open_cursors(connection)
    if connection.dialect.name == "postgresql":
        assert (
            await connection.scalar(sa.text("SELECT count(*) FROM pg_cursors WHERE statement LIKE 'SELECT pebble%'"))
            == 0
        )


async def test_a_list_that_somebody_has_goes_on_after_other_statements(pebbles, connection):
    records = pebbles.list(order_by="id")
    async for record in records:
        if record["id"] == 10:
            break

    assert await pebbles.count() == MANY
    assert await numbers(records) == list(range(11, MANY))
    assert not has_open_cursors(connection)


async def test_a_list_that_was_left_leaves_no_task_behind(pebbles):
    before = asyncio.all_tasks()

    async for _ in pebbles.list():
        break
    for _ in range(3):
        await asyncio.sleep(0)

    assert asyncio.all_tasks() == before


async def test_a_list_that_was_closed_has_ended(pebbles, connection):
    records = pebbles.list()
    assert "id" in await anext(records)

    await records.aclose()

    assert not has_open_cursors(connection)
    assert await numbers(records) == []
    await records.aclose()


async def test_a_list_that_was_never_asked_is_closed_for_nothing(pebbles, connection):
    records = pebbles.list()

    await records.aclose()

    assert not has_open_cursors(connection)
    assert await numbers(records) == []


async def test_two_can_not_ask_at_once(pebbles):
    records = pebbles.list(order_by="id")

    found = await asyncio.gather(*(anext(records) for _ in range(2)), return_exceptions=True)

    assert found[0] == {"id": 0}
    assert isinstance(found[1], RuntimeError)
    assert await numbers(records) == list(range(1, MANY))


async def test_what_was_not_read_when_the_unit_ended_is_told_of(pebbles, module, connection):
    records = pebbles.list()
    _ = await anext(records)

    await module.close_connection(connection)

    for ended in (records, pebbles.list()):
        with pytest.raises(exceptions.SessionClosedError, match="The unit of work of 'pebble' has ended"):
            await anext(ended)
