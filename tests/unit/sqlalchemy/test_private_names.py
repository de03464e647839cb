"""What is private to a library and missing in a version of it is done in the documented way."""

import gc
import importlib
import types

import pytest
import sqlalchemy as sa

from flama import _private, exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

DRIVERS = {"aiosqlite": "aiosqlite", "asyncmy": "asyncmy", "asyncpg": "asyncpg", "psycopg": "psycopg"}
USES = [
    (library, use, driver)
    for library, drivers in {"sqlalchemy": ("aiosqlite", "asyncpg"), "asyncio": ("asyncpg",), **DRIVERS}.items()
    for use in importlib.import_module(f"flama._private.{library}").NAMES
    for driver in ([drivers] if isinstance(drivers, str) else drivers)
]

metadata = sa.MetaData()
ship_table = sa.Table(
    "private_ship",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(20), nullable=False),
    sa.Column("class", sa.String(20), default="sloop"),
    sa.Column("afloat", sa.Boolean, default=lambda: True),
    sa.UniqueConstraint("name"),
)


class Ships(SQLAlchemyTableRepository):
    _table = ship_table


class Harbour(SQLAlchemyWorker):
    ships: Ships


@pytest.fixture
def without(monkeypatch):
    """Have a module of private names find those of one use missing."""
    reloaded = []

    def reload(library, use):
        module = importlib.import_module(f"flama._private.{library}")
        names, exist = [private.name for private in module.NAMES[use]], _private.exist
        monkeypatch.setattr(_private, "exist", lambda those: [each.name for each in those] != names and exist(those))
        reloaded.append(importlib.reload(module))
        assert not module.HAS[use]

    yield reload
    monkeypatch.undo()
    for module in reloaded:
        importlib.reload(module)


@pytest.fixture
def url(request, tmp_path):
    match request.param:
        case "aiosqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case "asyncmy":
            return request.getfixturevalue("mariadb_url")
        case driver:
            return request.getfixturevalue("postgres_url").replace("asyncpg", driver)


@pytest.mark.parametrize(("library", "use", "url"), USES, ids=[f"{'-'.join(each)}" for each in USES], indirect=["url"])
async def test_without_the_names_of_a_use_a_repository_does_the_same(library, use, url, without):
    without(library, use)
    module = SQLAlchemyModule(url, engine_args={"pool_size": 2, "max_overflow": 0, "pool_timeout": 5})
    await module.on_startup()
    try:
        async with module.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
        for harbour in (
            Harbour(types.SimpleNamespace(sqlalchemy=module)),
            Harbour(types.SimpleNamespace(sqlalchemy=module)),
        ):
            await check(harbour)
        assert module.engine.pool.checkedout() == 0
        gc.collect()
    finally:
        async with module.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
        await module.on_shutdown()


async def check(harbour):
    ship = {"id": 1, "name": "Argo", "class": "sloop", "afloat": True}
    async with harbour:
        assert await harbour.ships.create({"id": 1, "name": "Argo"}) == [ship]
        with pytest.raises(exceptions.IntegrityError) as refused:
            await harbour.ships.create({"id": 2, "name": "Argo"})
        assert refused.value.fields == ("name",)
        assert await harbour.ships.retrieve(id=1) == ship
    with pytest.raises(ZeroDivisionError):
        async with harbour:
            await harbour.ships.update({"class": "brig"}, id=1)
            raise ZeroDivisionError
    async with harbour.options(read_only=True) as reading:
        assert [each async for each in reading.ships.list()] == [ship]
    async with harbour:
        await harbour.ships.create(*({"id": number, "name": f"ship {number}"} for number in range(2, 3000)))
        async for _ in harbour.ships.list():
            break  # the cursor is left open
        assert await harbour.ships.drop(afloat=True) == 2999
