"""The same with flama."""

import typing as t

from contenders.model import GREETING, User

from flama import Flama, types

__all__ = ["dynamic", "hello", "many", "post", "query"]


def hello():
    app = Flama()
    app.add_get("/", _hello)
    return app


def dynamic():
    app = Flama()
    app.add_get("/item/{id:int}/", _item)
    return app


def post():
    app = Flama()
    app.add_post("/user/", _create)
    return app


def query():
    app = Flama()
    app.add_get("/search", _search)
    return app


def many(static, dynamic):
    app = Flama()
    for path in static:
        app.add_get(path, _hello)
    for path in dynamic:
        app.add_get(path + "{id:int}/", _item)
    return app


async def _hello():
    return dict(GREETING)


async def _item(id: int):
    return {"id": id}


async def _create(data: t.Annotated[types.Schema, types.SchemaMetadata(User)]):
    return data


async def _search(text: str, limit: int = 10):
    return {"text": text, "limit": limit}
