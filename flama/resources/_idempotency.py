"""Responses stored by ``Idempotency-Key``, so that a client can safely retry a request.

A response is stored in the transaction of its operation: either both are committed or neither. Importing this module
adds its table, ``idempotency_key``, to :data:`flama.sqlalchemy.metadata`.
"""

import datetime
import functools
import hashlib
import importlib
import typing as t

import sqlalchemy as sa

from flama import exceptions, http
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.query import F
from flama.resources._callers import identify
from flama.resources._request import Endpoint, ResourceRequest
from flama.rest import idempotency
from flama.sqlalchemy import metadata

__all__ = ["IdempotencyKeys", "idempotent", "table"]

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
    """The stored responses."""

    _table = table

    async def forget(self, older_than: datetime.timedelta) -> int:
        """Delete the responses older than this, and return their number."""
        return await self.drop(F.kept_at < _now() - older_than.total_seconds())


def idempotent(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that runs an operation once for each key, and replays the stored response afterwards.

    The endpoint raises :class:`ValidationError` for a header that is no key, and :class:`InvalidDataError` for a key
    that belongs to another request.
    """

    @functools.wraps(endpoint)
    async def serve(request: ResourceRequest) -> http.Response:
        header = request.header(idempotency.HEADER)
        return await endpoint(request) if header is None else await _run_once(endpoint, request, header)

    return serve


async def _run_once(endpoint: Endpoint, request: ResourceRequest, header: str) -> http.Response:
    id, scope = _id(request, _parse_key(header)), request.scope
    fingerprint = idempotency.fingerprint(scope["method"], scope["path"], scope["query_string"], request.body)
    try:
        async with request.worker:
            keys = _keys(request)
            if (stored := await keys.get(id=id)) is not None:
                return _replay(request, stored, fingerprint)
            response = await endpoint(request)
            await keys.create(_to_row(id, fingerprint, response))
            return response
    except (exceptions.IntegrityError, exceptions.ConflictError):
        # perhaps a concurrent copy of this request committed first: then its response is replayed
        async with request.worker:
            stored = await _keys(request).get(id=id)
        if stored is None:
            raise
        return _replay(request, stored, fingerprint)


def _parse_key(header: str) -> str:
    try:
        return idempotency.decode(header)
    except ValueError as error:
        raise exceptions.ValidationError({idempotency.HEADER: {"type": "value_error", "msg": str(error)}}) from error


def _id(request: ResourceRequest, key: str) -> str:
    # the caller is part of the key, so that responses are never replayed to other callers
    parts = (request.spec.name, identify(request), key)
    return hashlib.blake2b(repr(parts).encode(), digest_size=32).hexdigest()


def _keys(request: ResourceRequest) -> IdempotencyKeys:
    """Return the repository of keys, on the session of the resource's repository."""
    repository = getattr(request.worker, request.repository)
    if hasattr(repository, "_session"):
        substitutes = importlib.import_module("flama.ddd.repositories.memory._fakes")
        return t.cast(IdempotencyKeys, substitutes.fake_for(IdempotencyKeys)(repository._session))
    return IdempotencyKeys(repository._connection)


def _to_row(id: str, fingerprint: str, response: http.Response) -> dict[str, t.Any]:
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    row = {"id": id, "request": fingerprint, "status": response.status_code, "headers": headers}
    return {**row, "body": bytes(response.body), "kept_at": _now()}


def _replay(request: ResourceRequest, stored: dict[str, t.Any], fingerprint: str) -> http.Response:
    if stored["request"] != fingerprint:
        detail = f"{idempotency.HEADER} belongs to another request"
        raise exceptions.InvalidDataError(resource=request.spec.error_name, detail=detail)
    return http.Response(stored["body"], stored["status"], {**stored["headers"], idempotency.REPLAYED: "true"})


def _now() -> float:
    return datetime.datetime.now(datetime.UTC).timestamp()
