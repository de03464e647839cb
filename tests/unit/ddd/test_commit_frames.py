"""How many functions of the package a COMMIT passes, from leaving the unit to the driver."""

import contextlib
import pathlib
import sys
import types as python_types
import typing as t

import pytest
import sqlalchemy as sa

import flama
from flama._shielding import shield
from flama.ddd import Database, Worker
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.base import BaseWorker
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

PACKAGE = str(pathlib.Path(flama.__file__).parent)

metadata = sa.MetaData()
brick_table = sa.Table("brick", metadata, sa.Column("id", sa.Integer, primary_key=True))


class Bricks(SQLAlchemyTableRepository):
    _table = brick_table


class Wall(SQLAlchemyWorker):
    bricks: Bricks


class Walls(Worker):
    bricks: Bricks
    others: t.Annotated[Bricks, Database("other")]


class LateWall(Worker):
    bricks: Bricks


@pytest.fixture(params=["sqlite", "asyncpg"])
async def app(request, tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path}/wall.db"
    module = SQLAlchemyModule(request.getfixturevalue("postgres_url") if request.param == "asyncpg" else url)
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield python_types.SimpleNamespace(sqlalchemy=module)
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    await module.on_shutdown()


def calls_of_ours(frame):
    """The package's functions that led to a call, from leaving the unit or from the beginning of a task."""
    names = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            names.insert(0, frame.f_code.co_name)
        if frame.f_code is BaseWorker.__aexit__.__code__:
            break
        frame = frame.f_back
    return names


@contextlib.contextmanager
def recorded_commit():
    """A list of the functions on the way to the first one of the driver that sends COMMIT."""
    names = []

    def look(frame, event, _):
        if event == "call" and frame.f_code is shield.__code__:
            names.extend(calls_of_ours(frame))
        elif (
            event == "call"
            and frame.f_code.co_name in ("begin_commit", "end")
            and "drivers" in frame.f_code.co_filename
        ):
            sys.setprofile(None)
            names.extend(calls_of_ours(frame))

    yield names, lambda: sys.setprofile(look)
    sys.setprofile(None)


async def way_to_commit(worker, hook=None):
    for id in (1, 2, 3):  # the first unit's connection is new
        async with worker:
            await worker.bricks.create({"id": id})
    with recorded_commit() as (names, record):
        async with worker:
            await worker.bricks.create({"id": 4})
            if hook is not None:
                worker.after_commit(hook)
            record()
    return names


@pytest.mark.parametrize("worker", [Wall, LateWall])
async def test_from_leaving_a_unit_to_commit_there_are_three_functions(app, worker):
    assert await way_to_commit(worker(app)) == ["__aexit__", "finish", "begin_commit"]


END = ["_unwind", "end", "commit", "end", "end"]


async def test_there_are_few_more_where_hooks_follow(app):
    assert await way_to_commit(Wall(app), hook=list) == ["__aexit__", "shield", *END]


async def test_there_are_few_more_where_a_unit_has_a_deadline(app):
    assert await way_to_commit(Wall(app, timeout=5)) == ["__aexit__", "_end_within", "shield", *END]


async def test_there_are_few_more_where_a_unit_has_several_backends(app):
    app.other = app.sqlalchemy

    assert await way_to_commit(Walls(app)) == ["__aexit__", "shield", *END]
