"""CRUD resources: the table of operations, served from a repository."""

import codecs
import collections.abc
import contextlib
import functools
import importlib
import typing as t

from flama import exceptions, http, schemas, types
from flama.ddd.components import WorkerComponent
from flama.http.request import JSON, content_type, query_pairs, read_body
from flama.resources import descriptions, elements, listing, many
from flama.resources.asked import Asked, Serve
from flama.resources.callers import worker_for
from flama.resources.resource import ResourceRoute
from flama.resources.rest import RESTResource, workers_of
from flama.rest.operations import OPERATIONS, REQUESTED_WITH, Operation
from flama.routing import Route

__all__ = ["CRUDResource"]

_SERVED: t.Final[dict[str, Serve]] = {
    "create": elements.create,
    "list": listing.records,
    "retrieve": elements.retrieve,
    "update": elements.update,
    "partial_update": elements.partial_update,
    "delete": elements.delete,
    "replace": many.replace,
    "partial_replace": many.partial_replace,
    "drop": many.drop,
    "get_or_create": elements.get_or_create,
    "upsert": many.upsert,
    "update_where": many.update_where,
    "drop_where": many.drop,
}
"""What does each operation; that on many records which has the path of one on a single is done by the same."""

_ID: t.Final = "resource_id"


class CRUDResource(RESTResource, abstract=True):
    """A REST resource with an endpoint for each operation of :data:`flama.rest.operations.OPERATIONS`.

    A method of an operation's name is a handler that serves it instead; those that are named in ``without`` are not
    served at all, nor those that the repository has no method for. ::

        class Users(CRUDResource):
            model = user_table
            without = ("drop", "replace")
    """

    without: t.ClassVar[collections.abc.Collection[str]] = ()

    @classmethod
    def _declare(cls) -> None:
        super()._declare()
        if unknown := [name for name in cls.without if name not in OPERATIONS]:
            raise exceptions.ResourceAttributeNotFound(
                f"{cls.__name__} is without {unknown}: the operations are {', '.join(OPERATIONS)}"
            )
        is_listed = cls._table is not None and "list" not in cls.without and not hasattr(cls, "list")
        if is_listed and not schemas.answers(cls._output.schema, cls._id.name):
            raise exceptions.ResourceFilterInvalid(
                f"{cls.__name__} answers without its key '{cls._id.name}', which every order of a list ends with, so "
                "that the cursors of its pages would reveal it: answer with it, or write without = ('list',)"
            )

    def routes(self, app: types.App) -> list[Route]:
        """Give what an application serves of it: its own methods, and the operations that it has no method for."""
        own = super().routes(app)
        marked = {method for method in dir(self) if ResourceRoute.of(getattr(self, method, None)) is not None}
        names = [name for name in _SERVED if name not in self.without and name not in marked]
        return [*own, *self._operations(app, names)]

    def _operations(self, app: t.Any, names: list[str]) -> collections.abc.Iterator[Route]:
        worker, repository, is_made = self.worker_for(workers_of(app))
        limit = schemas.RecordLimit(app.max_records if self.max_records is None else self.max_records)
        if is_made and any(not hasattr(self, name) for name in names):
            app.add_component(WorkerComponent(t.cast(t.Any, worker)()))
        for name in names:
            operation, overriding = OPERATIONS[name], getattr(self, name, None)
            if overriding is None and not self.can(name):
                continue
            if overriding is not None:
                self._check_own(overriding)
            made = overriding or self._handler(operation, worker, repository, limit, app.max_body_size)
            yield Route(
                self._path(operation),
                made,
                name.replace("_", "-"),
                (operation.method,),
                tags=(self.name,),
                description=None if overriding else descriptions.of(type(self), operation, limit.most),
            )
            if operation.verb and self._id.type is not str:  # else it may be a record's
                yield _refusing(self._path(operation), operation.method)

    def _path(self, operation: Operation) -> str:
        if operation.kind == "element":
            return f"/{{{_ID}}}/"
        return f"/:{operation.verb}/" if operation.verb else "/"

    def _handler(
        self,
        operation: Operation,
        worker: type,
        repository: str,
        limit: schemas.RecordLimit,
        max_body_size: int | None,
    ) -> types.Handler:
        resource, serve = type(self), self._served(operation)

        def asked(scope: types.Scope, worker: t.Any, body: bytes = b"", id: t.Any = None) -> Asked:
            body = body.removeprefix(codecs.BOM_UTF8)  # which may precede JSON
            return Asked(resource, operation, scope, body, id, worker, repository, query_pairs(scope), limit)

        async def read(scope: types.Scope, receive: types.Receive) -> bytes:
            return await read_body(scope, receive, max_body_size, limit.check_start)

        handler = _handlers(operation, serve, asked, read)
        annotations = {
            "scope": types.Scope,
            "receive": types.Receive,
            "worker": worker_for(resource, operation, worker, repository),
            _ID: self._id.type,
        }
        code = handler.__code__
        names = code.co_varnames[: code.co_argcount]
        handler.__annotations__ = {name: annotations[name] for name in names} | {"return": http.Response}
        handler.__name__ = handler.__qualname__ = operation.name
        handler.__doc__ = serve.__doc__
        return t.cast(types.Handler, handler)

    def _served(self, operation: Operation) -> Serve:
        serve = _SERVED[operation.name]
        if operation.is_forgeable and not self.simple_requests:
            serve = _unforgeable(serve)
        if not self.idempotency or not operation.writes:
            return serve
        once = importlib.import_module("flama.resources.idempotency").once(serve)
        once.__doc__ = serve.__doc__
        return t.cast(Serve, once)


def _unforgeable(serve: Serve) -> Serve:
    """Return what serves only requests that the pages of other sites can't have a browser send."""

    @functools.wraps(serve)
    async def served(asked: Asked) -> http.Response:
        if asked.header(REQUESTED_WITH) is None and not _is_json(asked.scope):
            raise exceptions.HTTPException(415, _SIMPLE)
        return await serve(asked)

    return served


def _is_json(scope: types.Scope) -> bool:
    with contextlib.suppress(exceptions.NoCodecAvailable):
        return content_type(scope) == JSON
    return False


_SIMPLE: t.Final = (
    "A POST without a body needs a header that no other site's form can send: Content-Type: application/json, or "
    "X-Requested-With with any value"
)


def _refusing(path: str, method: str) -> Route:
    """Give the route that answers for all other methods, where a record's path would otherwise."""
    refused = exceptions.MethodNotAllowedException("", (method, "OPTIONS"))

    async def others(scope: types.Scope) -> http.Response:
        if scope["method"] == "OPTIONS":
            return http.Response(None, 204, refused.headers)
        raise exceptions.MethodNotAllowedException(scope["method"], (method, "OPTIONS"))

    return Route(path, others, "", ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"), include_in_schema=False)


def _handlers(
    operation: Operation,
    serve: Serve,
    asked: collections.abc.Callable[..., Asked],
    read: collections.abc.Callable[..., collections.abc.Awaitable[bytes]],
) -> t.Any:
    """Give the handler that asks for what the operation needs."""

    async def of_all(scope: t.Any, worker: t.Any) -> http.Response:
        return await serve(asked(scope, worker))

    async def of_all_with_body(scope: t.Any, receive: t.Any, worker: t.Any) -> http.Response:
        return await serve(asked(scope, worker, await read(scope, receive)))

    async def of_one(scope: t.Any, worker: t.Any, resource_id: t.Any) -> http.Response:
        return await serve(asked(scope, worker, b"", resource_id))

    async def of_one_with_body(scope: t.Any, receive: t.Any, worker: t.Any, resource_id: t.Any) -> http.Response:
        return await serve(asked(scope, worker, await read(scope, receive), resource_id))

    has_body = operation.request is not None
    if operation.kind == "element":
        return of_one_with_body if has_body else of_one
    return of_all_with_body if has_body else of_all
