"""Units of work that are cancelled at each of their awaits, one after the other."""

import asyncio
import collections
import collections.abc
import contextlib
import functools
import gc
import itertools
import types

import anyio
import pytest
import sqlalchemy as sa

from flama import Flama, _shielding, exceptions, types as flama_types
from flama.client import ASGITransport, Client
from flama.ddd import Remote, Worker
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import bank
from tests.support.steps import Steps, stepped

pytestmark = [
    pytest.mark.anyio,
    # by Core, a cursor is SQLAlchemy's: psycopg warns when its connection is given up with it, be it in a later test
    pytest.mark.filterwarnings("ignore:.*AsyncServerCursor.*was deleted while still open:ResourceWarning"),
]


class Transfer(bank.Transfer):
    """A unit in its other shapes."""

    async def reading(self) -> None:
        async with self.bank:
            async for _ in self.bank.accounts.list():
                break
            await self.all()

    async def nested(self) -> None:
        async with self.bank:
            self.hooks()
            await self.first()
            async with self.bank:
                await self.later()
            with contextlib.suppress(ZeroDivisionError):
                async with self.bank:
                    await self.later()
                    raise ZeroDivisionError

    async def unhooked(self) -> None:
        async with self.bank:
            await self.first()
            await self.later()

    async def renewed(self) -> None:
        async with self.bank:
            await self.first()
            await self.later()
            await self.bank.rollback()
            await self.all()
            await self.bank.commit()
            await self.first()

    async def repeated(self) -> None:
        attempts = itertools.count()

        async def work(_) -> None:
            self.told.clear()
            await self.all()
            if next(attempts) == 0:
                raise exceptions.ConflictError(resource="account", retryable=True)

        await self.bank.run(work)

    async def settled(self) -> None:
        self.bank = self.bank.options(isolation="SERIALIZABLE")
        if self.bank.app.sqlalchemy.engine.dialect.name != "sqlite":
            self.bank = self.bank.options(statement_timeout=60)
        await self.plain()

    async def only_read(self) -> None:
        self.bank = self.bank.options(read_only=True)
        async with self.bank:
            self.hooks()
            await self.bank.accounts.retrieve(id=1)


async def once(at: int, work) -> tuple[Steps, bool]:
    return await _as_task(at, work)


async def with_the_answer(at: int, work) -> tuple[Steps, bool]:
    return await _as_task(at, work, late=True)


async def twice(at: int, work) -> tuple[Steps, bool]:
    return await _as_task(at, work, then=1 + at % 3)


async def again_and_again(at: int, work) -> tuple[Steps, bool]:
    return await _as_task(at, work, always=True)


async def _as_task(at: int, work, *, always: bool = False, **options) -> tuple[Steps, bool]:
    loop, times = asyncio.get_running_loop(), itertools.count()

    def cancel() -> None:
        if not task.done():
            task.cancel()
            if always:  # in every turn of the loop, until the database is waited for
                _ = loop.call_soon(cancel) if next(times) < 20 else loop.call_later(0.001, cancel)

    steps = Steps(at, cancel, **options)
    task = asyncio.create_task(steps.run(work()))
    await asyncio.wait((task,))
    if not task.cancelled():
        task.result()
    return steps, task.cancelled()


async def by_its_scope(at: int, work) -> tuple[Steps, bool]:
    with anyio.CancelScope() as scope:
        steps = Steps(at, scope.cancel)
        await steps.run(work())
    return steps, scope.cancelled_caught


async def by_a_time_limit(at: int, work) -> tuple[Steps, bool]:
    try:
        async with asyncio.timeout(None) as limit:
            steps = Steps(at, lambda: limit.reschedule(0))
            await steps.run(work())
    except TimeoutError:
        return steps, True
    return steps, False


NUMBERS = itertools.count()  # of transfers
BACKENDS = ["memory", "file", "asyncpg", "psycopg", "mariadb"]
WAYS = [once, with_the_answer, twice, again_and_again, by_its_scope, by_a_time_limit]

# by the function that waits, ours or SQLAlchemy's
PHASES = {
    "ASGITransport.handle": "remote",
    "_run": "hook",
    "Unit.begin_nested": "savepoint",
    "Unit.end_nested": "end of a savepoint",
    "Unit.restart": "commit()",
    "ConnectionManager.close": "check-in",
    "_SQLSession._close_after": "COMMIT",
    "_SQLSession.commit": "COMMIT",
    "_SQLSession.rollback": "ROLLBACK",
    "TransactionOptions.open": "settings",
    "TransactionOptions.begin": "settings",
    "TransactionOptions.close": "settings undone",
    "DefaultDialect.connect": "connecting",
    "checkout": "check-out",
    "ServerCursor.batch": "cursor",
    "close_streams": "end of a cursor",
    "Transfer.first": "first statement",
    "Transfer.later": "later statement",
    "shield": "leaving",
    "sleep": "pause",
}


def phase(steps: Steps) -> str:
    names = set(steps.place)
    return next((told for name, told in PHASES.items() if name in names), "elsewhere")


BODY = {"first statement", "later statement", "leaving", "hook"}
HIT = {
    "plain": BODY | {"COMMIT"},
    "unhooked": {"first statement", "later statement", "COMMIT"},
    "undone": BODY | {"ROLLBACK"},
    "reading": BODY | {"COMMIT", "cursor"},
    "nested": BODY | {"COMMIT", "savepoint", "end of a savepoint"},
    "renewed": BODY | {"COMMIT", "commit()"},
    "repeated": BODY | {"COMMIT", "ROLLBACK", "pause"},
    "settled": BODY | {"COMMIT"},
    "only_read": {"leaving", "hook"},
}
# the others know that the transaction has ended, and so does SQLite's driver after the COMMIT that ends a unit
ROLL_BACK_AT_CHECK_IN = {
    "memory": {"undone", "repeated", "settled", "only_read"},
    "file": {"undone", "repeated", "settled", "only_read"},
    "mariadb": HIT.keys(),
}
SET = {
    ("settled", "memory"): {"settings"},
    ("settled", "file"): {"settings"},
    ("settled", "psycopg"): {"settings"},
    ("settled", "mariadb"): {"settings", "settings undone"},
    ("only_read", "memory"): {"settings", "COMMIT", "settings undone"},
    ("only_read", "file"): {"settings", "COMMIT", "settings undone"},
    ("only_read", "psycopg"): {"COMMIT"},
    ("only_read", "mariadb"): {"settings", "COMMIT"},
}


@contextlib.asynccontextmanager
async def started(url: str, **options) -> collections.abc.AsyncIterator[SQLAlchemyModule]:
    alone = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 20}
    # so that a statement takes as many awaits each time but the first
    prepared = {"connect_args": {"prepare_threshold": 0}} if "psycopg" in url else {}
    module = SQLAlchemyModule(url, engine_args={**alone, **prepared}, **options)
    await module.on_startup()
    try:
        yield module
    finally:
        await module.on_shutdown()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    # psycopg has the loop go on when it was busy for long: awaits that come and go
    monkeypatch.setattr("psycopg.waiting.MAX_BUSY_TIME", 3600)


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    return request.param


@pytest.fixture
def url(backend, request, tmp_path) -> str:
    match backend:
        case "memory":
            return "sqlite+aiosqlite:///"
        case "file":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case "mariadb":
            return request.getfixturevalue("mariadb_url")
    return request.getfixturevalue("postgres_url").replace("asyncpg", backend)


@pytest.fixture
async def module(url):
    async with started(url) as module, bank.made(module.engine):
        yield module


OPEN = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
    "ON id = trx_mysql_thread_id WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}


class Observer:
    """Looks at what is left of a unit, and goes on using what it used."""

    def __init__(self, module: SQLAlchemyModule, connection) -> None:
        self.module, self.bank, self.connection = module, bank.bank_of(module), connection

    async def stored(self, number: int) -> bool:
        """Tell whether a transfer is stored, its both halves."""
        assert all(clean_up.done() for clean_up in _shielding._clean_ups)
        assert self.module.engine.pool.checkedout() == 0
        await self.assert_nothing_open()
        async with asyncio.timeout(10), self.bank:
            await self.bank.accounts.update({"moves": number}, id=1)  # it waits for nobody
            return await bank.stored(self.bank.connection, number)

    async def assert_nothing_open(self) -> None:
        if self.connection is None:  # SQLite's next writer would wait
            return
        question = sa.text(OPEN[self.connection.dialect.name])
        async with asyncio.timeout(5):  # a server is told of a connection that was closed, and not asked
            while await self.connection.scalar(question):  # noqa: ASYNC110
                await asyncio.sleep(0.002)


@pytest.fixture
async def observer(url, module):
    if url.startswith("sqlite"):
        yield Observer(module, None)
        return
    async with started(url) as other, other.engine.connect() as connection:
        yield Observer(module, await connection.execution_options(isolation_level="AUTOCOMMIT"))


async def cancelled_everywhere(observer: Observer, way, shape: str, around, kind=Transfer) -> set[str]:
    """Cancel a unit at its first await, another at its second, to the last, and give the phases that this hit."""
    hit: set[str] = set()
    at = ended = 0
    for number in NUMBERS:
        async with around(observer, shape) as worker:
            transfer = kind(worker, number)
            with stepped():
                steps, was_cancelled = await way(at, getattr(transfer, shape))
        is_stored = await observer.stored(number)
        assert was_cancelled == steps.reached, phase(steps)
        if shape not in ("only_read", "unhooked"):
            transfer.assert_told("committed" if is_stored else "rolled back")
        if steps.reached:
            hit.add(phase(steps))
            at, ended = at + 1, 0
        else:
            assert is_stored == (shape not in ("undone", "only_read"))
            ended += 1
        if ended == 3:  # psycopg's awaits are not always the same in number
            return hit
    raise AssertionError


def warm_on(module: SQLAlchemyModule):
    """Have a connection that knows the unit's statements."""
    worker = bank.bank_of(module)

    @contextlib.asynccontextmanager
    async def warm(observer: Observer, shape: str):
        await getattr(Transfer(worker, -1), shape)()
        async with worker:
            for half in (worker.debits, worker.credits):
                await half.drop(transfer=-1)
        yield worker
        assert module.engine.pool.checkedout() == 0

    return warm


@contextlib.asynccontextmanager
async def cold(observer: Observer, shape: str):
    """Have none."""
    async with started(observer.module.database) as module:
        yield bank.bank_of(module)
        assert module.engine.pool.checkedout() == 0


@contextlib.asynccontextmanager
async def queued(observer: Observer, shape: str):
    """Have another unit use the only one."""
    held = asyncio.Event()

    async def hold() -> None:
        async with observer.bank:
            await observer.bank.accounts.update({"moves": 0}, id=1)
            held.set()
            await asyncio.sleep(0.002)

    holder = asyncio.create_task(hold())
    await held.wait()
    yield observer.bank
    await holder


@contextlib.asynccontextmanager
async def no_task_left():
    before = asyncio.all_tasks()
    yield
    gc.collect()  # what has to be said of what was given up is said now
    async with asyncio.timeout(5):  # connections that nobody wants any more are being closed
        while asyncio.all_tasks() != before:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def turns():
    """Give each shape of a unit on each backend, cancelled in one way after the other, and mark the other ways."""
    for (i, backend), (j, shape), (k, way) in itertools.product(*map(enumerate, (BACKENDS, HIT, WAYS))):
        marks = [] if (i + j) % len(WAYS) == k else [pytest.mark.exhaustive]
        yield pytest.param(backend, shape, way, marks=marks)


@pytest.mark.parametrize(("backend", "shape", "way"), [*turns()], indirect=["backend"])
async def test_a_unit_cancelled_at_any_await_is_whole_or_absent(observer, backend, shape, way):
    async with no_task_left():
        hit = await cancelled_everywhere(observer, way, shape, warm_on(observer.module))

    at_check_in = {"check-in"} if shape in ROLL_BACK_AT_CHECK_IN.get(backend, ()) else set()
    assert hit >= HIT[shape] | at_check_in | SET.get((shape, backend), set())


@pytest.mark.parametrize("way", [once, with_the_answer, again_and_again])
@pytest.mark.parametrize(("around", "phases"), [(cold, {"connecting", "check-out"}), (queued, {"check-out"})])
async def test_a_unit_cancelled_while_it_gets_a_connection_leaves_none_behind(observer, backend, around, phases, way):
    if around is cold and backend == "memory":
        pytest.skip("a database in memory is gone with its connection")

    async with no_task_left():
        hit = await cancelled_everywhere(observer, way, "plain", around)

    assert hit >= phases


@pytest.mark.parametrize("kind", ["by core", "shared"])
async def test_a_unit_is_whole_or_absent_however_its_connection_is_used(observer, backend, url, kind):
    if backend == "memory" or (kind, backend) == ("by core", "mariadb"):
        pytest.skip("it is used as ever")

    async with started(url, single_connection=kind == "shared") as module:
        if kind == "by core":
            sa.event.listen(module.engine.sync_engine, "before_cursor_execute", lambda *_: None)
        for shape in ("nested", "reading"):
            assert await cancelled_everywhere(observer, again_and_again, shape, warm_on(module)) >= HIT[shape]
    gc.collect()


async def test_a_cancellation_that_a_unit_swallows_undoes_it_or_nothing(observer):
    async def part(transfer: Transfer) -> None:
        async with transfer.bank:
            await transfer.later()

    hit = collections.defaultdict(set)
    for at, number in enumerate(NUMBERS):
        transfer, limit = Transfer(observer.bank, number), asyncio.timeout(None)
        steps = Steps(at, lambda limit=limit: limit.reschedule(0))
        failure: Exception | None = None
        async with warm_on(observer.module)(observer, "nested"):
            try:
                with stepped():
                    async with observer.bank:
                        transfer.hooks()
                        await transfer.first()
                        with contextlib.suppress(TimeoutError):
                            async with limit:
                                await steps.run(part(transfer))
                        await transfer.first()
            except exceptions.UnavailableError as error:
                failure = error
        is_stored = await observer.stored(number)
        assert is_stored == (failure is None)
        transfer.assert_told("committed" if is_stored else "rolled back")
        if not steps.reached:
            break
        hit[is_stored].add(phase(steps))

    assert hit[False] >= {"savepoint", "later statement"}
    assert hit[True] >= {"leaving"}


async def test_a_unit_that_is_late_at_any_await_is_undone(observer):
    def expire(transfer: Transfer) -> None:
        for unit in transfer.bank._begun:  # none before it has begun, and after it has ended
            if unit.deadline.when() is not None:
                unit.deadline.reschedule(0)

    hit = set()
    for at, number in enumerate(NUMBERS):
        async with warm_on(observer.module)(observer, "nested"):
            transfer = Transfer(observer.bank.options(timeout=60), number)
            steps = Steps(at, functools.partial(expire, transfer))
            late = None
            try:
                with stepped():
                    await steps.run(transfer.nested())
            except exceptions.UnavailableError as error:
                late = error
        is_stored = await observer.stored(number)
        assert is_stored == (late is None)
        transfer.assert_told("committed" if is_stored else "rolled back")
        if not steps.reached:
            break
        if late is not None:
            assert not late.maybe_applied
            hit.add(phase(steps))

    assert hit == BODY - {"hook"} | {"savepoint", "end of a savepoint"}


class NoticeRepository(HTTPResourceRepository):
    _resource = "/notices"


class Branch(Worker):
    accounts: bank.AccountRepository
    debits: bank.DebitRepository
    credits: bank.CreditRepository
    notices: NoticeRepository


class NoticedTransfer(Transfer):
    async def later(self) -> None:
        await super().later()
        await self.bank.notices.create({"transfer": self.number})


class NoticeBoard:
    """A service, and what it was sent."""

    def __init__(self) -> None:
        self.notices: list[int] = []
        self.app = Flama()
        self.app.add_post("/notices/", self.create)

    async def create(self, data: flama_types.RequestData):
        await asyncio.sleep(0)
        self.notices.append(data["transfer"])
        return dict(data)


@pytest.mark.parametrize("way", [with_the_answer, again_and_again])
@pytest.mark.parametrize("writes", ["immediate", "after_commit"])
async def test_a_unit_of_sql_and_a_service_is_whole_or_absent(observer, way, writes):
    board = NoticeBoard()
    notices = Remote("http://board", writes=writes, client=(("transport", ASGITransport(board.app)),))
    branch = Branch(types.SimpleNamespace(sqlalchemy=observer.module), notices=notices)

    @contextlib.asynccontextmanager
    async def around(observer: Observer, shape: str):
        await NoticedTransfer(branch, -1).plain()
        async with branch:
            for half in (branch.debits, branch.credits):
                await half.drop(transfer=-1)
        yield branch

    async with Client(app=board.app), no_task_left():
        hit = await cancelled_everywhere(observer, way, "plain", around, NoticedTransfer)

    assert hit >= BODY | {"COMMIT", "remote"}
    async with observer.bank:
        stored = {debit["transfer"] async for debit in observer.bank.debits.list()}
    sent = collections.Counter(number for number in board.notices if number >= 0)
    assert set(sent.values()) == {1}
    assert stored <= sent.keys()
    if writes == "after_commit":
        assert stored == sent.keys()
