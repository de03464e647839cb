"""A program of many writers on one database, none of whom may fail: ``python -m tests.support.writers URL``."""

import asyncio
import sys

from flama.sqlalchemy import SQLAlchemyModule
from tests.support import bank

__all__ = ["UNITS", "WRITERS"]

WRITERS = 10
UNITS = 5


async def _write(worker: bank.Bank, writer: int) -> None:
    for unit in range(UNITS):
        await bank.Transfer(worker, writer * UNITS + unit).plain()


async def _main(url: str, first: int) -> None:
    module = SQLAlchemyModule(url)
    await module.on_startup()
    worker = bank.bank_of(module)
    async with asyncio.TaskGroup() as writers:
        for writer in range(first, first + WRITERS):
            writers.create_task(_write(worker, writer))
    await module.on_shutdown()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
