"""Audit stamps, soft deletion, scopes and explanations of a table's repository, on every database."""

import asyncio
import contextlib
import dataclasses
import datetime
import operator
import typing as t

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from flama import exceptions
from flama.ddd import F
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import schemas

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

metadata = sa.MetaData()
zoned = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
naive = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


class Zoned(sa.types.TypeDecorator):
    """A moment that always has its time zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(zoned.dialect_impl(dialect))

    def process_bind_param(self, value, dialect):
        assert value is None or value.tzinfo is not None
        return value

    def process_result_value(self, value, dialect):
        return value if value is None else value.replace(tzinfo=datetime.UTC)


note_table = sa.Table(
    "note",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("note_code", sa.String(20), key="code", unique=True),
    sa.Column("text", sa.String(20)),
    sa.Column("tenant", sa.Integer),
    sa.Column("amount", sa.Integer),
    sa.Column("size", sa.Integer),
    sa.Column("place", sa.String(10)),
    sa.Column("tick", sa.Integer, onupdate=7),
    sa.Column("born", zoned, key="created_at"),
    sa.Column("updated_at", naive),
    sa.Column("deleted_at", Zoned),
    sa.Column("version", sa.Integer),
    sa.CheckConstraint("size < 1000", name="size_is_small"),
)


class Notes(SQLAlchemyTableRepository):
    _table = note_table


class Stamped(SQLAlchemyTableRepository):
    _table = note_table
    _created_at = "created_at"
    _updated_at = "updated_at"


class Kept(Stamped):
    _deleted_at = "deleted_at"
    _version = "version"


class Worker(SQLAlchemyWorker):
    notes: Notes
    kept: Kept


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


@pytest.fixture(params=["first of its transaction", "later"])
async def begun(request, connection):
    """Let a write be the first of its transaction, or another."""
    if request.param == "later":
        await connection.execute(sa.select(1))


@pytest.fixture
def notes(connection, way):
    return Notes(connection)


@pytest.fixture
def stamped(connection, way):
    return Stamped(connection)


@pytest.fixture
def kept(connection, way):
    return Kept(connection)


def picked(records, *names):
    return [tuple(record[name] for name in names) for record in records]


async def codes(repository, *clauses, **options):
    return [record["code"] async for record in repository.list(*clauses, order_by="id", **options)]


def utc(moment):
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def now():
    return datetime.datetime.now(datetime.UTC)


OLD = datetime.datetime(2001, 2, 3, 4, 5, 6, 7, datetime.UTC)
OLD_NAIVE = OLD.replace(tzinfo=None)


async def test_new_records_have_one_moment_of_creation_and_change(stamped):
    before = now()

    one, two = await stamped.create({"code": "a"}, {"code": "b", "text": "B", "created_at": None})

    moments = {utc(record[name]) for record in (one, two) for name in ("created_at", "updated_at")}
    assert len(moments) == 1
    assert before <= moments.pop() <= now()


async def test_a_moment_has_a_time_zone_where_the_column_keeps_it(stamped, connection):
    (note,) = await stamped.create({})

    assert note["created_at"].tzinfo is datetime.UTC
    assert note["updated_at"].tzinfo is None


async def test_a_new_record_may_have_moments_of_its_own(stamped):
    before = now()

    old, half = await stamped.create({"created_at": OLD, "updated_at": OLD_NAIVE}, {"created_at": OLD})

    assert (utc(old["created_at"]), utc(old["updated_at"]), utc(half["created_at"])) == (OLD, OLD, OLD)
    assert utc(half["updated_at"]) >= before


@pytest.mark.parametrize("limits", [{}, {"max_affected": 1}])
async def test_a_change_is_stamped_whatever_its_data_say(stamped, limits):
    (note,) = await stamped.create({"created_at": OLD, "updated_at": OLD_NAIVE, "text": "1"})
    before = now()

    (changed,) = await stamped.update({**note, "text": "2"}, id=note["id"], **limits)
    (again,) = await stamped.update({"created_at": None, "updated_at": None, "text": "3"}, id=note["id"], **limits)

    assert utc(changed["updated_at"]) >= before
    assert again["updated_at"] >= changed["updated_at"]
    assert again["created_at"] == changed["created_at"] == note["created_at"]


async def test_no_change_is_not_stamped(stamped):
    (note,) = await stamped.create({"updated_at": OLD_NAIVE, "code": "a"})

    assert await stamped.update({}, id=note["id"]) == [note]
    assert await stamped.update({"created_at": now(), "updated_at": None}, id=note["id"]) == [note]
    assert await stamped.upsert({"code": "a"}, on="code") == [note]
    assert await stamped.upsert({"code": "a", "text": "x"}, on="code", set=()) == [note]
    assert await stamped.get_or_create({"code": "a"}, on="code") == (note, False)


async def test_upsert_stamps_what_it_stores_and_what_it_changes(stamped):
    await stamped.create({"code": "a", "created_at": OLD, "updated_at": OLD_NAIVE})
    before = now()

    old, new = await stamped.upsert(
        {"code": "a", "text": "A", "created_at": now(), "updated_at": OLD_NAIVE}, {"code": "b", "text": "B"}, on="code"
    )
    (named,) = await stamped.upsert({"code": "a", "text": "Z", "amount": 1}, on="code", set=["amount", "created_at"])

    assert (old["text"], utc(old["created_at"])) == ("A", OLD)
    assert utc(old["updated_at"]) >= before
    assert utc(new["created_at"]) == utc(new["updated_at"]) >= before
    assert (named["text"], named["amount"], utc(named["created_at"])) == ("A", 1, OLD)
    assert named["updated_at"] >= old["updated_at"]


async def test_upsert_by_another_unique_key_stamps_too(stamped):
    await stamped.create({"id": 1, "code": "a", "updated_at": OLD_NAIVE}, {"id": 2, "code": "b"})
    before = now()

    (changed,) = await stamped.upsert({"id": 2, "code": "a", "text": "A"}, on="code")

    assert (changed["id"], changed["text"], changed["tick"]) == (1, "A", 7)
    assert utc(changed["updated_at"]) >= before


async def test_a_typed_record_is_stamped(connection):
    @dataclasses.dataclass
    class Note:
        text: str
        id: int | None = None
        created_at: datetime.datetime | None = None
        updated_at: datetime.datetime | None = None
        deleted_at: datetime.datetime | None = None

    notes = type("Typed", (SQLAlchemyTableRepository[Note],), {"_table": note_table, "_deleted_at": "deleted_at"}
                 | {"_created_at": "created_at", "_updated_at": "updated_at"})(connection)  # fmt: skip
    (note,) = await notes.create(Note("1"))
    (changed,) = await notes.update(Note("2"), id=note.id)

    assert utc(note.created_at) == utc(note.updated_at)
    assert (changed.text, changed.created_at, changed.deleted_at) == ("2", note.created_at, None)
    assert changed.updated_at > note.updated_at


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"_created_at": "nonsense"}, r"'_created_at' names \['nonsense'\]: table 'note' has id, code"),
        ({"_updated_at": "born"}, r"'_updated_at' names \['born'\]"),
        ({"_deleted_at": "nonsense"}, r"'_deleted_at' names \['nonsense'\]"),
        ({"_updated_at": "text"}, "Column 'text' of table 'note' is no DateTime"),
        ({"_deleted_at": "version"}, "Column 'version' of table 'note' is no DateTime"),
    ],
)
def test_a_column_that_holds_no_moments_is_named_at_once(said, message):
    with pytest.raises(exceptions.ApplicationError, match=message):
        type("Wrong", (SQLAlchemyTableRepository,), {"_table": note_table, **said})


def test_a_moment_of_deletion_must_be_nullable():
    table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("at", sa.DateTime, nullable=False))

    with pytest.raises(exceptions.ApplicationError, match="Column 'at' of table 't' must be nullable"):
        type("Wrong", (SQLAlchemyTableRepository,), {"_table": table, "_deleted_at": "at"})


async def test_a_deleted_record_is_kept_and_not_there(kept):
    one, two = await kept.create({"code": "a", "text": "x"}, {"code": "b", "text": "x"})
    before = now()

    await kept.delete(id=one["id"])

    with pytest.raises(exceptions.NotFoundError):
        await kept.retrieve(id=one["id"])
    assert await kept.get(code="a") is None
    assert await kept.first(order_by="code") == two
    assert await kept.get(text="x") == two
    assert (await kept.count(), await kept.exists(code="a"), await codes(kept, F.text == "x")) == (1, False, ["b"])
    assert await codes(kept, limit=5, before={"id": two["id"] + 1}) == ["b"]
    assert await kept.update({"text": "y"}, code="a") == []
    gone = await kept.with_deleted().retrieve(code="a")
    assert gone == {**one, **{name: gone[name] for name in ("deleted_at", "updated_at", "version", "tick")}}
    assert before <= gone["deleted_at"] == utc(gone["updated_at"]) <= now()
    assert (gone["version"], gone["tick"]) == (2, 7)


async def test_a_deletion_is_of_exactly_one_that_is_there(kept, connection):
    await kept.create({"code": "a", "text": "x"}, {"code": "b", "text": "x"}, {"code": "c", "text": "y"})

    with pytest.raises(exceptions.MultipleRecordsError):
        await kept.delete(text="x")
    assert await kept.count() == 3
    await kept.delete(code="a")
    await kept.delete(text="x")
    with pytest.raises(exceptions.NotFoundError) as caught:
        await kept.delete(id=1)
    assert caught.value.id == 1
    assert await codes(kept) == ["c"]
    await connection.commit()
    assert await kept.with_deleted().count() == 3


async def test_drop_keeps_what_it_deletes_and_counts_it(kept):
    await kept.create(*({"code": f"{n}", "amount": n} for n in range(5)))
    await kept.delete(code="0")

    with pytest.raises(exceptions.MultipleRecordsError):
        await kept.drop(F.amount < 3, max_affected=1)
    assert await kept.drop(F.amount < 3, max_affected=2) == 2
    assert await kept.drop(note_table.c.amount == 3) == 1
    assert await kept.drop() == 1
    assert await kept.drop() == 0
    assert await kept.with_deleted().count() == 5


async def test_a_stale_deletion_is_a_conflict(kept):
    (note,) = await kept.create({"code": "a"})
    await kept.update({"text": "2"}, id=note["id"])

    with pytest.raises(exceptions.ConflictError):
        await kept.delete(id=note["id"], version=1)
    await kept.delete(id=note["id"], version=2)

    assert await kept.count() == 0


async def test_a_repository_with_deleted_is_as_if_nothing_were_kept(kept):
    await kept.create({"code": "a", "created_at": OLD}, {"code": "b"})
    await kept.drop()
    every = kept.with_deleted()

    (back,) = await every.update({"deleted_at": None}, code="a")
    assert (utc(back["created_at"]), back["version"], await codes(kept)) == (OLD, 3, ["a"])
    await every.delete(code="a")
    assert await codes(every) == ["b"]
    assert await every.with_deleted().drop(F.deleted_at < now() + datetime.timedelta(1), max_affected=1) == 1
    assert await every.count() == 0
    (imported,) = await every.create({"code": "c", "deleted_at": OLD})
    assert (imported["deleted_at"], await kept.count()) == (OLD, 0)


async def test_only_a_repository_that_keeps_has_deleted_ones(stamped):
    with pytest.raises(exceptions.ApplicationError, match="Stamped has no _deleted_at"):
        stamped.with_deleted()


async def test_data_do_not_delete(kept):
    (note,) = await kept.create({"code": "a", "deleted_at": None})

    assert await kept.update({"deleted_at": None}, code="a") == [note]
    (changed,) = await kept.update({**note, "text": "x"}, code="a")
    assert changed["text"] == "x"
    for write in (
        kept.create({"deleted_at": OLD}),
        kept.update({"deleted_at": OLD, "text": "y"}, code="a"),
        kept.update({"deleted_at": sa.func.now()}, code="a"),
        kept.upsert({"code": "a", "deleted_at": OLD}, on="code"),
        kept.get_or_create({"code": "b", "deleted_at": OLD}, on="code"),
    ):
        with pytest.raises(exceptions.PermissionDeniedError, match="'deleted_at' is bound to another value here"):
            await write
    assert await kept.with_deleted().retrieve() == changed


async def test_a_deleted_record_is_in_the_way_of_one_that_is_alike(kept, begun, connection):
    await kept.create({"code": "a", "text": "1"}, {"code": "b", "text": "1"})
    await kept.delete(code="a")
    before = await kept.with_deleted().retrieve(code="a")

    for write in (
        lambda: kept.create({"code": "a"}),
        lambda: kept.upsert({"code": "a", "text": "2"}, on="code"),
        lambda: kept.upsert({"code": "a"}, on="code"),
        lambda: kept.upsert({"code": "b", "text": "2"}, {"code": "a", "text": "2"}, {"code": "c"}, on="code"),
        lambda: kept.get_or_create({"code": "a"}, on="code"),
    ):
        with pytest.raises(exceptions.IntegrityError) as caught:
            await write()
        assert (caught.value.kind, caught.value.fields) == ("unique", ("code",))

    assert await kept.with_deleted().retrieve(code="a") == before
    assert picked([record async for record in kept.list()], "code", "text") == [("b", "1")]
    (back,) = await kept.with_deleted().upsert({"code": "a", "text": "3", "deleted_at": None}, on="code")
    assert (back["text"], await kept.get(code="a")) == ("3", back)
    await connection.commit()


async def test_an_unique_index_of_those_that_are_there_makes_way(connection):
    table = sa.Table(
        "slip",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("code", sa.String(5)),
        sa.Column("deleted_at", sa.DateTime),
    )
    there = table.c.deleted_at.is_(None)
    if connection.dialect.name == "mysql":  # which has no index of some records
        live = sa.Computed("CASE WHEN deleted_at IS NULL THEN code END", persisted=True)
        table.append_column(sa.Column("live", sa.String(5), live, unique=True))
    else:
        sa.Index("slip_code", table.c.code, unique=True, sqlite_where=there, postgresql_where=there)
    await connection.run_sync(table.metadata.create_all)
    slips = type("Slips", (SQLAlchemyTableRepository,), {"_table": table, "_deleted_at": "deleted_at"})(connection)

    await slips.create({"code": "a"})
    await slips.delete(code="a")
    await slips.create({"code": "a"})

    with pytest.raises(exceptions.IntegrityError):
        await slips.create({"code": "a"})
    assert (await slips.count(), await slips.with_deleted().count()) == (1, 2)
    await connection.run_sync(table.metadata.drop_all)
    await connection.commit()


async def test_deletions_keep_where_a_statement_must_not_read_what_it_writes(kept, connection):
    if connection.dialect.name != "mysql":
        pytest.skip("only MySQL's must not")
    connection.dialect.is_mariadb = False
    await kept.create({"code": "a", "text": "x"}, {"code": "b", "text": "x"}, {"code": "c"})

    with pytest.raises(exceptions.MultipleRecordsError):
        await kept.delete(text="x")
    with pytest.raises(exceptions.NotFoundError):
        await kept.delete(text="y")
    assert (await kept.explain("delete", code="c")).sql.startswith("UPDATE note")
    assert (await Notes(connection).explain("delete", code="c")).sql.startswith("SELECT note.id")
    await kept.delete(code="a")
    assert await kept.drop(max_affected=2) == 2

    assert picked([note async for note in kept.with_deleted().list()], "version") == [(2,), (2,), (2,)]


async def test_of_many_who_delete_one_record_at_once_one_does(app):
    async with (worker := Worker(app)):
        await worker.kept.create({"code": "a"})

    async def delete():
        try:
            async with (worker := Worker(app)):
                await worker.kept.delete(code="a")
        except (exceptions.NotFoundError, exceptions.ConflictError):
            return False
        return True

    deleted = await asyncio.gather(*(delete() for _ in range(20)))

    assert sum(deleted) == 1
    async with (worker := Worker(app)):
        assert (await worker.kept.with_deleted().retrieve())["version"] == 2


async def statements_of(connection, verb):
    told = []

    def hear(connection, cursor, statement, parameters, context, many):
        told.append(statement)

    sa.event.listen(connection.sync_connection, "before_cursor_execute", hear)
    await verb()
    sa.event.remove(connection.sync_connection, "before_cursor_execute", hear)
    return [statement for statement in told if not statement.startswith(("SAVEPOINT", "RELEASE", "BEGIN"))]


async def test_a_deletion_that_keeps_is_one_statement(kept, connection):
    await kept.create({"code": "a"}, {"code": "b"})

    (one,) = await statements_of(connection, lambda: kept.delete(code="a"))
    (all_,) = await statements_of(connection, kept.drop)

    assert one.startswith("UPDATE")
    assert all_.startswith("UPDATE")


@pytest.fixture
async def mine(notes):
    """Give a scope of a few records among those of others."""
    await notes.create(
        {"code": "a", "tenant": 1, "amount": 5},
        {"code": "b", "tenant": 2, "amount": 5},
        {"code": "c", "tenant": 1, "amount": 6},
        {"code": "d", "tenant": None, "amount": 5},
    )
    return notes.scoped(F.tenant == 1)


async def everything(repository):
    return [record async for record in Notes(repository._connection).list(order_by="id")]


async def test_what_is_out_of_scope_is_not_read(mine):
    with pytest.raises(exceptions.NotFoundError):
        await mine.retrieve(id=2)
    assert await mine.get(code="b") is None
    assert (await mine.retrieve(amount=5))["id"] == 1
    assert (await mine.first(order_by="-id"))["id"] == 3
    assert (await mine.count(), await mine.exists(id=4), await codes(mine)) == (2, False, ["a", "c"])
    assert await codes(mine, F.amount >= 5, limit=1, after={"id": 1}) == ["c"]
    assert await codes(mine, limit=1, before={"id": 3}) == ["a"]
    assert await mine.get(id=1, fields=["code"], lock="update") == {"code": "a"}
    assert await codes(mine, lock="share") == ["a", "c"]


@pytest.mark.parametrize(
    "clause",
    [
        F.tenant == 2,
        (F.tenant == 2) | (F.id == 1),
        ~(F.tenant == 1) | (F.id == 1),
        F.tenant.isnull() | (F.id == 1),
        note_table.c.tenant.in_([1, 2]) & (note_table.c.amount == 5),
        sa.text("tenant = 1 AND id = 1 OR tenant = 2"),
        sa.text("id = :id OR id = 2").bindparams(id=1),
        sa.literal_column("id = 1 OR id = 2"),
        sa.and_(note_table.c.id < 9, sa.text("amount = 5 OR tenant = 2"), sa.text("amount = 5")),
        sa.not_(sa.literal_column("amount <> 5 OR tenant = 2")),
    ],
    ids=str,
)
async def test_nothing_that_is_asked_widens_a_scope(mine, clause):
    others = [note for note in await everything(mine) if note["tenant"] != 1]

    assert set(await codes(mine, clause)) <= {"a"}
    assert await mine.count(clause) <= 1
    assert set(await codes(mine.scoped(F.id > 0), clause)) <= {"a"}
    await mine.update({"text": "mine"}, clause)
    await mine.drop(clause)

    assert [note for note in await everything(mine) if note["tenant"] != 1] == others


async def test_filters_and_texts_must_all_hold(notes, mine):
    assert await codes(notes, sa.text("amount = 6 OR amount = 5"), tenant=2) == ["b"]


async def test_scopes_of_a_scope_narrow_it(mine):
    narrow = mine.scoped(F.amount > 5)

    assert await codes(narrow) == ["c"]
    assert await codes(narrow.scoped(F.amount < 100, F.id > 0)) == ["c"]
    nowhere = mine.scoped(F.tenant == 2)
    assert await codes(nowhere) == []
    with pytest.raises(exceptions.PermissionDeniedError):
        await nowhere.create({"code": "z"})
    with pytest.raises(exceptions.PermissionDeniedError):
        await nowhere.create({"code": "z", "tenant": 2})
    assert len(await everything(mine)) == 4


async def test_a_new_record_has_what_the_scope_says(mine):
    one, two = await mine.create({"code": "x"}, {"code": "y", "tenant": 1})
    (upserted,) = await mine.upsert({"code": "z"}, on="code")
    created = await mine.scoped(F.text.isnull(), F.place.in_(["here"])).get_or_create({"code": "w"}, on="code")

    assert picked([one, two, upserted, created[0]], "tenant") == [(1,)] * 4
    assert (created[1], created[0]["text"], created[0]["place"]) == (True, None, "here")


@pytest.mark.parametrize("tenant", [2, None, "one", sa.literal_column("1 + 0")], ids=str)
async def test_a_record_of_another_scope_is_not_stored(mine, tenant):
    before = await everything(mine)

    for write in (
        lambda: mine.create({"code": "x"}, {"code": "y", "tenant": tenant}),
        lambda: mine.update({"tenant": tenant, "text": "x"}, id=1),
        lambda: mine.upsert({"code": "a", "tenant": tenant}, on="code"),
        lambda: mine.get_or_create({"code": "a", "tenant": tenant}, on="code"),
    ):
        with pytest.raises(exceptions.PermissionDeniedError, match="'tenant' is bound") as caught:
            await write()
        assert caught.value.resource == "note"
    assert await everything(mine) == before


async def test_writes_reach_no_further_than_the_scope(mine):
    others = [note for note in await everything(mine) if note["tenant"] != 1]

    changed = sorted(await mine.update({"text": "x", "tenant": 1}), key=operator.itemgetter("id"))
    assert picked(changed, "text", "tenant") == [("x", 1), ("x", 1)]
    assert await mine.update({"text": "y"}, id=2) == []
    assert await mine.update({"tenant": 1}, id=1) == [changed[0]]
    assert picked(await mine.update({"text": "z"}, amount=5, max_affected=1), "id") == [(1,)]
    with pytest.raises(exceptions.NotFoundError):
        await mine.delete(id=2)
    await mine.delete(amount=5)
    with pytest.raises(exceptions.MultipleRecordsError):
        await mine.scoped(F.id > 0).drop(max_affected=0)
    assert await mine.drop(max_affected=1) == 1
    assert await mine.drop() == 0

    assert await everything(mine) == others


async def test_upsert_changes_nothing_out_of_scope(mine, begun, connection):
    before = await everything(mine)

    for write in (
        lambda: mine.upsert({"code": "b", "text": "x"}, on="code"),
        lambda: mine.upsert({"code": "b"}, on="code"),
        lambda: mine.upsert({"id": 2, "text": "x"}),
        lambda: mine.upsert({"code": "a", "text": "x"}, {"code": "b", "text": "x"}, {"code": "y"}, on="code"),
        lambda: mine.get_or_create({"code": "b"}, on="code"),
        lambda: mine.get_or_create({"id": 4}),
    ):
        with pytest.raises(exceptions.IntegrityError) as caught:
            await write()
        assert caught.value.kind == "unique"
        assert caught.value.fields in (("code",), ("id",))
    assert await everything(mine) == before

    stored = await mine.upsert({"code": "a", "text": "x"}, {"code": "n"}, {"code": "c", "text": "x"}, on="code")
    assert picked(stored, "code", "text", "tenant", "tick") == [
        ("a", "x", 1, 7),
        ("n", None, 1, None),
        ("c", "x", 1, 7),
    ]
    assert await mine.get_or_create({"code": "c"}, on="code") == (stored[2], False)
    await connection.commit()


async def test_upsert_of_a_key_alone_changes_nothing_but_the_key_in_a_scope(mine):
    (note,) = await mine.upsert({"code": "a"}, on="code")

    assert (note["tick"], note["id"]) == (None, 1)


@pytest.fixture
async def small(mine, begun):
    """Give a scope that doesn't say what a record has, but what it may."""
    return mine.scoped((F.amount < 10) | F.place.startswith("h"))


async def test_a_record_stays_inside_its_scope(small):
    (new,) = await small.create({"code": "x", "amount": 9})
    (there,) = await small.create({"code": "y", "amount": 90, "place": "here"})
    (changed,) = await small.update({"amount": 7}, code="x")
    stored = await small.upsert({"code": "x", "amount": 8}, {"code": "z", "amount": 1}, on="code")
    stored += await small.upsert({"amount": 2}, {"id": new["id"], "amount": 9})

    assert picked([new, there, changed, *stored], "amount") == [(amount,) for amount in (9, 90, 7, 8, 1, 2, 9)]
    assert (await small.get_or_create({"code": "v", "amount": 3}, on="code"))[1]
    assert picked(await small.update({"amount": 4}, code="x", max_affected=1), "amount") == [(4,)]


async def test_what_would_leave_its_scope_is_refused(small, connection):
    before = await everything(small)

    for write in (
        lambda: small.create({"code": "x", "amount": 1}, {"code": "y", "amount": 10, "text": "x"}),
        lambda: small.create({"code": "x", "amount": 10}),
        lambda: small.create({"code": "x"}),
        lambda: small.update({"amount": 10}, id=1),
        lambda: small.update({"amount": note_table.c.amount + 4}),
        lambda: small.update({"amount": None}, id=1, max_affected=1),
        lambda: small.upsert({"code": "a", "amount": 10}, on="code"),
        lambda: small.upsert({"amount": 1}, {"text": "x", "amount": 1}, {"id": 1, "amount": 10}),
        lambda: small.upsert({"id": 1, "amount": 1}, {"amount": 10}),
        lambda: small.upsert({"id": 1, "text": "x"}, {"amount": 1}, {"id": 3, "amount": 10}),
        lambda: small.get_or_create({"code": "x", "amount": 10}, on="code"),
    ):
        with pytest.raises(exceptions.PermissionDeniedError, match="outside of the scope"):
            await write()
        assert await everything(small) == before

    await small.create({"code": "x", "amount": 9})
    await connection.commit()
    assert len(await everything(small)) == 5


async def test_a_refused_write_leaves_what_was_written_before(small, connection):
    await small.create({"code": "x", "amount": 1})

    with pytest.raises(exceptions.PermissionDeniedError):
        await small.create({"code": "y", "amount": 1}, {"code": "z", "amount": 100})
    await connection.commit()

    assert await codes(small) == ["a", "c", "x"]


async def test_a_change_of_many_columns_that_a_scope_is_about_is_wholly_done(notes, connection):
    await notes.create({"code": "a", "amount": 5, "size": 50})
    either = notes.scoped((F.amount < 10) | (F.size < 10))

    (changed,) = await either.upsert({"code": "a", "text": "x", "amount": 3, "size": 60}, on="code")
    assert (changed["text"], changed["amount"], changed["size"]) == ("x", 3, 60)
    (changed,) = await either.upsert({"code": "a", "amount": 30, "size": 6, "text": "y"}, on="code")
    assert (changed["text"], changed["amount"], changed["size"]) == ("y", 30, 6)
    with pytest.raises(exceptions.PermissionDeniedError):
        await either.upsert({"code": "a", "text": "z", "amount": 30, "size": 70}, on="code")

    assert await notes.retrieve() == changed


async def test_a_change_of_other_columns_costs_no_more_than_without_a_scope(mine, connection):
    small = mine.scoped(F.amount < 10)
    without = await statements_of(connection, lambda: Notes(connection).update({"text": "x"}, id=1))

    within = await statements_of(connection, lambda: small.update({"text": "x"}, id=1))

    assert len(within) == len(without)


async def test_what_changes_by_itself_stays_in_scope(notes):
    ticking = notes.scoped(F.tick == 3)
    (note,) = await ticking.create({"code": "a"})

    (changed,) = await ticking.update({"text": "x"}, code="a")
    (upserted,) = await ticking.upsert({"code": "a", "text": "y"}, on="code")
    assert picked([note, changed, upserted], "tick") == [(3,), (3,), (3,)]
    few = notes.scoped(F.tick < 5)
    for write in (few.update({"text": "z"}, code="a"), few.upsert({"code": "a", "text": "z"}, on="code")):
        with pytest.raises(exceptions.PermissionDeniedError):
            await write
    assert await notes.retrieve() == upserted


async def test_a_column_that_the_database_works_out_is_not_written(connection):
    table = sa.Table(
        "sum",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("amount", sa.Integer),
        sa.Column("twice", sa.Integer, sa.Computed("amount * 2", persisted=True)),
    )
    await connection.run_sync(table.metadata.create_all)
    sums = type("Sums", (SQLAlchemyTableRepository,), {"_table": table})(connection)
    four, few = sums.scoped(F.twice == 4), sums.scoped(F.twice < 6)

    (record,) = await four.create({"amount": 2})

    for write in (four.create({"amount": 3}), four.update({"amount": 1}), few.update({"amount": 3}, id=record["id"])):
        with pytest.raises(exceptions.PermissionDeniedError, match="outside of the scope"):
            await write
    assert await sums.retrieve() == record == {"id": 1, "amount": 2, "twice": 4}
    assert picked(await few.update({"amount": 1}), "twice") == [(2,)]
    await connection.rollback()
    await connection.run_sync(table.metadata.drop_all)
    await connection.commit()


async def test_texts_are_bound_by_their_characters(notes):
    here = notes.scoped(F.place == "here")
    await here.create({"code": "a"})
    await notes.create({"code": "b", "place": "HERE"}, {"code": "c", "place": "here "})

    assert await codes(here) == ["a"]
    for place in ("HERE", "here "):
        with pytest.raises(exceptions.PermissionDeniedError):
            await here.update({"place": place})
    with pytest.raises(exceptions.IntegrityError):
        await here.upsert({"code": "b", "text": "x"}, on="code")
    assert (await notes.retrieve(code="b"))["text"] is None


async def test_a_scope_is_told_in_conditions_on_the_table(notes):
    with pytest.raises(exceptions.UnknownColumnError, match="nonsense"):
        notes.scoped(F.nonsense == 1)
    with pytest.raises(exceptions.InvalidDataError, match="made of conditions by F, not of"):
        notes.scoped(note_table.c.tenant == 1)
    with pytest.raises(exceptions.InvalidDataError, match="made of conditions by F, not of True"):
        notes.scoped(True)
    with pytest.raises(ValueError, match="null"):
        notes.scoped(F.tenant == None)  # noqa: E711


async def test_what_cannot_be_compared_is_refused(notes):
    zoned = notes.scoped(F.updated_at < OLD)

    with pytest.raises(exceptions.InvalidDataError, match="offset"):
        await zoned.create({"updated_at": OLD_NAIVE})

    assert await notes.count() == 0


async def test_a_scope_without_conditions_is_none(notes):
    await notes.create({"code": "a"})

    assert await codes(notes.scoped()) == ["a"]
    assert notes.scoped() == notes


async def test_repositories_of_different_scopes_are_different(notes, connection):
    assert notes.scoped(F.tenant == 1) == Notes(connection).scoped(F.tenant == 1)
    assert notes.scoped(F.tenant == 1) != notes
    assert notes.scoped(F.tenant == 1) != notes.scoped(F.tenant == 2)
    assert Kept(connection).with_deleted() != Kept(connection)
    assert len({notes, notes.scoped(F.tenant == 1)}) == 2


async def test_a_scope_keeps_the_class_and_what_is_set_on_it(connection):
    class Named(Notes):
        def __init__(self, connection, name="?"):
            super().__init__(connection)
            self.name = name

        async def codes(self):
            return [note["code"] async for note in self.list(order_by="code")]

    named = Named(connection, "x")
    mine = named.scoped(F.tenant == 1)
    await mine.create({"code": "a"})
    await named.create({"code": "b"})

    assert (type(mine), mine.name, await mine.codes(), await named.codes()) == (Named, "x", ["a"], ["a", "b"])


async def test_a_scope_holds_with_deleted_ones_and_the_other_way_round(kept):
    await kept.create({"code": "a", "tenant": 1}, {"code": "b", "tenant": 2}, {"code": "c", "tenant": 1})
    mine = kept.scoped(F.tenant == 1)
    await mine.delete(code="a")
    with pytest.raises(exceptions.NotFoundError):
        await mine.delete(code="b")

    assert await codes(mine) == ["c"]
    for every in (mine.with_deleted(), kept.with_deleted().scoped(F.tenant == 1)):
        assert await codes(every) == ["a", "c"]
        with pytest.raises(exceptions.NotFoundError):
            await every.delete(code="b")
    there = kept.scoped(F.deleted_at.isnull()).with_deleted()
    assert await codes(there) == ["b", "c"]
    assert await mine.with_deleted().drop() == 2
    assert await codes(kept.with_deleted()) == ["b"]


async def test_a_scope_of_versioned_records_says_what_is_stale(kept):
    (note,) = await kept.create({"code": "a", "tenant": 1})
    await kept.create({"code": "b", "tenant": 2})
    mine = kept.scoped(F.tenant == 1)
    await mine.update({"text": "1"}, id=note["id"])

    with pytest.raises(exceptions.ConflictError):
        await mine.update({**note, "text": "2"}, id=note["id"])
    assert await kept.scoped(F.tenant == 2).update({"text": "2"}, id=note["id"], version=1) == []


VERBS: dict[str, t.Any] = {
    "list": ((F.amount > 1, note_table.c.size.is_(None)), {"order_by": "-code", "limit": 2, "offset": 1}),
    "retrieve": ((), {"code": "a"}),
    "get": ((F.code.in_(["a", "b", "c"]),), {"code": "a", "lock": "update"}),
    "first": ((), {"text": None, "fields": ["code"]}),
    "count": ((F.code.contains("%"),), {}),
    "exists": ((), {"code": "zz"}),
    "create": (({"code": "x", "amount": 3},), {}),
    "update": (({"text": "y"}, F.code == "a"), {}),
    "upsert": (({"code": "a", "text": "z"},), {"on": "code"}),
    "get_or_create": (({"code": "v"},), {"on": "code"}),
    "delete": ((F.code == "a",), {}),
    "drop": ((), {"code": "b", "max_affected": 3}),
}


@pytest.mark.parametrize("repository", [Notes, Kept], ids=lambda each: each.__name__)
@pytest.mark.parametrize("verb", VERBS)
async def test_an_explanation_is_what_would_be_run(connection, verb, repository):
    args, options = VERBS[verb]
    notes = repository(connection)
    await Notes(connection).create({"code": "a", "amount": 5, "version": 1}, {"code": "b", "version": 1})
    before = await everything(notes)

    explanation = await notes.scoped(F.place.isnull()).explain(verb, *args, **options)

    assert await everything(notes) == before
    told = []
    sa.event.listen(
        connection.sync_connection, "before_cursor_execute", lambda *event: told.append((event[2], event[3]))
    )
    result = getattr(notes.scoped(F.place.isnull()), verb)(*args, **options)
    _ = [each async for each in result] if verb == "list" else await result
    said = dict(told)
    assert explanation.sql in said
    assert unmoved(explanation.parameters) == unmoved(said[explanation.sql])
    assert bool(explanation.plan) == (verb not in ("create", "upsert", "get_or_create"))


def unmoved(parameters):
    # without moments and tokens, which are others each time, and what Python gives a tick, which is not drawn
    if isinstance(parameters, dict):
        return {name: unmoved([value]) for name, value in parameters.items()}
    return ["…" if _moves(value) else value for value in parameters]


def _moves(value):
    text = str(value)
    return text in ("7", "None") or text.startswith(f"{now().year}-") or (text.isdigit() and int(text) > 2**60)


async def test_an_explanation_can_be_run(notes, connection):
    await notes.create({"code": "a%", "amount": 5}, {"code": "b", "amount": 6})

    explanation = await notes.explain("list", F.code.startswith("a%") & F.amount.in_([5, 7]), fields=["code"])

    rows = await connection.exec_driver_sql(explanation.sql, explanation.parameters)
    assert rows.all() == [("a%",)]


async def test_a_plan_tells_of_the_index(notes):
    await notes.create({"code": "a"})

    plan = (await notes.explain("retrieve", code="a")).plan.lower()

    assert any(words in plan for words in ("search note using index", "index scan using", '"key": "note_code"'))


async def test_nothing_to_run_is_explained_as_nothing(notes):
    explanation = await notes.explain("create")

    assert (explanation.sql, explanation.parameters, explanation.plan) == ("", (), "")


async def test_an_update_of_nothing_is_explained_as_reading(notes):
    assert (await notes.explain("update", {}, id=1)).sql.startswith("SELECT")


async def test_what_is_wrong_is_told_by_an_explanation_too(notes):
    with pytest.raises(exceptions.UnknownColumnError, match="nonsense"):
        await notes.explain("list", nonsense=1)
    with pytest.raises(exceptions.InvalidDataError, match="there is no 'scoped' to explain: there are count, create"):
        await notes.explain("scoped")
    with pytest.raises(exceptions.PermissionDeniedError):
        await notes.scoped(F.tenant == 1).explain("create", {"tenant": 2})


async def test_python_defaults_are_not_drawn_for_an_explanation(connection):
    drawn = []
    table = sa.Table(
        "drawn",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.String(5), default=lambda: drawn.append(1)),
    )

    explanation = await type("Drawn", (SQLAlchemyTableRepository,), {"_table": table})(connection).explain("create", {})

    assert (explanation.sql.startswith("INSERT INTO drawn"), drawn) == (True, [])


async def test_an_explanation_leaves_the_unit_usable(notes, connection):
    await notes.create({"code": "a"})
    await notes.explain("update", {"code": "b"}, code="a")
    await notes.explain("get", code="a", lock="update")

    await notes.update({"code": "c"}, code="a")
    await connection.commit()

    assert await codes(notes) == ["c"]


async def test_an_explanation_runs_nothing_that_holds(url, module: SQLAlchemyModule):
    if module.engine.dialect.name == "sqlite" and url.endswith("/"):
        pytest.skip("in memory, a unit has the database to itself")
    async with opened(module) as connection, opened(module) as other:
        await Notes(other).create({"code": "a"})
        await other.commit()

        for verb, args in {"get": (), "update": ({"text": "x"},), "delete": (), "drop": ()}.items():
            lock = {"lock": "update"} if verb == "get" else {}
            await Notes(connection).explain(verb, *args, code="a", **lock)

        async with asyncio.timeout(2):
            await Notes(other).update({"text": "y"}, code="a")
        await other.commit()


@contextlib.asynccontextmanager
async def opened(module):
    connection = await module.open_connection()
    try:
        yield connection
    finally:
        await module.close_connection(connection)
