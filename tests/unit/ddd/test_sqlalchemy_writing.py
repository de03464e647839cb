"""What a repository writes in one go, guards, locks, and gives as values of a type, on every database."""

import asyncio
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import itertools
import typing as t
import uuid

import msgspec
import pydantic
import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd import F
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository, _upsert
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from tests.support import schemas

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

metadata = sa.MetaData()
ticks = itertools.count(1)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


item_table = sa.Table(
    "item",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("item_code", sa.String(20), key="code", unique=True),
    sa.Column("name", sa.String(20), nullable=False, default="unnamed"),
    sa.Column("amount", sa.Integer, server_default="7"),
    sa.Column("tick", sa.Integer, default=0, onupdate=lambda: next(ticks)),
    sa.Column("note", sa.String(50), onupdate=lambda context: f"now {context.get_current_parameters().get('name')}"),
    sa.CheckConstraint("amount < 1000", name="amount_is_small"),
)
stock_table = sa.Table(
    "stock",
    metadata,
    sa.Column("shop", sa.String(10), primary_key=True),
    sa.Column("item", sa.String(10), primary_key=True),
    sa.Column("amount", sa.Integer),
)
page_table = sa.Table(
    "page",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("slug", sa.String(20), unique=True),
    sa.Column("text", sa.String(20)),
    sa.Column("revision", sa.Integer, key="version", nullable=False),
)
person_table = sa.Table(
    "person",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, default=uuid.uuid4),
    sa.Column("full_name", sa.String(20), key="name", nullable=False),
    sa.Column("tag", sa.String(36)),
    sa.Column("color", sa.Enum(Color)),
    sa.Column("shade", sa.String(10), default="red"),
    sa.Column("height", sa.Numeric(5, 2)),
    sa.Column("born", sa.Date),
    sa.Column("address", sa.JSON),
    sa.Column("friends", sa.JSON),
)


class Items(SQLAlchemyTableRepository):
    _table = item_table


class Stock(SQLAlchemyTableRepository):
    _table = stock_table


class Pages(SQLAlchemyTableRepository):
    _table = page_table
    _version = "version"


class Worker(SQLAlchemyWorker):
    items: Items
    pages: Pages


@pytest.fixture
async def module(module):
    """Give the module with these tables, too."""
    async with schemas.tables(module.engine, *metadata.sorted_tables):
        yield module


@pytest.fixture(params=["by the driver", "by SQLAlchemy"])
def way(request, module):
    """Let statements be run in each of the two ways."""
    if request.param == "by SQLAlchemy":
        sa.event.listen(module.engine.sync_engine, "before_cursor_execute", lambda *_: None)


@pytest.fixture
def items(connection, way):
    return Items(connection)


@pytest.fixture
def stock(connection):
    return Stock(connection)


@pytest.fixture
def pages(connection, way):
    return Pages(connection)


def picked(records, *names):
    return [tuple(record[name] for name in names) for record in records]


async def test_upsert_stores_what_is_new_and_changes_what_is_there(items):
    (first,) = await items.create({"code": "a", "name": "A"})

    stored = await items.upsert({"code": "b", "name": "B"}, {"code": "a", "name": "Ä"}, on="code")

    assert picked(stored, "code", "name", "amount") == [("b", "B", 7), ("a", "Ä", 7)]
    assert stored[1]["id"] == first["id"]
    assert [record async for record in items.list(order_by="-code")] == stored


async def test_upsert_gives_records_with_different_columns_in_order(items):
    await items.create({"code": "b", "amount": 1}, {"code": "d", "amount": 1})

    stored = await items.upsert(
        {"code": "a", "amount": 2}, {"name": "B", "code": "b"}, {"code": "c"}, {"amount": 3, "code": "d"}, on="code"
    )

    assert picked(stored, "code", "name", "amount") == [
        ("a", "unnamed", 2),
        ("b", "B", 1),
        ("c", "unnamed", 7),
        ("d", "unnamed", 3),
    ]


async def test_upsert_of_many_gives_them_in_order(items):
    await items.create(*({"code": f"{n}"} for n in range(0, 300, 3)))

    stored = await items.upsert(*({"code": f"{n}", "amount": n} for n in range(300)), on="code")

    assert picked(stored, "code", "amount") == [(f"{n}", n) for n in range(300)]
    assert await items.count() == 300


async def test_upsert_is_by_the_primary_key_unless_said_otherwise(items, stock):
    (item,) = await items.create({"name": "A"})
    await stock.create({"shop": "x", "item": "y", "amount": 1})

    changed, new = await items.upsert({"id": item["id"], "name": "B"}, {"name": "C"})

    assert (changed["id"], changed["name"]) == (item["id"], "B")
    assert (new["id"] != item["id"], new["name"]) == (True, "C")
    assert await stock.upsert({"item": "y", "shop": "x", "amount": 2}) == [{"shop": "x", "item": "y", "amount": 2}]
    assert await stock.upsert({"item": "y", "shop": "z"}) == [{"shop": "z", "item": "y", "amount": None}]


async def test_none_as_primary_key_is_a_new_record(items):
    one, two = await items.upsert({"id": None, "name": "A"}, {"id": None, "name": "A"})

    assert one["id"] != two["id"]


async def test_a_key_that_mariadb_counts_is_no_trouble_among_others(items, connection):
    stored = await items.create({"id": 0, "code": "a"}, {"id": 5, "code": "b"}, {"id": 4, "code": "c"})

    counts = connection.dialect.name == "mysql" and 0 not in [record["id"] for record in stored]
    assert [record["id"] for record in stored][1:] == [5, 4]
    assert (stored[0]["id"] == 0) is not counts
    assert [record["code"] for record in stored] == ["a", "b", "c"]


async def test_upsert_changes_only_what_is_to_be_set(items):
    await items.create({"code": "a", "name": "A", "amount": 1})

    (changed,) = await items.upsert({"code": "a", "name": "B", "amount": 2}, on=[item_table.c.code], set=["amount"])
    (same,) = await items.upsert({"code": "a", "name": "B", "amount": 3}, on="code", set=())

    assert picked([changed, same], "name", "amount") == [("A", 2), ("A", 2)]


async def test_upsert_of_a_key_alone_gives_what_is_there(items):
    created = await items.create({"code": "a", "name": "A"})

    assert await items.upsert({"code": "a"}, on="code") == created


async def test_upsert_keeps_the_primary_key_of_what_is_there(items):
    await items.create({"id": 1, "code": "a"}, {"id": 2, "code": "b"})

    changed = await items.upsert({"id": 9, "code": "a", "name": "A"}, {"id": 1, "code": "b", "name": "B"}, on="code")

    assert picked(changed, "id", "name") == [(1, "A"), (2, "B")]


async def test_upsert_gives_new_records_their_defaults_and_changed_ones_their_update(items):
    (new,) = await items.upsert({"code": "a", "name": "A"}, on="code")
    (changed,) = await items.upsert({"code": "a", "name": "B"}, on="code")
    (again,) = await items.upsert({"code": "a", "name": "C", "note": "mine"}, on="code")

    assert (new["tick"], new["note"]) == (0, None)
    assert (changed["tick"] > 0, changed["note"]) == (True, "now B")
    assert (again["tick"] > changed["tick"], again["note"]) == (True, "mine")


async def test_upsert_takes_sql_expressions(items):
    await items.create({"code": "a"})

    stored = await items.upsert(
        {"code": "a", "name": sa.func.upper("x")}, {"code": "b", "amount": sa.text("3")}, on="code"
    )

    assert picked(stored, "name", "amount") == [("X", 7), ("unnamed", 3)]


async def test_upsert_of_nothing_stores_nothing(items):
    assert await items.upsert() == []


async def test_upsert_stores_all_or_nothing(items, connection):
    await items.create({"code": "a", "name": "A"})

    with pytest.raises(exceptions.IntegrityError) as caught:
        await items.upsert({"code": "b"}, {"code": "a", "name": "B"}, {"code": "c", "amount": 5000}, on="code")

    assert caught.value.kind == "check"
    assert picked([record async for record in items.list()], "code", "name") == [("a", "A")]
    await connection.commit()


async def test_another_record_that_is_alike_where_none_may_be_is_an_unique_violation(items):
    await items.create({"id": 1, "code": "a", "name": "A"})

    with pytest.raises(exceptions.IntegrityError) as upserted:
        await items.upsert({"id": 1, "code": "b", "name": "B"}, on="code")
    with pytest.raises(exceptions.IntegrityError) as created:
        await items.get_or_create({"id": 1, "code": "b", "name": "B"}, on="code")

    assert (upserted.value.kind, created.value.kind) == ("unique", "unique")
    assert picked([record async for record in items.list()], "id", "code", "name") == [(1, "a", "A")]


async def test_two_records_that_mean_the_same_are_refused(items):
    with pytest.raises(exceptions.InvalidDataError, match="two records have the same 'code'"):
        await items.upsert({"code": "a"}, {"code": "b"}, {"code": "a", "name": "A"}, on="code")

    assert await items.count() == 0


async def test_null_is_like_nothing(items):
    stored = await items.upsert({"code": None, "name": "A"}, {"code": None, "name": "B"}, on="code")

    assert picked(stored, "code", "name") == [(None, "A"), (None, "B")]
    assert await items.count() == 2


@pytest.mark.parametrize("verb", ["upsert", "get_or_create"])
async def test_what_tells_the_record_must_be_there_and_unique(items, verb):
    write = getattr(items, verb)

    with pytest.raises(exceptions.InvalidDataError, match="'code' identifies the record, and is missing"):
        await write({"name": "A"}, on="code")
    with pytest.raises(exceptions.SQLAlchemyError, match=r"nothing unique on \(name\); it has \(id\), \(code\)"):
        await write({"name": "A"}, on="name")
    with pytest.raises(exceptions.UnknownColumnError, match="nonsense"):
        await write({"name": "A"}, on=["code", "nonsense"])
    with pytest.raises(exceptions.UnknownColumnError, match="nonsense"):
        await write({"nonsense": "A", "code": "a"}, on="code")


def test_a_unique_index_tells_records_apart_unless_it_is_of_expressions():
    table = sa.Table(
        "t", sa.MetaData(), *(sa.Column(name, sa.Integer) for name in "abcd"), sa.Column("i", primary_key=True)
    )
    sa.Index("whole", table.c.a, table.c.b, unique=True)
    sa.Index("partial", table.c.c, unique=True, postgresql_where=table.c.a > 1)
    sa.Index("expression", sa.func.abs(table.c.d), unique=True)
    sa.Index("plain", table.c.d)

    assert _upsert.conflict_key(table, ("b", "a")) == ("b", "a")
    assert _upsert.conflict_key(table, "c") == ("c",)
    for columns in ("d", "a"):
        with pytest.raises(exceptions.SQLAlchemyError):
            _upsert.conflict_key(table, columns)


async def test_get_or_create_stores_once(items):
    first, created = await items.get_or_create({"code": "a", "name": "A"}, on="code")
    second, again = await items.get_or_create({"code": "a", "name": "B"}, on="code")

    assert (created, again, second == first, first["name"]) == (True, False, True, "A")
    assert first["tick"] == 0


async def test_get_or_create_is_by_the_primary_key_unless_said_otherwise(items, stock):
    await items.create({"id": 5, "name": "A"})

    assert (await items.get_or_create({"id": 5}))[1] is False
    assert (await items.get_or_create({"id": 6}))[1] is True
    assert (await stock.get_or_create({"shop": "x", "item": "y"}))[1] is True
    assert (await stock.get_or_create({"shop": "x", "item": "y"}))[1] is False


async def test_get_or_create_finds_nothing_by_null(items):
    with pytest.raises(exceptions.InvalidDataError, match="null as 'code'"):
        await items.get_or_create({"code": None}, on="code")


async def test_of_many_who_get_or_create_at_once_one_creates(app):
    async def get_or_create(n):
        async with (worker := Worker(app)):
            return await worker.items.get_or_create({"code": "a", "name": f"{n}"}, on="code")

    found = await asyncio.gather(*(get_or_create(n) for n in range(64)))

    assert sum(created for _, created in found) == 1
    assert len({record["name"] for record, _ in found}) == 1


async def test_many_who_upsert_at_once_leave_one_record(app):
    async def upsert(n):
        async with (worker := Worker(app)):
            return await worker.items.upsert({"code": "a", "amount": n}, on="code")

    stored = await asyncio.gather(*(upsert(n) for n in range(64)))

    assert len({record["id"] for (record,) in stored}) == 1
    assert sorted(record["amount"] for (record,) in stored) == list(range(64))


@pytest.mark.parametrize("verb", ["update", "drop"])
async def test_more_than_may_be_affected_are_left_alone(items, verb):
    await items.create(*({"code": f"{n}", "amount": n} for n in range(4)))

    with pytest.raises(exceptions.MultipleRecordsError, match="more than 2 match"):
        await (items.drop(max_affected=2) if verb == "drop" else items.update({"name": "X"}, max_affected=2))
    with pytest.raises(exceptions.MultipleRecordsError):
        few = (F.amount > 1, item_table.c.amount < 9)
        await (
            items.drop(*few, max_affected=1) if verb == "drop" else items.update({"name": "X"}, *few, max_affected=1)
        )

    assert picked([record async for record in items.list()], "name") == [("unnamed",)] * 4


async def test_as_many_as_may_be_affected_are(items):
    await items.create(*({"code": f"{n}", "amount": n} for n in range(4)))

    changed = await items.update({"name": "X"}, F.amount < 2, max_affected=2)

    assert picked(changed, "name") == [("X",), ("X",)]
    assert await items.update({"name": "X"}, code="?", max_affected=0) == []
    assert await items.drop(code="?", max_affected=1) == 0
    assert await items.drop(name="X", max_affected=3) == 2
    assert await items.drop(max_affected=2) == 2


@pytest.mark.parametrize("number", ["2", -1, 1.5, True])
async def test_how_many_may_be_affected_is_a_natural_number(items, number):
    with pytest.raises(exceptions.InvalidDataError, match="max_affected"):
        await items.drop(max_affected=number)
    with pytest.raises(exceptions.InvalidDataError, match="max_affected"):
        await items.update({"name": "A"}, max_affected=number)


async def test_a_refused_write_leaves_the_unit_usable(items, connection):
    await items.create({"code": "a"}, {"code": "b"})

    with pytest.raises(exceptions.MultipleRecordsError):
        await items.drop(max_affected=1)

    await items.create({"code": "c"})
    await connection.commit()
    assert await items.count() == 3


async def test_a_version_begins_with_one_and_counts_up(pages):
    (created,) = await pages.create({"slug": "a", "text": "1"})
    (once,) = await pages.update({"text": "2"}, id=created["id"])
    (twice,) = await pages.update({"text": "3", "version": 2}, id=created["id"])
    (thrice,) = await pages.update({"text": "4"}, id=created["id"], version=3)

    assert [page["version"] for page in (created, once, twice, thrice)] == [1, 2, 3, 4]
    assert await pages.retrieve(id=created["id"]) == thrice


async def test_a_version_counts_up_in_all_that_change(pages):
    await pages.create({"slug": "a"}, {"slug": "b", "version": 5})

    changed = await pages.update({"text": "x"}, max_affected=2)

    assert sorted(picked(changed, "slug", "version")) == [("a", 2), ("b", 6)]


@pytest.mark.parametrize("where", ["data", "filters"])
async def test_a_stale_change_of_a_record_is_a_conflict(pages, where):
    (page,) = await pages.create({"slug": "a", "text": "1"})
    await pages.update({"text": "2"}, id=page["id"])

    with pytest.raises(exceptions.ConflictError) as caught:
        if where == "data":
            await pages.update({**page, "text": "3"}, id=page["id"])
        else:
            await pages.update({"text": "3"}, id=page["id"], version=1)

    assert (caught.value.resource, caught.value.id, caught.value.retryable) == ("page", page["id"], False)
    assert picked([await pages.retrieve()], "text", "version") == [("2", 2)]


async def test_a_stale_deletion_of_a_record_is_a_conflict(pages):
    (page,) = await pages.create({"slug": "a"})
    await pages.update({"text": "2"}, id=page["id"])

    with pytest.raises(exceptions.ConflictError):
        await pages.delete(id=page["id"], version=1)
    await pages.delete(id=page["id"], version=2)

    assert await pages.count() == 0


async def test_what_is_not_there_is_no_conflict(pages):
    await pages.create({"slug": "a"})

    assert await pages.update({"text": "x", "version": 1}, id=99) == []
    assert await pages.update({"text": "x"}, slug="a", version=7) == []
    with pytest.raises(exceptions.NotFoundError):
        await pages.delete(id=99, version=1)
    with pytest.raises(exceptions.NotFoundError):
        await pages.delete(slug="a", version=7)


async def test_data_and_filter_of_two_versions_are_refused(pages):
    with pytest.raises(exceptions.InvalidDataError, match="of version 1, the filter is of 2"):
        await pages.update({"text": "x", "version": 1}, id=1, version=2)


async def test_a_version_alone_changes_nothing(pages):
    (page,) = await pages.create({"slug": "a"})

    assert await pages.update({"version": 1}, id=page["id"]) == [page]


async def test_upsert_counts_the_version_up(pages):
    await pages.create({"slug": "a"})

    stored = await pages.upsert({"slug": "a", "text": "x", "version": 1}, {"slug": "b"}, on="slug")

    assert picked(stored, "slug", "version") == [("a", 2), ("b", 1)]


async def test_of_many_who_change_one_version_at_once_one_does(app):
    async with (worker := Worker(app)):
        (page,) = await worker.pages.create({"slug": "a", "text": "-"})

    async def change(n):
        try:
            async with (worker := Worker(app)):
                await worker.pages.update({"text": f"{n}", "version": 1}, id=page["id"])
        except exceptions.ConflictError:
            return False
        return True

    changed = await asyncio.gather(*(change(n) for n in range(32)))

    assert sum(changed) == 1
    async with (worker := Worker(app)):
        assert await worker.pages.retrieve() == {**page, "text": f"{changed.index(True)}", "version": 2}


async def test_a_column_may_have_its_own_first_version(connection):
    table = sa.Table(
        "draft",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version", sa.Integer, server_default="10"),
    )
    await connection.run_sync(table.metadata.create_all)
    drafts = type("Drafts", (SQLAlchemyTableRepository,), {"_table": table, "_version": "version"})(connection)

    created = await drafts.create({}, {"version": 3})

    assert picked(created, "version") == [(10,), (3,)]
    await connection.rollback()
    await connection.run_sync(table.metadata.drop_all)
    await connection.commit()


def test_a_version_that_is_no_column_is_named_at_once():
    with pytest.raises(exceptions.ApplicationError, match=r"'_version' names .*'nonsense'.*slug"):
        type("Wrong", (SQLAlchemyTableRepository,), {"_table": page_table, "_version": "nonsense"})


async def test_fields_are_all_that_is_read(items):
    await items.create({"code": "a", "name": "A"}, {"code": "b", "name": "B"})

    assert await items.retrieve(code="a", fields=["name", "code"]) == {"name": "A", "code": "a"}
    assert await items.get(code="b", fields=item_table.c.code) == {"code": "b"}
    assert await items.first(order_by="-code", fields="name") == {"name": "B"}
    assert [each async for each in items.list(fields=["code"], order_by="code")] == [{"code": "a"}, {"code": "b"}]
    last = items.list(fields=["name"], order_by="code", limit=1, before={"code": "z", "id": 0})
    assert [each async for each in last] == [{"name": "B"}]


async def test_fields_must_be_there(items):
    with pytest.raises(exceptions.UnknownColumnError, match="nonsense"):
        await items.get(fields=["code", "nonsense"])
    with pytest.raises(exceptions.InvalidDataError, match="fields"):
        await items.get(fields=[])
    with pytest.raises(exceptions.UnknownColumnError):
        [each async for each in items.list(fields=["nonsense"])]


LOCKS = ["update", "share", "update nowait", "share nowait", "update skip locked", "share skip locked"]


@pytest.mark.parametrize("lock", LOCKS)
async def test_what_is_held_is_read_as_ever(items, lock):
    created = await items.create({"code": "a"}, {"code": "b"})

    assert await items.retrieve(code="a", lock=lock) == created[0]
    assert [each async for each in items.list(lock=lock, order_by="code")] == created
    assert await items.first(F.code == "b", lock=lock, fields=["code"]) == {"code": "b"}
    last = items.list(lock=lock, order_by="code", limit=1, before={"code": "z", "id": 0})
    assert [each async for each in last] == created[1:]


async def test_a_lock_that_is_none_is_named(items):
    with pytest.raises(exceptions.InvalidDataError, match="no lock 'nonsense': it is one of 'update'"):
        await items.get(lock="nonsense")
    with pytest.raises(exceptions.InvalidDataError, match="no lock 'nonsense'"):
        [each async for each in items.list(lock="nonsense")]


@pytest.mark.parametrize("verb", ["retrieve", "list"])
async def test_who_holds_what_it_reads_loses_no_change(app, verb):
    async with (worker := Worker(app)):
        await worker.items.create({"code": "a", "amount": 0})

    async def increase():
        async with (worker := Worker(app)):
            if verb == "list":
                (item,) = [each async for each in worker.items.list(code="a", lock="update")]
            else:
                item = await worker.items.retrieve(code="a", lock="update")
            await asyncio.sleep(0)
            await worker.items.update({"amount": item["amount"] + 1}, code="a")

    await asyncio.gather(*(increase() for _ in range(20)))

    async with (worker := Worker(app)):
        assert (await worker.items.retrieve())["amount"] == 20


async def test_what_others_hold_is_skipped_or_refused_when_asked(app, module):
    if module.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    async with (worker := Worker(app)):
        await worker.items.create({"code": "a"}, {"code": "b"})

    async with (holder := Worker(app)):
        await holder.items.retrieve(code="a", lock="update")
        async with (worker := Worker(app)):
            free = [item["code"] async for item in worker.items.list(lock="update skip locked")]
        with pytest.raises(exceptions.ConflictError) as caught:
            async with (worker := Worker(app)):
                await worker.items.retrieve(code="a", lock="update nowait")

    assert (free, caught.value.retryable) == (["b"], True)


class Address(pydantic.BaseModel):
    street: str
    since: datetime.date | None = None


class Person(pydantic.BaseModel):
    id: uuid.UUID | None = None
    name: str
    tag: uuid.UUID | None = None
    color: Color | None = None
    shade: Color | None = None
    height: decimal.Decimal | None = None
    born: datetime.date | None = None
    address: Address | None = None
    friends: list[uuid.UUID] = []


@dataclasses.dataclass
class DataclassAddress:
    street: str
    since: datetime.date | None = None


@dataclasses.dataclass
class DataclassPerson:
    name: str
    id: uuid.UUID | None = None
    tag: uuid.UUID | None = None
    color: Color | None = None
    shade: Color | None = None
    height: decimal.Decimal | None = None
    born: datetime.date | None = None
    address: DataclassAddress | None = None
    friends: list[uuid.UUID] = dataclasses.field(default_factory=list)


class StructAddress(msgspec.Struct):
    street: str
    since: datetime.date | None = None


class StructPerson(msgspec.Struct):
    name: str
    id: uuid.UUID | None = None
    tag: uuid.UUID | None = None
    color: Color | None = None
    shade: Color | None = None
    height: decimal.Decimal | None = None
    born: datetime.date | None = None
    address: StructAddress | None = None
    friends: list[uuid.UUID] = msgspec.field(default_factory=list)


class DictAddress(t.TypedDict):
    street: str
    since: datetime.date | None


class DictPerson(t.TypedDict):
    id: uuid.UUID
    name: str
    tag: uuid.UUID | None
    color: Color | None
    shade: Color
    height: decimal.Decimal | None
    born: datetime.date | None
    address: DictAddress | None
    friends: list[uuid.UUID] | None


ADDRESSES = {Person: Address, DataclassPerson: DataclassAddress, StructPerson: StructAddress, DictPerson: DictAddress}


@pytest.fixture(params=ADDRESSES, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture
def people(connection, kind):
    class People(SQLAlchemyTableRepository[kind]):
        _table = person_table

    return People(connection)


def person(kind, **values):
    given = {
        "id": uuid.UUID(int=1),
        "name": "Ann",
        "tag": uuid.UUID(int=2),
        "color": Color.BLUE,
        "shade": Color.RED,
        "height": decimal.Decimal("1.75"),
        "born": datetime.date(2000, 1, 2),
        "address": ADDRESSES[kind](street="Elm", since=datetime.date(2020, 3, 4)),
        "friends": [uuid.UUID(int=3)],
    }
    return kind(**{**given, **values})


def name_of(record):
    return record["name"] if isinstance(record, dict) else record.name


async def test_values_of_a_type_go_in_and_come_out(people, kind):
    ann, bob = person(kind), person(kind, id=uuid.UUID(int=9), name="Bob", address=None, color=None)

    assert await people.create(ann, bob) == [ann, bob]
    assert await people.retrieve(name="Ann") == ann
    assert await people.get(F.name == "Bob") == bob
    assert await people.first(order_by="-name") == bob
    assert [each async for each in people.list(order_by="name")] == [ann, bob]


async def test_values_of_a_type_are_changed_and_upserted(people, kind):
    await people.create(person(kind))

    (changed,) = await people.update(person(kind, name="Eve", friends=[]), id=uuid.UUID(int=1))
    (stored,) = await people.upsert(person(kind, name="Ida"))
    found, created = await people.get_or_create(person(kind, name="Ada"))

    assert changed == person(kind, name="Eve", friends=[])
    assert stored == found == person(kind, name="Ida")
    assert created is False


async def test_a_typed_repository_takes_dictionaries_of_whichever_fields(people, kind):
    address = ADDRESSES[kind](street="Oak", since=None)

    (created,) = await people.create({"name": "Ann", "friends": []})
    (changed,) = await people.update({"address": address, "tag": uuid.UUID(int=5)}, name="Ann")

    assert name_of(created) == "Ann"
    assert changed == person(
        kind,
        id=created["id"] if kind is DictPerson else created.id,
        tag=uuid.UUID(int=5),
        color=None,
        height=None,
        born=None,
        address=address,
        friends=[],
    )


async def test_a_typed_repository_gives_chosen_fields_as_dictionaries(people, kind):
    await people.create(person(kind))

    assert await people.retrieve(fields=["name", "born"]) == {"name": "Ann", "born": datetime.date(2000, 1, 2)}


async def test_a_typed_repository_streams(people, kind):
    await people.create(*(person(kind, id=uuid.UUID(int=n), name=f"{n:04}") for n in range(1300)))

    names = [name_of(each) async for each in people.list(order_by="name")]

    assert names == [f"{n:04}" for n in range(1300)]


async def test_a_place_in_the_order_may_be_a_value_of_the_type(people, kind):
    await people.create(*(person(kind, id=uuid.UUID(int=n), name=f"{n}") for n in range(5)))

    second = await people.retrieve(name="1")

    assert [name_of(each) async for each in people.list(order_by="name", after=second)] == ["2", "3", "4"]


async def test_what_is_not_of_the_type_is_refused(people, kind):
    with pytest.raises(exceptions.InvalidDataError, match=f"a record is a {kind.__name__} or a mapping, not 3"):
        await people.create(3)
    with pytest.raises(exceptions.UnknownColumnError, match="nonsense"):
        await people.create({"name": "Ann", "nonsense": 1})


async def test_what_the_database_holds_may_not_fit_the_type(people, connection, kind):
    await connection.execute(sa.insert(person_table).values(name="Ann", tag="nonsense", shade="red"))

    with pytest.raises(exceptions.InvalidResponseError, match=f"no {kind.__name__}: .*tag") as caught:
        await people.retrieve()
    assert caught.value.resource == "person"
    with pytest.raises(exceptions.InvalidResponseError):
        [each async for each in people.list()]


async def test_a_model_changes_what_was_set_on_it(connection):
    people = type("People", (SQLAlchemyTableRepository[Person],), {"_table": person_table})(connection)
    (ann,) = await people.create(person(Person))

    (changed,) = await people.update(Person(name="Eve", born=None), id=ann.id)

    assert changed == ann.model_copy(update={"name": "Eve", "born": None})


async def test_a_field_that_says_nothing_has_the_default_of_its_column(connection):
    people = type("People", (SQLAlchemyTableRepository[DataclassPerson],), {"_table": person_table})(connection)

    (ann,) = await people.create(DataclassPerson(name="Ann"))

    assert isinstance(ann.id, uuid.UUID)
    assert ann.shade is Color.RED


async def test_a_typed_record_carries_its_version(connection):
    @dataclasses.dataclass
    class Page:
        slug: str
        text: str | None = None
        id: int | None = None
        version: int | None = None

    pages = type("Typed", (SQLAlchemyTableRepository[Page],), {"_table": page_table, "_version": "version"})(connection)
    (page,) = await pages.create(Page("a", "1"))
    (newer,) = await pages.update(dataclasses.replace(page, text="2"), id=page.id)

    with pytest.raises(exceptions.ConflictError):
        await pages.update(dataclasses.replace(page, text="3"), id=page.id)

    assert (page.version, newer.version, newer.text) == (1, 2, "2")


Row = t.TypeVar("Row")


class Base(SQLAlchemyTableRepository[Row]):
    """A generic repository of a user's own."""

    async def all(self) -> list[Row]:
        return [record async for record in self.list()]


async def test_the_type_is_kept_through_inheritance_and_named_on_the_way(connection):
    class People(Base[DataclassPerson]):
        _table = person_table

    class Special(People):
        pass

    for repository in (People, Special, type("Late", (Base[DataclassPerson],), {"_table": person_table})):
        await repository(connection).drop()
        await repository(connection).create({"name": "Ann", "friends": []})
        assert [type(each) for each in await repository(connection).all()] == [DataclassPerson]


async def test_a_worker_may_have_a_repository_of_a_generic_class(app):
    class Table(SQLAlchemyTableRepository[Row]):
        _table = person_table

    class People(SQLAlchemyWorker):
        plain: Table
        models: Table[Person]

    async with (worker := People(app)):
        (record,) = await worker.plain.create({"name": "Ann", "friends": []})
        assert record["name"] == "Ann"
        assert isinstance(await worker.models.retrieve(), Person)


def test_a_type_with_a_field_that_is_no_column_is_named_at_once():
    class Wrong(pydantic.BaseModel):
        name: str
        nonsense: int = 0

    with pytest.raises(exceptions.ApplicationError, match=r"Wrong.*'nonsense'.*table 'person' has id, name"):
        type("People", (SQLAlchemyTableRepository[Wrong],), {"_table": person_table})


def test_what_is_no_type_of_records_is_refused_at_once():
    with pytest.raises(TypeError, match="is no type of records"):
        type("People", (SQLAlchemyTableRepository[int],), {"_table": person_table})


async def test_a_repository_without_a_type_gives_dictionaries(connection):
    people = type("People", (SQLAlchemyTableRepository[dict[str, t.Any]],), {"_table": person_table})(connection)

    assert isinstance((await people.create({"name": "Ann"}))[0], collections.abc.Mapping)
