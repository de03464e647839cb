"""The tools of a shared workshop, kept in an SQL database."""

import asyncio

import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from flama.ddd import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository

metadata = sqlalchemy.MetaData()

tool_table = sqlalchemy.Table(
    "tool",
    metadata,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("name", sqlalchemy.String, nullable=False),
    sqlalchemy.Column("drawer", sqlalchemy.String, nullable=False, unique=True),
    sqlalchemy.Column("borrower", sqlalchemy.String),
)


class ToolRepository(SQLAlchemyTableRepository):
    _table = tool_table

    async def borrowers(self) -> list[str]:
        """Give everybody who has a tool at home, by name."""
        borrower = self._table.c.borrower
        query = sqlalchemy.select(borrower).where(borrower.is_not(None)).distinct().order_by(borrower)
        return list((await self._connection.execute(query)).scalars())


async def main() -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.connect() as connection:
        await connection.run_sync(metadata.create_all)
        tools = ToolRepository(connection)

        created = await tools.create(
            {"name": "jigsaw", "drawer": "A1", "borrower": "Noor"},
            {"name": "mitre box", "drawer": "A2"},
            {"name": "spokeshave", "drawer": "B1", "borrower": "Ines"},
        )
        print("created:", [tool["name"] for tool in created])

        print("jigsaw:", await tools.retrieve(name="jigsaw"))
        await tools.update({"borrower": None}, name="jigsaw")
        print("at home:", await tools.borrowers())

        in_a = tool_table.c.drawer.like("A%")
        print("in A, here:", [tool["name"] async for tool in tools.list(in_a, borrower=None, order_by="name")])

        try:
            await tools.create({"name": "chisel", "drawer": "B1"})
        except exceptions.IntegrityError as error:
            print("refused:", error)

        print("dropped:", await tools.drop(in_a))
        await connection.commit()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
