"""A service that is killed amid its writes: every unit is whole or absent, every acknowledged one is there."""

import asyncio
import collections
import random
import types

import pytest

from flama.sqlalchemy import SQLAlchemyModule
from tests.support import loops
from tests.support.killed import Ledger, entry_table

pytestmark = pytest.mark.anyio

KILLS = 4


@pytest.fixture(params=["file", "postgres", "mariadb"])
def url(request, tmp_path):
    if request.param == "file":
        return f"sqlite+aiosqlite:///{tmp_path}/ledger.db"
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
async def module(url):
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(entry_table.metadata.create_all)
    yield module
    async with module.engine.begin() as connection:
        await connection.run_sync(entry_table.metadata.drop_all)
    await module.on_shutdown()


async def killed(url, run):
    """What a service acknowledged before it was killed, a while after its first word."""
    program = await asyncio.create_subprocess_exec(
        *loops.command("tests.support.killed", url, run), stdout=asyncio.subprocess.PIPE
    )
    first = await asyncio.wait_for(program.stdout.readline(), 30)
    await asyncio.sleep(random.uniform(0, 0.25))
    program.kill()
    told = first + await program.stdout.read()
    await program.wait()
    return [line.decode() for line in told.splitlines(keepends=True) if line.endswith(b"\n")]


async def test_a_service_that_is_killed_tears_no_unit_and_loses_none(url, module):
    acknowledged = []
    for run in range(KILLS):
        acknowledged += [unit.strip() for unit in await killed(url, f"{run}")]

    ledger = Ledger(types.SimpleNamespace(sqlalchemy=module))
    booked = collections.defaultdict(list)
    async with ledger:
        async for entry in ledger.entries.list(order_by="id"):
            booked[entry["unit"]].append(entry["amount"])

    assert len(acknowledged) > KILLS  # it was killed while it worked
    assert {unit: amounts for unit, amounts in booked.items() if amounts != [1, -1]} == {}
    assert set(acknowledged) - booked.keys() == set()
    async with ledger:
        await ledger.entries.drop()
