"""A program that runs many units at once by way of a pgbouncer: ``python -m tests.support.crowd URL``."""

import asyncio
import collections.abc
import os
import sys
import types
import typing as t

import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import pgbouncer

__all__ = ["Guests", "crowd", "guest_table"]

UNITS = 64
ROUNDS = 2

guest_table = sa.Table(
    "guest",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(40), nullable=False, unique=True),
    sa.Column("visits", sa.Integer, nullable=False),
)


class GuestRepository(SQLAlchemyTableRepository):
    """Who was there."""

    _table = guest_table


class Guests(SQLAlchemyWorker):
    """Counts visits."""

    guests: GuestRepository


async def crowd(url: str, engine_args: collections.abc.Mapping[str, t.Any]) -> int:
    """Run units, all at once and each several times, and give how many ended well; what one raises is raised."""
    module = SQLAlchemyModule(url, engine_args=engine_args)
    await module.on_startup()
    guests = Guests(t.cast("t.Any", types.SimpleNamespace(sqlalchemy=module)))
    try:
        async with asyncio.TaskGroup() as group:
            units = [group.create_task(_visits(guests, f"{os.getpid()}-{unit}")) for unit in range(UNITS)]
        return sum(unit.result() for unit in units)
    finally:
        await module.on_shutdown()


async def _visits(worker: Guests, name: str) -> int:
    for visit in range(ROUNDS):
        async with worker:
            guest, _ = await worker.guests.get_or_create({"name": name, "visits": 0}, on="name")
            assert guest["visits"] == visit, guest
            await _refused(worker, name)
            await worker.guests.update({"visits": visit + 1}, id=guest["id"])
            assert [one["visits"] async for one in worker.guests.list(name=name)] == [visit + 1]
        async with worker:  # reads alone
            assert (await worker.guests.retrieve(name=name))["visits"] == visit + 1
            assert await worker.guests.count(name=name) == 1
        async with worker:
            await worker.guests.create(*({"name": f"{name}-{child}", "visits": 0} for child in range(3)))
            await _refused(worker, name)
            async with worker.savepoint():
                assert await worker.guests.drop(name=f"{name}-0") == 1
            await worker.rollback()
    return ROUNDS


async def _refused(worker: Guests, name: str) -> None:
    refused: tuple[str, ...] = ()
    try:
        await worker.guests.create({"name": name, "visits": 0})
    except exceptions.IntegrityError as error:
        refused = error.fields
    assert refused == ("name",), f"there are two of {name}"


if __name__ == "__main__":
    settings = pgbouncer.SETTINGS[sa.make_url(sys.argv[1]).get_driver_name()]
    print(asyncio.run(crowd(sys.argv[1], {"pool_size": 16, "connect_args": settings})))
