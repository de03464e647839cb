"""A lending library's rules, tried without its database."""

import asyncio

import sqlalchemy as sa

from flama.ddd import F, MemoryWorker, exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker


class LoanRepository(SQLAlchemyTableRepository):
    columns = (sa.Column("book", sa.String, primary_key=True), sa.Column("reader", sa.String))
    _table = sa.Table("loan", sa.MetaData(), *columns)


class Library(SQLAlchemyWorker):
    loans: LoanRepository

    async def lend(self, reader: str, *books: str) -> None:
        async with self:
            await self.loans.create(*({"book": book, "reader": reader} for book in books))
            if await self.loans.count(F.reader == reader) > 2:
                raise ValueError(f"{reader} has too many books")


async def main() -> None:
    library = MemoryWorker.of(Library)()
    await library.lend("Noor", "Dune", "Emma")
    for reader, book in (("Noor", "Ulysses"), ("Ines", "Dune")):
        try:
            await library.lend(reader, book)
        except (ValueError, exceptions.IntegrityError) as error:
            print("refused:", error)
    async with library:
        print([loan["book"] async for loan in library.loans.list(order_by="book")])


asyncio.run(main())
