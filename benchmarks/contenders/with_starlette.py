"""The same with Starlette."""

import pydantic
from contenders.model import GREETING, User
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["dynamic", "hello", "many", "post", "query"]


def hello():
    return Starlette(routes=[Route("/", _hello)])


def dynamic():
    return Starlette(routes=[Route("/item/{id:int}/", _item)])


def post():
    return Starlette(routes=[Route("/user/", _create, methods=["POST"])])


def query():
    return Starlette(routes=[Route("/search", _search)])


def many(static, dynamic):
    routes = [Route(path, _hello) for path in static]
    return Starlette(routes=[*routes, *(Route(path + "{id:int}/", _item) for path in dynamic)])


async def _hello(request):
    return JSONResponse(dict(GREETING))


async def _item(request):
    return JSONResponse({"id": request.path_params["id"]})


async def _create(request):
    if request.headers.get("content-type") != "application/json":
        return Response(status_code=415)
    try:
        user = User.model_validate_json(await request.body())
    except pydantic.ValidationError:
        return Response(status_code=400)
    return JSONResponse(user.__dict__)


async def _search(request):
    try:
        limit = int(request.query_params.get("limit", "10"))
        return JSONResponse({"text": request.query_params["text"], "limit": limit})
    except (KeyError, ValueError):
        return Response(status_code=400)
