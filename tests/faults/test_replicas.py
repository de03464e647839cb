"""A primary with a streaming replica: who reads what was written, and what is left when the primary is gone."""

import asyncio
import collections
import contextlib
import http.cookies
import time
import types

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.pool._fair_pool import FairPool
from flama.sqlalchemy.replicas import LogPosition, Replicas, position
from tests.support import cluster, relay

pytestmark = pytest.mark.anyio

note_table = sa.Table("note", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
HERE = sa.text("SELECT pg_is_in_recovery()")


class NoteRepository(SQLAlchemyTableRepository):
    _table = note_table


class Notes(SQLAlchemyWorker):
    notes: NoteRepository


@pytest.fixture(scope="module")
def pair():
    with cluster.cluster() as pair:
        pair.primary.tell("CREATE TABLE note (id serial PRIMARY KEY)")
        yield pair


@pytest.fixture
def replaying(pair):
    """Let the replica follow again, whatever the test did."""
    yield
    pair.replica.resume_replay()


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request):
    return request.param


@contextlib.asynccontextmanager
async def engines(*urls, **options):
    async with contextlib.AsyncExitStack() as stack:
        made = [create_async_engine(url, poolclass=FairPool, **options) for url in urls]
        for engine in made:
            stack.push_async_callback(engine.dispose)
        yield made


@pytest.fixture
async def both(pair, driver):
    async with engines(pair.primary.url(driver), pair.replica.url(driver)) as both:
        yield both


async def write(engine, *commands):
    """Give the number of a note that was written, and the position from which on it is seen."""
    async with engine.connect() as connection:
        for command in commands:
            await connection.execute(sa.text(command))
        [note] = await NoteRepository(connection).create({})
        await connection.commit()
        return note["id"], await position(connection)


async def seen(replicas, note, after):
    """Tell whether a reader sees a note, and whether a replica served it."""
    async with replicas.read(after) as connection:
        assert not connection.in_transaction()
        found = await NoteRepository(connection).get(id=note)
        return found is not None, (await connection.execute(HERE)).scalar()


@pytest.mark.parametrize("offset", [0, 1, 0x3018AA8, 2**32 - 1, 2**32, 2**64 - 1])
def test_a_position_is_what_its_string_says(offset):
    assert LogPosition.parse(str(LogPosition(offset))) == LogPosition(offset)


def test_a_position_travels_in_a_cookie_and_is_written_as_postgresql_writes_it(pair):
    [(told,)] = pair.primary.tell("SELECT pg_current_wal_flush_lsn()::text")
    cookie = http.cookies.SimpleCookie({"position": str(LogPosition.parse(told))})

    assert str(LogPosition.parse(told)) == told
    assert http.cookies.SimpleCookie(cookie.output(header=""))["position"].value == told


def test_positions_are_ordered_as_the_log_is():
    assert LogPosition.parse("0/FFFFFFFF") < LogPosition.parse("1/0") < LogPosition.parse("A/0")


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/123456789", "0/G", " 0/1", "0/1\n", "-1/0", "٣/0"])
def test_what_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="is no position"):
        LogPosition.parse(text)


async def test_replicas_of_other_databases_are_refused():
    async with engines("sqlite+aiosqlite:///", "sqlite+aiosqlite:///") as (primary, replica):
        with pytest.raises(exceptions.ApplicationError, match="sqlite"):
            Replicas(primary, [replica])


async def test_a_reader_sees_at_once_what_was_written_before_and_mostly_on_the_replica(both):
    primary, replica = both
    replicas = Replicas(primary, [replica], patience=1)
    found = collections.Counter()

    for _ in range(100):
        found[await seen(replicas, *await write(primary))] += 1

    assert sum(found.values()) == found[True, True] + found[True, False]
    assert found[True, True] > 90


async def test_a_hundred_writers_at_once_see_what_they_wrote(both):
    primary, replica = both
    replicas = Replicas(primary, [replica], patience=1)

    found = await asyncio.gather(*(write(primary) for _ in range(100)))
    results = await asyncio.gather(*(seen(replicas, *one) for one in found))

    assert {there for there, _ in results} == {True}
    assert primary.pool.checkedout() == replica.pool.checkedout() == 0


async def test_while_the_replica_is_behind_the_primary_is_read_by_who_wrote_and_the_replica_by_others(
    pair, both, replaying
):
    primary, replica = both
    replicas = Replicas(primary, [replica])
    pair.replica.pause_replay()

    note, after = await write(primary)

    assert await seen(replicas, note, after) == (True, False)
    assert await seen(replicas, note, None) == (False, True)
    pair.replica.resume_replay()
    assert await seen(Replicas(primary, [replica], patience=5), note, after) == (True, True)
    assert await seen(replicas, note, None) == (True, True)


async def test_a_replica_that_catches_up_in_time_is_waited_for(pair, both, replaying):
    primary, replica = both
    pair.replica.pause_replay()
    note, after = await write(primary)

    reading = asyncio.create_task(seen(Replicas(primary, [replica], patience=10), note, after))
    await asyncio.sleep(0.2)
    assert not reading.done()
    await asyncio.to_thread(pair.replica.resume_replay)

    assert await reading == (True, True)


async def test_who_has_to_wait_in_vain_takes_another_replica_that_is_there(pair, both, driver, replaying):
    primary, replica = both
    async with engines(pair.primary.url(driver)) as (current,):  # which shows all there is
        replicas = Replicas(primary, [replica, current], patience=0.05)
        pair.replica.pause_replay()
        note, after = await write(primary)
        taken = current.pool.checkedin() + primary.pool.checkedin()

        for _ in range(4):
            assert await seen(replicas, note, after) == (True, False)

        assert current.pool.checkedin() == 1
        assert primary.pool.checkedin() == taken  # it was the other replica


async def test_replicas_take_turns(pair, both, driver):
    primary, first = both
    async with engines(pair.replica.url(driver)) as (second,):
        replicas = Replicas(primary, [first, second])
        found = collections.Counter()

        for _ in range(10):
            async with replicas.read() as connection:
                found[connection.engine] += 1

    assert found == {first: 5, second: 5}


async def test_without_replicas_the_primary_is_read(both):
    primary, _ = both

    assert await seen(Replicas(primary, []), *await write(primary)) == (True, False)


async def test_a_replica_that_is_known_to_be_there_is_not_asked_again(both):
    primary, replica = both
    replicas = Replicas(primary, [replica], patience=5)
    note, after = await write(primary)
    assert await seen(replicas, note, after) == (True, True)
    asked = []
    event.listen(replica.sync_engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    async with replicas.read(after):
        assert asked == []
    later, newer = await write(primary)
    assert await seen(replicas, later, newer) == (True, True)

    assert "pg_last_wal_replay_lsn" in asked[0]


async def test_what_is_committed_asynchronously_is_seen_too(both):
    primary, replica = both
    replicas = Replicas(primary, [replica], patience=5)

    for _ in range(3):
        written = await write(primary, "SET LOCAL synchronous_commit = off")
        assert await seen(replicas, *written) == (True, True)


FILL = """
    DO $$ BEGIN
        WHILE pg_current_wal_insert_lsn() - '0/0' - 8192 * div(pg_current_wal_insert_lsn() - '0/0', 8192) <> 24 LOOP
            PERFORM pg_logical_emit_message(false, '', '');
        END LOOP;
    END $$
"""


async def fill_page(server):
    """Let the log end with a page, and give where the server would go on and what it has flushed."""
    for _ in range(10):  # the server writes something of its own now and then
        server.tell(FILL)
        await asyncio.sleep(0.3)  # it flushes by itself what nobody waits for
        [ends] = server.tell("SELECT pg_current_wal_insert_lsn()::text, pg_current_wal_flush_lsn()::text")
        inserted, flushed = map(LogPosition.parse, ends)
        if inserted.offset - flushed.offset == 24:
            break
    return inserted, flushed


async def test_a_log_that_ends_with_a_page_keeps_nobody_waiting(pair):
    async with engines(pair.primary.url(), pair.replica.url()) as (primary, replica):
        replicas = Replicas(primary, [replica], patience=0.3)

        inserted, flushed = await fill_page(pair.primary)
        async with primary.connect() as connection:
            told = await position(connection)

        assert told == flushed
        async with replicas.read(told) as connection:
            assert connection.engine is replica
        async with replicas.read(inserted) as connection:
            assert connection.engine is primary


async def test_within_a_transaction_no_position_is_told(both):
    primary, _ = both
    async with primary.begin() as connection:
        with pytest.raises(exceptions.SQLAlchemyError, match="transaction has ended"):
            await position(connection)


async def test_a_reader_who_is_cancelled_while_waiting_gives_the_connection_back(both):
    primary, replica = both
    replicas = Replicas(primary, [replica], patience=60)
    reading = asyncio.create_task(replicas.open(LogPosition(2**63)))
    await asyncio.sleep(0.2)
    assert replica.pool.checkedout() == 1

    reading.cancel()
    await asyncio.wait((reading,))

    assert reading.cancelled()
    assert replica.pool.checkedout() == 0


async def test_a_replica_whose_connections_are_all_in_use_is_no_replica_that_is_down(pair, driver):
    limits = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    async with engines(pair.primary.url(driver), pair.replica.url(driver), **limits) as (primary, replica):
        replicas = Replicas(primary, [replica])

        async with replicas.read():
            with pytest.raises(exceptions.UnavailableError):
                await replicas.open()
        async with replicas.read() as connection:
            assert connection.engine is replica


@pytest.mark.parametrize("answers", ["refuses", "is silent"])
async def test_a_replica_that_does_not_answer_is_left_alone_for_a_while(pair, driver, answers):
    async with relay.relayed(sa.make_url(pair.replica.url(driver))) as way:
        async with engines(pair.primary.url(driver), way.url) as (primary, replica):
            replicas = Replicas(primary, [replica], rest=0.5)
            note, after = await write(primary)
            await seen(Replicas(primary, [replica], patience=5), note, after)
            later, newer = await write(primary)
            if answers == "refuses":
                way.refusing = True
                way.reset()
                await replica.dispose()
            else:
                way.speaking.clear()

            start = time.perf_counter()
            assert await seen(replicas, later, newer) == (True, False)
            assert time.perf_counter() - start < 3
            tried = way.connections
            start = time.perf_counter()
            for _ in range(20):
                assert await seen(replicas, later, newer) == (True, False)
            assert time.perf_counter() - start < 0.5
            assert way.connections == tried

            way.refusing = False
            way.speaking.set()
            await asyncio.sleep(0.5)
            assert await seen(Replicas(primary, [replica], patience=5), later, newer) == (True, True)
            async with replicas.read() as connection:
                assert connection.engine is replica
            assert primary.pool.checkedout() == replica.pool.checkedout() == 0


@contextlib.asynccontextmanager
async def started(url):
    module = SQLAlchemyModule(url, engine_args={"pool_size": 4, "max_overflow": 0})
    await module.on_startup()
    yield Notes(types.SimpleNamespace(sqlalchemy=module))
    await module.on_shutdown()


class Writer:
    """Writes notes, and keeps which were acknowledged, and when one was refused."""

    def __init__(self, worker):
        self.worker = worker
        self.acknowledged = {}
        self.refused = []

    async def write(self, _=None):
        try:
            async with self.worker as worker:
                [note] = await worker.notes.create({})
        except exceptions.UnavailableError:
            self.refused.append(time.perf_counter())
        else:
            self.acknowledged[note["id"]] = time.perf_counter()

    async def write_until(self, event):
        while not event.is_set():
            await self.write()
            await asyncio.sleep(0.005)


async def test_with_the_url_of_both_units_go_on_when_the_replica_is_promoted():
    with cluster.cluster() as pair:
        pair.primary.tell("CREATE TABLE note (id serial PRIMARY KEY)")
        # from now on no COMMIT is answered before the replica has it; the replica itself will wait for nobody
        pair.primary.tell("ALTER SYSTEM SET synchronous_standby_names = '*'")
        pair.primary.tell("SELECT pg_reload_conf()")
        async with contextlib.AsyncExitStack() as stack:
            urls = [pair.url("asyncpg"), pair.url("psycopg")]
            busy = [Writer(await stack.enter_async_context(started(url))) for url in urls]
            quiet = [Writer(await stack.enter_async_context(started(url))) for url in urls]
            for writer in quiet:
                await asyncio.gather(*map(writer.write, range(4)))
            over = asyncio.Event()
            writing = [asyncio.create_task(writer.write_until(over)) for writer in busy for _ in range(4)]
            await asyncio.sleep(0.5)

            killed = time.perf_counter()
            await asyncio.to_thread(pair.primary.kill)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(pair.replica.promote)
            promoted = time.perf_counter()
            for writer in quiet:
                for _ in range(20):
                    await writer.write()
            await asyncio.sleep(0.5)
            over.set()
            await asyncio.gather(*writing)

        stored = {note for (note,) in pair.replica.tell("SELECT id FROM note")}
        for writer in busy + quiet:
            assert set(writer.acknowledged) <= stored
            assert max(writer.acknowledged.values()) > promoted
        for writer in busy:
            assert min(writer.acknowledged.values()) < killed
            assert [when for when in writer.refused if when < killed or when > promoted + 0.1] == []
        for writer in quiet:
            assert len(writer.refused) <= 1  # who takes the first of the connections that are lost
        print(
            [len(writer.refused) for writer in quiet],
            promoted - killed,
            [min(w.refused) - killed for w in busy],
            [max(w.refused) - promoted for w in busy],
        )
