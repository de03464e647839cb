"""What waits for the end of a unit, when the end is not what was hoped for."""

import asyncio
import contextlib
import types

import pytest
import sqlalchemy as sa
from starlette.middleware.base import BaseHTTPMiddleware

from flama import Flama, _shielding, exceptions
from flama.client import Client
from flama.ddd import WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.routing import Mount
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import schemas

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
crate_table = sa.Table("crate", metadata, sa.Column("id", sa.Integer, primary_key=True))
parcel_table = sa.Table(
    "parcel",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("crate", sa.ForeignKey("crate.id", deferrable=True, initially="DEFERRED")),
)


class CrateRepository(SQLAlchemyTableRepository):
    _table = crate_table


class ParcelRepository(SQLAlchemyTableRepository):
    _table = parcel_table


class Dispatch(SQLAlchemyWorker):
    crates: CrateRepository
    parcels: ParcelRepository


@pytest.fixture(params=["sqlite", "postgres"])
async def dispatch(request, tmp_path):
    postgres = request.param == "postgres"
    url = request.getfixturevalue("postgres_url") if postgres else f"sqlite+aiosqlite:///{tmp_path}/dispatch.db"
    module = SQLAlchemyModule(url, engine_args={"pool_size": 1, "max_overflow": 0, "pool_timeout": 2})
    await module.on_startup()
    async with schemas.tables(module.engine, *metadata.sorted_tables):
        yield Dispatch(types.SimpleNamespace(sqlalchemy=module))
    await module.on_shutdown()


def listening(worker):
    told = []
    worker.after_commit(lambda: told.append("committed"))
    worker.after_rollback(lambda: told.append("rolled back"))
    return told


async def test_a_unit_that_is_refused_at_its_end_was_rolled_back_though_savepoints_of_it_were_kept(dispatch):
    with pytest.raises(exceptions.IntegrityError):
        async with dispatch:
            told = listening(dispatch)
            async with dispatch.savepoint():
                await dispatch.crates.create({"id": 1})
            await dispatch.parcels.create({"crate": 2})

    assert told == ["rolled back"]


async def test_a_hook_within_the_unit_has_the_unit(dispatch):
    async def store():
        async with dispatch:
            await dispatch.crates.create({"id": 2})

    async with dispatch:
        await dispatch.crates.create({"id": 1})
        dispatch.after_commit(store)
        await dispatch.commit()
        await dispatch.rollback()

    async with dispatch:
        assert [crate["id"] async for crate in dispatch.crates.list()] == [1]


async def test_a_hook_that_awaits_what_was_cancelled_has_failed_and_keeps_no_other_from_running(dispatch):
    async def wait():
        other = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    with pytest.raises(ExceptionGroup, match="was committed") as caught:
        async with dispatch:
            dispatch.after_commit(wait, raises=True)
            told = listening(dispatch)

    assert [type(error) for error in caught.value.exceptions] == [RuntimeError]
    assert told == ["committed"]


async def test_a_hook_that_fails_when_the_unit_is_cancelled_is_logged(dispatch, caplog):
    async def fail():
        task.cancel()
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def unit():
        async with dispatch:
            await dispatch.crates.create({"id": 1})
            dispatch.after_commit(fail)

    task = asyncio.create_task(unit())
    await asyncio.wait((task,))

    assert task.cancelled()
    assert "ZeroDivisionError" in caplog.text


async def test_a_hook_that_hangs_when_the_unit_is_cancelled_is_given_up_and_logged(dispatch, caplog, monkeypatch):
    monkeypatch.setattr(_shielding.shield, "__defaults__", (None, 0.05))

    async def hang():
        task.cancel()
        await asyncio.sleep(60)

    async def unit():
        async with dispatch:
            await dispatch.crates.create({"id": 1})
            dispatch.after_commit(hang)
            dispatch.after_commit(print)

    task = asyncio.create_task(unit())
    await asyncio.wait((task,))

    assert task.cancelled()
    assert "given up, 1 more did not run" in caplog.text
    async with dispatch:
        assert await dispatch.crates.count() == 1


async def test_a_hook_that_is_to_raise_in_the_background_is_refused(dispatch):
    async with dispatch:
        with pytest.raises(exceptions.ApplicationError, match="can't raise"):
            dispatch.after_commit(print, raises=True, background=True)


async def test_in_a_script_a_hook_in_the_background_runs_without_the_unit(dispatch, caplog):
    goes_on, done = asyncio.Event(), asyncio.Event()

    async def hook():
        await goes_on.wait()
        async with dispatch:
            assert await dispatch.crates.count() == 1
        done.set()

    async with dispatch:
        await dispatch.crates.create({"id": 1})
        dispatch.after_commit(lambda: 1 / 0, background=True)
        dispatch.after_commit(hook, background=True)
        told = listening(dispatch)

    assert (told, done.is_set()) == (["committed"], False)
    goes_on.set()
    await asyncio.wait_for(done.wait(), 5)
    assert "ZeroDivisionError" in caplog.text


async def test_a_hook_in_the_background_of_a_unit_that_is_undone_never_runs(dispatch):
    told = []
    with pytest.raises(ZeroDivisionError):
        async with dispatch:
            dispatch.after_commit(lambda: told.append("committed"), background=True)
            raise ZeroDivisionError
    await asyncio.sleep(0.01)

    assert told == []


class Served(BaseHTTPMiddleware):
    """Runs the application in a task of its own, as middleware of others does."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


def service(tmp_path, events, middleware=()):
    """An application whose handler stores a crate, and tells when the response and the hooks come."""
    app = Flama(
        schema=None, docs=None, modules=[SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/served.db")],
        components=[WorkerComponent(Dispatch())], middleware=middleware,
    )  # fmt: skip

    @app.on_event("startup")
    async def create():
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    @app.post("/{how:str}/")
    async def store(how: str, dispatch: Dispatch):
        async def hook():
            await asyncio.sleep(0)
            async with dispatch:
                events.append(await dispatch.crates.count())
            events.append("hook")

        async with dispatch:
            await dispatch.crates.create({})
            dispatch.after_commit(lambda: 1 / 0, background=how != "foreground")
            dispatch.after_commit(hook, background=how != "foreground")
        if how == "failing":
            raise KeyError("nothing of the unit")
        return {"how": how}

    return app


async def answer(app, path, events):
    """The status of a request that is made as a server makes it, and its body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            events.append("response")

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": "", "headers": [],
        "query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": ("test", 1),
    }  # fmt: skip
    with contextlib.suppress(KeyError):
        await app(scope, receive, send)
    return sent[0]["status"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("foreground", [1, "hook", "response"]),
        ("background", ["response", 1, "hook"]),
        ("failing", ["response", 1, "hook"]),
    ],
)
@pytest.mark.parametrize("mounted", [False, True], ids=["alone", "mounted"])
@pytest.mark.parametrize("middleware", [(), (Served,)], ids=["plain", "middleware"])
async def test_in_a_request_a_hook_that_fails_changes_no_answer(tmp_path, caplog, how, expected, mounted, middleware):
    events = []
    app = service(tmp_path, events, middleware)
    module = SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/served.db")
    outer = Flama(schema=None, docs=None, routes=[Mount("/inner", app=app)], modules=[module]) if mounted else app

    async with Client(app=outer):
        status = await answer(outer, f"/inner/{how}/" if mounted else f"/{how}/", events)

    assert (status, events) == (500 if how == "failing" else 200, expected)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("hangs", [False, True])
async def test_an_application_that_stops_waits_for_hooks_in_the_background(tmp_path, monkeypatch, caplog, hangs):
    monkeypatch.setattr(_shielding.settle, "__defaults__", (0.1,))
    events = []
    app = service(tmp_path, events)

    async def hook():
        await asyncio.sleep(60 if hangs else 0.02)
        async with Dispatch(app) as dispatch:
            events.append(await dispatch.crates.count())

    async with Client(app=app):
        async with Dispatch(app) as dispatch:
            await dispatch.crates.create({})
            dispatch.after_commit(hook, background=True)

    assert events == ([] if hangs else [1])
    assert ("gives 1 background hooks up" in caplog.text) is hangs
