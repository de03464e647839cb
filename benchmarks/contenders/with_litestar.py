"""The same with Litestar."""

from contenders.model import GREETING, User
from litestar import Litestar, get, post as post_

__all__ = ["dynamic", "hello", "many", "post", "query"]


def hello():
    return Litestar([get("/")(_hello)], openapi_config=None)


def dynamic():
    return Litestar([get("/item/{id:int}/")(_item)], openapi_config=None)


def post():
    return Litestar([post_("/user/", status_code=200)(_create)], openapi_config=None)


def query():
    return Litestar([get("/search")(_search)], openapi_config=None)


def many(static, dynamic):
    routes = [get(path)(_hello) for path in static]
    return Litestar([*routes, *(get(path + "{id:int}/")(_item) for path in dynamic)], openapi_config=None)


async def _hello() -> dict[str, str]:
    return dict(GREETING)


async def _item(id: int) -> dict[str, int]:
    return {"id": id}


async def _create(data: User) -> User:
    return data


async def _search(text: str, limit: int = 10) -> dict[str, str | int]:
    return {"text": text, "limit": limit}
