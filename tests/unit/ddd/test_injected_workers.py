"""Which worker a handler is given, and what is told at start-up of one that can't be."""

from __future__ import annotations

import pytest

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import BaseRepository, BaseWorker, Worker, WorkerComponent

pytestmark = pytest.mark.anyio


class Tools(BaseRepository):
    def count(self):
        return 7


class Shed(Worker):
    tools: Tools


class Garage(Shed):
    cars: Tools


class Barn(Shed):
    hay: Tools


def app_of(*workers):
    return Flama(components=[WorkerComponent(worker=worker) for worker in workers])


async def test_a_parameter_of_the_very_class_or_of_a_base_that_declares_it_is_given_the_worker():
    app = app_of(Garage())

    @app.get("/very/")
    async def very(worker: Garage):
        async with worker:
            return {"kind": type(worker).__name__, "tools": worker.tools.count(), "cars": worker.cars.count()}

    @app.get("/base/")
    async def base(worker: Shed):
        async with worker:
            return {"kind": type(worker).__name__, "tools": worker.tools.count()}

    async with Client(app=app) as client:
        assert (await client.get("/very/")).json() == {"kind": "Garage", "tools": 7, "cars": 7}
        assert (await client.get("/base/")).json() == {"kind": "Garage", "tools": 7}


async def test_of_a_base_and_its_subclass_each_is_given_to_who_asks_for_it():
    app = app_of(Garage(), Shed())

    @app.get("/")
    async def kinds(shed: Shed, garage: Garage):
        return [type(shed).__name__, type(garage).__name__]

    async with Client(app=app) as client:
        assert (await client.get("/")).json() == ["Shed", "Garage"]


async def test_a_base_of_several_fails_the_start_by_handler_and_parameter():
    app = app_of(Garage(), Barn())

    @app.get("/")
    async def look(shed: Shed): ...

    with pytest.raises(exceptions.ApplicationError, match=r"'shed: Shed' may be any of Barn, Garage.*'look'"):
        async with Client(app=app):
            pass


@pytest.mark.parametrize("asked", [Garage, BaseWorker])
async def test_a_subclass_of_what_there_is_or_the_base_of_all_fails_the_start(asked):
    app = app_of(Shed())

    async def look(worker): ...

    look.__annotations__["worker"] = asked
    app.add_get("/", look)

    with pytest.raises(exceptions.ApplicationError, match=r"'worker'.*'look'"):
        async with Client(app=app):
            pass


async def test_the_worker_of_one_request_is_one_object_and_no_other_requests():
    app, workers = app_of(Garage()), []

    @app.get("/")
    async def kinds(shed: Shed, garage: Garage, again: Garage):
        workers.append((shed, garage, again))

    async with Client(app=app) as client:
        for _ in range(2):
            await client.get("/")

    (first, second) = workers
    assert first[1] is first[2]
    assert not {*map(id, first)} & {*map(id, second)}
