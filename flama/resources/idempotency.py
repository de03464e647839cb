"""Answers kept by the key of their request, so that it can be sent again.

An answer is kept in the transaction that did what it tells of: either both are there or none. Importing this module
adds its table, ``idempotency_key``, to :data:`flama.sqlalchemy.metadata`.
"""

import datetime
import hashlib
import importlib
import typing as t

import sqlalchemy as sa

from flama import exceptions, http
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.query import F
from flama.resources.asked import Asked, Serve
from flama.resources.callers import OWNER
from flama.resources.credentials import credentials
from flama.rest import idempotency
from flama.sqlalchemy import metadata

__all__ = ["IdempotencyKeys", "once", "table"]

table: t.Final = sa.Table(
    "idempotency_key",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("request", sa.String(32), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("headers", sa.JSON, nullable=False),
    sa.Column("body", sa.LargeBinary(2**24 - 1), nullable=False),
    sa.Column("kept_at", sa.Double, nullable=False, index=True),
)


class IdempotencyKeys(SQLAlchemyTableRepository):
    """The answers that are kept."""

    _table = table

    async def forget(self, older_than: datetime.timedelta) -> int:
        """Delete the answers that are older, and give how many they were."""
        return await self.drop(F.kept_at < _now() - older_than.total_seconds())


def once(serve: Serve) -> Serve:
    """Give what does an operation once for each key, and answers as it did then when it is asked for again.

    :raises ValidationError: the key is none.
    :raises InvalidDataError: the key was that of another request.
    """

    async def served(asked: Asked) -> http.Response:
        header = asked.header(idempotency.HEADER)
        return await serve(asked) if header is None else await _once(serve, asked, header)

    return served


async def _once(serve: Serve, asked: Asked, header: str) -> http.Response:
    id, request = _id(asked, _key(header)), _request(asked)
    try:
        async with asked.worker:
            keys = _keys(asked)
            if (kept := await keys.get(id=id)) is not None:
                return _replayed(asked, kept, request)
            response = await serve(asked)
            await keys.create(_kept(id, request, response))
            return response
    except (exceptions.IntegrityError, exceptions.ConflictError):
        # perhaps the same request, which came to its end meanwhile
        async with asked.worker:
            kept = await _keys(asked).get(id=id)
        if kept is None:
            raise
        return _replayed(asked, kept, request)


def _key(header: str) -> str:
    try:
        return idempotency.decode(header)
    except ValueError as error:
        raise exceptions.ValidationError({idempotency.HEADER: {"type": "value_error", "msg": str(error)}}) from error


def _id(asked: Asked, key: str) -> str:
    # another caller's response is none of one's own
    parts = (asked.resource.name, asked.scope.get(OWNER) or credentials(asked), key)
    return hashlib.blake2b(repr(parts).encode(), digest_size=32).hexdigest()


def _request(asked: Asked) -> str:
    scope = asked.scope
    return idempotency.fingerprint(scope["method"], scope["path"], scope["query_string"], asked.body)


def _keys(asked: Asked) -> IdempotencyKeys:
    """The repository of keys, on the session of the resource's own."""
    repository = getattr(asked.worker, asked.repository)
    if hasattr(repository, "_session"):
        substitutes = importlib.import_module("flama.ddd.repositories.substitutes")
        return t.cast(IdempotencyKeys, substitutes.in_memory(IdempotencyKeys)(repository._session))
    return IdempotencyKeys(repository._connection)


def _kept(id: str, request: str, response: http.Response) -> dict[str, t.Any]:
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    row = {"id": id, "request": request, "status": response.status_code, "headers": headers}
    return {**row, "body": bytes(response.body), "kept_at": _now()}


def _replayed(asked: Asked, kept: dict[str, t.Any], request: str) -> http.Response:
    if kept["request"] != request:
        detail = f"{idempotency.HEADER} was that of another request"
        raise exceptions.InvalidDataError(resource=asked.resource._called, detail=detail)
    return http.Response(kept["body"], kept["status"], {**kept["headers"], idempotency.REPLAYED: "true"})


def _now() -> float:
    return datetime.datetime.now(datetime.UTC).timestamp()
