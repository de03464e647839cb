"""What asyncpg's server is told in front of a statement costs no round trip, and can't get lost."""

import types

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import relay

pytestmark = pytest.mark.anyio

READY = b"Z\0\0\0\5"  # PostgreSQL's ReadyForQuery: one for each time that a client waits

seat_table = sa.Table(
    "seat",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("row", sa.Integer),
)


class Seats(SQLAlchemyTableRepository):
    _table = seat_table


class Hall(SQLAlchemyWorker):
    seats: Seats


async def hall_at(url, **engine_args):
    module = SQLAlchemyModule(url, engine_args=engine_args)
    await module.on_startup()
    return module, Hall(types.SimpleNamespace(sqlalchemy=module))


@pytest.fixture
async def relayed(postgres_url):
    async with relay.relayed(sa.make_url(postgres_url)) as relayed:
        yield relayed


@pytest.fixture
async def hall(relayed):
    module, hall = await hall_at(relayed.url.render_as_string(hide_password=False), pool_size=1, max_overflow=0)
    async with module.engine.begin() as connection:
        await connection.run_sync(seat_table.metadata.create_all)
    async with hall:  # what is prepared once is prepared now
        for id in (1, 2):
            await hall.seats.create({"id": id, "row": 1})
        await hall.seats.update({"row": 2}, id=1)
        await hall.seats.retrieve(id=1)
        await hall.seats.delete(id=2)
    relayed.recording = True
    yield hall
    async with module.engine.begin() as connection:
        await connection.run_sync(seat_table.metadata.drop_all)
    await module.on_shutdown()


def round_trips(relayed):
    relayed.answered, answered = b"", relayed.answered
    return answered.count(READY)


async def test_begin_travels_with_the_first_statement(hall, relayed):
    round_trips(relayed)
    async with hall:
        await hall.seats.update({"row": 2}, id=1)
        assert round_trips(relayed) == 1

    assert round_trips(relayed) == 1  # COMMIT


async def test_every_write_of_a_unit_is_one_round_trip(hall, relayed):
    async with hall:
        for id in (5, 6):
            round_trips(relayed)
            await hall.seats.create({"id": id, "row": 1})
            assert round_trips(relayed) == 1
        await hall.seats.update({"row": 3}, id=5)
        assert round_trips(relayed) == 1
        await hall.seats.delete(id=6)
        assert round_trips(relayed) == 1

    async with hall:
        assert [seat async for seat in hall.seats.list(order_by="id")] == [{"id": 1, "row": 2}, {"id": 5, "row": 3}]


async def test_a_refused_write_leaves_what_came_before_and_costs_one_round_trip_more(hall, relayed):
    async with hall:
        await hall.seats.create({"id": 5, "row": 1})
        round_trips(relayed)
        with pytest.raises(exceptions.IntegrityError):
            await hall.seats.create({"id": 5, "row": 2})
        assert round_trips(relayed) == 2
        await hall.seats.create({"id": 6, "row": 3})
        assert round_trips(relayed) == 1

    async with hall:
        assert [seat["row"] async for seat in hall.seats.list(order_by="id")] == [2, 1, 3]


async def test_what_the_driver_refuses_to_send_leaves_the_unit_as_it_was(hall):
    async with hall:
        with pytest.raises(exceptions.InvalidDataError):
            await hall.seats.retrieve(id=2**40)  # with it, BEGIN was to be sent
        await hall.seats.create({"id": 5, "row": 1})
        with pytest.raises(exceptions.InvalidDataError):
            await hall.seats.update({"row": 2**40}, id=5)
        await hall.seats.update({"row": 4}, id=5)

    async with hall:
        assert (await hall.seats.retrieve(id=5))["row"] == 4


async def test_a_transaction_that_failed_is_not_made_well_by_a_write(hall):
    with pytest.raises(exceptions.SQLAlchemyError):
        async with hall:
            await hall.seats.create({"id": 5, "row": 1})
            with pytest.raises(exc.DBAPIError):
                await hall.connection.execute(sa.text("SELECT 1 / 0"))
            with pytest.raises(exceptions.SQLAlchemyError, match="earlier statement"):
                await hall.seats.create({"id": 6, "row": 1})
            with pytest.raises((exceptions.SQLAlchemyError, exceptions.InvalidDataError)):
                await hall.seats.update({"row": 2**40}, id=5)

    async with hall:
        assert [seat["id"] async for seat in hall.seats.list()] == [1]


async def test_what_the_driver_refuses_of_the_program_leaves_the_unit_as_it_was(hall):
    async with hall:
        await hall.seats.create({"id": 5, "row": 1})
        with pytest.raises(exc.DBAPIError):
            await hall.connection.execute(seat_table.insert().values(id=6, row=2**40))

    async with hall:
        assert await hall.seats.exists(id=5)


async def test_what_the_driver_refuses_after_reads_alone_leaves_the_unit_as_it_was(hall, postgres_url):
    module, other = await hall_at(postgres_url, pool_size=1, max_overflow=0)
    async with other:
        await other.seats.retrieve(id=1)  # without a transaction, for which more would be prepared
    async with other.options(isolation="SERIALIZABLE") as strict:
        with pytest.raises(exceptions.InvalidDataError):
            await strict.seats.retrieve(id=2**40)
        assert (await strict.seats.retrieve(id=1))["row"] == 2
    await module.on_shutdown()


async def test_a_commit_that_the_server_has_forgotten_is_a_conflict_and_leaves_the_connection_usable(hall):
    with pytest.raises(exceptions.ConflictError) as caught:
        async with hall:
            await hall.seats.create({"id": 5, "row": 1})
            raw = await hall.connection.get_raw_connection()
            await raw.driver_connection.execute("DEALLOCATE ALL")  # unnoticed by anything but asyncpg

    assert caught.value.retryable
    async with hall:
        assert [seat["id"] async for seat in hall.seats.list()] == [1]
    async with hall:
        await hall.seats.create({"id": 5, "row": 1})
    async with hall:
        assert await hall.seats.exists(id=5)


async def test_a_transaction_is_begun_as_the_engine_says(hall, relayed):
    for options, told in (
        ({"isolation_level": "SERIALIZABLE"}, ("serializable", "off", "off")),
        ({"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}, ("repeatable read", "on", "off")),
        (
            {"isolation_level": "SERIALIZABLE", "postgresql_readonly": True, "postgresql_deferrable": True},
            ("serializable", "on", "on"),
        ),
    ):
        async with hall.app.sqlalchemy.engine.connect() as connection:
            await connection.execution_options(**options)
            await Seats(connection).retrieve(id=1)
            names = ("transaction_isolation", "transaction_read_only", "transaction_deferrable")
            found = [await connection.scalar(sa.text(f"SHOW {name}")) for name in names]
            assert tuple(found) == told


async def test_without_transactions_each_statement_is_stored_by_itself(hall):
    async with hall.app.sqlalchemy.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await Seats(connection).create({"id": 7, "row": 1})
        with pytest.raises(exceptions.IntegrityError):
            await Seats(connection).create({"id": 7, "row": 2})

    async with hall:
        assert (await hall.seats.retrieve(id=7))["row"] == 1


async def test_a_transaction_that_is_refused_is_not_taken_for_begun(hall):
    async with hall.app.sqlalchemy.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        await raw.execute("BEGIN")  # nobody told SQLAlchemy

        with pytest.raises(exc.DBAPIError, match="manually started"):
            await Seats(connection).update({"row": 3}, id=1)

        await raw.execute("ROLLBACK")
        assert await Seats(connection).retrieve(id=1) == {"id": 1, "row": 2}
