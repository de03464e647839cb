"""A program that writes units, tells which are stored, and is killed: ``python -m tests.support.killed URL``.

Each unit is two entries that sum to nothing; a line with its number is written once it has been committed.
"""

import asyncio
import collections.abc
import itertools
import sys
import types
import typing as t

import sqlalchemy as sa

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from flama.types import App

__all__ = ["Ledger", "entry_table"]

WRITERS = 4

entry_table = sa.Table(
    "entry",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("unit", sa.String(40), nullable=False),
    sa.Column("amount", sa.Integer, nullable=False),
)


class Entries(SQLAlchemyTableRepository):
    """What was booked."""

    _table = entry_table


class Ledger(SQLAlchemyWorker):
    """Books both sides."""

    entries: Entries


async def _write(ledger: Ledger, writer: str, numbers: collections.abc.Iterable[int]) -> None:
    for number in numbers:
        unit = f"{writer}-{number}"
        async with ledger:
            await ledger.entries.create({"unit": unit, "amount": 1})
            await ledger.entries.create({"unit": unit, "amount": -1})
        sys.stdout.write(f"{unit}\n")
        sys.stdout.flush()


async def _main(url: str, run: str) -> None:
    module = SQLAlchemyModule(url)
    await module.on_startup()
    ledger = Ledger(t.cast(App, types.SimpleNamespace(sqlalchemy=module)))
    async with asyncio.TaskGroup() as writers:
        for writer in range(WRITERS):
            writers.create_task(_write(ledger, f"{run}-{writer}", itertools.count()))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
