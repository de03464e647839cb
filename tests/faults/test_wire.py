"""Units of work whose database hangs up, falls silent or drips, at any byte of what passes."""

import asyncio
import collections
import contextlib
import os
import time
import typing as t

import pytest
import sqlalchemy as sa

from flama import _shielding, exceptions
from flama.ddd.workers import sqlalchemy as workers
from flama.sqlalchemy import SQLAlchemyModule, _transaction_options
from flama.sqlalchemy.drivers import _lifecycle
from tests.support import bank
from tests.support.faulty import Fault, faulty

pytestmark = pytest.mark.anyio

EVERY = int(os.environ.get("FLAMA_EVERY_BYTE", "29"))  # one in so many is tried: each, with 1, takes minutes
END = 30  # so many bytes before the end are tried one by one: COMMIT is there
LIMIT = 1.0  # seconds; a busy machine has to commit within them


@pytest.fixture(params=["asyncpg", "psycopg", "mariadb"])
def url(request):
    if request.param == "mariadb":
        return request.getfixturevalue("mariadb_url")
    # a host by name is a socket of the machine to some drivers
    return request.getfixturevalue("postgres_url").replace("asyncpg", request.param)


@pytest.fixture
async def direct(url):
    """A connection that nothing happens to."""
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with bank.made(module.engine), module.engine.connect() as connection:
        yield await connection.execution_options(isolation_level="AUTOCOMMIT")
    await module.on_shutdown()


@pytest.fixture
def impatient(monkeypatch):
    """Nobody waits for long."""
    monkeypatch.setattr(workers, "_COMMIT_LIMIT", LIMIT)
    for module, name in ((workers, "_ROLLBACK_LIMIT"), (_lifecycle, "_LIMIT"), (_transaction_options, "_LIMIT")):
        monkeypatch.setattr(module, name, LIMIT)


class Line:
    """A bank, and the relay that is between it and its database."""

    def __init__(self, relay, module) -> None:
        self.relay, self.module, self.bank = relay, module, bank.bank_of(module)

    async def passed(self, transfer: bank.Transfer, shape: str = "plain") -> dict[str, int]:
        """Run a unit to its end, and tell how many bytes of each side that takes."""
        self.relay.expect()
        await getattr(transfer, shape)()
        return {side: len(passed) for side, passed in self.relay.passed.items()}


@contextlib.asynccontextmanager
async def line(url):
    """Give a line, which is idle."""
    async with faulty(sa.make_url(url)) as relay:
        one = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 5}
        # so that a unit takes as many bytes each time but the first
        prepared = {"connect_args": {"prepare_threshold": 0}} if "psycopg" in url else {}
        module = SQLAlchemyModule(relay.url.render_as_string(hide_password=False), engine_args={**one, **prepared})
        await module.on_startup()
        try:
            yield Line(relay, module)
        finally:
            await module.on_shutdown()


async def outcome(transfer: bank.Transfer, shape: str) -> str:
    """Run a unit, and tell how it ended: what isn't one of these is raised."""
    try:
        await asyncio.wait_for(getattr(transfer, shape)(), 20)
    except exceptions.UnavailableError as error:
        return "unknown" if error.maybe_applied else "refused"
    return "done"


async def tried(url, direct, fault, number, *, shape="plain", timeout=None):
    """Have a fault amid a unit, and give how it ended, whether it is stored, what its hooks tell, how long it took."""
    # accounts of its own: a server that was not told goes on holding them
    account, other = (1 + (number + part) % bank.ACCOUNTS for part in (0, bank.ACCOUNTS // 2))
    async with line(url) as broken:
        for _ in range(2):
            await broken.passed(bank.Transfer(broken.bank, -1, account), shape)
        transfer = bank.Transfer(broken.bank.options(timeout=timeout), number, account)
        broken.relay.expect(fault)
        began = time.perf_counter()
        ended = await outcome(transfer, shape)
        took = time.perf_counter() - began
        is_stored = await bank.stored(direct, number)
        assert broken.module.engine.pool.checkedout() == 0
        broken.relay.speak()
        served = bank.Transfer(broken.bank.options(timeout=5 * LIMIT), -2 - number, other)
        await assert_served(served, may_fail=ended == "done")
    return Ended(ended, is_stored, transfer, took)


class Ended(t.NamedTuple):
    how: str
    is_stored: bool
    transfer: bank.Transfer
    took: float


async def assert_served(transfer: bank.Transfer, *, may_fail: bool = False) -> None:
    ended = await outcome(transfer, "plain")
    if may_fail and ended != "done":  # a connection that was lost after the unit may be noticed by the next
        ended = await outcome(transfer, "plain")
    assert ended == "done"


def places(passed: dict[str, int], *sampled: tuple[int | None, int]) -> list[tuple[str, int]]:
    """Give places of each side: each so many bytes from so many before the end on, which None says are all."""
    return [
        (side, after)
        for side, number in passed.items()
        for after in sorted({after for start, step in sampled for after in range(*from_end(number, start), step)})
    ]


def from_end(number: int, start: int | None) -> tuple[int, int]:
    return (1 if start is None else max(1, number - start)), number + 1


async def bytes_of(url, shape: str) -> dict[str, int]:
    async with line(url) as whole:
        for _ in range(3):
            passed = await whole.passed(bank.Transfer(whole.bank, -1), shape)
    return passed


async def all_at_once(trials) -> list[Ended]:
    places = asyncio.Semaphore(40)  # the servers have a hundred

    async def one(trial) -> Ended:
        async with places:
            return await trial

    return await asyncio.gather(*map(one, trials))


HOOKS = {"done": "committed", "refused": "rolled back", "unknown": None}


async def test_a_unit_that_is_cut_at_any_byte_is_whole_or_absent_and_says_which(url, direct):
    seen = collections.Counter()
    for number, (side, after) in enumerate(places(await bytes_of(url, "plain"), (None, EVERY), (END, 1))):
        ended = await tried(url, direct, Fault(side, after, "reset"), number)
        seen[ended.how, ended.is_stored] += 1
        ended.transfer.assert_told(HOOKS[ended.how])
        assert ended.took < 5, (side, after)

    assert seen.keys() - {("done", True)} == {("refused", False), ("unknown", True), ("unknown", False)}


async def test_a_unit_that_is_cut_while_it_connects_is_refused(url, direct):
    async with line(url) as whole:
        whole.relay.expect()
        async with whole.module.engine.connect():
            pass
        passed = {side: len(passed) for side, passed in whole.relay.passed.items()}
    for number, (side, after) in enumerate(places(passed, (None, 8 * EVERY))):
        async with line(url) as broken:
            broken.relay.expect(Fault(side, after, "reset"))

            ended = await outcome(bank.Transfer(broken.bank, number), "plain")

            assert ended == "refused"
            assert not await bank.stored(direct, number)
            assert broken.module.engine.pool.checkedout() == 0
            await assert_served(bank.Transfer(broken.bank, -2 - number))


async def test_a_unit_whose_database_falls_silent_ends_in_time(url, direct, impatient):
    # psycopg waits ten seconds before it gives up a statement: there it is COMMIT alone
    sampled = [(11, 1)] if "psycopg" in url else [(None, 2 * EVERY), (END, 4)]
    faults = [Fault(side, after, "silence") for side, after in places(await bytes_of(url, "plain"), *sampled)]

    found = await all_at_once(tried(url, direct, fault, n, timeout=LIMIT) for n, fault in enumerate(faults))

    seen = {(ended.how, ended.is_stored) for ended in found}
    assert seen >= {("unknown", True), ("unknown", False)}
    assert ("refused", True) not in seen
    for ended in found:
        ended.transfer.assert_told(HOOKS[ended.how])
        assert ended.took < 8


@pytest.mark.parametrize("kind", ["reset", "silence"])
async def test_a_rollback_that_is_not_answered_is_one_all_the_same(url, direct, impatient, kind):
    faults = [Fault(side, after, kind) for side, after in places(await bytes_of(url, "undone"), (10, 4))]

    found = await all_at_once(tried(url, direct, fault, n, shape="undone") for n, fault in enumerate(faults))

    for ended in found:
        assert (ended.how, ended.is_stored) == ("done", False)
        ended.transfer.assert_told("rolled back")
        assert ended.took < 8


async def test_a_cancelled_unit_waits_for_a_silent_database_so_long_and_no_longer(url, direct, monkeypatch):
    monkeypatch.setattr(_shielding.shield, "__defaults__", (None, 1.0))
    passed = await bytes_of(url, "plain")
    async with line(url) as silent:
        for _ in range(2):
            await silent.passed(bank.Transfer(silent.bank, -1))
        last = (
            5 if "psycopg" in url else 18
        )  # in COMMIT, which is prepared by asyncpg: it is done without its last five
        silent.relay.expect(Fault("client", passed["client"] - last, "silence"))
        task = asyncio.create_task(bank.Transfer(silent.bank, 0).plain())
        await silent.relay.failed.wait()
        began = time.perf_counter()
        task.cancel()
        await asyncio.wait((task,), timeout=20)

        assert task.cancelled()
        assert time.perf_counter() - began < 2.5
        assert not await bank.stored(direct, 0)


async def test_a_unit_whose_database_drips_is_whole(url, direct):
    async with line(url) as dripping:
        await dripping.passed(bank.Transfer(dripping.bank, -1))
        dripping.relay.drips = True

        await bank.Transfer(dripping.bank, 0).plain()

        assert await bank.stored(direct, 0)


async def test_a_write_that_is_a_transaction_by_itself_may_be_applied_when_it_is_cut(url, direct):
    async with line(url) as broken, broken.module.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        debits = bank.DebitRepository(connection)
        await debits.create({"transfer": -1})
        broken.relay.expect(Fault("server", 1, "reset"))

        with pytest.raises(exceptions.UnavailableError) as caught:
            await debits.create({"transfer": -1})

    assert caught.value.maybe_applied
