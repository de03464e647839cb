"""What a store in memory promises: turns, transactions, faults; and how it keeps the values of a table."""

import asyncio
import datetime
import decimal
import enum
import json
import subprocess
import sys
import uuid

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.memory._from_sqlalchemy import schema_of
from flama.ddd.repositories.memory._type_codecs import codec_for
from flama.memory import MemoryModule, Store
from flama.memory._dml import apply_defaults, insert
from tests.support import source

pytestmark = pytest.mark.anyio


def numbered(*cases):
    return [pytest.param(*case, id=f"{number}: {str(case[0])[:40]}") for number, case in enumerate(cases)]


metadata = sa.MetaData()
thing_table = sa.Table("thing", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
THING = schema_of(thing_table)


def stored(session, **values):
    return insert(session, THING, apply_defaults(THING, values, session.rows(THING).count))


def ids(session):
    return [row["id"] for _, row in session.rows(THING).all()]


async def committed(store, *values):
    async with store.session() as session:
        transaction = await session.begin(nested=False)
        for each in values:
            stored(session, n=each)
        await transaction.commit()


async def seen(store):
    async with store.session() as session:
        return ids(session)


async def test_what_is_committed_is_kept_and_all_else_is_not():
    store = Store()
    await committed(store, 1)

    async with store.session() as session:
        await session.begin(nested=False)
        stored(session, n=2)

    assert await seen(store) == [1]


async def test_a_rollback_undoes_what_was_changed_taken_away_and_counted():
    store = Store()
    await committed(store, 1, 2)

    async with store.session() as session:
        transaction = await session.begin(nested=False)
        rows = session.rows(THING)
        (first, one), (second, _) = rows.all()
        session.write(rows, first, {**one, "n": 9})
        session.write(rows, second, None)
        stored(session, n=3)
        await transaction.rollback()

        assert [dict(row) for _, row in rows.all()] == [{"id": 1, "n": 1}, {"id": 2, "n": 2}]
        assert stored(session, n=3)[1]["id"] == 3


async def test_a_savepoint_is_undone_by_itself_and_kept_with_the_whole():
    store = Store()

    async with store.session() as session:
        whole = await session.begin(nested=False)
        stored(session, n=1)
        kept = await session.begin(nested=True)
        stored(session, n=2)
        undone = await session.begin(nested=True)
        stored(session, n=3)
        await undone.rollback()
        await kept.commit()
        await whole.commit()

    assert await seen(store) == [1, 2]


async def test_a_block_that_fails_is_undone_alone():
    async with Store().session() as session:
        stored(session, n=1)
        with pytest.raises(ZeroDivisionError), session.atomic():
            stored(session, n=2)
            raise ZeroDivisionError

        assert ids(session) == [1]


async def test_units_have_the_store_in_the_order_of_asking():
    store, order = Store(), []

    async def unit(number):
        async with store.session():
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(unit(number) for number in range(20)))

    assert order == list(range(20))


async def test_who_waits_too_long_for_the_store_is_told_so():
    store = Store(timeout=0.01)

    async with store.session():
        with pytest.raises(exceptions.UnavailableError, match=r"another unit has had it for 0\.01 s"):
            async with store.session():
                pass

    assert await seen(store) == []


async def test_who_is_cancelled_while_waiting_leaves_the_store_to_the_others():
    store = Store()
    async with store.session():
        waiting = [asyncio.create_task(seen(store)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()

    assert (await asyncio.gather(*waiting, return_exceptions=True))[2] == []


def test_a_store_outlives_an_event_loop_and_forgets_what_was_left_open_in_it():
    store = Store()
    asyncio.run(committed(store, 1))
    left_open = store.session()

    async def abandon():
        stored(await left_open.__aenter__(), n=2)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(abandon())
    loop.close()

    assert asyncio.run(seen(store)) == [1]


async def test_a_session_that_has_ended_says_so():
    async with Store().session() as session:
        pass

    with pytest.raises(exceptions.SessionClosedError, match="unit of work of 'thing' has ended"):
        await session.begin_operation("list", THING)


async def test_a_fault_is_made_once_after_as_many_as_it_was_told():
    store = Store()
    store.fail("create", ZeroDivisionError("now"), table="thing", after=1)

    async with store.session() as session:
        await session.begin_operation("update", THING)
        await session.begin_operation("create", THING)
        with pytest.raises(ZeroDivisionError, match="now"):
            await session.begin_operation("create", THING)
        await session.begin_operation("create", THING)


async def test_a_fault_of_another_table_is_not_made():
    store = Store()
    store.fail("create", ZeroDivisionError, table="other")

    async with store.session() as session:
        await session.begin_operation("create", THING)


@pytest.mark.parametrize("verb", ["begin", "commit", "rollback"])
async def test_a_transaction_can_fail_and_keeps_nothing(verb):
    store = Store()
    store.fail(verb, ZeroDivisionError)

    with pytest.raises(ZeroDivisionError):
        async with store.session() as session:
            transaction = await session.begin(nested=False)
            stored(session, n=1)
            await (transaction.rollback() if verb == "rollback" else transaction.commit())

    assert await seen(store) == []


async def test_what_could_not_be_committed_cannot_be_later():
    store = Store()
    store.fail("commit", ZeroDivisionError)

    async with store.session() as session:
        transaction = await session.begin(nested=False)
        with pytest.raises(ZeroDivisionError):
            await transaction.commit()
        stored(session, n=1)
        with pytest.raises(exceptions.ConflictError, match="rolled back before its end"):
            await transaction.commit()

    assert await seen(store) == []


async def test_a_task_can_be_cancelled_at_a_verb():
    store = Store()
    store.cancel("create")

    async def unit():
        async with store.session() as session:
            await session.begin_operation("create", THING)

    task = asyncio.create_task(unit())
    await asyncio.wait([task])

    assert task.cancelled()
    assert await seen(store) == []


async def test_a_verb_lets_other_tasks_run():
    ran = []
    async with Store().session() as session:
        other = asyncio.create_task(asyncio.sleep(0, ran.append(True)))
        await session.begin_operation("get", THING)

        assert ran == [True]
        await other


async def test_two_tables_of_one_name_are_told():
    other = schema_of(sa.Table("thing", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True)))

    async with Store().session() as session:
        session.rows(THING)
        with pytest.raises(exceptions.ApplicationError, match="Two tables of one store are called 'thing'"):
            session.rows(other)


def test_a_module_has_the_store_that_it_is_given_or_its_own():
    store = Store()

    assert MemoryModule(store).store is store
    assert MemoryModule().store is not MemoryModule().store


@pytest.mark.parametrize("name", ["flama.memory", "flama.ddd.repositories.memory", "flama.ddd.workers.memory"])
def test_memory_loads_no_sql_and_nothing_of_the_web(name):
    script = f"import {name}, sys, json; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], cwd=source.ROOT, capture_output=True, text=True, check=True)

    loaded = {module.partition(".")[0] for module in json.loads(run.stdout)}

    assert loaded & {"sqlalchemy", "aiosqlite", "httpx", "pydantic", "starlette"} == set()


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Lower(sa.types.TypeDecorator):
    impl = sa.String(5)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else value.lower()

    def process_result_value(self, value, dialect):
        return None if value is None else f"<{value}>"


class Guid(sa.types.TypeDecorator):
    impl = sa.CHAR(32)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else value.hex


UTC, ZONE = datetime.UTC, datetime.timezone(datetime.timedelta(hours=2))
DAY = datetime.datetime.fromisoformat("2024-05-06")
NOON = DAY.replace(hour=12)
GIVEN = [
    (sa.Integer(), True, 1),
    (sa.String(3), "abc", "abc"),
    (sa.Boolean(), 1, True),
    (sa.Float(), 3, 3.0),
    (sa.Numeric(5, 2), 1.005, decimal.Decimal("1.01")),
    (sa.Numeric(5, 2), decimal.Decimal("2.345"), decimal.Decimal("2.35")),
    (sa.Numeric(5), 2.5, decimal.Decimal(3)),
    (sa.Numeric(), decimal.Decimal("1.23456789"), decimal.Decimal("1.23456789")),
    (sa.Numeric(5, 2, asdecimal=False), decimal.Decimal("1.5"), 1.5),
    (sa.DateTime(), NOON, NOON),
    (sa.DateTime(), NOON.date(), DAY),
    (sa.DateTime(timezone=True), NOON.replace(tzinfo=ZONE), NOON.replace(hour=10, tzinfo=UTC)),
    (sa.Date(), NOON, NOON.date()),
    (sa.Time(), NOON.time(), NOON.time()),
    (sa.Interval(), datetime.timedelta(hours=1), datetime.timedelta(hours=1)),
    (sa.LargeBinary(), bytearray(b"a"), b"a"),
    (sa.JSON(), {"a": (1, None)}, {"a": [1, None]}),
    (sa.JSON(), None, None),
    (sa.JSON(), sa.JSON.NULL, None),
    (sa.Uuid(), uuid.UUID(int=1), uuid.UUID(int=1)),
    (sa.Uuid(as_uuid=False), uuid.UUID(int=1).hex, str(uuid.UUID(int=1))),
    (sa.Enum(Color), Color.RED, Color.RED),
    (sa.Enum(Color), "BLUE", Color.BLUE),
    (sa.ARRAY(sa.Integer), [1, None], [1, None]),
    (sa.PickleType(), {"a": {1}}, {"a": {1}}),
    (Lower(), "ABC", "<abc>"),
    (Guid(), uuid.UUID(int=1), uuid.UUID(int=1).hex),
]


@pytest.mark.parametrize(("type", "value", "given"), numbered(*GIVEN))
def test_a_value_is_given_back_as_a_database_would(type, value, given):
    column = schema_of(sa.Table("t", sa.MetaData(), sa.Column("c", type)))

    again = column.decode(column.encode({"c": value}))["c"]

    assert (again, again.__class__) == (given, given.__class__)
    assert column.decode(column.encode({"c": None})) == {"c": None}


REFUSED = [
    (sa.Integer(), 2**31, "out of range"),
    (sa.SmallInteger(), 2**15, "out of range"),
    (sa.BigInteger(), -(2**63) - 1, "out of range"),
    (sa.Integer(), "1", "whole number"),
    (sa.Integer(), 1.0, "whole number"),
    (sa.String(3), "abcd", "4 characters"),
    (sa.String(), 1, "no text"),
    (sa.String(), "a\0", "NUL"),
    (sa.String(), "\ud800", "surrogates"),
    (sa.Boolean(), "yes", "neither"),
    (sa.Float(), float("nan"), "not finite"),
    (sa.Float(), "1", "no number"),
    (sa.Numeric(5, 2), decimal.Decimal(1000), "out of range"),
    (sa.Numeric(5, 2), decimal.Decimal("Infinity"), "not finite"),
    (sa.DateTime(), "2024-05-06", "no datetime"),
    (sa.DateTime(), NOON.replace(tzinfo=UTC), "has a time zone"),
    (sa.Date(), "2024-05-06", "no date"),
    (sa.Time(), NOON.time().replace(tzinfo=UTC), "has a time zone"),
    (sa.Interval(), 3, "no timedelta"),
    (sa.LargeBinary(), "a", "bytes"),
    (sa.JSON(), {1, 2}, "not JSON serializable"),
    (sa.JSON(), float("nan"), "JSON compliant"),
    (sa.Uuid(), "00000000000000000000000000000001", "no UUID"),
    (sa.Uuid(as_uuid=False), "nonsense", "badly formed"),
    (sa.Enum(Color), "GREEN", "GREEN"),
    (sa.Enum("a", "b"), "c", "'c'"),
    (sa.ARRAY(sa.Integer), ["a"], "integer"),
    (sa.ARRAY(sa.Integer), 1, "no list"),
    (Lower(), "too long", "8 characters"),
    (sa.Integer(), sa.func.random(), "SQL expressions"),
    (sa.JSON(), sa.text("1"), "SQL expressions"),
]


@pytest.mark.parametrize(("type", "value", "why"), numbered(*REFUSED))
def test_a_value_that_is_none_of_the_columns_is_refused(type, value, why):
    table = schema_of(sa.Table("t", sa.MetaData(), sa.Column("c", type)))

    with pytest.raises(exceptions.InvalidDataError, match=f"'c' is .*{why}"):
        table.encode({"c": value})


def test_a_json_null_is_a_value_and_one_of_sql_is_none():
    assert codec_for(sa.JSON()).encode(None) == "null"
    assert codec_for(sa.JSON(none_as_null=True)).encode(None) is None
    assert codec_for(sa.JSON()).encode(sa.null()) is None


DEFAULTS = [
    (sa.Column("c", sa.Integer, default=3), 3),
    (sa.Column("c", sa.Integer, default=lambda: 4), 4),
    (sa.Column("c", sa.Integer, default=lambda context: context.get_current_parameters()["a"] + 1), 8),
    (sa.Column("c", sa.Integer, default=sa.text("5")), 5),
    (sa.Column("c", sa.Integer, server_default="6"), 6),
    (sa.Column("c", sa.Integer, server_default=sa.text("-7")), -7),
    (sa.Column("c", sa.Integer, server_default=sa.literal(8)), 8),
    (sa.Column("c", sa.Integer, server_default=sa.null()), None),
    (sa.Column("c", sa.Integer, server_default=sa.text("NULL")), None),
    (sa.Column("c", sa.String, server_default="it's"), "it's"),
    (sa.Column("c", sa.String, server_default=sa.text("'it''s'")), "it's"),
    (sa.Column("c", sa.Boolean, server_default="1"), True),
    (sa.Column("c", sa.Boolean, server_default=sa.false()), False),
    (sa.Column("c", sa.Boolean, server_default=sa.text("true")), True),
    (sa.Column("c", sa.Float, server_default="1.5"), 1.5),
    (sa.Column("c", sa.Numeric(5, 2), server_default="1.5"), decimal.Decimal("1.50")),
    (sa.Column("c", sa.Date, server_default="2024-05-06"), NOON.date()),
    (sa.Column("c", sa.DateTime, server_default="2024-05-06 12:00:00"), NOON),
    (sa.Column("c", sa.Time, server_default="12:00:00"), NOON.time()),
    (sa.Column("c", sa.JSON, server_default='{"a": 1}'), {"a": 1}),
    (sa.Column("c", sa.Enum(Color), server_default="RED"), Color.RED),
    (sa.Column("c", Lower, server_default="a"), "<<a>>"),
    (sa.Column("c", sa.Integer, sa.Identity()), 1),
    (sa.Column("c", sa.Integer, sa.Sequence("s")), 1),
    (sa.Column("c", sa.Integer), None),
]


@pytest.mark.parametrize(("column", "value"), numbered(*DEFAULTS))
def test_a_column_has_its_default(column, value):
    table = schema_of(sa.Table("t", sa.MetaData(), sa.Column("a", sa.Integer), column))

    assert table.decode(apply_defaults(table, {"a": 7}, 0))["c"] == value


@pytest.mark.parametrize("default", [sa.func.now(), sa.text("CURRENT_TIMESTAMP"), sa.text("now()")])
@pytest.mark.parametrize("timezone", [False, True])
def test_a_default_of_now_is_now_in_utc(default, timezone):
    column = sa.Column("c", sa.DateTime(timezone=timezone), server_default=default)
    table = schema_of(sa.Table("t", sa.MetaData(), column))

    moment = table.decode(apply_defaults(table, {}, 0))["c"]

    assert (moment.tzinfo is UTC) is timezone
    assert abs(datetime.datetime.now(UTC) - moment.replace(tzinfo=UTC)) < datetime.timedelta(seconds=5)


def test_a_default_of_today_or_at_random_is_that():
    columns = (
        sa.Column("day", sa.Date, server_default=sa.func.current_date()),
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid()),
    )
    table = schema_of(sa.Table("t", sa.MetaData(), *columns))

    one, other = apply_defaults(table, {}, 0), apply_defaults(table, {}, 0)

    assert isinstance(one["day"], datetime.date)
    assert one["id"] != other["id"]


UNKNOWN = [
    sa.Column("c", sa.Integer, server_default=sa.text("abs(-1)")),
    sa.Column("c", sa.Integer, server_default=sa.func.abs(-1)),
    sa.Column("c", sa.Integer, server_default=sa.func.random()),
    sa.Column("c", sa.Integer, server_default="seven"),
    sa.Column("c", sa.Integer, sa.Computed("a + 1")),
    sa.Column("c", sa.Integer, server_default=sa.FetchedValue()),
]


@pytest.mark.parametrize("column", [pytest.param(each, id=f"{number}") for number, each in enumerate(UNKNOWN)])
def test_a_default_that_only_a_database_works_out_is_told_when_it_is_needed(column):
    table = schema_of(sa.Table("t", sa.MetaData(), sa.Column("a", sa.Integer), column))

    with pytest.raises(exceptions.ApplicationError, match="'c' of table 't' has a default that memory can't work out"):
        apply_defaults(table, {}, 0)
    assert apply_defaults(table, {"c": 1}, 0)["c"] == 1


a, b = sa.column("a"), sa.column("b")
CHECKS = [
    (a < 3, {"a": 2}, {"a": 3}),
    (a < b, {"a": 1, "b": 2}, {"a": 2, "b": 2}),
    (a + b <= 3, {"a": 1, "b": 2}, {"a": 2, "b": 2}),
    (a.between(1, 2), {"a": 2}, {"a": 3}),
    (a.in_([1, 2]), {"a": 2}, {"a": 3}),
    (a.not_in([1, 2]), {"a": 3}, {"a": 2}),
    (a.is_not(None), {"a": 1}, {"a": None}),
    (sa.or_(a.is_(None), b.is_(None)), {"a": 1}, {"a": 1, "b": 1}),
    (sa.and_(a > 0, b > 0), {"a": 1}, {"a": 1, "b": 0}),
    (sa.not_(sa.and_(a > 0, b > 0)), {"a": 1}, {"a": 1, "b": 1}),
]


@pytest.mark.parametrize(("expression", "right", "wrong"), numbered(*CHECKS))
def test_a_check_that_is_an_expression_is_held(expression, right, wrong):
    columns = (sa.Column("a", sa.Integer), sa.Column("b", sa.Integer))
    table = schema_of(sa.Table("t", sa.MetaData(), *columns, sa.CheckConstraint(expression, name="must_be")))

    apply_defaults(table, right, 0)
    apply_defaults(table, {"b": None, "a": right.get("a")}, 0)
    with pytest.raises(exceptions.IntegrityError) as caught:
        apply_defaults(table, wrong, 0)

    assert (caught.value.kind, caught.value.constraint) == ("check", "must_be")


@pytest.mark.parametrize("expression", ["a < 3", sa.func.length(a) < 3, a.like("x%"), sa.column("nonsense") < 3])
def test_a_check_that_only_a_database_works_out_is_not_held(expression):
    table = sa.Table("t", sa.MetaData(), sa.Column("a", sa.Integer), sa.CheckConstraint(expression))

    assert schema_of(table).checks == ()


def test_unique_are_the_key_what_is_declared_and_indexes_of_columns():
    table = sa.Table(
        "t",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Integer) for name in "abcd"),
        sa.UniqueConstraint("a", "b", name="pair"),
    )
    sa.Index("whole", table.c.c, unique=True)
    sa.Index("partial", table.c.d, unique=True, sqlite_where=table.c.a > 1)
    sa.Index("expression", sa.func.abs(table.c.d), unique=True)

    uniques = schema_of(table).uniques
    assert {unique[:2] for unique in uniques if unique.holds is None} == {
        (("id",), None),
        (("a", "b"), "pair"),
        (("c",), "whole"),
    }
    assert [unique[:2] for unique in uniques if unique.holds is not None] == [(("d",), "partial")]
