"""What the repository of a SQL table promises of its reading, on every database."""

import datetime
import types

import pytest
import sqlalchemy as sa

from flama import exceptions, query
from flama.ddd import F, Select
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy.drivers import _resolve
from flama.sqlalchemy.sql import _select

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]


@pytest.fixture
async def users(connection, user_table):
    users = type("Users", (SQLAlchemyTableRepository,), {"_table": user_table})(connection)
    people = [("a", "Ann", 30, None), ("b", "bob", 20, "x"), ("c", "Bob", 30, None), ("d", "Dee", None, "100%")]
    await users.create(
        *({"id": id, "name": name, "email": f"{id}@x.org", "age": age, "note": note} for id, name, age, note in people)
    )
    return users


@pytest.fixture
def posts(connection, post_table):
    return type("Posts", (SQLAlchemyTableRepository,), {"_table": post_table})(connection)


@pytest.fixture
def statements(module):
    """Give the statements that are run, those of transactions apart."""
    run = []

    def hear(connection, cursor, statement, *rest):
        if "SAVEPOINT" not in statement:  # PostgreSQL's, without which a read that is refused would end the unit
            run.append(statement)

    sa.event.listen(module.engine.sync_engine, "before_cursor_execute", hear)
    return run


async def ids(records):
    return "".join([record["id"] async for record in records])


CONDITIONS = [
    (F.age >= 30, "ac"),
    (F.age < 30, "b"),
    (~(F.age == 30), "b"),
    (F.age.is_(None), "d"),
    (F.age.in_([20, 30]) & (F.name != "Ann"), "bc"),
    (F.age.in_([]), ""),
    (~F.age.in_([]), "abcd"),
    (F.name == "bob", "b"),
    (F.name.icontains("BOB"), "bc"),
    (F.name.startswith("B") | F.age.isnull(), "cd"),
    (F.note.endswith("%"), "d"),
    (F.email.like("_@x.%"), "abcd"),
    (F.email.in_(["a@x.org", "B@x.org"]), "a"),
]


async def test_conditions_say_which_records(users):
    for condition, found in CONDITIONS:
        assert await ids(users.list(condition, order_by="id")) == found
        assert await users.count(condition) == len(found)
        assert await users.exists(condition) == bool(found)


async def test_conditions_clauses_and_filters_all_must_hold(users, user_table):
    both = (F.age >= 30, user_table.c.name == "Ann")

    assert await ids(users.list(*both, note=None)) == "a"
    assert await users.count(*both, note="x") == 0
    assert (await users.retrieve(*both))["id"] == "a"


async def test_conditions_say_what_is_written(users):
    (updated,) = await users.update({"age": 21}, F.age < 30, name="bob")
    dropped = await users.drop(F.age.in_([30, 31, 32]))
    await users.delete(F.note.contains("100%"))

    assert updated["age"] == 21
    assert dropped == 2
    assert await ids(users.list()) == "b"


async def test_delete_still_wants_exactly_one(users):
    with pytest.raises(exceptions.MultipleRecordsError):
        await users.delete(F.age == 30)
    with pytest.raises(exceptions.NotFoundError):
        await users.delete(F.age == 31)

    assert await users.count() == 4


async def test_get_gives_none_where_retrieve_finds_none(users):
    assert await users.get(id="nobody") is None
    assert (await users.get(F.id == "a")) == await users.retrieve(id="a")

    with pytest.raises(exceptions.MultipleRecordsError):
        await users.get(age=30)


async def test_an_error_tells_the_key_that_was_asked_for(users):
    for ask in (users.retrieve, users.delete):
        with pytest.raises(exceptions.NotFoundError, match=r"'user' \(nobody\) not found") as caught:
            await ask(id="nobody")
        assert caught.value.id == "nobody"
        for clauses, filters in (((), {"id": "nobody", "age": 3}), ((F.age == 3,), {"id": "a"}), ((), {"age": 3})):
            with pytest.raises(exceptions.NotFoundError) as caught:
                await ask(*clauses, **filters)
            assert caught.value.id is None


async def test_first_gives_the_first_in_an_order(users):
    assert (await users.first())["id"] == "a"
    assert (await users.first(F.age == 30, order_by="-id"))["id"] == "c"
    assert (await users.first(order_by=["age", "-id"]))["id"] == "b"
    assert await users.first(id="nobody") is None


async def test_count_and_exists_look_at_every_record_or_those_that_match(users, posts):
    assert (await users.count(), await users.count(age=30)) == (4, 2)
    assert (await users.exists(), await users.exists(age=31)) == (True, False)
    assert (await posts.count(), await posts.exists()) == (0, False)


ORDERS = [
    ("age", "bacd"),
    ("-age", "acbd"),
    (("age", "desc"), "acbd"),
    (["age", "-id"], "bcad"),
    ([("age", "desc"), ("id", "desc")], "cabd"),
    (F.age.asc(nulls="first"), "dbac"),
    (F.age.desc(nulls="first"), "dacb"),
    ("name", "acdb"),
    (["note", "name"], "dbac"),
]


async def test_an_order_is_the_same_everywhere(users):
    for order, found in ORDERS:
        assert await ids(users.list(order_by=order)) == found


async def test_an_order_can_be_by_columns(users, user_table):
    columns = user_table.c

    assert await ids(users.list(order_by=columns.age)) == "bacd"
    assert await ids(users.list(order_by=columns.age, order_direction="desc")) == "acbd"
    assert await ids(users.list(order_by=[columns.age, (columns.id, "desc")])) == "bcad"
    assert await ids(users.list(order_by=(columns.email, "desc"))) == "dcba"


async def test_an_order_of_sqlalchemys_own_stays_as_it_is(users, user_table):
    columns = user_table.c

    assert await ids(users.list(order_by=sa.func.lower(columns.name).desc())) == "dbca"
    assert await ids(users.list(order_by=[columns.age.is_(None).desc(), "-id"])) == "dcba"


async def test_the_direction_can_be_said_apart(users):
    assert await ids(users.list(order_by="id", order_direction="desc")) == "dcba"
    assert await ids(users.list(order_by=[F.age, "-id"], order_direction="desc")) == "cabd"
    assert await ids(users.list(limit=2, order_direction="desc")) == "dc"
    assert (await users.first(order_direction="desc"))["id"] == "d"


async def test_a_slice_is_cut_by_the_database(users):
    assert await ids(users.list(limit=2)) == "ab"
    assert await ids(users.list(limit=2, offset=1, order_by="-id")) == "cb"
    assert await ids(users.list(offset=3)) == "d"
    assert await ids(users.list(limit=0)) == ""
    assert await ids(users.list(offset=9, limit=9)) == ""


async def test_a_slice_goes_on_from_a_record(users):
    whole = [record async for record in users.list(order_by=["age", "-id"])]

    for place, record in enumerate(whole):
        behind, ahead = whole[place + 1 :], whole[:place]
        order = {"order_by": ["age", "-id"]}
        assert [each async for each in users.list(after=record, **order)] == behind
        assert [each async for each in users.list(after=record, limit=1, **order)] == behind[:1]
        assert [each async for each in users.list(before=record, **order)] == ahead
        assert [each async for each in users.list(before=record, limit=1, **order)] == ahead[-1:]
        assert [each async for each in users.list(before=record, limit=1, offset=1, **order)] == ahead[-2:-1]


async def test_a_place_can_be_that_of_a_record_that_is_gone(users):
    bob = await users.retrieve(id="b")
    await users.delete(id="b")

    assert await ids(users.list(after=bob, order_by="id")) == "cd"
    assert await ids(users.list(F.age == 30, after={"id": "b"})) == "c"
    assert await ids(users.list(before=types.SimpleNamespace(id="b"))) == "a"


REFUSED = [
    ({"limit": -1}, "limit is -1: it is a number from 0 on"),
    ({"offset": -1}, "offset is -1"),
    ({"limit": "3"}, "limit is '3'"),
    ({"limit": True}, "limit is True"),
    ({"limit": 2.5}, "limit is 2.5"),
    ({"limit": 2**63}, "limit is 9223372036854775808"),
    ({"order_by": 3}, "order_by: an order is .* not 3"),
    ({"order_by": {"age": 1}}, "order_by: "),
    ({"order_by": [["age", "down"]]}, "'down': it is 'asc' or 'desc'"),
    ({"order_by": "age", "order_direction": "DESC"}, "'DESC': it is 'asc' or 'desc'"),
    ({"order_direction": "up"}, "'up'"),
    ({"after": {"name": "a"}}, "after: a record has no 'id': it has name"),
    ({"before": {}}, "before: a record has no 'id'"),
    ({"after": {"id": [1]}}, "after: .*list"),
    ({"order_by": sa.text("1"), "after": {"id": "a"}}, "after and before take an order by columns, not by 1"),
]


async def test_a_slice_or_order_that_is_none_is_refused(users):
    for slice, says in REFUSED:
        with pytest.raises(exceptions.InvalidDataError, match=says):
            await ids(users.list(**slice))


UNKNOWN = [
    (lambda users: users.first(F.nmae == "a"), ("nmae",)),
    (lambda users: users.count((F.age > 1) | (F.x == 1) & ~F.y.isnull()), ("x", "y")),
    (lambda users: users.exists(F.email_address == "a"), ("email_address",)),
    (lambda users: users.get(F.nmae == "a", age=3), ("nmae",)),
    (lambda users: users.update({"age": 3}, F.nmae == "a"), ("nmae",)),
    (lambda users: users.delete(F.nmae == "a"), ("nmae",)),
    (lambda users: users.drop(F.nmae == "a"), ("nmae",)),
    (lambda users: users.first(order_by="-nmae"), ("nmae",)),
    (lambda users: users.first(order_by=[F.nmae.asc(), "age", "ega"]), ("nmae", "ega")),
]


async def test_an_unknown_column_is_named(users):
    for ask, names in UNKNOWN:
        with pytest.raises(exceptions.UnknownColumnError) as caught:
            await ask(users)

        assert caught.value.names == names
        assert caught.value.columns == ("id", "name", "email", "age", "note")


async def test_a_column_of_another_table_is_named(users, post_table):
    for order in (post_table.c.title, post_table.c.title.desc(), [(post_table.c.title, "desc")]):
        with pytest.raises(exceptions.UnknownColumnError, match=r"post\.title"):
            await users.first(order_by=order)


async def test_what_is_asked_of_text_is_not_asked_of_numbers(users):
    with pytest.raises(exceptions.InvalidDataError, match="'age' is no text"):
        await users.count(F.age.contains("1"))


async def test_what_is_no_clause_is_refused(users):
    for clause in (F.age, True, "age > 3", F.age.asc()):
        with pytest.raises(exceptions.InvalidDataError, match="neither a condition nor an SQLAlchemy clause"):
            await users.count(clause)


async def test_too_many_values_are_refused(users):
    with pytest.raises(exceptions.InvalidDataError, match="at most 30000 values"):
        await users.count(F.age.in_(range(40_000)))


async def test_a_value_that_is_none_of_the_columns_is_refused(users, connection):
    if connection.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL looks")

    with pytest.raises(exceptions.InvalidDataError):
        await users.count(F.age == datetime.date(2024, 1, 1))


async def test_a_table_without_a_key_has_no_places(connection):
    table = sa.Table("log", sa.MetaData(), sa.Column("line", sa.String(9)), prefixes=["TEMPORARY"])
    await connection.run_sync(table.create)
    log = type("Log", (SQLAlchemyTableRepository,), {"_table": table})(connection)
    await log.create({"line": "b"}, {"line": "a"})

    assert [record["line"] async for record in log.list(order_by="line", limit=9)] == ["a", "b"]
    with pytest.raises(exceptions.SQLAlchemyError, match="no primary key"):
        await log.list(after={"line": "a"}).__anext__()
    await connection.run_sync(table.drop)


async def test_a_column_called_like_an_option_is_asked_for_by_a_condition(connection):
    columns = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("limit", sa.Integer)]
    table = sa.Table("quota", sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    await connection.run_sync(table.create)
    quotas = type("Quotas", (SQLAlchemyTableRepository,), {"_table": table})(connection)
    await quotas.create({"id": 1, "limit": 5}, {"id": 2, "limit": 6})

    assert [record["id"] async for record in quotas.list(F.limit == 6, limit=5)] == [2]
    await connection.run_sync(table.drop)


async def test_each_takes_one_round_trip(users, statements):
    await users.get(F.age == 20)
    await users.first(order_by="-age")
    await users.count(F.age > 3, note=None)
    await users.exists(F.age > 3)
    await ids(users.list(F.age > 3, order_by="age", after={"age": 20, "id": "a"}, limit=3))
    await ids(users.list(F.age > 3, order_by="age", before={"age": 20, "id": "a"}, limit=3))

    assert len(statements) == 6


EXACT = (
    sa.String(40)
    .with_variant(sa.String(40, collation="C"), "postgresql")
    .with_variant(sa.String(40, collation="utf8mb4_nopad_bin"), "mysql")
)


@pytest.fixture
async def explained(connection, module):
    """Give what tells how the database would read a page of a table with indexes."""
    columns = [
        sa.Column(name, type, nullable=False, index=True)
        for name, type in (("name", sa.String(40)), ("age", sa.Integer))
    ]
    exact = sa.Column("exact", EXACT, nullable=False, index=True)
    table = sa.Table("indexed", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), *columns, exact)
    await connection.run_sync(table.create)
    await connection.execute(table.insert(), [{"name": f"n{n}", "age": n, "exact": f"n{n}"} for n in range(2_000)])
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))

    def explain(connection, cursor, statement, *rest):
        return f"EXPLAIN {'QUERY PLAN ' * (connection.dialect.name == 'sqlite')}{statement}", rest[0]

    async def plan(condition, **order):
        statement = _select.select_page(table, (condition,), Select(**order)).build()
        sa.event.listen(module.engine.sync_engine, "before_cursor_execute", explain, retval=True)
        rows = (await connection.execute(statement)).all()
        sa.event.remove(module.engine.sync_engine, "before_cursor_execute", explain)
        return " ".join(str(cell) for row in rows for cell in row)

    yield plan
    await connection.rollback()
    await connection.run_sync(table.drop, checkfirst=True)
    await connection.commit()


INDEXED = [
    (F.name == "n7", "ix_indexed_name"),
    (F.name.in_(["n7", "n8", "n9"]), "ix_indexed_name"),
    (F.age == 7, "ix_indexed_age"),
    (F.age.in_([7, 8]), "ix_indexed_age"),
    (F.age.between(7, 9), "ix_indexed_age"),
    (F.exact == "n7", "ix_indexed_exact"),
    (F.exact < "n1", "ix_indexed_exact"),
    (F.exact.startswith("n77"), "ix_indexed_exact"),
]


async def test_conditions_use_the_index_that_there_is(explained):
    for condition, index in INDEXED:
        assert index in await explained(condition)


async def test_pages_by_position_use_the_index_of_their_order(explained):
    for order_by in ("age", "-age", "exact"):
        plan = await explained(F.id > 0, order_by=order_by, limit=3, after={"age": 1900, "exact": "n98", "id": 1900})
        assert f"ix_indexed_{order_by.strip('-')}" in plan


async def test_every_database_understands_the_longest_text_there_may_be(users):
    for character in ("k", "%k", "_k", "%", "*", "[", "]", "\\\\", "é", "😀", "'"):
        for operator in (
            "contains",
            "startswith",
            "endswith",
            "icontains",
            "istartswith",
            "iendswith",
            "like",
            "ilike",
        ):
            text = character * (4_000 // len(character))
            assert await users.count(query.compare("name", operator, text)) == (4 if text == "%" * 4_000 else 0) * (
                "like" in operator
            )


async def test_conditions_are_run_on_the_drivers_connection(users, connection):
    if connection.dialect.name not in ("sqlite", "postgresql"):
        pytest.skip("only drivers that are spoken to directly")
    shapes = _resolve.resolve_driver(connection).shapes

    for condition in CONDITIONS:
        for place in (
            {},
            {"after": {"id": "a", "age": 1}, "offset": 1},
            {"before": {"id": "a", "age": None}, "limit": 2},
        ):
            select = Select(filters={"note": "x"}, order_by="-age", **place)
            page = _select.select_page(users._table, (condition[0],), select)
            assert shapes.get(page) is not None
