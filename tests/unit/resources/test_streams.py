"""Records that are streamed: in constant memory, told of what fails on the way, closed when nobody reads on."""

import asyncio
import time
import tracemalloc

import httpx
import pydantic
import pytest
import sqlalchemy as sa

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import BaseRepository
from flama.resources import CRUDResource
from flama.rest import ndjson
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

NDJSON = {"accept": ndjson.MEDIA_TYPE}
metadata = sa.MetaData()
table = sa.Table("line", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String(100)))


class Line(pydantic.BaseModel):
    id: int


class Lines(CRUDResource):
    model = table


def failing(after):
    class Repository(BaseRepository):
        async def list(self):
            for number in range(after):
                yield {"id": number}
            raise exceptions.UnavailableError(resource="line", retry_after=3)

    class Failing(CRUDResource):
        repository = Repository
        schema = Line

    app = Flama()
    app.resources.add_resource("/line/", Failing)
    return app


async def test_an_error_before_the_first_record_is_answered_as_one():
    async with Client(app=failing(0)) as client:
        response = await client.get("/line/", headers=NDJSON)

    assert (response.status_code, response.headers["retry-after"]) == (503, "3")


@pytest.mark.parametrize("after", [100, 150])
async def test_an_error_on_the_way_is_the_last_line(after):
    async with Client(app=failing(after)) as client:
        response = await client.get("/line/", headers=NDJSON)
    *records, error = [ndjson.decode(line, resource="line") for line in ndjson.LineReader().read(response.content)]

    assert response.status_code == 200
    assert records == [{"id": number} for number in range(after)]
    assert type(error) is exceptions.UnavailableError
    assert error.retry_after == 3


def application(rows, tmp_path):
    app = Flama(modules=[SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db")])
    app.resources.add_resource("/line/", Lines)

    @app.on_event("startup")
    async def fill():
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(table.insert(), [{"id": n, "text": "x" * 90} for n in range(1, rows + 1)])

    return app


async def test_a_reader_that_goes_away_leaves_no_connection_behind(serve, tmp_path):
    app = application(20_000, tmp_path)
    url = serve(app)

    async with httpx.AsyncClient() as client, client.stream("GET", f"{url}/line/", headers=NDJSON) as response:
        await anext(response.aiter_bytes())
    deadline = time.monotonic() + 5
    while app.sqlalchemy.engine.pool.checkedout() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)

    assert app.sqlalchemy.engine.pool.checkedout() == 0


async def test_memory_does_not_grow_with_what_is_streamed(serve, tmp_path):
    url = serve(application(20_000, tmp_path))
    peaks = []

    async with httpx.AsyncClient() as client:
        for limit in (2_000, 20_000):
            tracemalloc.start()
            async with client.stream("GET", f"{url}/line/", headers=NDJSON, params={"id": f"lte:{limit}"}) as response:
                read = 0
                async for line in response.aiter_lines():
                    read += bool(line)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert read == limit

    assert peaks[1] < 2 * peaks[0]
