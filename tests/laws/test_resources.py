"""What a resource answers over HTTP is what the same question means to Python."""

import asyncio

import hypothesis
import sqlalchemy as sa
from hypothesis import strategies as st

from flama import Flama, query
from flama.client import Client
from flama.ddd import MemoryWorker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.rest import filters, ordering, paging
from flama.rest.operations import Envelope
from tests.laws.test_query import CONDITIONS, ORDER, RECORD

metadata = sa.MetaData()
table = sa.Table(
    "thing",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer),
    sa.Column("count", sa.Integer, nullable=False),
    *(sa.Column(name, sa.String(40)) for name in ("loose", "plain", "exact")),
    sa.Column("flag", sa.Boolean),
    sa.Column("amount", sa.Numeric(8, 2)),
    sa.Column("day", sa.Date),
    sa.Column("token", sa.Uuid),
)


class Things(SQLAlchemyTableRepository):
    _table = table


class ThingWorker(SQLAlchemyWorker):
    thing: Things


class Thing(CRUDResource):
    repository = Things


async def listed(records, conditions, order, style, size):
    """The keys that a client finds which goes through all pages."""
    worker = MemoryWorker.of(ThingWorker)()
    app = Flama(components=[WorkerComponent(worker)], schema=None, docs=None)
    app.resources.add_resource("/thing/", Thing)
    async with worker:
        await worker.thing.create(*records)
    found, walk = [], paging.PageIterator(style, size, resource="thing")
    asked = [*filters.encode(conditions), *ordering.encode(order)]
    async with Client(app=app) as client:
        while not walk.is_done:
            response = await client.get("/thing/", params=[*asked, *walk.next_parameters().items()])
            assert response.status_code == 200, response.text
            found += walk.accept(Envelope(**response.json()))
    return [record["id"] for record in found]


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    st.lists(RECORD, max_size=8),
    st.lists(CONDITIONS, max_size=2),
    st.lists(ORDER, max_size=2).map(query.parse_order),
    st.sampled_from(paging.STYLES),
    st.integers(1, 4),
)
def test_a_resource_lists_what_holds_in_order_once(records, conditions, order, style, size):
    records = [{"id": number, **record} for number, record in enumerate(records, 1)]

    found = asyncio.run(listed(records, conditions, order, style, size))

    holding = [record for record in records if all(condition.matches(record) for condition in conditions)]
    expected = query.sort_records(holding, query.parse_order(order, keys=["id"]))
    assert found == [record["id"] for record in expected]
