"""A filter and an order mean the same on every database, and to Python."""

import asyncio
import datetime
import decimal
import functools
import itertools
import pickle
import uuid

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import create_async_engine

from flama import query
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.query import F
from flama.sqlalchemy.sql import _where

# A text of a database's usual kind, which compares as nobody would expect: "a" is "A", or comes before "B".
LOOSE = (
    sa.String(40, collation="NOCASE")
    .with_variant(sa.String(40, collation="en-x-icu"), "postgresql")
    .with_variant(sa.String(40, collation="utf8mb4_general_ci"), "mysql")
)
EXACT = (
    sa.String(40)
    .with_variant(sa.String(40, collation="C"), "postgresql")
    .with_variant(sa.String(40, collation="utf8mb4_nopad_bin"), "mysql")
)
metadata = sa.MetaData()
table = sa.Table(
    "thing",
    metadata,
    sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer),
    sa.Column("count", sa.Integer, nullable=False, index=True),
    sa.Column("loose", LOOSE),
    sa.Column("plain", sa.String(40)),
    sa.Column("the_exact", EXACT, key="exact", nullable=False),
    sa.Column("flag", sa.Boolean),
    sa.Column("amount", sa.Numeric(8, 2)),
    sa.Column("day", sa.Date),
    sa.Column("token", sa.Uuid),
    prefixes=["TEMPORARY"],  # each connection has its own, though two are to the same database
)
TEXTS = ("loose", "plain", "exact")

ALPHABET = st.sampled_from("aAbBzZkKsSiIßéÉeſıİ😀中 %_\\'\"*?[]^!|.$-~\n\t1")
# what one collation or another takes for the same, or sorts in another way
ALIKE = [
    "",
    " ",
    "a",
    "A",
    "a ",
    "á",
    "aB",
    "Ab",
    "a-b",
    "B",
    "b",
    "ß",
    "ss",
    "k",
    "K",
    "\u212a",
    "ſ",
    "S",
    "i",
    "I",
    "İ",
    "é",
    "É",
]
TEXT = st.sampled_from(ALIKE) | st.text(ALPHABET, max_size=6)
# by their last part first, as MariaDB has them, they go in the opposite order
TOKENS = [uuid.UUID(f"{n:08x}-0000-4000-8000-{9 - n:012x}") for n in range(4)]
NUMBER = st.integers(-2, 3)
VALUES = {
    "number": NUMBER,
    "count": NUMBER,
    **dict.fromkeys(TEXTS, TEXT),
    "flag": st.booleans(),
    "amount": st.decimals(-2, 2, places=2),
    "day": st.dates(datetime.date(2024, 2, 28), datetime.date(2024, 3, 2)),
    "token": st.sampled_from(TOKENS),
}
FRACTIONS = st.sampled_from([0.5, -1.5, decimal.Decimal("1.5"), decimal.Decimal(2), 1])
REQUIRED = {"count", "exact"}
RECORD = st.fixed_dictionaries(
    {name: value if name in REQUIRED else st.none() | value for name, value in VALUES.items()}
)


PARTS = st.lists(TEXT | st.sampled_from(["%", "_", "\\%", "\\_", "\\\\", "\\a"]), max_size=4)


@st.composite
def patterns(draw):
    pattern = "".join(draw(PARTS))
    trailing = len(pattern) - len(pattern.rstrip("\\"))
    return pattern + "\\" * (trailing % 2)


# Hypothesis looks a strategy over when it is first drawn from: those that are made while drawing are kept.
@functools.cache
def comparisons(name):
    value = VALUES[name] | FRACTIONS if name in ("number", "count", "amount") else VALUES[name]
    compared = st.builds(query.compare, st.just(name), st.sampled_from(["eq", "gt", "gte", "lt", "lte"]), value)
    among = st.builds(F[name].in_, st.lists(value, max_size=5))
    null = st.sampled_from([F[name].isnull(), F[name].is_(None), F[name].is_not(None)])
    if name == "flag":
        return compared | among | null | st.sampled_from([F.flag.is_(True), F.flag.is_(False), F.flag.is_not(True)])
    if name not in TEXTS:
        return compared | among | null | st.builds(F[name].between, value, value)
    operators = ["contains", "startswith", "endswith", "icontains", "istartswith", "iendswith"]
    textual = st.builds(query.compare, st.just(name), st.sampled_from(operators), TEXT.map(lambda text: text[:2]))
    likened = st.builds(query.compare, st.just(name), st.sampled_from(["like", "ilike"]), patterns())
    return st.one_of(compared, among, null, textual, textual, likened, likened)


CONDITIONS = st.recursive(
    st.sampled_from(list(VALUES)).flatmap(comparisons),
    lambda some: (
        st.builds(lambda a, b: a & b, some, some) | st.builds(lambda a, b: a | b, some, some) | some.map(lambda c: ~c)
    ),
    max_leaves=6,
)
ORDER = st.builds(query.Order, st.sampled_from(list(VALUES)), st.booleans(), st.sampled_from(["first", "last"]))
ORDERS = st.lists(ORDER, max_size=3).map(lambda said: query.parse_order(said, keys=["batch", "id"]))


class Databases:
    """Every database, with the same records in the same table."""

    def __init__(self, urls):
        self.runner = asyncio.Runner()
        self.engines = [create_async_engine(url) for url in urls]
        self.batches = itertools.count()
        self.connections = self.run(self._open())

    def run(self, coroutine):
        return self.runner.run(coroutine)

    async def _open(self):
        connections = [await engine.connect() for engine in self.engines]
        for connection in connections:
            await connection.run_sync(metadata.create_all)
            await connection.commit()
        return connections

    def close(self):
        self.run(self._close())
        self.runner.close()

    async def _close(self):
        for connection, engine in zip(self.connections, self.engines, strict=True):
            await connection.close()
            await engine.dispose()

    def store(self, records):
        batch = next(self.batches)
        stored = [{"batch": batch, "id": id, **record} for id, record in enumerate(records)]
        self.run(self._store(stored))
        return batch, stored

    async def _store(self, records):
        for connection in self.connections:
            if records:
                await connection.execute(table.insert(), records)

    def read(self, batch, *clauses, **slice):
        return self.run(self._read(batch, *clauses, **slice))

    async def _read(self, batch, *clauses, **slice):
        things = [Things(connection) for connection in self.connections]
        return [[record async for record in each.list(*clauses, batch=batch, **slice)] for each in things]


class Things(SQLAlchemyTableRepository):
    _table = table


@pytest.fixture(scope="module")
def databases(postgres_url, mariadb_url):
    """Give all databases, open."""
    psycopg_url = postgres_url.replace("asyncpg", "psycopg")
    opened = Databases(["sqlite+aiosqlite://", postgres_url, psycopg_url, mariadb_url])
    yield opened
    opened.close()


EXAMPLES = hypothesis.settings(max_examples=30, deadline=None)
RECORDS = st.lists(RECORD, min_size=4, max_size=12)


@EXAMPLES
@hypothesis.given(records=RECORDS, wanted=st.lists(CONDITIONS, min_size=1, max_size=8), data=st.data())
def test_a_condition_an_order_and_a_slice_give_the_same_everywhere(databases, records, wanted, data):
    batch, stored = databases.store(records)

    for condition in wanted:
        orders = data.draw(ORDERS)
        limit, offset = data.draw(st.none() | st.integers(0, 9)), data.draw(st.integers(0, 3))
        end = None if limit is None else offset + limit
        expected = query.sort_records(filter(condition.matches, stored), orders)[offset:end]
        for found in databases.read(batch, condition, order_by=orders, limit=limit, offset=offset):
            assert found == expected, (condition, orders)


@EXAMPLES
@hypothesis.given(records=RECORDS, orders=ORDERS, size=st.integers(1, 4), wanted=CONDITIONS)
def test_pages_by_position_tile_a_collection_in_both_directions(databases, records, orders, size, wanted):
    batch, stored = databases.store(records)
    wanted |= F.number >= 0
    whole = query.sort_records(filter(wanted.matches, stored), orders)
    pages = [whole[start : start + size] for start in range(0, len(whole), size)]

    def read(**place):
        return databases.read(batch, wanted, order_by=orders, limit=size, **place)

    for previous, following in itertools.pairwise(pages):
        assert read(after=previous[-1]) == [following] * 4
        assert read(before=following[0]) == [previous] * 4
        assert read(after=previous[0], before=following[-1]) == [(previous[1:] + following[:-1])[:size]] * 4
    if pages:
        assert read(after=pages[-1][-1]) == [[]] * 4
        assert read(before=pages[0][0]) == [[]] * 4


@EXAMPLES
@hypothesis.given(records=RECORDS, orders=ORDERS)
def test_in_python_a_record_is_after_those_before_it(records, orders):
    whole = query.sort_records([{"batch": 1, "id": id, **record} for id, record in enumerate(records)], orders)

    for place, record in enumerate(whole):
        assert [*filter(query.before(orders, record).matches, whole)] == whole[:place]
        assert [*filter(query.after(orders, record).matches, whole)] == whole[place + 1 :]


def test_what_databases_take_for_the_same_is_told_apart(databases):
    batch, stored = databases.store(
        [{**dict.fromkeys(VALUES), "count": 0, **dict.fromkeys(TEXTS, text)} for text in ALIKE]
    )

    for name, text in itertools.product(TEXTS, ALIKE):
        for operator in query.OPERATORS.keys() - {"isnull"}:
            condition = query.compare(name, operator, [text] if operator == "in" else text)
            expected = [record for record in stored if condition.matches(record)]
            assert databases.read(batch, condition, limit=99) == [expected] * 4, condition


@hypothesis.given(CONDITIONS)
def test_a_condition_is_a_value(condition):
    again = pickle.loads(pickle.dumps(condition))

    assert again == condition
    assert hash(again) == hash(condition)
    assert (again.cache_key, again.values) == (condition.cache_key, condition.values)
    assert (
        eval(repr(condition), {"F": F, "Decimal": decimal.Decimal, "datetime": datetime, "UUID": uuid.UUID})
        == condition
    )


@hypothesis.given(st.lists(RECORD, max_size=4), CONDITIONS, CONDITIONS)
def test_the_laws_of_three_values_hold(records, one, other):
    for record in records:
        assert (~~one).matches(record) == one.matches(record)
        assert (~(one & other)).matches(record) == (~one | ~other).matches(record)
        assert (~(one | other)).matches(record) == (~one & ~other).matches(record)
        assert not (one & ~one).matches(record)
        assert (one & other).matches(record) == (other & one).matches(record)


@hypothesis.given(CONDITIONS, st.data())
def test_conditions_of_one_shape_have_the_same_sql(condition, data):
    other = data.draw(like_shaped(condition))

    assert other.cache_key == condition.cache_key
    assert sql(other) == sql(condition)


def like_shaped(condition):
    """Draw a condition that says the same of other values."""
    match condition:
        case query.Comparison(name, "in", operand):
            return st.tuples(*(of_type(name, type(value)) for value in operand)).map(F[name].in_)
        case query.Comparison(name, operator) if operator in ("eq", "gt", "gte", "lt", "lte"):
            return of_type(name, type(condition.operand)).map(lambda value: query.compare(name, operator, value))
        case query.Not(part):
            return like_shaped(part).map(query.Not)
        case query.And(parts) | query.Or(parts):
            return st.tuples(*map(like_shaped, parts)).map(type(condition))
    return st.just(condition)


def of_type(name, type):
    return {float: st.floats(-3, 3), decimal.Decimal: st.decimals(-3, 3, places=1), int: NUMBER}.get(type, VALUES[name])


def sql(condition):
    where = _where.compile_condition(table, condition, (f"v{n}" for n in itertools.count()))
    return [str(where.compile(dialect=dialect())) for dialect in (sqlite.dialect, postgresql.dialect, mysql.dialect)]
