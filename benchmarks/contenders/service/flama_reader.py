"""The service by flama, whose GET reads in a unit that only reads."""

from contenders.service.flama import URL, Worker, create, update

from flama import Flama
from flama.ddd import WorkerComponent
from flama.sqlalchemy import SQLAlchemyModule

__all__ = ["app"]


class Reader(Worker):
    """A unit of work that only reads."""


app = Flama(
    modules=[SQLAlchemyModule(URL)],
    components=[WorkerComponent(worker=Worker()), WorkerComponent(worker=Reader(read_only=True))],
    schema=None,
    docs=None,
)
app.add_post("/user/", create)
app.add_put("/user/{user_id}/", update)


@app.get("/user/{user_id}/")
async def retrieve(worker: Reader, user_id: str):
    async with worker:
        return await worker.user.retrieve(id=user_id)
