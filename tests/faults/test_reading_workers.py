"""Units that only read, on a primary's replica: which server serves them, and what they see."""

import asyncio
import contextlib
import types
import typing as t

import pytest
import sqlalchemy as sa

from flama import Flama, _request_context, exceptions, types as flama_types
from flama.client import Client
from flama.ddd import Worker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.http import JSONResponse
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.replicas import LogPosition
from tests.support import cluster, relay

pytestmark = pytest.mark.anyio

READY = b"Z\0\0\0\5"  # PostgreSQL's ReadyForQuery: one for each time that a client waits
HERE = sa.text("SELECT pg_is_in_recovery()")

note_table = sa.Table("note", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


class NoteRepository(SQLAlchemyTableRepository):
    _table = note_table

    async def on_replica(self):
        """Tell whether a replica serves this."""
        return await self._connection.scalar(HERE)


class Notes(SQLAlchemyWorker):
    notes: NoteRepository


class OtherNotes(SQLAlchemyWorker):
    notes: NoteRepository


class SomeNotes(Worker):
    notes: NoteRepository


@pytest.fixture(scope="module")
def pair():
    with cluster.cluster() as pair:
        pair.primary.tell("CREATE TABLE note (id serial PRIMARY KEY)")
        yield pair


@pytest.fixture
def paused(pair):
    """Let the replica stay behind as long as the test takes."""
    pair.replica.pause_replay()
    yield
    pair.replica.resume_replay()


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request):
    return request.param


@contextlib.asynccontextmanager
async def started(*urls, **options):
    primary, *replicas = urls
    module = SQLAlchemyModule(str(primary), replicas=list(map(str, replicas)), **options)
    await module.on_startup()
    engines = [module.engine, *(module.replicas._engines if module.replicas else [])]
    try:
        yield types.SimpleNamespace(sqlalchemy=module)
        assert [engine.pool.checkedout() for engine in engines] == [0] * len(engines)
    finally:
        await module.on_shutdown()


@pytest.fixture
async def app(pair, driver):
    async with started(pair.primary.url(driver), pair.replica.url(driver), patience=5) as app:
        yield app


@pytest.fixture
async def hasty(pair, driver):
    async with started(pair.primary.url(driver), pair.replica.url(driver), patience=0.02) as app:
        yield app


async def requested(work):
    """Give what a coroutine gives, run as a request is."""

    async def request():
        _request_context.copy_state()
        return await work

    return await asyncio.create_task(request())


async def write(worker):
    async with worker:
        [note] = await worker.notes.create({})
    return note["id"]


async def seen(worker, note, **settings):
    """Tell whether a reader sees a note, and whether a replica serves it."""
    async with worker.options(read_only=True, **settings) as reading:
        found = await reading.notes.get(id=note)
        return found is not None, await reading.notes.on_replica()


async def test_a_unit_that_only_reads_is_served_by_a_replica_and_others_by_the_primary(app):
    notes = Notes(app)
    note = await write(notes)

    async with notes.options(read_only=True) as reading:
        assert await reading.notes.on_replica()
        with pytest.raises(exceptions.UnavailableError, match="for reading"):
            await reading.notes.create({})
    async with notes, notes.options(read_only=True, isolation="SERIALIZABLE") as reading:
        assert not await notes.notes.on_replica()
        assert not await reading.notes.on_replica()  # no replica can be
        assert await notes.notes.get(id=note) is not None


async def test_what_a_request_has_written_it_sees_at_once_and_mostly_on_the_replica(app):
    async def request():
        return await seen(Notes(app), await write(Notes(app)))

    found = [await requested(request()) for _ in range(50)]

    assert {there for there, _ in found} == {True}
    assert sum(on_replica for _, on_replica in found) > 40


async def test_while_the_replica_is_behind_who_wrote_reads_from_the_primary_and_others_from_the_replica(hasty, paused):
    notes = Notes(hasty)

    async def request():
        note = await write(notes)
        return note, [await seen(notes, note), await seen(notes, note)]

    note, found = await requested(request())

    assert found == [(True, False), (True, False)]
    assert await requested(seen(notes, note)) == (False, True)


async def test_it_is_the_same_request_for_all_its_workers_and_tasks(hasty, paused):
    async def request():
        first, second = await asyncio.gather(write(Notes(hasty)), write(SomeNotes(hasty)))
        return await asyncio.gather(seen(OtherNotes(hasty), first), seen(OtherNotes(hasty), second))

    assert await requested(request()) == [(True, False), (True, False)]


async def test_a_unit_that_is_rolled_back_or_only_reads_makes_nobody_wait(hasty, paused):
    async def request():
        with contextlib.suppress(ZeroDivisionError):
            async with Notes(hasty) as notes:
                await notes.notes.create({})
                raise ZeroDivisionError
        await seen(Notes(hasty), 0)
        return await Notes(hasty).position(), await seen(Notes(hasty), 0)

    assert await requested(request()) == (None, (False, True))


async def test_what_is_committed_within_a_unit_is_seen_before_that_has_ended(hasty, paused):
    async def request():
        async with Notes(hasty) as notes:
            [note] = await notes.notes.create({})
            await notes.commit()
            return await seen(OtherNotes(hasty), note["id"])

    assert await requested(request()) == (True, False)


async def test_a_token_takes_it_from_one_request_to_the_next(hasty, paused):
    async def first():
        note = await write(Notes(hasty))
        return note, str(await Notes(hasty).position())

    async def second(token):
        found = await seen(Notes(hasty), note, after=token)
        assert str(await Notes(hasty).position()) == token  # to be handed on
        return found, await seen(OtherNotes(hasty), note)

    note, token = await requested(first())

    assert await requested(second(token)) == ((True, False), (True, False))
    assert await requested(seen(Notes(hasty), note, after=LogPosition.parse(token))) == (True, False)


async def test_what_is_no_position_is_the_clients_error(app):
    with pytest.raises(exceptions.InvalidDataError, match="is no position"):
        Notes(app).options(read_only=True, after="yesterday")


async def test_within_a_unit_that_has_not_ended_no_position_is_told(app):
    async with Notes(app) as notes:
        with pytest.raises(exceptions.SQLAlchemyError, match="when the unit has ended"):
            await notes.position()


async def test_a_database_without_replicas_has_no_positions_and_pays_for_none(pair):
    async with relay.relayed(sa.make_url(pair.primary.url())) as relayed, started(relayed.url) as app:
        notes = Notes(app)
        note = await write(notes)
        await seen(notes, note)
        relayed.recording = True

        await write(notes)
        assert relayed.answered.count(READY) == 2  # BEGIN with INSERT, COMMIT
        relayed.answered = b""
        async with notes.options(read_only=True, after="0/1") as reading:
            await reading.notes.get(id=note)
        assert relayed.answered.count(READY) == 1
        assert await notes.position() is None


async def test_positions_cost_who_writes_nothing_and_are_asked_for_once(pair):
    async with contextlib.AsyncExitStack() as stack:
        primary = await stack.enter_async_context(relay.relayed(sa.make_url(pair.primary.url())))
        app = await stack.enter_async_context(started(primary.url, pair.replica.url(), patience=5))
        notes = Notes(app)

        async def request():
            for _ in range(2):  # what is prepared once is prepared now
                await seen(notes, await write(notes))
            primary.recording = True
            note = await write(notes)
            written, primary.answered = primary.answered.count(READY), b""
            for _ in range(3):
                await seen(notes, note)
            await notes.position()
            return written, primary.answered.count(READY)

        written, asked = await requested(request())

        assert written == 2  # BEGIN with INSERT, COMMIT
        assert asked == 1  # the question


async def test_a_write_that_ends_while_the_primary_is_asked_is_not_forgotten(hasty, paused):
    notes = Notes(hasty)

    async def request():
        await write(notes)
        asking = asyncio.create_task(notes.position())
        note = await write(notes)
        await asking
        return await asyncio.gather(*(seen(notes, note) for _ in range(3)))

    for _ in range(5):
        assert await requested(request()) == [(True, False)] * 3


async def test_a_reader_that_is_cancelled_while_the_primary_is_asked_leaves_no_connection(pair, driver):
    async with contextlib.AsyncExitStack() as stack:
        primary = await stack.enter_async_context(relay.relayed(sa.make_url(pair.primary.url(driver))))
        app = await stack.enter_async_context(started(primary.url, pair.replica.url(driver)))
        notes = Notes(app)

        async def request():
            await write(notes)
            primary.speaking.clear()
            reading = asyncio.create_task(seen(notes, 0))
            await asyncio.sleep(0.1)
            reading.cancel()
            primary.speaking.set()
            await asyncio.wait((reading,))
            assert reading.cancelled()
            note = await write(notes)
            return await seen(notes, note)

        there, _ = await requested(request())

        assert there


async def test_a_replica_that_is_down_is_replaced_by_the_primary(pair, driver):
    nowhere = pair.replica.url(driver).replace(str(pair.replica.port), "1")
    async with started(pair.primary.url(driver), nowhere) as app:
        assert await seen(Notes(app), await write(Notes(app))) == (True, False)


async def test_each_request_to_an_application_sees_what_it_wrote_and_what_its_token_says(pair, paused):
    app = Flama(
        modules=[SQLAlchemyModule(pair.primary.url(), replicas=[pair.replica.url()], patience=0.02)],
        components=[WorkerComponent(worker=Notes()), WorkerComponent(worker=OtherNotes())],
    )

    @app.post("/notes/")
    async def create(notes: Notes, others: OtherNotes):
        note = await write(notes)
        there, _ = await seen(others, note)
        return JSONResponse({"id": note, "seen": there}, headers={"position": str(await notes.position())})

    @app.get("/notes/{id:int}/")
    async def retrieve(notes: Notes, id: int, position: t.Annotated[str | None, flama_types.Header()]):
        there, on_replica = await seen(notes, id, after=position)
        return {"seen": there, "on_replica": on_replica}

    async with Client(app=app) as client:
        created = await client.post("/notes/")
        note, token = created.json(), {"position": created.headers["position"]}
        url = f"/notes/{note['id']}/"

        assert note["seen"]
        assert (await client.get(url, headers=token)).json() == {"seen": True, "on_replica": False}
        assert (await client.get(url)).json() == {"seen": False, "on_replica": True}
        assert (await client.get(url, headers={"position": "yesterday"})).status_code == 422


async def test_replicas_are_refused_where_there_can_be_none():
    with pytest.raises(exceptions.ApplicationError, match="no replicas"):
        SQLAlchemyModule("postgresql+asyncpg://a/b", single_connection=True, replicas=["postgresql+asyncpg://c/b"])
    module = SQLAlchemyModule("sqlite+aiosqlite://", replicas=["sqlite+aiosqlite://"])
    with pytest.raises(exceptions.ApplicationError, match="sqlite"):
        await module.on_startup()
    await module.on_shutdown()
