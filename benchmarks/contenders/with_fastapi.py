"""The same with FastAPI."""

from contenders.model import GREETING, User
from fastapi import FastAPI

__all__ = ["dynamic", "hello", "many", "post", "query"]


def hello():
    app = FastAPI(openapi_url=None)
    app.get("/")(_hello)
    return app


def dynamic():
    app = FastAPI(openapi_url=None)
    app.get("/item/{id}/")(_item)
    return app


def post():
    app = FastAPI(openapi_url=None)
    app.post("/user/")(_create)
    return app


def query():
    app = FastAPI(openapi_url=None)
    app.get("/search")(_search)
    return app


def many(static, dynamic):
    app = FastAPI(openapi_url=None)
    for path in static:
        app.get(path)(_hello)
    for path in dynamic:
        app.get(path + "{id}/")(_item)
    return app


async def _hello():
    return dict(GREETING)


async def _item(id: int):
    return {"id": id}


async def _create(user: User):
    return user


async def _search(text: str, limit: int = 10):
    return {"text": text, "limit": limit}
