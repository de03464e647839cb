"""What goes ahead of a statement is sent in one piece with it, by whichever event loop."""

import types

import asyncpg
import pytest
import sqlalchemy as sa

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.drivers._buffered_transport import WriteBufferingTransport
from tests.support import loops

tree_table = sa.Table("tree", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


class Trees(SQLAlchemyTableRepository):
    _table = tree_table


class Wood(SQLAlchemyWorker):
    trees: Trees


class Transport:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return False


def test_what_is_held_back_goes_with_the_next_write_and_no_other():
    transport = Transport()
    holding = WriteBufferingTransport(transport)

    holding.write(b"a")
    holding.hold(b"b")
    holding.hold(b"c")
    holding.write(memoryview(b"d"))
    holding.write(b"e")

    assert transport.sent == [b"a", b"bcd", b"e"]
    assert holding.is_closing() is False


@pytest.mark.anyio
@loops.on_each
@pytest.mark.parametrize("given", [{}, {"async_creator_fn": asyncpg.connect}], ids=["ours", "others"])
async def test_units_are_the_same_by_each_loop_and_each_way_to_connect(postgres_url, given):
    async def kept() -> tuple[bool, list[int]]:
        module = SQLAlchemyModule(postgres_url, engine_args={"connect_args": given, "pool_size": 1})
        await module.on_startup()
        wood = Wood(types.SimpleNamespace(sqlalchemy=module))
        try:
            async with wood:
                await wood.connection.run_sync(tree_table.metadata.create_all)
            for id in (1, 2, 3):
                async with wood:
                    await wood.trees.create({"id": id})
            async with wood:
                raw = await wood.connection.get_raw_connection()
                holds = isinstance(raw.driver_connection._transport, WriteBufferingTransport)
                return holds, [tree["id"] async for tree in wood.trees.list(order_by="id")]
        finally:
            async with wood:
                await wood.connection.run_sync(tree_table.metadata.drop_all)
            await module.on_shutdown()

    assert await kept() == (not given, [1, 2, 3])
