"""A unit of work that can be torn: a debit with its credit, on an account that all units change."""

import asyncio
import collections.abc
import contextlib
import types
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

__all__ = ["AccountRepository", "Bank", "CreditRepository", "DebitRepository", "Transfer", "bank_of", "made", "stored"]

ACCOUNTS = 400

metadata = sa.MetaData()
account_table = sa.Table(
    "account",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("moves", sa.Integer, nullable=False),
)
debit_table, credit_table = (
    sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("transfer", sa.Integer, nullable=False, index=True),
    )
    for name in ("debit", "credit")
)


class AccountRepository(SQLAlchemyTableRepository):
    """Accounts, each with the number of the last transfer."""

    _table = account_table


class DebitRepository(SQLAlchemyTableRepository):
    """The one half of a transfer."""

    _table = debit_table


class CreditRepository(SQLAlchemyTableRepository):
    """The other."""

    _table = credit_table


class Bank(SQLAlchemyWorker):
    """Books both halves."""

    accounts: AccountRepository
    debits: DebitRepository
    credits: CreditRepository


class Transfer:
    """A unit that stores a debit with its credit, and what its hooks were ``told``."""

    def __init__(self, bank: t.Any, number: int, account: int = 1) -> None:
        self.bank, self.number, self.account = bank, number, account
        self.told: list[str] = []
        self.waits = False  # for its hooks

    def hooks(self) -> None:
        """Have two of each kind."""
        for place in ("first", "second"):
            self.bank.after_commit(self._hook(f"{place} committed"))
            self.bank.after_rollback(self._hook(f"{place} rolled back"))
        self.waits = True

    async def first(self) -> None:
        """Change the account, which holds up whoever changes it meanwhile."""
        await self.bank.accounts.update({"moves": self.number}, id=self.account)

    async def later(self) -> None:
        """Store both halves."""
        await self.bank.debits.create({"transfer": self.number})
        await self.bank.credits.create({"transfer": self.number})

    async def all(self) -> None:
        """Do all that is to be done within the unit."""
        self.hooks()
        await self.first()
        await self.later()

    async def plain(self) -> None:
        """Run the unit."""
        async with self.bank:
            await self.all()

    async def undone(self) -> None:
        """Run the unit, and undo it at its end."""
        with contextlib.suppress(ZeroDivisionError):
            async with self.bank:
                await self.all()
                raise ZeroDivisionError

    def assert_told(self, outcome: str | None) -> None:
        """Make sure that each hook of the outcome, and none other, ran once and in order."""
        if self.waits:
            assert self.told == ([f"first {outcome}", f"second {outcome}"] if outcome else [])

    def _hook(self, told: str) -> collections.abc.Callable[[], t.Any]:
        async def tell() -> None:
            await asyncio.sleep(0)
            self.told.append(told)

        return tell


def bank_of(module: SQLAlchemyModule) -> Bank:
    """Give a worker that uses the module."""
    return Bank(t.cast("t.Any", types.SimpleNamespace(sqlalchemy=module)))


@contextlib.asynccontextmanager
async def made(engine: AsyncEngine) -> collections.abc.AsyncGenerator[None]:
    """Have empty tables for as long as this is open."""
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        await connection.execute(account_table.insert(), [{"id": id, "moves": 0} for id in range(1, ACCOUNTS + 1)])
    yield
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)


async def stored(connection: AsyncConnection, number: int) -> bool:
    """Tell whether a transfer is stored, which has both halves."""
    # by one statement: the database may be committing it this very moment
    halves = [
        sa.select(sa.func.count()).where(half.c.transfer == number).scalar_subquery()
        for half in (debit_table, credit_table)
    ]
    found = tuple((await connection.execute(sa.select(*halves))).one())
    assert found in ((0, 0), (1, 1)), f"{number} is torn: {found}"
    return found == (1, 1)
