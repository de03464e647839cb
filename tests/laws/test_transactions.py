"""What a unit keeps of what was done in it is the same both ways: whether its driver is spoken to directly or not."""

import asyncio
import contextlib
import itertools
import types

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy import event

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.drivers import atomic

account_table = sa.Table(
    "account",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("balance", sa.Integer, sa.CheckConstraint("balance < 100", name="few"), nullable=False),
)


class Accounts(SQLAlchemyTableRepository):
    _table = account_table


class Bank(SQLAlchemyWorker):
    accounts: Accounts


ids = st.integers(1, 4)
balances = st.integers(97, 101)  # some are too much


class Unit:
    """A unit in which steps are taken."""

    def __init__(self, bank):
        self.bank = bank
        self.savepoints = []
        self.reading = None

    async def create(self, id, balance):
        return await self.bank.accounts.create({"id": id, "balance": balance})

    async def create_many(self, ids, balance):
        return await self.bank.accounts.create(*({"id": id, "balance": balance} for id in ids))

    async def update(self, id, balance):
        return await self.bank.accounts.update({"balance": balance}, id=id)

    async def delete(self, id):
        return await self.bank.accounts.delete(id=id)

    async def drop(self, id):
        return await self.bank.accounts.drop(id=id)

    async def upsert(self, id, balance):
        return await self.bank.accounts.upsert({"id": id, "balance": balance})

    async def retrieve(self, id):
        return await self.bank.accounts.retrieve(id=id)

    async def write_a_text(self, id):
        with contextlib.suppress(Exception):  # the driver's own, or that the transaction has failed before
            await self.bank.accounts.update({"balance": "much"}, id=id)

    async def by_core(self, id, balance):
        update = sa.update(account_table).where(account_table.c.id == id).values(balance=balance)
        return (await self.bank.connection.execute(update)).rowcount

    async def nest(self, id, balance, kept):
        async with self.bank:
            await self.bank.accounts.create({"id": id, "balance": balance})
            if not kept:
                raise ZeroDivisionError

    async def begin(self):
        self.savepoints.append(await self.bank.connection.begin_nested())

    async def end(self, kept):
        if self.savepoints:
            savepoint = self.savepoints.pop()
            await (savepoint.commit() if kept else savepoint.rollback())

    async def end_unit(self, kept):
        if not self.savepoints:
            await (self.bank.commit() if kept else self.bank.rollback())

    async def read_some(self):
        self.reading = self.bank.accounts.list(order_by="id")
        return await anext(self.reading, None)

    async def read_on(self):
        return await anext(self.reading, None) if self.reading else None

    async def fail(self):
        await self.bank.connection.execute(sa.text("SELECT 1 / 0 FROM nothing"))


steps = st.one_of(
    st.tuples(st.just(Unit.create), ids, balances),
    st.tuples(st.just(Unit.create_many), st.lists(ids, min_size=2, max_size=3), balances),
    st.tuples(st.just(Unit.update), ids, balances),
    st.tuples(st.just(Unit.delete), ids),
    st.tuples(st.just(Unit.drop), ids),
    st.tuples(st.just(Unit.upsert), ids, balances),
    st.tuples(st.just(Unit.retrieve), ids),
    st.tuples(st.just(Unit.write_a_text), ids),
    st.tuples(st.just(Unit.by_core), ids, balances),
    st.tuples(st.just(Unit.nest), ids, balances, st.booleans()),
    st.tuples(st.just(Unit.begin)),
    st.tuples(st.just(Unit.end), st.booleans()),
    st.tuples(st.just(Unit.end_unit), st.booleans()),
    st.tuples(st.just(Unit.read_some)),
    st.tuples(st.just(Unit.read_on)),
    st.tuples(st.just(Unit.fail)),
)


async def taken(unit, step, *values):
    try:
        return await step(unit, *values)
    except Exception as error:  # noqa: BLE001
        return type(error), getattr(error, "kind", None)


async def lived(module, steps, *, directly):
    """What each step gave, how the unit ended, and what is stored then."""
    bank = Bank(types.SimpleNamespace(sqlalchemy=module))
    given = []
    try:
        async with bank:
            if not directly:
                event.listen(bank.connection.sync_connection, "before_cursor_execute", lambda *args: None)
            unit = Unit(bank)
            given += [await taken(unit, *step) for step in steps]
    except Exception as error:  # noqa: BLE001
        given.append((type(error), str(error)))
    async with bank:
        stored = [account async for account in bank.accounts.list(order_by="id")]
        await bank.accounts.drop()
    return given, stored


@pytest.fixture(scope="module", params=["aiosqlite", "asyncpg", "psycopg"])
def url(request, tmp_path_factory):
    if request.param == "aiosqlite":
        return f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('laws')}/data.db"
    return request.getfixturevalue("postgres_url").replace("asyncpg", request.param)


@contextlib.asynccontextmanager
async def started(url):
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(account_table.metadata.create_all)
    yield module
    async with module.engine.begin() as connection:
        await connection.run_sync(account_table.metadata.drop_all)
    await module.on_shutdown()


@pytest.fixture(scope="module")
def begun(url):
    """A loop, and a module that has begun in it."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        yield runner, runner.run(stack.enter_async_context(started(url)))
        runner.run(stack.aclose())


@pytest.fixture(scope="module")
def both(begun):
    """A function that gives what comes of steps, directly and not."""
    runner, module = begun
    return lambda steps: [
        runner.run(asyncio.wait_for(lived(module, steps, directly=directly), 10)) for directly in (True, False)
    ]


@pytest.fixture(scope="module")
def on(begun):
    """A function that gives what comes of something that is done with a bank."""
    runner, module = begun
    return lambda run: runner.run(asyncio.wait_for(run(Bank(types.SimpleNamespace(sqlalchemy=module))), 10))


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(steps=st.lists(steps, max_size=12))
def test_a_unit_ends_the_same_both_ways(both, steps):
    directly, by_sqlalchemy = both(steps)

    assert directly == by_sqlalchemy


# a write that is stored, one that is refused, or a block of them, several or not, which fails in the end or doesn't
blocks = st.recursive(
    st.sampled_from(["stored", "refused"]),
    lambda steps: st.tuples(st.lists(steps, max_size=4), st.booleans(), st.booleans()),
    max_leaves=8,
)


async def in_blocks(accounts, step, ids):
    """Take a step, and give the ids that are stored if all the blocks around it are kept."""
    match step:
        case "stored":
            (account,) = await accounts.create({"id": next(ids), "balance": 1})
            return [account["id"]]
        case "refused":
            with pytest.raises(exceptions.IntegrityError):
                await accounts.create({"id": next(ids), "balance": 100})
            return []
    steps, several, fails = step
    kept = []
    with contextlib.suppress(ZeroDivisionError):
        async with atomic(accounts._connection, several=several or len(steps) > 1 or fails):
            for each in steps:
                kept += await in_blocks(accounts, each, ids)
            if fails:
                raise ZeroDivisionError
    return [] if fails else kept


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(first=st.booleans(), steps=st.lists(blocks, max_size=4))
def test_a_block_is_undone_as_a_whole_whatever_it_is_in(on, first, steps):
    async def run(bank):
        ids = itertools.count(1)
        async with bank:
            if not first:
                await bank.connection.execute(sa.select(1))
            expected = [id for step in steps for id in await in_blocks(bank.accounts, step, ids)]
        async with bank:
            stored = [account["id"] async for account in bank.accounts.list(order_by="id")]
            await bank.accounts.drop()
        return stored, expected

    stored, expected = on(run)

    assert stored == expected
