"""Applications within others: whose modules their handlers, workers, resources, components and events use."""

import contextlib
import typing as t

import pytest
import sqlalchemy as sa
import starlette.applications
import starlette.routing

from flama import Component, Flama, Module, exceptions, types
from flama.client import Client
from flama.ddd import Database, MemoryRepository, Worker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.memory import MemoryModule
from flama.resources import CRUDResource
from flama.resources.flama_worker import FlamaWorker
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

table = sa.Table(
    "note", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("owner", sa.String(10))
)


class Notes(SQLAlchemyTableRepository):
    _table = table


class Jots(MemoryRepository):
    _key = "id"
    _resource_name = "jot"


class SQLUnit(SQLAlchemyWorker):
    notes: Notes


class NamedUnit(Worker):
    notes: t.Annotated[Notes, Database("reports")]


class MixedUnit(Worker):
    notes: Notes
    jots: Jots


class Owner(Module):
    name = "owner"

    def __init__(self, title):
        self.title = title


class Title(str):
    """Who owns the modules that a component uses."""


class TitleComponent(Component):
    def resolve(self, app: types.App) -> Title:
        return Title(app.owner.title)


def database(title, name="sqlalchemy"):
    return SQLAlchemyModule("sqlite+aiosqlite://", name=name)


async def list_owners(worker, name="notes"):
    async with worker:
        return [record["owner"] async for record in getattr(worker, name).list()]


def by_attribute(app: types.App):
    return [app.owner.title]


def by_class(app: Flama):
    return [app.owner.title]


def by_component(title: Title):
    return [title]


async def by_worker(unit: SQLUnit):
    return await list_owners(unit)


async def by_named_database(unit: NamedUnit):
    return await list_owners(unit)


async def by_mixed_worker(unit: MixedUnit):
    return await list_owners(unit)


async def by_memory(unit: MixedUnit):
    return await list_owners(unit, "jots")


async def by_shared_worker(unit: FlamaWorker):
    async with unit:
        return [record["owner"] async for record in unit.repositories["note"].list()]


HANDLERS = (
    by_attribute,
    by_class,
    by_component,
    by_worker,
    by_named_database,
    by_mixed_worker,
    by_memory,
    by_shared_worker,
)


def build_application(title, *, modules=True, components=True, resource=True):
    """Return an application whose databases hold its title, with a handler for each way to reach a module."""
    owned = [Owner(title), database(title), database(title, "reports"), MemoryModule()] if modules else []
    workers = [WorkerComponent(each) for each in (SQLUnit(), NamedUnit(), MixedUnit())]
    app = Flama(modules=owned, components=[*workers, TitleComponent()] if components else [])
    if resource:
        app.resources.add_resource("/note/", type("Note", (CRUDResource,), {"model": table}))
    for handler in HANDLERS:
        app.add_get(f"/{handler.__name__}/", handler)
    started = []
    app.add_get("/by_event/", lambda: started)

    @app.on_event("startup")
    async def start(own: types.App, title: Title):
        started.append(title)
        await fill(own if modules else None, title)

    return app


async def fill(app, title):
    """Store the title in all that an application has, if it has modules."""
    for name in ("sqlalchemy", "reports") if app else ():
        async with getattr(app, name).engine.begin() as connection:
            await connection.run_sync(table.metadata.create_all)
            await connection.execute(table.insert(), [{"owner": title}])
    if app:
        async with MixedUnit(app) as worker:
            await worker.jots.create({"id": 1, "owner": title})


WAYS = (*(handler.__name__ for handler in HANDLERS), "by_event")


def everywhere(owner):
    return {way: [owner] for way in (*WAYS, "resource")}


async def owners(client, prefix, ways=WAYS):
    found = {way: (await client.get(f"{prefix}/{way}/")).json() for way in ways}
    return {**found, "resource": [each["owner"] for each in (await client.get(f"{prefix}/note/")).json()["data"]]}


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_mounted_application_uses_its_own_modules_in_every_way(depth):
    outer = middle = build_application("outer")
    for _ in range(depth - 1):
        middle.mount("/middle", middle := build_application("middle"))
    middle.mount("/inner", build_application("inner"))

    async with Client(app=outer) as client:
        inner = await owners(client, "/middle/inner" if depth == 2 else "/inner")
        around = await owners(client, "")

    assert inner == everywhere("inner")
    assert around == everywhere("outer")


async def test_what_a_mounted_application_writes_is_not_stored_in_the_database_around_it():
    outer, inner = build_application("outer"), build_application("inner")
    outer.mount("/inner", inner)

    async with Client(app=outer) as client:
        await client.post("/inner/note/", json={"owner": "posted"})
        around, within = [(await client.get(path)).json() for path in ("/by_worker/", "/inner/by_worker/")]

    assert (around, within) == (["outer"], ["inner", "posted"])


@pytest.mark.parametrize("components", [True, False])
async def test_a_mounted_application_without_modules_uses_those_around_it(components):
    outer, middle = build_application("outer"), Flama()
    inner = build_application("inner", modules=False, components=components)
    middle.mount("/inner", inner)
    outer.mount("/middle", middle)

    async with Client(app=outer) as client:
        found = await owners(client, "/middle/inner")

    assert found == everywhere("outer")


async def test_modules_are_found_one_by_one_within_the_application_or_around_it():
    outer, inner = build_application("outer"), Flama(modules=[database("inner", "reports")])
    outer.mount("/inner", inner)

    async with Client(app=outer):
        assert inner.reports is inner.modules["reports"]
        assert inner.sqlalchemy is outer.sqlalchemy
        assert outer.reports is outer.modules["reports"]
        with pytest.raises(AttributeError, match="no attribute 'nothing': its modules are owner, sqlalchemy, reports"):
            inner.nothing  # noqa: B018


async def test_a_component_uses_the_modules_of_the_application_that_it_was_added_to():
    outer, inner = build_application("outer"), build_application("inner", components=False, resource=False)
    inner.events["startup"].clear()
    outer.mount("/inner", inner)
    handlers = (by_attribute, by_component, by_worker, by_named_database)

    async with Client(app=outer) as client:
        found = [(await client.get(f"/inner/{handler.__name__}/")).json() for handler in handlers]

    assert found == [["inner"], ["outer"], ["outer"], ["outer"]]


async def test_a_class_of_its_own_names_the_application_around():
    class Outer(Flama): ...

    class Inner(Flama): ...

    seen = []
    outer, inner = Outer(), Inner()
    outer.mount("/inner", inner)

    @inner.get("/")
    def handler(app: Flama, own: Inner, around: Outer):
        seen.extend((app, own, around))

    async with Client(app=outer) as client:
        await client.get("/inner/")

    assert seen == [inner, inner, outer]


async def test_requests_to_an_application_that_nobody_started_say_what_starts_it(caplog):
    app = Flama()
    outer = starlette.applications.Starlette(routes=[starlette.routing.Mount("/inner", app=app)])

    async with Client(app=outer) as client:
        response = await client.get("/inner/one/")

    assert response.status_code == 500
    assert "pass that one 'lifespan=app.lifespan'" in caplog.text


def build_starlette(app, lifespan):
    return starlette.applications.Starlette(routes=[starlette.routing.Mount("/inner", app=app)], lifespan=lifespan)


def build_fastapi(app, lifespan):
    fastapi = pytest.importorskip("fastapi")
    outer = fastapi.FastAPI(lifespan=lifespan)
    outer.mount("/inner", app)
    return outer


def own_lifespan(app):
    return app.lifespan


def combined_lifespan(app):
    @contextlib.asynccontextmanager
    async def lifespan(outer):
        async with app.lifespan():
            yield

    return lifespan


@pytest.mark.parametrize("lifespan", [own_lifespan, combined_lifespan])
@pytest.mark.parametrize("build", [build_starlette, build_fastapi])
async def test_an_application_starts_and_stops_with_the_lifespan_of_another_framework(build, lifespan):
    app = build_application("inner")
    outer = build(app, lifespan(app))

    async with Client(app=outer) as client:
        found = await owners(client, "/inner")
        while_served = app.status

    assert found == everywhere("inner")
    assert (while_served, app.status) == (types.AppStatus.READY, types.AppStatus.SHUT_DOWN)


async def test_a_lifespan_fails_at_start_up_for_what_nothing_provides():
    app = Flama()

    @app.get("/")
    def handler(nonsense: TitleComponent): ...

    with pytest.raises(exceptions.ComponentNotFound, match="'nonsense' for function 'handler'"):
        async with app.lifespan():
            raise AssertionError("it must not start")
