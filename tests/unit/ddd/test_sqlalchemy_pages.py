"""Pages in orders that no index has in one piece: by columns that may be null, or in both directions."""

import json
import re

import pytest
import sqlalchemy as sa

from flama import query
from flama.ddd import F, Select
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy.drivers import _resolve
from flama.sqlalchemy.sql import _select

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

EXACT = (
    sa.String(40)
    .with_variant(sa.String(40, collation="C"), "postgresql")
    .with_variant(sa.String(40, collation="utf8mb4_nopad_bin"), "mysql")
)


def table_of(name, *indexes):
    table = sa.Table(
        name,
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("age", sa.Integer),
        sa.Column("name", EXACT),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("group", sa.Integer, nullable=False),
    )
    for number, expressions in enumerate(indexes):
        sa.Index(f"ix_{name}_{number}", *expressions(table.c))
    return table


def repository_of(table, connection):
    return type("Things", (SQLAlchemyTableRepository,), {"_table": table})(connection)


@pytest.fixture
async def things(connection):
    """A repository of a few, half of which lack something."""
    table = table_of("thing")
    await connection.run_sync(table.create)
    rows = [
        {"id": n, "age": None if n % 3 == 0 else n % 4, "name": None if n % 5 == 0 else "aÄb"[n % 3], "size": n % 3}
        for n in range(1, 26)
    ]
    await connection.execute(table.insert(), [{**row, "group": row["id"] % 2} for row in rows])
    yield repository_of(table, connection)
    await connection.rollback()
    await connection.run_sync(table.drop, checkfirst=True)
    await connection.commit()


ORDERS = [
    "age",
    "-age",
    F.age.asc(nulls="first"),
    F.age.desc(nulls="first"),
    ["age", "name"],
    ["-age", "name"],
    ["name", "-age", "-id"],
    ["-size", "age"],
    ["size", "-id"],
    ["-size", "-id"],
    ["-age", F.name.desc(nulls="first"), "-size"],
]


async def every(things, order_by, **options):
    return [record async for record in things.list(order_by=order_by, **options)]


@pytest.mark.parametrize("order_by", ORDERS, ids=str)
async def test_pages_are_those_of_the_whole_in_order(things, order_by):
    found = await every(things, order_by)
    whole = query.sort_records(found, query.parse_order(order_by, keys=["id"]))
    assert found == whole

    for size in (1, 4, 100):
        forward = []
        while page := await every(things, order_by, limit=size, after=forward[-1] if forward else None):
            forward += page
        assert forward == whole
    for offset in (0, 1, 7, 24, 30):
        assert await every(things, order_by, limit=3, offset=offset) == whole[offset : offset + 3]
        assert await every(things, order_by, limit=3, offset=offset, after=whole[4]) == whole[5 + offset : 8 + offset]


@pytest.mark.parametrize("order_by", ORDERS, ids=str)
async def test_pages_lead_back_as_they_led_on(things, order_by):
    whole = await every(things, order_by)

    back = whole[-1:]
    while page := await every(things, order_by, limit=4, before=back[0]):
        back = page + back

    assert back == whole


async def test_a_page_has_what_is_asked_for_alone(things):
    for order_by in ORDERS:
        whole = [record for record in await every(things, order_by) if record["group"] == 1 and record["id"] > 2]
        asked = [record async for record in things.list(F.id > 2, order_by=order_by, limit=5, after=whole[1], group=1)]
        fields = [each async for each in things.list(F.id > 2, order_by=order_by, limit=3, fields=["name"], group=1)]

        assert asked == whole[2:7]
        assert fields == [{"name": record["name"]} for record in whole[:3]]


async def test_the_first_is_the_first_of_the_page(things):
    for order_by in ORDERS:
        assert await things.first(order_by=order_by) == (await every(things, order_by))[0]


async def test_records_of_a_page_can_be_held(things):
    whole = await every(things, "-age")

    held = await every(things, "-age", limit=4, after=whole[2], lock="update")

    assert held == whole[3:7]


async def test_behind_a_place_without_a_key_there_is_nothing(things):
    assert await every(things, "-age", limit=3, after={"age": None, "id": None}) == []


async def test_pages_are_read_by_the_driver_itself(things, connection):
    if connection.dialect.name not in ("sqlite", "postgresql"):
        pytest.skip("only drivers that are spoken to directly")
    shapes, dialect = _resolve.resolve_driver(connection).shapes, connection.dialect.name
    place = {"id": 3, "age": 2, "name": "b", "size": 1}

    for order_by in ORDERS:
        for slice in ({"after": place}, {"before": place}, {"offset": 3}, {"after": {**place, "age": None}}):
            select = Select(filters={"size": 1}, order_by=order_by, limit=9, **slice)
            page = _select.select_page(things._table, (F.id > 1,), select, dialect=dialect)
            assert shapes.get(page) is not None


ROWS = 20_000
NULLS = ROWS // 2

INDEXES = {
    "age": lambda columns: (columns.age, columns.id),
    "-age": lambda columns: (columns.age.desc(), columns.id),
    "-size": lambda columns: (columns.size.desc(), columns.id),
}


@pytest.fixture(scope="module")
def rows():
    # the nulls come last by their key, as what isn't done yet does
    return [
        {"id": n, "age": None if n > NULLS else n * 7 % 90, "size": n * 7 % 90, "group": 0} for n in range(1, ROWS + 1)
    ]


async def filled(connection, table, rows):
    await connection.run_sync(table.create)
    for start in range(0, ROWS, 5_000):
        await connection.execute(table.insert(), rows[start : start + 5_000])
    await connection.commit()
    analyze = "ANALYZE TABLE" if connection.dialect.name == "mysql" else "ANALYZE"
    await connection.exec_driver_sql(f"{analyze} {table.name}")
    await connection.commit()
    return repository_of(table, connection)


async def touched(connection, things, **options):
    """How many rows the database looks at for a page; of SQLite, a hundredth of its virtual machine's steps."""
    match connection.dialect.name:
        case "postgresql":
            told = await things.explain("list", **options)
            plan = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {told.sql}", told.parameters)
            found = plan.scalar()
            return looked_at((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])
        case "mysql":
            await connection.exec_driver_sql("FLUSH STATUS")
            _ = [record async for record in things.list(**options)]
            counts = await connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler\\_read%%'")
            return sum(int(count) for _, count in counts)
    steps = []
    driver = (await connection.get_raw_connection()).driver_connection
    await driver.set_progress_handler(lambda: steps.append(1) and None, 100)
    _ = [record async for record in things.list(**options)]
    await driver.set_progress_handler(None, 0)
    return len(steps)


def looked_at(node):
    loops = node["Actual Loops"]
    own = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    own += node["Actual Rows"] if "Sort" in node["Node Type"] else 0
    return own * loops + sum(looked_at(part) for part in node.get("Plans", ()))


@pytest.mark.parametrize("order_by", INDEXES)
async def test_a_page_costs_the_same_at_any_depth(connection, rows, order_by):
    things = await filled(connection, table_of("deep", INDEXES[order_by]), rows)
    whole = [record async for record in things.list(order_by=order_by)]
    is_null = "age" in order_by
    places = {"first": None, "middle": 5_000, "before the nulls": NULLS - 3, "at the last": NULLS - 1}
    places |= {} if is_null and connection.dialect.name == "mysql" else {"among the nulls": 15_000}

    costs = {
        name: await touched(connection, things, order_by=order_by, limit=10, after=place and whole[place])
        for name, place in places.items()
    }
    back = await touched(connection, things, order_by=order_by, limit=10, before=whole[5_000])
    await connection.rollback()
    await connection.run_sync(things._table.drop)
    await connection.commit()

    assert max(*costs.values(), back) < 300, (costs, back)


async def test_an_index_that_has_nulls_last_of_itself_is_used(connection, rows):
    if connection.dialect.name != "postgresql":
        pytest.skip("no other database has such indexes")
    things = await filled(connection, table_of("apart", lambda c: (c.age.desc().nulls_last(), c.id)), rows)
    whole = [record async for record in things.list(order_by="-age")]

    costs = [
        await touched(connection, things, order_by="-age", limit=10, after=place and whole[place])
        for place in (None, 5_000, NULLS - 3)
    ]
    plan = (await things.explain("list", order_by="-age", limit=10)).plan
    await connection.rollback()
    await connection.run_sync(things._table.drop)
    await connection.commit()

    assert max(costs) < 300, costs
    assert re.fullmatch(r"Limit .*\n *->  Index Scan using ix_apart_0 on apart .*", plan)
