"""The service by hand: Starlette, asyncpg and msgspec."""

import contextlib
import os
import uuid

import asyncpg
import msgspec
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["app", "in_transactions"]

COLUMNS = "id, name, surname, email, password, active"
INSERT = f'INSERT INTO "user" ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6) RETURNING {COLUMNS}'
SELECT = f'SELECT {COLUMNS} FROM "user" WHERE id = $1'
CHANGES = "name = $2, surname = $3, email = $4, password = $5, active = $6"
UPDATE = f'UPDATE "user" SET {CHANGES} WHERE id = $1 RETURNING {COLUMNS}'


class User(msgspec.Struct):
    """What is sent."""

    name: str
    surname: str
    email: str
    password: str
    id: str | None = None
    active: bool = False

    def values(self):
        return self.name, self.surname, self.email, self.password, self.active


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(User).decode


@contextlib.asynccontextmanager
async def _lifespan(app):
    async with asyncpg.create_pool(os.environ["DATABASE"]) as app.state.pool:
        yield


async def _create(request):
    try:
        user = _decode(await request.body())
    except msgspec.DecodeError:
        return Response(status_code=400)
    return await _answered(request, INSERT, user.id or str(uuid.uuid4()), *user.values())


async def _retrieve(request):
    return await _answered(request, SELECT, request.path_params["id"])


async def _update(request):
    try:
        user = _decode(await request.body())
    except msgspec.DecodeError:
        return Response(status_code=400)
    return await _answered(request, UPDATE, request.path_params["id"], *user.values())


async def _answered(request, sql, *values):
    try:
        row = await request.app.state.one(request.app.state.pool, sql, *values)
    except asyncpg.IntegrityConstraintViolationError:
        return Response(status_code=400)
    if row is None:
        return Response(status_code=404)
    return Response(_encode(dict(row)), media_type="application/json")


async def _one(pool, sql, *values):
    async with pool.acquire() as connection:
        return await connection.fetchrow(sql, *values)


async def _one_in_transaction(pool, sql, *values):
    async with pool.acquire() as connection, connection.transaction():
        return await connection.fetchrow(sql, *values)


def _service(one):
    routes = [
        Route("/user/", _create, methods=["POST"]),
        Route("/user/{id}/", _retrieve),
        Route("/user/{id}/", _update, methods=["PUT"]),
    ]
    service = Starlette(routes=routes, lifespan=_lifespan)
    service.state.one = one
    return service


app = _service(_one)
in_transactions = _service(_one_in_transaction)
